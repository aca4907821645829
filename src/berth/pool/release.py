"""Who may still be working as an Item's primary although its slot 0 is no longer there.

Under `Exclusive` nobody is promoted while this names anyone.
"""

from __future__ import annotations

from typing import NamedTuple

from berth.kinds import Phase
from berth.pool.leases import Leases
from berth.pool.liveness import Liveness
from berth.pool.member import MemberState

_GONE = (Liveness.SURE, Liveness.FREED)
"""What ran there has stopped."""


def stopped(member: MemberState) -> bool:
    """Whether a Member that is not live has surely stopped working, not only let its Lease run out."""
    return not member.live and member.liveness is not Liveness.EXPIRED


class LastPrimary(NamedTuple):
    """Who held an Item's slot 0 before it was taken from there."""

    member: str
    lease: str | None
    session: str


def may_be_active(member: MemberState, item: str) -> bool:
    """Whether this Member says, by its status alone, that it works or worked as primary without slot 0."""
    entry = member.entries.get(item)
    report = member.reports.get(item)
    if report is None or (entry is not None and entry.primary):
        return False
    return report.phase in (Phase.ACTIVE, Phase.DRAINING)


def status_holds_back(member: MemberState, item: str) -> bool:
    """Whether a Member that may have been the primary has not released yet."""
    if member.seen is None or member.assignment is None:
        return False
    if member.seen.lease is not None:
        if member.liveness in _GONE or not member.session_holds:
            return False
        if member.liveness is Liveness.EXPIRED:
            return True
    if not member.seen.reported:
        return False
    if item in member.entries:
        return may_be_active(member, item)
    return item in member.reports


def holds_back(last: LastPrimary, member: MemberState | None, item: str, leases: Leases, now: float) -> bool:
    """Whether the last primary has not released yet; `member` is who has that name now, if anybody."""
    if (
        member is not None
        and member.seen is not None
        and member.assignment is not None
        and member.assignment.session == last.session
        and member.seen.lease == last.lease
    ):
        return status_holds_back(member, item)
    if not last.session:
        return False
    if (
        member is not None
        and member.seen is not None
        and member.seen.reported
        and member.assignment is not None
        and member.assignment.session == last.session
        and item not in member.reports
    ):
        return False  # it says itself that it has let go, whichever Lease it names
    # Its Assignment is gone or another session's: only its Lease can still speak for that process.
    if last.lease is None:
        # Without one a Member lives as long as its object. Whatever runs there has yet to say a word.
        unheard = member is not None and (member.assignment is None or not member.assignment.session)
        return unheard and member is not None and member.seen is not None and member.seen.reported
    if leases.holder(last.lease) != last.session:
        return False
    return leases.liveness(last.lease, now) in (Liveness.LIVE, Liveness.EXPIRED)
