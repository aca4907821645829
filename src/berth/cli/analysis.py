"""What the controller's solver and rules make of a Pool. No other module of `berth.cli` calls them."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, NoReturn

from berth.cli.objects import PoolObjects
from berth.controller.rejected import report
from berth.kinds import Entry
from berth.pool import (
    AssignmentSeen,
    Health,
    Leases,
    LeaseSeen,
    MemberEdit,
    MemberSeen,
    Outage,
    PoolFleet,
    Progress,
    Wait,
    Why,
    assignment_seen,
    describe,
    item_seen,
    member_seen,
    outage,
    plan_round,
    policy_of,
)
from berth.pool.member import read_entries
from berth.pool.reasons import Reason, reasons
from berth.solve import Problem, Solution, Solver, bands

NOW = 1e6
"""The monotonic time at which a Pool is judged; any number does, as ages are relative to it."""

Pair = tuple[str, str]
"""Item and Member."""


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


class Changes(NamedTuple):
    """The plain difference between what is held and what is wanted, sorted."""

    add: list[Pair]
    remove: list[Pair]
    promote: list[Pair]
    """Items whose slot 0 gets a new holder, first placements included."""


# ---- what is known -------------------------------------------------------------------------------


def fleet_of(pool: PoolObjects, wall: datetime | None = None) -> PoolFleet:
    """The Pool as a controller that starts now would know it; `wall` is the time of day (default: now).

    Nobody has watched the Leases, so a Member with one is live unless its condition `Live` is False, and
    its Lease has been expired for as long as that condition says.
    """
    leases = Leases()
    fleet = PoolFleet(leases, policy_of(pool.pool) if pool.pool else None)
    for item in pool.items.values():
        fleet.put_item(item_seen(item))
    for name, member in pool.members.items():
        seen = member_seen(member)
        if seen.lease is not None:
            # Two Members may name one Lease, and the conditions are per Member.
            own = f"{seen.lease}/{name}"
            _put_lease(leases, own, pool, seen, wall)
            seen = seen._replace(lease=own)
        fleet.put_member(seen, NOW)
    for name, assignment in pool.assignments.items():
        written = assignment_seen(assignment)
        if name in pool.members and not pool.is_former(assignment):
            written = written._replace(owner=pool.members[name].metadata.uid)
        fleet.put_assignment(written, NOW)
    return fleet


def _put_lease(
    leases: Leases, own: str, pool: PoolObjects, member: MemberSeen, wall: datetime | None
) -> None:
    condition = pool.live_condition(member.name)
    assignment = pool.assignments.get(member.name)
    holder = assignment.status.session if assignment else ""
    if pool.lease_holders is not None:
        holder = pool.lease_holders.get(member.lease or "", holder)
    lease = LeaseSeen(own, holder or "unknown")
    if condition is None or condition.status != "False":
        leases.put(lease, NOW)
    elif condition.reason == "LeaseReleased":
        leases.put(lease._replace(holder=""), NOW - _age(condition.last_transition_time, wall))
    elif condition.reason != "LeaseMissing":
        leases.put(lease, NOW - lease.duration - _age(condition.last_transition_time, wall))
        leases.put_read(own, lease, NOW, NOW)  # the leader that wrote the condition has read it
    if pool.lease_holders is not None and holder:
        leases.confirm(own, (assignment and assignment.spec.session) or "")


def _age(since: str, wall: datetime | None) -> float:
    """Seconds from an RFC 3339 time until `wall`; 0 where `since` is no time."""
    try:
        then = datetime.fromisoformat(since)
    except ValueError:
        return 0.0
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max(0.0, ((wall or datetime.now(UTC)) - then).total_seconds())


def summarize(fleet: PoolFleet) -> dict[str, MemberSummary]:
    """The Members that exist, by name, sorted."""
    band = bands(fleet.problem())
    found = {}
    for state in sorted(fleet.members.values(), key=lambda member: member.name):
        if (seen := state.seen) is not None:
            found[state.name] = MemberSummary(
                name=state.name,
                zone=seen.zone,
                limit=seen.limit,
                draining=seen.draining or seen.limit == 0,
                live=state.live,
                items=len(state.entries),
                primaries=sum(entry.slot == 0 for entry in state.entries.values()),
                ready=sum(map(state.ready, state.entries)),
                band=(int(band.low[state.row]), int(band.high[state.row])),
            )
    return found


# ---- the plan --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """Where the solver wants the Items of one Pool, by name."""

    pool: PoolObjects
    fleet: PoolFleet
    solution: Solution
    wanted: dict[str, list[str]]
    """Members by Item in slot order, for Items that exist."""
    held: dict[str, dict[str, Entry]]
    """Entries by Item and Member, those of dead and unknown Members and of deleted Items included."""
    short: dict[str, Reason]
    """Why an Item has fewer replicas placed than it asks for."""
    changes: Changes
    members: dict[str, MemberSummary]
    items: Counter[str]
    """Planned load by Member."""
    primaries: Counter[str]
    """Planned primaries by Member."""
    load: Counter[str]
    """Entries by Member now."""

    @property
    def slots_wanted(self) -> int:
        """The sum of replicas."""
        return sum(item.spec.replicas for item in self.pool.items.values())

    @property
    def slots_placed(self) -> int:
        """Replicas that the plan places."""
        return sum(map(len, self.wanted.values()))

    def live(self, member: str) -> bool:
        """Whether the Member exists and counts as live."""
        return member in self.members and self.members[member].live


def plan_pool(pool: PoolObjects, fleet: PoolFleet | None = None) -> PoolPlan:
    """Plan for the Pool; `fleet` is what is known of it, by default its objects alone."""
    fleet = fleet or fleet_of(pool)
    problem = fleet.problem()
    solution = _solve(problem, fleet, pool)
    items, members = fleet.items, fleet.member_rows.names
    rows = solution.members.tolist()
    wanted = {
        name: [members[row] or "" for row in rows[items.of[name]] if row >= 0] for name in sorted(pool.items)
    }
    held = _held_entries(pool, fleet)
    short = reasons(problem, solution)
    return PoolPlan(
        pool=pool,
        fleet=fleet,
        solution=solution,
        wanted=wanted,
        held=held,
        short={name: reason for row, reason in short.items() if (name := items.names[row])},
        changes=_difference(held, wanted),
        members=summarize(fleet),
        items=Counter(member for placed in wanted.values() for member in placed),
        primaries=Counter(placed[0] for placed in wanted.values() if placed),
        load=Counter(member for here in held.values() for member in here),
    )


def _solve(problem: Problem, fleet: PoolFleet, pool: PoolObjects) -> Solution:
    items, members = fleet.items.names, fleet.member_rows.names

    def rejected(engine: str, faults: Sequence[str], wrong: Problem) -> None:
        report(engine, faults, wrong, items.__getitem__, members.__getitem__, pool.name, pool.namespace)

    # A solver for each Pool: each has its own deadline, and its process ends here.
    with _exit_on_sigterm(), closing(Solver(rejected=rejected)) as solver:
        return solver.solve(problem)


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that the solver's process ends with this one."""

    def leave(*_: Any) -> NoReturn:
        raise SystemExit(128 + signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set a handler
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _held_entries(pool: PoolObjects, fleet: PoolFleet) -> dict[str, dict[str, Entry]]:
    """What the Assignments list, by Item and Member, without those of earlier Members."""
    held: dict[str, dict[str, Entry]] = {}
    for name, assignment in pool.assignments.items():
        if not pool.is_former(assignment):
            state = fleet.member_named(name)
            owned = state is not None and state.owned
            entries = (
                state.entries if state and owned else read_entries(None, {}, assignment.spec.items).entries
            )
            for item, entry in entries.items():
                held.setdefault(item, {})[name] = entry
    return held


def _difference(held: dict[str, dict[str, Entry]], wanted: dict[str, list[str]]) -> Changes:
    """What has to be added, removed and promoted, whatever the order and the rules in between."""
    add, remove, promote = [], [], []
    for item, members in wanted.items():
        here = held.get(item, {})
        add += [(item, member) for member in members if member not in here]
        if members and members[0] != primary_of(here):
            promote.append((item, members[0]))
    for item, here in held.items():
        remove += [(item, member) for member in here if member not in wanted.get(item, ())]
    return Changes(sorted(add), sorted(remove), sorted(promote))


def primary_of(here: dict[str, Entry]) -> str | None:
    """Who holds slot 0: of several that claim it, the one with the highest epoch."""
    claims = [(entry.epoch, name) for name, entry in here.items() if entry.slot == 0]
    return max(claims)[1] if claims else None


# ---- the next round --------------------------------------------------------------------------------


class Waiting(NamedTuple):
    """What an Item or a Member waits for, in the words of the conditions."""

    reason: str
    message: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NextRound:
    """What the next round of the controller would find and do."""

    plan: PoolPlan
    outage: Outage
    progress: Progress
    steps: dict[str, list[tuple[str, MemberEdit]]]
    """By Item: the Members and the edits of the step that the rules allow now."""

    def explain(self, why: Why, *rows: int) -> Waiting:
        """A wait for the Members of these rows, in words."""
        fleet = self.plan.fleet
        known = [fleet.members.get(row) for row in rows]
        names = tuple(member.name if member else "a Member that is gone" for member in known)
        budget = fleet.policy.max_in_flight
        return Waiting(why.value, describe(Wait(why, rows), names, self.progress.moving, budget), names)


def next_round(pool: PoolObjects, wall: datetime | None = None) -> NextRound:
    """Judge the Pool as a controller that starts now; `wall` is the time of day (default: now)."""
    fleet = fleet_of(pool, wall)
    for name, member in pool.members.items():
        state = fleet.member_named(name)
        if state is not None and not state.owned:
            # A leader creates or replaces these Assignments before anything else.
            fleet.put_assignment(AssignmentSeen(name, owner=member.metadata.uid), NOW)
    policy = fleet.policy
    judged = outage(
        (Health(m.row, m.dead_since, len(m.entries)) for m in fleet.members.values() if m.seen is not None),
        NOW,
        delay=policy.outage_delay,
        brake_percent=policy.brake_percent,
        brake_min_members=policy.brake_min_members,
    )
    for row in judged.kept:
        fleet.keep(row, True)
    plan = plan_pool(pool, fleet)
    progress = Progress(in_flight=_moves_in_flight(plan))
    rows = [row for row, name in enumerate(fleet.items.names) if name is not None]
    done = plan_round(
        fleet, plan.solution, rows, progress, term=pool.term + 1, now=NOW, braking=judged.braking
    )
    steps: dict[str, list[tuple[str, MemberEdit]]] = {}
    for row, edits in done.writes.items():
        for edit in edits:
            steps.setdefault(edit.item, []).append((fleet.members[row].name, edit))
    return NextRound(plan, judged, progress, steps)


def _moves_in_flight(plan: PoolPlan) -> dict[int, int]:
    """By Item row: the entries above what the plan wants."""
    found = {}
    for name, members in plan.wanted.items():
        row = plan.fleet.items.of[name]
        extra = sum(m.live or m.kept for m in plan.fleet.holders(row)) - len(members)
        if extra > 0 and members:
            found[row] = extra
    return found
