"""A Lease that ran out by what the events have shown is read before its holder counts as dead."""

from __future__ import annotations

import pytest
from objects import assignment_object, item_object, lease_object, member_object
from reading import let_time_pass, pass_time

from berth.kinds import LeaseObject
from berth.pool import Leases, Ledger, Liveness


def lease(renewed: str = "r1", holder: str = "s1", version: int = 1) -> LeaseObject:
    return lease_object("l", holder, renewed, 10.0, version=version)


def watched(since: float = 100.0) -> Leases:
    leases = Leases()
    leases.put(lease(), since)
    return leases


def ran_out() -> Leases:
    """A Lease of which no event has come for its duration."""
    leases = watched()
    assert leases.advance(110.0) == []
    return leases


def test_without_a_read_nobody_dies() -> None:
    leases = watched()
    for now in (110.0, 111.0, 1000.0):
        assert leases.advance(now) == []
        assert leases.liveness("l", now) is Liveness.LIVE
        assert leases.unread() == {"l"}
    assert leases.next_change() is None, "time alone changes nothing"


def test_no_read_is_asked_for_before_the_lease_runs_out() -> None:
    leases = watched()
    assert leases.next_change() == 110.0
    leases.advance(109.9)
    assert not leases.unread()
    leases.put(lease("r2", version=2), 109.9)
    leases.advance(119.8)
    assert not leases.unread()


def test_a_read_that_shows_no_renewal_confirms_the_death() -> None:
    leases = ran_out()
    assert leases.put_read("l", lease(), 110.0, 110.2) == (True, False)
    assert leases.liveness("l", 110.2) is Liveness.EXPIRED
    assert not leases.unread()


def test_a_read_that_shows_a_renewal_is_a_renewal_that_the_watch_has_missed() -> None:
    leases = ran_out()
    assert leases.put_read("l", lease("r9", version=9), 110.0, 110.2) == (True, True)
    assert leases.advance(120.1) == []
    assert not leases.unread()
    assert leases.advance(120.2) == []
    assert leases.unread() == {"l"}


def test_a_read_that_was_begun_before_the_lease_ran_out_confirms_nothing() -> None:
    leases = watched()
    assert leases.put_read("l", lease(), 109.9, 110.1) == (False, False)
    leases.advance(110.1)
    assert leases.liveness("l", 110.1) is Liveness.LIVE
    assert leases.unread() == {"l"}


def test_a_renewal_that_comes_while_it_is_read_makes_the_answer_out_of_date() -> None:
    leases = ran_out()
    assert leases.put(lease("r2", version=2), 110.1), "somebody may wait for its end to be confirmed"
    assert leases.put_read("l", lease(), 110.0, 110.2) == (False, False)
    assert leases.liveness("l", 110.2) is Liveness.LIVE


def test_events_older_than_what_was_read_count_for_nothing() -> None:
    leases = ran_out()
    leases.put_read("l", lease("r9", version=9), 110.0, 110.0)
    assert not leases.put(lease("r5", version=5), 112.0)
    leases.delete(lease(version=8), 112.0)
    leases.advance(120.0)
    assert leases.put_read("l", lease("r9", version=9), 120.0, 120.0).changed
    assert not leases.put(lease("r8", "s0", version=8), 121.0), "an old one revives nobody"
    assert leases.liveness("l", 121.0) is Liveness.EXPIRED
    assert leases.put(lease("r10", version=10), 121.0)
    assert leases.liveness("l", 121.0) is Liveness.LIVE


def test_a_released_lease_needs_no_read() -> None:
    leases = watched()
    assert leases.put(lease(holder="", version=2), 103.0)
    assert leases.advance(111.0) == []
    assert leases.liveness("l", 111.0) is Liveness.RELEASED
    assert not leases.unread()


def test_a_deleted_lease_needs_no_read() -> None:
    leases = watched()
    leases.delete(lease(version=1), 103.0)
    assert leases.advance(110.0) == ["l"]
    assert not leases.unread()


def test_a_lease_that_is_not_there_when_it_is_read_was_deleted() -> None:
    leases = ran_out()
    assert leases.put_read("l", None, 110.0, 110.0) == (True, True)
    assert leases.liveness("l", 110.0) is Liveness.EXPIRED


def test_one_that_is_released_when_it_is_read_was_given_up() -> None:
    leases = ran_out()
    assert leases.put_read("l", lease(holder="", version=2), 110.0, 110.0) == (True, True)
    assert leases.liveness("l", 110.0) is Liveness.RELEASED


def test_that_its_holder_has_surely_stopped_takes_a_read_of_its_own() -> None:
    """It may have renewed at the last moment, after the first read."""
    leases = ran_out()
    leases.put_read("l", lease(), 110.0, 110.0)
    assert leases.advance(111.0) == []
    assert leases.liveness("l", 111.0) is Liveness.EXPIRED
    assert leases.unread() == {"l"}
    assert leases.put_read("l", lease("r2", version=2), 111.0, 111.0) == (True, True)
    assert leases.liveness("l", 111.0) is Liveness.LIVE


