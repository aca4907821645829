"""What the controller's brain makes of a Pool: the plan, and the next round."""

import signal
import sys
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from berth import kinds
from berth.cli.objects import PoolObjects, find_condition
from berth.pool import Brain, LeaseChanged, Leases, Ledger, MemberEdit, Outcome
from berth.pool.liveness import DEFAULT_DURATION
from berth.pool.member import read_entries
from berth.pool.reasons import Reason, reasons
from berth.saved import Names, report
from berth.solve import Problem, Solution, Solver, bands

NOW = 1e6
"""The monotonic time at which a Pool is judged; any number does, as ages are relative to it."""


class MemberSummary(NamedTuple):
    """A Member, with counts of the entries in its Assignment and the band of its load."""

    name: str
    zone: str
    limit: int
    draining: bool
    live: bool
    items: int
    primaries: int
    ready: int
    band: tuple[int, int]


class Change(NamedTuple):
    """The plain difference between what is held of an Item and what is wanted."""

    item: str
    gains: list[str]
    """Members that get it, sorted."""
    leaves: list[str]
    """Members that give it up, sorted."""
    promotes: str | None
    """The new holder of slot 0, where it gets one; first placements included."""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """Where the solver wants the Items of one Pool, by name."""

    pool: PoolObjects
    brain: Brain
    solution: Solution
    wanted: dict[str, list[str]]
    """Members by Item in slot order, for Items that exist."""
    held: dict[str, dict[str, kinds.Entry]]
    """Entries by Item and Member, those of dead and unknown Members and of deleted Items included."""
    short: dict[str, Reason]
    """Why an Item has fewer replicas placed than it asks for."""
    changes: dict[str, Change]
    """By Item, sorted, for those that have any."""
    members: dict[str, MemberSummary]
    items: Counter[str]
    """Planned load by Member."""
    primaries: Counter[str]
    """Planned primaries by Member."""
    steps: dict[str, list[tuple[str, MemberEdit]]] = field(default_factory=dict)
    """By Item, in a next round: the Members and the edits of the step that the rules allow now."""

    def live(self, member: str) -> bool:
        """Whether the Member exists and counts as live."""
        return member in self.members and self.members[member].live


# ---- what is known -------------------------------------------------------------------------------


def brain_of(pool: PoolObjects, wall: datetime | None = None) -> Brain:
    """What a controller knows of the Pool; `wall` is the time of day (default: now).

    Nobody has watched the Leases, so a Member with one is live unless its condition `Live` is False, and
    its Lease has been expired for as long as that condition says.
    """
    brain = Brain(pool.namespace, pool.name, Leases())
    brain.observe(pool.pool or kinds.PoolObject(kinds.Meta(pool.name, pool.namespace)), NOW)
    for item in pool.items.values():
        brain.observe(item, NOW)
    for member in pool.members.values():
        if member.spec.lease_name:
            _observe_leased(brain, pool, member, wall)
        else:
            brain.observe(member, NOW)
    for name, assignment in pool.assignments.items():
        if name in pool.members and not pool.is_former(assignment):
            assignment = _owned(assignment, pool.members[name])
        brain.observe(assignment, NOW)
    return brain


def _owned(assignment: kinds.AssignmentObject, member: kinds.MemberObject) -> kinds.AssignmentObject:
    """The Assignment, owned by this Member."""
    owner = kinds.meta.OwnerReference(kinds.API_VERSION, "Member", member.metadata.name, member.metadata.uid)
    return replace(assignment, metadata=replace(assignment.metadata, owner_references=(owner,)))


def _observe_leased(
    brain: Brain, pool: PoolObjects, member: kinds.MemberObject, wall: datetime | None
) -> None:
    """Observe a Member while its Lease was still renewed, and then what its condition `Live` says."""
    leases, member_name, lease_name = brain.ledger.leases, member.metadata.name, member.spec.lease_name or ""
    assignment = pool.assignments.get(member_name)
    holder = assignment.status.session if assignment else ""
    if pool.lease_holders is not None:
        holder = pool.lease_holders.get((pool.namespace, lease_name), holder)
    # Two Members may name one Lease, and the conditions are per Member.
    name = f"{lease_name}/{member_name}"
    member = replace(member, spec=replace(member.spec, lease_name=name))
    condition = find_condition(member, "Live")
    dead = condition if condition is not None and condition.status == "False" else None
    if dead is not None and dead.reason == "LeaseMissing":
        brain.observe(member, NOW)
    else:
        lease = kinds.LeaseObject(kinds.Meta(name), kinds.LeaseSpec(holder or "unknown"))
        expires = NOW + DEFAULT_DURATION
        if dead is not None:
            expires = NOW
            with suppress(ValueError):  # the API server accepts times that Python does not
                age = (wall or datetime.now(UTC)) - datetime.fromisoformat(dead.last_transition_time)
                expires -= max(0.0, age.total_seconds())
        leases.put(lease, expires - DEFAULT_DURATION)
        brain.observe(member, expires - DEFAULT_DURATION)
        if dead is not None and dead.reason == "LeaseReleased":
            lease = replace(lease, spec=kinds.LeaseSpec())
            leases.put(lease, expires)
        leases.advance(NOW)
        leases.put_read(name, lease, NOW, NOW)  # the leader that wrote the condition has read it
        brain.observe(LeaseChanged(name), NOW)
    if pool.lease_holders is not None and holder:
        leases.confirm(name, (assignment and assignment.spec.session) or "")


