"""Entries and primaries of each Member while a round is planned."""

from __future__ import annotations

import numpy as np

from berth.pool.ledger import Ledger
from berth.pool.member import MemberState
from berth.pool.rules import Edit
from berth.solve.model import Int32


class Loads:
    """Entries and primaries of each Member as the round goes on; adds count at once, removals do not.

    Room that a removal frees is used in the next round: an Assignment at its limit never gets an
    entry, not even in the write that takes another away.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._members = ledger.members
        self._room: dict[int, int] = {}
        self._primaries: dict[int, int] = {}

    def room(self, row: int) -> int:
        """How many more entries the Member may be given."""
        if row not in self._room:
            member = self._members[row]
            usable = member.owned and member.live
            self._room[row] = member.limit - len(member.entries) if usable else 0
        return self._room[row]

    def primaries(self, row: int) -> float:
        """Its primaries, as a part of its limit."""
        if row not in self._primaries:
            self._primaries[row] = sum(e.slot == 0 for e in self._members[row].entries.values())
        return self._primaries[row] / max(1, self._members[row].limit)

    def fullness(self, row: int) -> float:
        """Its entries before the round, as a part of its limit."""
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
        """Count what an edit adds."""
        if edit.entry is None:
            return
        if edit.entry.name not in member.entries:
            self._room[edit.member] = self.room(edit.member) - 1
        if edit.entry.slot == 0:
            self.primaries(edit.member)
            self._primaries[edit.member] += 1
