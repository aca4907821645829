"""What a change of one entry is for: the lanes by which changes are counted."""

from __future__ import annotations

from enum import StrEnum

from berth.kinds import Entry


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