def summarize(ledger: Ledger) -> dict[str, MemberSummary]:
    """The Members that exist, by name, sorted."""
    (low, high), found = bands(ledger.problem()), {}
    for state in sorted(ledger.members.values(), key=lambda member: member.name):
        if (info := state.info) is not None:
            found[state.name] = MemberSummary(
                name=state.name,
                zone=info.spec.zone,
                limit=info.spec.limit,
                draining=info.spec.draining or info.spec.limit == 0,
                live=state.live,
                items=len(state.entries),
                primaries=sum(entry.slot == 0 for entry in state.entries.values()),
                ready=sum(map(state.ready, state.entries)),
                band=(int(low[state.row]), int(high[state.row])),
            )
    return found


# ---- what follows ----------------------------------------------------------------------------------


def plan_pool(pool: PoolObjects) -> PoolPlan:
    """Plan for the Pool as it is, without waiting for dead Members to return."""
    brain = brain_of(pool)
    return _plan(pool, brain, _solve(brain, brain.ledger.problem()))


def next_round(pool: PoolObjects) -> PoolPlan:
    """Decide as a controller that takes the Pool over now."""
    brain = brain_of(pool)
    for name, member in pool.members.items():
        state = brain.ledger.member_named(name)
        if state is not None and not state.owned:
            # A leader creates or replaces these Assignments before anything else.
            brain.observe(_owned(kinds.AssignmentObject(kinds.Meta(name)), member), NOW)
    brain.start()
    decision = brain.decide(NOW)
    while decision.take_over or decision.solve:
        if decision.take_over:
            term = decision.take_over.above + 1
            taken_over = kinds.Meta(pool.name, pool.namespace, uid="taken-over")
            outcome = Outcome(
                pool=kinds.PoolObject(taken_over, brain.ledger.policy, kinds.ReadPoolStatus(term))
            )
        elif decision.solve:
            outcome = Outcome(solution=_solve(brain, decision.solve.problem))
        brain.done(outcome, NOW)
        decision = brain.decide(NOW)
    # Without Items and Members there is nothing to take over, and nothing was solved.
    plan = _plan(pool, brain, brain.target.solution or _solve(brain, brain.ledger.problem()))
    for write in decision.writes:
        for edit in write.edits:
            plan.steps.setdefault(edit.item, []).append((write.member.name, edit))
    return plan


def _plan(pool: PoolObjects, brain: Brain, solution: Solution) -> PoolPlan:
    ledger = brain.ledger
    items, members = ledger.items, ledger.member_rows.names
    rows = solution.members.tolist()
    wanted = {
        name: [members[row] or "" for row in rows[items.of[name]] if row >= 0] for name in sorted(pool.items)
    }
    held = _held_entries(pool, ledger)
    short = reasons(ledger.problem(), solution)
    return PoolPlan(
        pool=pool,
        brain=brain,
        solution=solution,
        wanted=wanted,
        held=held,
        short={name: reason for row, reason in short.items() if (name := items.names[row])},
        changes=_difference(held, wanted),
        members=summarize(ledger),
        items=Counter(member for placed in wanted.values() for member in placed),
        primaries=Counter(placed[0] for placed in wanted.values() if placed),
    )


def _solve(brain: Brain, problem: Problem) -> Solution:
    # As an exit, SIGTERM ends the solver's process too.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        # A solver for each Pool: each has its own deadline, and its process ends here.
        with closing(Solver(rejected=partial(report, names=Names.of(brain)))) as solver:
            return solver.solve(problem)
    finally:
        signal.signal(signal.SIGTERM, before)


def _held_entries(pool: PoolObjects, ledger: Ledger) -> dict[str, dict[str, kinds.Entry]]:
    """What the Assignments list, by Item and Member, without those of earlier Members."""
    held: dict[str, dict[str, kinds.Entry]] = {}
    for name, assignment in pool.assignments.items():
        state = ledger.member_named(name)
        entries = state.entries if state else {}
        if name not in pool.members:  # to the brain, nobody holds what such an Assignment lists
            entries, _ = read_entries(None, {}, assignment.spec.items)
        for item, entry in entries.items():
            held.setdefault(item, {})[name] = entry
    return held


def _difference(held: dict[str, dict[str, kinds.Entry]], wanted: dict[str, list[str]]) -> dict[str, Change]:
    """What has to change, whatever the order and the rules in between."""
    found = {}
    for item in sorted(held.keys() | wanted.keys()):
        here, members = held.get(item, {}), wanted.get(item, [])
        promotes = members[0] if members and members[0] != primary_of(here) else None
        gains, leaves = sorted(set(members) - here.keys()), sorted(here.keys() - set(members))
        if gains or leaves or promotes:
            found[item] = Change(item, gains, leaves, promotes)
    return found


def primary_of(here: dict[str, kinds.Entry]) -> str | None:
    """Who holds slot 0: of several that claim it, the one with the highest epoch."""
    claims = [(entry.epoch, name) for name, entry in here.items() if entry.slot == 0]
    return max(claims)[1] if claims else None
