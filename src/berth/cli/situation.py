"""A Pool as a leader would judge it now: the target, the next allowed steps, who waits for what. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from berth.cli.planning import PoolPlan, plan_pool
from berth.cli.snapshot import PoolSnapshot, disowned, fleet_of
from berth.kinds import Phase
from berth.pool import (
    AssignmentSeen,
    Health,
    Ledger,
    MemberEdit,
    MemberState,
    Outage,
    Progress,
    Wait,
    Why,
    describe,
    outage,
    plan_round,
)
from berth.pool.reasons import MESSAGES
from berth.words import still_here


class Waiting(NamedTuple):
    """The one thing that something waits for, in the words of the conditions."""

    reason: str
    message: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Situation:
    """What one round of the controller would find and do."""

    plan: PoolPlan
    outage: Outage
    progress: Progress
    next_steps: dict[str, list[tuple[str, MemberEdit]]]
    """By Item: (Member, edit) of the step that the rules allow now."""

    @property
    def pool(self) -> PoolSnapshot:
        """The objects that it is about."""
        return self.plan.pool

    @property
    def fleet(self) -> Ledger:
        """What is known of them."""
        return self.plan.fleet

    def words(self, wait: Wait) -> str:
        """A wait as a sentence."""
        return describe(wait, self.names(wait), self.progress.moving, self.fleet.policy.max_in_flight)

    def names(self, wait: Wait) -> tuple[str, ...]:
        """The Members that are waited for."""
        members = self.fleet.members
        return tuple(members[row].name if row in members else "a Member that is gone" for row in wait.members)


def situation(pool: PoolSnapshot, now: float = 1e6, wall: datetime | None = None) -> Situation:
    """Judge the Pool at `now` (any monotonic seconds), `wall` by the time of day, as a new leader would."""
    fleet = fleet_of(pool, now, wall)
    for member in pool.members.values():
        state = fleet.member_named(member.name)
        if state is not None and not state.owned:
            # The leader's first deed, whatever the Items do.
            fleet.put_assignment(AssignmentSeen(member.name, owner=member.uid), now)
    judged = outage(
        (Health(m.row, m.dead_since, len(m.entries)) for m in fleet.members.values() if m.seen is not None),
        now,
        delay=fleet.policy.outage_delay,
        brake_percent=fleet.policy.brake_percent,
        brake_min_members=fleet.policy.brake_min_members,
    )
    for row in judged.kept:
        fleet.keep(row, True)
    plan = plan_pool(pool, fleet)
    progress = Progress(in_flight=_under_way(fleet, plan))
    rows = [row for row, name in enumerate(fleet.items.names) if name is not None]
    done = plan_round(
        fleet, plan.solution, rows, progress, term=pool.term + 1, now=now, braking=judged.braking
    )
    steps: dict[str, list[tuple[str, MemberEdit]]] = {}
    for row, edits in done.writes.items():
        for edit in edits:
            steps.setdefault(edit.item, []).append((fleet.members[row].name, edit))
    return Situation(plan, judged, progress, steps)


def _under_way(fleet: Ledger, plan: PoolPlan) -> dict[int, int]:
    """Moves that are under way already, by Item row: entries above what the target gives."""
    found = {}
    for name, members in plan.wanted.items():
        row = fleet.items.of[name]
        extra = sum(m.live or m.kept for m in fleet.holders(row)) - len(members)
        if extra > 0 and members:
            found[row] = extra
    return found


def item_waits(now: Situation, name: str) -> Waiting | None:
    """What an Item waits for, None where it is as it should be."""
    short = now.plan.short.get(name)
    if short is not None:
        return Waiting(short.value, MESSAGES[short])
    row = now.fleet.items.of.get(name)
    if row is None:
        # It is gone, and listed only by Assignments of Members that are gone, too.
        wait = Wait(Why.STEP) if name in now.plan.held else None
    else:
        wait = now.progress.waits.get(row) or _unready(now, name, row)
        if wait is not None and wait.why is Why.NOT_READY and (failed := _failed(now, name, wait.members)):
            return failed
    return None if wait is None else Waiting(wait.why.value, now.words(wait), now.names(wait))


def _unready(now: Situation, name: str, row: int) -> Wait | None:
    rows = tuple(m.row for m in now.fleet.holders(row) if not m.ready(name))
    return Wait(Why.NOT_READY, rows) if rows and name in now.pool.items else None


def _failed(now: Situation, item: str, rows: tuple[int, ...]) -> Waiting | None:
    """What the Members say that cannot prepare an Item, in the words of its condition `Ready`."""
    found = [
        (m.name, why) for row in rows if (m := now.fleet.members.get(row)) and (why := _failure(m, item))
    ]
    words = "; ".join(f"{name} reports Failed: {why}" for name, why in found)
    return Waiting(Phase.FAILED.value, words, tuple(name for name, _ in found)) if found else None


def _failure(member: MemberState, item: str) -> str | None:
    entry, report = member.entries.get(item), member.reports.get(item)
    if entry is None or report is None or not member.session_holds:
        return None
    if (report.grant, report.phase) != (entry.grant, Phase.FAILED):
        return None
    problems = member.assignment.problems if member.assignment else ()
    told = (text for name, grant, text in problems if (name, grant) == (item, entry.grant))
    return next(told, "it does not say why")


def member_waits(now: Situation, name: str) -> Waiting | None:
    """What a Member waits for, None where it is as it should be."""
    state = now.fleet.member_named(name)
    if state is None or state.seen is None:
        return Waiting("MemberMissing", "the Member does not exist")
    if not state.live:
        return _waits_for_life(now, state)
    assignment = now.pool.assignments.get(name)
    if assignment is None:
        return Waiting("NoAssignment", "its Assignment does not exist yet")
    if disowned(assignment, now.pool.members):
        return Waiting("NoAssignment", "its Assignment is still that of an earlier Member of this name")
    left = leftovers(state)
    if state.seen.limit == 0 or state.seen.draining:
        if not left:
            return None
        return Waiting("Draining", f"{still_here(len(left))}{_first_wait(now, left)}")
    unready = sorted(item for item in state.entries if not state.ready(item))
    if unready:
        for item in unready:
            if failed := _failed(now, item, (state.row,)):
                return failed._replace(message=f"{item}: {failed.message}")
        words = now.words(Wait(Why.NOT_READY, (state.row,)))
        return Waiting(Why.NOT_READY.value, f"{words}: {_some(unready)}", (name,))
    moving = {
        item for pair in (now.plan.changes.add, now.plan.changes.remove) for item, m in pair if m == name
    }
    for item in sorted(moving):
        waits = item_waits(now, item)
        if waits is not None:
            return waits._replace(message=f"{item}: {waits.message}")
    return None


def leftovers(state: MemberState) -> list[str]:
    """Items that a Member has not let go of, in the sense of its condition `Drained`."""
    reported = state.seen is not None and state.seen.reported
    return sorted(state.entries.keys() | state.reports.keys() if reported else state.entries.keys())


def _waits_for_life(now: Situation, state: MemberState) -> Waiting:
    said = now.pool.live(state.name)
    why = said.message if said is not None and said.message else "its Lease is not renewed"
    if state.kept:
        wait = Wait(Why.PAUSED if now.outage.braking else Why.OUTAGE, (state.row,))
        return Waiting(wait.why.value, f"{why}; {now.words(wait)}", (state.name,))
    return Waiting(said.reason if said is not None else "NotLive", why, (state.name,))


def _first_wait(now: Situation, items: list[str]) -> str:
    for item in items:
        waits = item_waits(now, item)
        if waits is not None:
            return f"; {item}: {waits.message}"
    return ""


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
