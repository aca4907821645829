"""Which session a Member's entries are for, and which one they should be for. Sessions end, Members stay."""

from __future__ import annotations

from berth.kinds import MAX_SESSION
from berth.pool.leases import UNKNOWN, Leases
from berth.pool.member import MemberState


class Sessions:
    """The sessions of one Pool's Members, judged by their Leases."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self.restarted: set[int] = set()
        """Members whose entries are for another session than they should be, by row; live or not."""
        self.uncertain: set[int] = set()
        """Members whose Lease was observed with another holder, which may be an earlier one: to be read."""

    def check(self, member: MemberState) -> bool:
        """Derive what is known of a Member's session again; whether that changed."""
        lease = member.info.lease if member.info else None
        session = member.assignment.session if member.assignment else ""
        before = (member.session_holds, member.successor)
        member.session_holds = lease is None or self._leases.holder(lease) == session
        member.successor, certain = self._successor(member)
        if member.successor is not None and not certain:
            member.successor = None
            self.uncertain.add(member.row)
        else:
            self.uncertain.discard(member.row)
        if member.successor is not None and member.owned:
            self.restarted.add(member.row)
        else:
            self.restarted.discard(member.row)
        return before != (member.session_holds, member.successor)

    def forget(self, row: int) -> None:
        """The row is no Member's any more."""
        self.restarted.discard(row)
        self.uncertain.discard(row)

    def _successor(self, member: MemberState) -> tuple[str | None, bool]:
        """The session that the entries are to be for if not for the present one, and whether that is sure."""
        info, there = member.info, member.assignment
        if info is None:
            return None, True  # there is nothing to write for
        if info.lease is None:
            return ("" if member.written_for else None), True
        holder = self._leases.holder(info.lease)[:MAX_SESSION]
        if holder in ("", UNKNOWN, member.written_for):
            return None, True
        if not member.written_for and (there is None or not there.items or there.session == holder):
            return holder, True
        return holder, self._leases.follows(info.lease, member.written_for)
