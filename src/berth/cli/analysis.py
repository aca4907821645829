"""What the controller's brain makes of a Pool: the plan, and the next round."""

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from berth.cli.objects import PoolObjects, find_condition
from berth.kinds import Entry
from berth.pool import (
    AssignmentInfo,
    Brain,
    LeaseChanged,
    LeaseInfo,
    Leases,
    Ledger,
    MemberEdit,
    MemberInfo,
    Outcome,
    Policy,
    PoolInfo,
    assignment_info,
    item_info,
    member_info,
    policy_of,
)
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
    held: dict[str, dict[str, Entry]]
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
    brain.observe(PoolInfo("", policy=policy_of(pool.pool) if pool.pool else Policy()), NOW)
    for item in pool.items.values():
        brain.observe(item_info(item), NOW)
    for name, member in pool.members.items():
        info = member_info(member)
        if info.lease is None:
            brain.observe(info, NOW)
        else:
            # Two Members may name one Lease, and the conditions are per Member.
            _observe_with_lease(brain, pool, info._replace(lease=f"{info.lease}/{name}"), wall)
    for name, assignment in pool.assignments.items():
        written = assignment_info(assignment)
        if name in pool.members and not pool.is_former(assignment):
            written = written._replace(owner=pool.members[name].metadata.uid)
        brain.observe(written, NOW)
    return brain


def _observe_with_lease(brain: Brain, pool: PoolObjects, member: MemberInfo, wall: datetime | None) -> None:
    """Observe a Member while its Lease was still renewed, and then what its condition `Live` says."""
    leases, name = brain.ledger.leases, member.lease or ""
    assignment = pool.assignments.get(member.name)
    holder = assignment.status.session if assignment else ""
    if pool.lease_holders is not None:
        lease_name = pool.members[member.name].spec.lease_name or ""
        holder = pool.lease_holders.get((pool.namespace, lease_name), holder)
    condition = find_condition(pool.members[member.name], "Live")
    dead = condition if condition is not None and condition.status == "False" else None
    if dead is not None and dead.reason == "LeaseMissing":
        brain.observe(member, NOW)
    else:
        lease = LeaseInfo(name, holder or "unknown")
        expires = NOW + lease.duration
        if dead is not None:
            age = (wall or datetime.now(UTC)) - datetime.fromisoformat(dead.last_transition_time)
            expires = NOW - max(0.0, age.total_seconds())
        leases.put(lease, expires - lease.duration)
        brain.observe(member, expires - lease.duration)
        if dead is not None and dead.reason == "LeaseReleased":
            lease = lease._replace(holder="")
            leases.put(lease, expires)
        leases.advance(NOW)
        leases.put_read(name, lease, NOW, NOW)  # the leader that wrote the condition has read it
        brain.observe(LeaseChanged(name), NOW)
    if pool.lease_holders is not None and holder:
        leases.confirm(name, (assignment and assignment.spec.session) or "")


def summarize(ledger: Ledger) -> dict[str, MemberSummary]:
    """The Members that exist, by name, sorted."""
    band = bands(ledger.problem())
    found = {}
    for state in sorted(ledger.members.values(), key=lambda member: member.name):
        if (info := state.info) is not None:
            found[state.name] = MemberSummary(
                name=state.name,
                zone=info.zone,
                limit=info.limit,
                draining=info.draining or info.limit == 0,
                live=state.live,
                items=len(state.entries),
                primaries=sum(entry.slot == 0 for entry in state.entries.values()),
                ready=sum(map(state.ready, state.entries)),
                band=(int(band.low[state.row]), int(band.high[state.row])),
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
            brain.observe(AssignmentInfo(name, owner=member.metadata.uid), NOW)
    brain.start()
    decision = brain.decide(NOW)
    while decision.take_over or decision.solve:
        if decision.take_over:
            term = decision.take_over.above + 1
            outcome = Outcome(pool=PoolInfo("taken-over", policy=brain.ledger.policy, term=term))
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
    items, members = brain.ledger.items.names, brain.ledger.member_rows.names
    names = Names(items.__getitem__, members.__getitem__, brain.name, brain.namespace)
    # A solver for each Pool: each has its own deadline, and its process ends here.
    with closing(Solver(rejected=partial(report, names=names))) as solver:
        return solver.solve(problem)


def _held_entries(pool: PoolObjects, ledger: Ledger) -> dict[str, dict[str, Entry]]:
    """What the Assignments list, by Item and Member, without those of earlier Members."""
    held: dict[str, dict[str, Entry]] = {}
    for name, assignment in pool.assignments.items():
        state = ledger.member_named(name)
        entries = state.entries if state else {}
        if name not in pool.members:  # to the brain, nobody holds what such an Assignment lists
            entries = read_entries(None, {}, assignment.spec.items).entries
        for item, entry in entries.items():
            held.setdefault(item, {})[name] = entry
    return held


def _difference(held: dict[str, dict[str, Entry]], wanted: dict[str, list[str]]) -> dict[str, Change]:
    """What has to change, whatever the order and the rules in between."""
    found = {}
    for item in sorted(held.keys() | wanted.keys()):
        here, members = held.get(item, {}), wanted.get(item, [])
        promotes = members[0] if members and members[0] != primary_of(here) else None
        gains, leaves = sorted(set(members) - here.keys()), sorted(here.keys() - set(members))
        if gains or leaves or promotes:
            found[item] = Change(item, gains, leaves, promotes)
    return found


def primary_of(here: dict[str, Entry]) -> str | None:
    """Who holds slot 0: of several that claim it, the one with the highest epoch."""
    claims = [(entry.epoch, name) for name, entry in here.items() if entry.slot == 0]
    return max(claims)[1] if claims else None
