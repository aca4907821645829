"""Who may still work as primary of an Item without holding its slot 0.

Under `Exclusive` no Member is promoted while this names another.
"""

from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from berth.kinds import Phase
from berth.pool.liveness import Leases, Liveness
from berth.pool.member import MemberState

_STOPPED = (Liveness.LONG_EXPIRED, Liveness.RELEASED)  # the holder is guaranteed to have stopped


def stopped(member: MemberState) -> bool:
    """Whether a Member that is not live has stopped working, and has not only let its Lease expire."""
    return not member.live and member.liveness is not Liveness.EXPIRED


class LastPrimary(NamedTuple):
    """Who held an Item's slot 0 before it was taken from there."""

    member: str
    lease: str  # name of its Lease; empty if it had none
    session: str

    @property
    def keys(self) -> set[tuple[str, str]]:
        """What the Items are found by: the Member and the Lease."""
        return {("member", self.member), *([("lease", self.lease)] if self.lease else ())}


def may_be_active(member: MemberState, item: str) -> bool:
    """Whether the status of this Member reports work as primary although it does not hold slot 0."""
    entry, report = member.entries.get(item), member.reports.get(item)
    holds_slot_0 = entry is not None and entry.primary
    return report is not None and not holds_slot_0 and report.phase in (Phase.ACTIVE, Phase.DRAINING)


def status_holds_back(member: MemberState, item: str) -> bool:
    """Whether a Member that may have been the primary has not released yet."""
    if member.info is None or member.assignment is None:
        return False
    if member.lease:
        if member.liveness in _STOPPED or not member.session_holds:
            return False
        if member.liveness is Liveness.EXPIRED:
            return True
    if not member.reported:
        return False
    if item in member.entries:
        return may_be_active(member, item)
    return item in member.reports


def holds_back(last: LastPrimary, member: MemberState | None, item: str, leases: Leases, now: float) -> bool:
    """Whether the last primary has not released yet; `member` is who has that name now, if anybody."""
    there = member is not None and member.info is not None and member.assignment is not None
    if member is not None and there and member.session == last.session:
        if member.lease == last.lease:
            return status_holds_back(member, item)
        if member.reported and item not in member.reports:
            return False  # it has reported the release itself, whichever Lease it names
    if not last.session:
        return False
    # Its Assignment is gone or another session's: only its Lease can still prove that this process runs.
    if not last.lease:
        # Without one a Member lives as long as its object. Its new process has not reported yet.
        return member is not None and not member.session and member.reported
    if leases.holder(last.lease) != last.session:
        return False
    return leases.liveness(last.lease, now) in (Liveness.LIVE, Liveness.EXPIRED)


class FormerPrimaries:
    """Former primaries of each Item, as long as they may matter; found by Member and by Lease too.

    Two sources: slots 0 that were taken away, and Members whose status reports work as primary.
    """

    def __init__(self, leases: Leases, member_named: Callable[[str], MemberState | None]) -> None:
        self._leases = leases
        self._member_named = member_named
        self._of: dict[str, dict[str, LastPrimary]] = {}  # by Item and by Member
        self._items: dict[tuple[str, str], set[str]] = {}  # Items by the keys of their last primaries
        self._releasing: dict[str, set[str]] = {}  # Members whose status reports work as primary, by Item

    def __contains__(self, item: str) -> bool:
        return item in self._of or item in self._releasing

    @property
    def reported(self) -> bool:
        """Whether the status of any Member reports such work."""
        return bool(self._releasing)

    def of_member(self, member: str) -> set[str]:
        """Items whose slot 0 was taken from this Member."""
        return self._items.get(("member", member), set())

    def of_lease(self, lease: str) -> set[str]:
        """Items whose slot 0 was taken from a Member with this Lease."""
        return self._items.get(("lease", lease), set())

    def unreleased(self, item: str, now: float) -> list[str]:
        """Names of Members that may still work as primary of the Item without holding its slot 0."""
        reporting = map(self._member_named, self._releasing.get(item, ()))
        names = {member.name for member in reporting if member and status_holds_back(member, item)}
        lasts = self._of.get(item, {}).values()
        return sorted(names.union(last.member for last in lasts if self._holds_back(item, last, now)))

    def sweep(self, now: float) -> None:
        """Forget those who have released, among an eighth of the Items (at least 1,000), in turns.

        Without this each primary that ever moved would be remembered forever.
        """
        for item in list(islice(self._of, max(1000, len(self._of) // 8))):
            for last in list(self._of[item].values()):
                if not self._holds_back(item, last, now):
                    self._drop(item, last.member)
            if item in self._of:
                self._of[item] = self._of.pop(item)  # to the end

    def put(self, item: str, member: str, lease: str, session: str) -> None:
        """The Item's slot 0 was this Member's, with that Lease; replaces what was noted of the Member."""
        self._drop(item, member)
        last = LastPrimary(member, lease, session)
        self._of.setdefault(item, {})[member] = last
        for key in last.keys:
            self._items.setdefault(key, set()).add(item)

    def note_taken(self, member: MemberState, item: str) -> None:
        """The Item's slot 0 is taken from this Member."""
        last = self._of.get(item, {}).get(member.name)
        known = last.lease if last is not None and last.session == member.session else ""
        self.put(item, member.name, known or member.lease, member.session)

    def note_report(self, member: MemberState, item: str) -> None:
        """What this Member holds of the Item, or reports of it, has changed."""
        if may_be_active(member, item):
            self._releasing.setdefault(item, set()).add(member.name)
        elif (names := self._releasing.get(item)) is not None:
            names.discard(member.name)
            if not names:
                del self._releasing[item]

    def note_release(self, member: MemberState, item: str) -> None:
        """The session that reports for this Member no longer reports the Item: it has released it."""
        last = self._of.get(item, {}).get(member.name)
        if last is not None and last.session == member.session and item not in member.entries:
            self._drop(item, member.name)

    def forget(self, item: str) -> None:
        """Forget whose slot 0 it was."""
        for member in list(self._of.get(item, {})):
            self._drop(item, member)

    def _holds_back(self, item: str, last: LastPrimary, now: float) -> bool:
        return holds_back(last, self._member_named(last.member), item, self._leases, now)

    def _drop(self, item: str, member: str) -> None:
        lasts = self._of.get(item, {})
        last = lasts.pop(member, None)
        if last is None:
            return
        if not lasts:
            del self._of[item]
        # Another of them may have the same Lease.
        for key in last.keys.difference(*(other.keys for other in lasts.values())):
            self._items[key].discard(item)
            if not self._items[key]:
                del self._items[key]
