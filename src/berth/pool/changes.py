"""Changes of entries: what each is for, those of a round by Member, and the loads while they are planned."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from berth.kinds import Entry
from berth.pool.member import MemberState
from berth.solve.model import Int32


class Lane(StrEnum):
    """Why an entry was changed."""

    RECOVERY = "recovery"  # added where a replica was missing, first placements included
    MOVE = "move"  # added beside a replica that is to leave: for balance, for zones or for a drain
    REMOVE = "remove"  # taken away
    PROMOTE = "promote"  # a replica became the primary
    DEMOTE = "demote"  # the primary became a replica
    SESSION = "session"  # granted again, as the Member's process was restarted
    SLOT = "slot"  # only the number of the slot changed


def lane(before: Entry | None, after: Entry | None, *, is_move: bool) -> Lane:
    """The lane of a change from `before` to `after`; `is_move` matters for an added entry only."""
    if after is None:
        return Lane.REMOVE
    if before is None:
        return Lane.MOVE if is_move else Lane.RECOVERY
    if after.primary and not before.primary:
        return Lane.PROMOTE
    if before.primary and not after.primary:
        return Lane.DEMOTE
    return Lane.SESSION if after.grant != before.grant else Lane.SLOT


class MemberEdit(NamedTuple):
    """A change within one Member's Assignment."""

    item: str
    entry: Entry | None
    after: tuple[int, ...]
    lane: Lane


class Write(NamedTuple):
    """An Assignment to create or to replace."""

    member: MemberState
    """A copy of what was known when this was decided: the write replaces exactly that generation."""
    edits: list[MemberEdit]

    @staticmethod
    def of(member: MemberState) -> "Write":
        """The Assignment as it is: to create, clean or rewrite it, or to add edits."""
        return Write(replace(member), [])

    @property
    def row(self) -> int:
        """Row of the Member."""
        return self.member.row

    def entries(self, edits: list[MemberEdit]) -> dict[str, Entry]:
        """The entries once these edits are made."""
        entries = dict(self.member.entries)
        for edit in edits:
            if edit.entry is None:
                entries.pop(edit.item, None)
            else:
                entries[edit.item] = edit.entry
        return entries


class Loads:
    """Entries and primaries of each Member as the round goes on; adds count at once, removals do not.

    Room that a removal frees is used in the next round: an Assignment at its limit never gets an
    entry, not even in the write that takes another away.
    """

    def __init__(self, members: Mapping[int, MemberState]) -> None:
        self._members = members
        self._room: dict[int, int] = {}
        self._primaries: dict[int, int] = {}

    def writable(self, row: int) -> bool:
        """Whether the Member can get entries now: it is live, and its Assignment exists."""
        member = self._members[row]
        return member.owned and member.live

    def room(self, row: int) -> int:
        """How many more entries the Member may get."""
        if row not in self._room:
            member = self._members[row]
            self._room[row] = member.limit - len(member.entries) if self.writable(row) else 0
        return self._room[row]

    def primaries(self, row: int) -> float:
        """Its primaries, in proportion to its limit."""
        if row not in self._primaries:
            self._primaries[row] = sum(e.slot == 0 for e in self._members[row].entries.values())
        return self._primaries[row] / max(1, self._members[row].limit)

    def fullness(self, row: int) -> float:
        """Its entries before the round, in proportion to its limit."""
        member = self._members[row]
        return len(member.entries) / max(1, member.limit)

    def take_many(self, entries: Int32, primaries: Int32) -> None:
        """Count new entries: the Member row of each, and of those that are primaries."""
        for row, count in zip(*(a.tolist() for a in np.unique(entries, return_counts=True)), strict=True):
            self._room[row] = self.room(row) - count
        for row, count in zip(*(a.tolist() for a in np.unique(primaries, return_counts=True)), strict=True):
            self.primaries(row)
            self._primaries[row] += count

    def take(self, row: int, entry: Entry) -> None:
        """Count an entry that is written, if it is new or has become the primary."""
        if entry.name not in self._members[row].entries:
            self._room[row] = self.room(row) - 1
        if entry.primary:
            self.primaries(row)
            self._primaries[row] += 1


@dataclass(slots=True)
class Round:
    """The edits of one round."""

    term: int  # term of the round's grants and promotions
    loads: Loads
    writes: dict[int, Write] = field(default_factory=dict)  # by Member row
    raises_term: bool = False  # anything is granted or promoted: the term must be raised first

    def edits(self, member: MemberState) -> list[MemberEdit]:
        """The edits of that Member's Assignment, to be added to."""
        if member.row not in self.writes:
            self.writes[member.row] = Write.of(member)
        return self.writes[member.row].edits