def test_a_late_read_confirms_both_at_once() -> None:
    leases = watched()
    leases.advance(110.0)
    leases.advance(111.0)
    leases.put_read("l", lease(), 130.0, 130.0)
    assert leases.liveness("l", 130.0) is Liveness.LONG_EXPIRED
    assert not leases.unread()


def test_a_lease_that_was_never_seen_is_not_made_up_by_a_read() -> None:
    leases = Leases()
    assert leases.put_read("l", lease(), 100.0, 100.0) == (False, False)
    assert leases.liveness("l", 100.0) is Liveness.MISSING


# ---- a new leader -------------------------------------------------------------------------------


def test_a_new_leader_reads_what_has_run_out_before_it_believes_that() -> None:
    leases = watched()
    pass_time(leases, 111.0)
    assert leases.restart(120.0) == ["l"], "what it read in an earlier lead may be out of date"
    assert leases.unread() == {"l"}
    assert leases.liveness("l", 120.0) is Liveness.LIVE
    assert pass_time(leases, 120.0) == ["l"]
    assert leases.liveness("l", 120.0) is Liveness.LONG_EXPIRED


def test_a_new_leader_need_not_count_afresh() -> None:
    leases = watched()
    leases.restart(108.0)
    assert pass_time(leases, 109.9) == []
    assert pass_time(leases, 110.0) == ["l"]


def test_what_another_leader_found_dead_is_doubted_until_this_one_has_read_it() -> None:
    leases = watched()
    leases.restart(101.0, {"l"})
    assert leases.liveness("l", 101.0) is Liveness.EXPIRED
    assert leases.silence("l", 101.0) == (10.0, 1.0, True)
    leases.advance(110.0)
    assert leases.silence("l", 110.0) == (10.0, 10.0, True)
    assert leases.put_read("l", lease(), 110.0, 110.0).changed, "whoever waits for this must look again"
    assert leases.silence("l", 110.0) == (10.0, 10.0, False)


def test_what_another_leader_found_dead_and_is_not_lives_when_it_is_read() -> None:
    leases = watched()
    leases.advance(110.0)
    leases.restart(120.0, {"l"})
    assert leases.put_read("l", lease("r2", version=2), 120.0, 120.0) == (True, True)
    assert leases.liveness("l", 120.0) is Liveness.LIVE


# ---- Members ------------------------------------------------------------------------------------


@pytest.fixture
def fleet() -> Ledger:
    """A Member with a Lease of 10 s that holds x."""
    fleet = Ledger(Leases())
    fleet.leases.put(lease(), 100.0)
    fleet.put_item(item_object("x", 1))
    fleet.put_member(member_object("m", 5, lease="l", uid="u"), 100.0)
    fleet.put_assignment(assignment_object("m", ("x#0@3:4",), 4, "a", "u", 1, 1, "s1"), 100.0)
    return fleet


def test_a_member_lives_until_its_death_is_confirmed_and_died_when_its_lease_ran_out(
    fleet: Ledger,
) -> None:
    member = fleet.members[0]
    fleet.leases.advance(110.0)
    fleet.lease_changed("l", 118.0)
    assert member.live
    let_time_pass(fleet, 118.0)
    assert not member.live
    assert member.dead_since == 110.0


def test_a_member_that_appears_with_a_lease_that_ran_out_long_ago_was_never_alive(fleet: Ledger) -> None:
    fleet.leases.put(lease_object("old", "s0", "r0", 10.0), 100.0)
    fleet.leases.advance(110.0)
    fleet.put_member(member_object("n", 5, lease="old", uid="v"), 110.0)
    member = fleet.members[1]
    assert not member.live
    answer = fleet.leases.put_read("old", lease_object("old", "s1", "r1", 10.0, version=5), 111.0, 111.0)
    assert answer.changed
    fleet.lease_changed("old", 111.0)
    assert member.live, "it was alive after all"


def test_a_member_that_holds_something_is_not_dead_before_its_lease_was_read(fleet: Ledger) -> None:
    fleet.leases.put(lease_object("late", "s2", "r0", 10.0), 100.0)
    fleet.leases.advance(110.0)
    fleet.put_member(member_object("n", 5, lease="late", uid="v"), 110.0)  # listed after its Lease ran out
    fleet.put_assignment(assignment_object("n", ("y#0@3:4",), 4, "b", "v", 1, 1, "s2"), 110.0)
    assert fleet.members[1].live
    fleet.lease_changed("late", 111.0)
    assert fleet.members[1].live
    let_time_pass(fleet, 121.0)  # and its Lease is read
    assert not fleet.members[1].live


def test_a_renewal_brings_a_member_to_life_whose_lease_was_to_be_read(fleet: Ledger) -> None:
    fleet.leases.put(lease_object("old", "s0", "r0", 10.0), 100.0)
    fleet.leases.advance(110.0)
    fleet.put_member(member_object("n", 5, lease="old", uid="v"), 110.0)
    assert fleet.leases.put(lease_object("old", "s0", "r1", 10.0), 111.0)
    fleet.lease_changed("old", 111.0)
    assert fleet.members[1].live
