"""Changes of entries: what each is for, and those of a round by the Member whose Assignment lists them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from berth.kinds import Entry
from berth.pool.member import MemberState


class Lane(StrEnum):
    """Why an entry was changed."""

    RECOVERY = "recovery"
    """Added where a replica was missing, first placements included."""
    MOVE = "move"
    """Added beside a replica that is to leave: for balance, for zones or for a drain."""
    REMOVE = "remove"
    """Taken away."""
    PROMOTE = "promote"
    """A replica became the primary."""
    DEMOTE = "demote"
    """The primary became a replica."""
    SESSION = "session"
    """Given anew, with a new grant, as the Member's process was started again."""
    SLOT = "slot"
    """Only the number of the slot changed."""


def lane(before: Entry | None, after: Entry | None, *, is_move: bool) -> Lane:
    """The lane of a change from `before` to `after`; `is_move` is looked at for an added entry only."""
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


@dataclass(slots=True)
class Round:
    """The edits of one round, by Member row."""

    term: int
    """Term of the round's grants and promotions."""
    writes: dict[int, list[MemberEdit]] = field(default_factory=dict)
    members: dict[int, MemberState] = field(default_factory=dict)
    """Each Member of `writes` as it was when this was planned: a copy, as a decision never changes."""
    raises_term: bool = False
    """Whether anything is granted or promoted, so that the term must be raised first."""

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
