"""For which session the entries of a Member are, and for which one they should be."""

from __future__ import annotations

from typing import Any

from objects import assignment_object, changed, item_object, lease_object, member_object

from berth.kinds import Entry, parse_entry
from berth.pool import Leases, Ledger, MemberState


class Told:
    """One Member with a Lease and the entry x, and what is known of it."""

    def __init__(self, holder: str = "s1", written_for: str = "s1", **assignment: Any) -> None:
        self.leases = Leases()
        self.fleet = Ledger(self.leases)
        self.version = 0
        self.fleet.put_item(item_object("x", 1))
        self.fleet.put_member(member_object("m", 4, lease="l", uid="u"), 0.0)
        self.assign(written_for, **assignment)
        self.lease(holder)

    def lease(self, holder: str) -> None:
        self.version += 1
        if self.leases.put(lease_object("l", holder, str(self.version), 10.0), 0.0):
            self.fleet.lease_changed("l", 0.0)

    def assign(self, written_for: str, **changes: Any) -> None:
        seen = assignment_object("m", ("x#0@3:3",), 3, "a", "u", written_for=written_for)
        self.fleet.put_assignment(changed(seen, **changes), 0.0)

    @property
    def member(self) -> MemberState:
        found = self.fleet.member_named("m")
        assert found is not None
        return found


OLD, NEW = parse_entry("x#0@3:3"), Entry("x", 0, 9, 9)


def test_entries_of_the_holder_are_right() -> None:
    told = Told()
    assert told.member.successor is None
    assert told.member.ready("x")
    assert told.member.session_for({"x": OLD}) == "s1"


def test_a_new_holder_is_the_successor_and_gets_only_what_is_given_anew() -> None:
    told = Told()
    told.fleet.changed.converge.clear()
    told.lease("s2")
    member = told.member
    assert member.successor == "s2"
    assert member.restarted
    assert not member.ready("x")
    assert told.fleet.items.of["x"] in told.fleet.changed.converge
    assert told.fleet.sessions.restarted == {member.row}
    assert member.session_for({"x": OLD}) == "s1"
    assert member.session_for({"x": NEW}) == "s2"
    assert member.session_for({}) == "s2"
    told.assign("s2", items=("x#0@9:9",))
    assert told.member.successor is None
    assert not told.fleet.sessions.restarted


def test_a_lease_that_was_released_or_ran_out_leaves_the_session_as_it_is() -> None:
    told = Told()
    told.lease("")
    assert told.member.successor is None
    assert told.member.session_for({}) == "s1"
    told.lease("s3")
    assert told.member.successor == "s3"


def test_a_holder_that_was_not_seen_to_come_later_is_not_believed_until_it_is_read() -> None:
    told = Told(holder="s1", written_for="s2")
    assert told.member.successor is None
    assert told.fleet.sessions.uncertain == {told.member.row}
    assert told.member.ready("x"), "what the watch of Leases does not say costs nothing"
    told.leases.confirm("l", "s2")
    told.fleet.lease_changed("l", 0.0)
    assert told.member.successor == "s1"
    assert not told.fleet.sessions.uncertain


def test_a_read_says_nothing_of_what_is_written_after_it() -> None:
    told = Told(holder="s1", written_for="s0")
    told.leases.confirm("l", "s0")
    told.fleet.lease_changed("l", 0.0)
    told.assign("s2")
    assert told.member.successor is None
    assert told.fleet.sessions.uncertain


def test_the_watch_that_catches_up_needs_no_read() -> None:
    told = Told(holder="s1", written_for="s2")
    told.lease("s2")
    assert not told.fleet.sessions.uncertain
    assert told.member.successor is None


def test_only_so_many_former_holders_are_remembered() -> None:
    told = Told()
    for number in range(2, 30):
        told.lease(f"s{number}")
    assert told.member.successor is None
    assert told.fleet.sessions.uncertain


def test_the_holder_of_a_lease_that_was_deleted_unseen_is_nobodys_successor() -> None:
    leases = Leases()
    fleet = Ledger(leases)
    fleet.put_member(member_object("m", 4, lease="l", uid="u"), 0.0)
    fleet.put_assignment(assignment_object("m", ("x#0@3:3",), 3, "a", "u", written_for="s1"), 0.0)
    for name in leases.restart(0.0, missing={"l"}):
        fleet.lease_changed(name, 0.0)
    member = fleet.member_named("m")
    assert member is not None
    assert member.live
    assert not fleet.sessions.uncertain
    assert not fleet.sessions.restarted


def test_an_older_leaders_entries_are_adopted_by_the_session_that_reports_on_them() -> None:
    told = Told(written_for="", session="s1")
    member = told.member
    assert member.adopted
    assert member.unstamped
    assert not member.restarted
    assert told.fleet.changed.assignments == {member.row}
    assert member.session_for({"x": OLD}) == "s1"


def test_an_older_leaders_entries_are_given_anew_where_another_session_reported_on_them() -> None:
    told = Told(holder="s2", written_for="", session="s1")
    assert told.fleet.sessions.uncertain, "as long as nobody has read the Lease"
    told.leases.confirm("l", "")
    told.fleet.lease_changed("l", 0.0)
    assert told.member.restarted
    assert told.member.session_for({"x": OLD}) == ""


def test_an_empty_assignment_is_only_told_its_session() -> None:
    told = Told(written_for="", items=())
    assert told.member.unstamped
    assert told.member.session_for({}) == "s1"
    assert told.member.session_for({"x": NEW}) == "s1"


def test_a_member_without_a_lease_has_entries_for_no_session() -> None:
    told = Told()
    told.fleet.put_member(member_object("m", 4, lease=None, uid="u"), 0.0)
    assert told.member.successor == ""
    assert told.member.restarted
    assert told.member.session_for({"x": NEW}) == ""
    told.assign("", items=("x#0@9:9",))
    assert told.member.successor is None


def test_a_holder_that_is_longer_than_the_field_is_cut() -> None:
    told = Told(written_for="", items=(), holder="h" * 300)
    assert told.member.session_for({}) == "h" * 253
    told.assign("h" * 253)
    assert told.member.successor is None
