"""What a round changes: entries, by the Member whose Assignment lists them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from berth.kinds import Entry
from berth.pool.lanes import Lane
from berth.pool.member import MemberState


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
    """Each Member of `writes` as it was when this was planned.

    The writer goes by these: while it waits for the API server the fleet moves on, and a row may
    even be given to another Member.
    """
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
