"""One round: the steps of all Items that need a look, gathered into one write per Member."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from berth.api import Entry
from berth.converge.lanes import Lane, lane
from berth.converge.rules import Edit, Rules, Step, step
from berth.converge.sort import Sorted, sort_items
from berth.converge.view import Holding, View
from berth.converge.words import Wait, Why
from berth.fleet import Handoff, MemberState, PoolFleet, stopped
from berth.solve import Solution
from berth.solve.problem import Int32


class MemberEdit(NamedTuple):
    """A change within one Member's Assignment."""

    item: str
    entry: Entry | None
    after: tuple[int, ...]
    lane: Lane


@dataclass(slots=True)
class Progress:
    """What one round leaves for the next: who waits for what, and the moves under way."""

    waits: dict[int, Wait] = field(default_factory=dict)
    """By Item row; Items that are where they should be are not in it."""
    in_flight: dict[int, int] = field(default_factory=dict)
    """Moves under way by Item row, without those at zero."""
    for_room: dict[int, set[int]] = field(default_factory=dict)
    """Items that wait for room, by Member row."""
    for_budget: set[int] = field(default_factory=set)
    """Items whose moves are held back by the budget."""

    @property
    def moving(self) -> int:
        """Moves under way in the Pool."""
        return sum(self.in_flight.values())

    def forget(self, item: int) -> None:
        """Drop what is noted of an Item row."""
        self.in_flight.pop(item, None)
        self.for_budget.discard(item)
        wait = self.waits.pop(item, None)
        if wait is not None and wait.why is Why.LIMIT:
            for member in wait.members:
                self.for_room.get(member, set()).discard(item)

    def note(self, item: int, done: Step) -> None:
        """Remember the outcome of a step."""
        self.forget(item)
        if done.in_flight:
            self.in_flight[item] = done.in_flight
        if done.done:
            return
        wait = done.wait or Wait(Why.STEP)
        self.waits[item] = wait
        if wait.why is Why.BUDGET:
            self.for_budget.add(item)
        if wait.why is Why.LIMIT:
            for member in wait.members:
                self.for_room.setdefault(member, set()).add(item)


@dataclass(slots=True)
class Round:
    """The edits of one round, by Member row."""

    term: int
    """Term of the round's grants and promotions."""
    writes: dict[int, list[MemberEdit]] = field(default_factory=dict)
    members: dict[int, MemberState] = field(default_factory=dict)
    """Each Member of `writes` as it was when this was planned.

    The writer goes by these: while it waits for the API server the fleet moves on, and a row may
    even be given to another Member.
    """
    raises_term: bool = False
    """Whether anything is granted or promoted, so that the term must be raised first."""
    looked_at: int = 0

    def edits(self, member: MemberState) -> list[MemberEdit]:
        """The edits of that Member's Assignment, to be added to."""
        edits = self.writes.get(member.row)
        if edits is None:
            edits = self.writes[member.row] = []
            self.members[member.row] = replace(member)
        return edits

    def add(self, member: MemberState, edit: MemberEdit) -> None:
        """Add an edit of that Member's Assignment."""
        self.edits(member).append(edit)


UNDER_WAY = Step(wait=Wait(Why.STEP))
"""What is noted of an Item whose entries are being written."""


def view_of(fleet: PoolFleet, row: int, solution: Solution, now: float) -> View:
    """What the rules see of an Item row."""
    name = fleet.items.names[row]
    assert name is not None
    seen = fleet.item_seen.get(row)
    holdings = []
    for member in fleet.holders(row):
        entry = member.entries[name]
        kept = member.kept and not member.live and member.seen is not None
        holdings.append(
            Holding(
                member.row,
                entry.slot,
                entry.grant,
                entry.epoch,
                member.ready(name),
                member.live,
                kept,
                stopped(member),
            )
        )
    target: tuple[int, ...] = ()
    primary = -1
    if seen is not None and row < len(solution.primary):
        target = tuple(m for m in solution.members[row].tolist() if m >= 0)
        primary = int(solution.primary[row])
    unreleased: tuple[int, ...] = ()
    if fleet.policy.handoff is Handoff.EXCLUSIVE and seen is not None:
        unreleased = tuple(fleet.member_rows.of.get(m, -1) for m in fleet.unreleased(name, now))
    return View(name, seen.replicas if seen else 0, tuple(holdings), target, primary, unreleased)


