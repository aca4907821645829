"""Who may still be working as an Item's primary although its slot 0 is no longer there.

Under `Exclusive` nobody is promoted while this names anyone.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from berth.api import Phase
from berth.fleet.leases import Leases
from berth.fleet.liveness import Liveness
from berth.fleet.member import MemberState

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


class LastPrimaries:
    """Who held slot 0 of which Item before, as long as that may matter; found by Member and by Lease too."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, LastPrimary]] = {}
        self._items: dict[tuple[str, str], set[str]] = {}

    def __contains__(self, item: str) -> bool:
        return item in self._of

    def of(self, item: str) -> list[LastPrimary]:
        """Those of an Item."""
        return list(self._of.get(item, {}).values())

    def of_member(self, member: str) -> set[str]:
        """Items of which this Member was the last primary."""
        return self._items.get(("member", member), set())

    def of_lease(self, lease: str) -> set[str]:
        """Items whose last primary had this Lease."""
        return self._items.get(("lease", lease), set())

    def put(self, item: str, last: LastPrimary) -> None:
        """Note one; it replaces an earlier one of the same Member."""
        self.drop(item, last.member)
        self._of.setdefault(item, {})[last.member] = last
        for key in _keys(last):
            self._items.setdefault(key, set()).add(item)

    def drop(self, item: str, member: str) -> None:
        """Forget that this Member was the last primary of the Item."""
        lasts = self._of.get(item, {})
        last = lasts.pop(member, None)
        if last is None:
            return
        if not lasts:
            del self._of[item]
        for key in _keys(last):
            items = self._items[key]
            items.discard(item)
            if not items:
                del self._items[key]

    def sweep(self, released: Callable[[str, LastPrimary], bool]) -> None:
        """Forget those who have released, among an eighth of the Items (at least 1,000), in turns.

        Nobody asks about an Item that is at rest, so without this each primary that ever moved would
        be remembered for ever.
        """
        for item in list(islice(self._of, max(1000, len(self._of) // 8))):
            for last in self.of(item):
                if released(item, last):
                    self.drop(item, last.member)
            if item in self._of:
                self._of[item] = self._of.pop(item)  # to the end

    def forget(self, item: str) -> None:
        """Forget all of an Item."""
        for member in list(self._of.get(item, {})):
            self.drop(item, member)


def _keys(last: LastPrimary) -> list[tuple[str, str]]:
    return [("member", last.member), *([("lease", last.lease)] if last.lease else [])]


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