class _Loads:
    """Entries and primaries of each Member as the round goes on; adds count at once, removals do not.

    Room that a removal frees is used in the next round: an Assignment at its limit never gets an
    entry, not even in the write that takes another away.
    """

    def __init__(self, fleet: PoolFleet) -> None:
        self._members = fleet.members
        self._room: dict[int, int] = {}
        self._primaries: dict[int, int] = {}

    def room(self, row: int) -> int:
        if row not in self._room:
            member = self._members[row]
            usable = member.owned and member.live
            self._room[row] = member.limit - len(member.entries) if usable else 0
        return self._room[row]

    def primaries(self, row: int) -> float:
        if row not in self._primaries:
            self._primaries[row] = sum(e.slot == 0 for e in self._members[row].entries.values())
        return self._primaries[row] / max(1, self._members[row].limit)

    def fullness(self, row: int) -> float:
        member = self._members[row]
        return len(member.entries) / max(1, member.limit)

    def take_many(self, entries: Int32, primaries: Int32) -> None:
        """Count new entries: the Member row of each, and of those that are primaries."""
        for row, count in zip(*(a.tolist() for a in np.unique(entries, return_counts=True)), strict=True):
            self._room[row] = self.room(row) - count
        for row, count in zip(*(a.tolist() for a in np.unique(primaries, return_counts=True)), strict=True):
            self.primaries(row)
            self._primaries[row] += count

    def take(self, edit: Edit, member: MemberState) -> None:
        if edit.entry is None:
            return
        if edit.entry.name not in member.entries:
            self._room[edit.member] = self.room(edit.member) - 1
        if edit.entry.slot == 0:
            self.primaries(edit.member)
            self._primaries[edit.member] += 1


def _new_in(fleet: PoolFleet, solution: Solution, rows: list[int]) -> Int32:
    """The Member rows of all entries that `rows` have in the target and do not hold."""
    index = np.array([row for row in rows if row < len(solution.primary)], dtype=np.int64)
    targets, held = solution.members[index], fleet.arrays.held[index]
    new: Int32 = targets[(targets >= 0) & ~(targets[:, :, None] == held[:, None, :]).any(axis=2)]
    return new


def _place_fresh(
    fleet: PoolFleet, solution: Solution, sorted_: Sorted, loads: _Loads, progress: Progress, result: Round
) -> list[int]:
    """Give Items that nobody holds to their whole targets at once; the rows that are left to the rules.

    The same as `step` would do, for a fiftieth of the time: 2 us for each entry.
    """
    rows = sorted_.fresh
    if not rows:
        return []
    targets = solution.members[rows]
    wanted = np.bincount(np.concatenate((targets[targets >= 0], _new_in(fleet, solution, sorted_.others))))
    short = {m for m in np.flatnonzero(wanted).tolist() if loads.room(m) < wanted[m]}
    left: list[int] = []
    if short:
        # Where room is scarce the rules say who gets it.
        left = [row for row, to in zip(rows, targets.tolist(), strict=True) if not short.isdisjoint(to)]
        rows = sorted(set(rows) - set(left))
        targets = solution.members[rows]
    edits = {m: result.edits(fleet.members[m]) for m in np.unique(targets[targets >= 0]).tolist()}
    names, term, lane = fleet.items.names, result.term, Lane.RECOVERY
    for row, target in zip(rows, targets.tolist(), strict=True):
        name = names[row]
        assert name is not None
        slot, epoch = 0, term
        for member in target:
            if member >= 0:
                edits[member].append(MemberEdit(name, Entry(name, slot, term, epoch), (), lane))
                slot, epoch = slot + 1, 0
        progress.note(row, UNDER_WAY)
    if rows:
        loads.take_many(targets[targets >= 0], targets[:, 0])
        result.raises_term = True
    return left


def plan_round(
    fleet: PoolFleet,
    solution: Solution,
    items: Iterable[int],
    progress: Progress,
    *,
    term: int,
    now: float,
    braking: bool = False,
) -> Round:
    """Take each Item row of `items` one allowed step towards `solution`; notes the rest in `progress`.

    `term` is that of grants and promotions made now. Recovery is looked at before moves, so that a
    move never takes the room that a missing replica needs.
    """
    policy = fleet.policy
    result = Round(term)
    loads = _Loads(fleet)
    known = [row for row in items if fleet.items.names[row] is not None]
    result.looked_at = len(known)
    sorted_ = sort_items(fleet, solution, known)
    for row in sorted_.settled:
        progress.forget(row)
    others = sorted_.others + _place_fresh(fleet, solution, sorted_, loads, progress, result)
    moving = progress.moving
    views = [view_of(fleet, row, solution, now) for row in others]
    views.sort(key=lambda v: (sum(h.live for h in v.holdings) >= len(v.target), v.name))
    for view in views:
        row = fleet.items.of[view.name]
        moving -= progress.in_flight.get(row, 0)
        left = None
        if policy.max_in_flight is not None:
            left = max(0, policy.max_in_flight - moving - progress.in_flight.get(row, 0))
        rules = Rules(
            term=term,
            room=loads.room,
            fullness=loads.fullness,
            primaries=loads.primaries,
            exclusive=policy.handoff is Handoff.EXCLUSIVE,
            active_primaries=policy.active_primaries,
            moves_left=left,
            paused=braking,
        )
        done = step(view, rules)
        moving += done.in_flight
        progress.note(row, done)
        added = [e.member for e in done.edits if e.entry and view.name not in fleet.members[e.member].entries]
        moved = added[len(added) - done.moves :]
        for edit in done.edits:
            member = fleet.members[edit.member]
            loads.take(edit, member)
            reason = lane(member.entries.get(view.name), edit.entry, is_move=edit.member in moved)
            change = MemberEdit(view.name, edit.entry, edit.after, reason)
            result.add(member, change)
            if edit.entry is not None and term in (edit.entry.grant, edit.entry.epoch):
                result.raises_term = True
    return result
