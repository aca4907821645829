"""Who is alive, by what one observer saw and when."""

from __future__ import annotations

import pytest
from objects import assignment_object, changed, item_object, lease_object, member_object
from reading import let_time_pass, pass_time

from berth.kinds import LeaseObject
from berth.pool import Leases, Ledger, Liveness
from berth.pool.former import stopped
from berth.pool.liveness import safety_margin


def lease(renewed: str = "r1", holder: str = "s1", seconds: float = 10.0) -> LeaseObject:
    return lease_object("l", holder, renewed, seconds)


def test_a_lease_counts_from_when_its_renewal_was_seen() -> None:
    leases = Leases()
    leases.put(lease("r1"), 100.0)
    leases.put(lease("r2"), 108.0)
    assert pass_time(leases, 117.9) == []
    assert leases.liveness("l", 117.9) is Liveness.LIVE
    assert pass_time(leases, 118.0) == ["l"]
    assert leases.liveness("l", 118.0) is Liveness.EXPIRED


def test_seeing_the_same_renewal_again_renews_nothing() -> None:
    leases = Leases()
    leases.put(lease("r1"), 100.0)
    assert not leases.put(lease("r1"), 109.0)
    pass_time(leases, 110.0)
    assert leases.liveness("l", 110.0) is Liveness.EXPIRED


def test_a_clock_that_jumps_in_renew_time_makes_no_difference() -> None:
    leases = Leases()
    leases.put(lease("2030-01-01T00:00:00Z"), 100.0)
    leases.put(lease("1999-01-01T00:00:00Z"), 105.0)
    pass_time(leases, 114.0)
    assert leases.liveness("l", 114.0) is Liveness.LIVE


def test_only_a_full_margin_after_expiry_is_its_holder_surely_gone() -> None:
    leases = Leases()
    leases.put(lease(), 100.0)
    margin = safety_margin(10.0)
    pass_time(leases, 110.0)
    pass_time(leases, 110.0 + margin - 0.01)
    assert leases.liveness("l", 110.0 + margin - 0.01) is Liveness.EXPIRED
    pass_time(leases, 110.0 + margin)
    assert leases.liveness("l", 110.0 + margin) is Liveness.LONG_EXPIRED


@pytest.mark.parametrize(("seconds", "margin"), [(2.0, 1.0), (10.0, 1.0), (60.0, 6.0)])
def test_the_margin_is_a_tenth_and_a_second_at_least(seconds: float, margin: float) -> None:
    assert safety_margin(seconds) == margin


def test_a_lease_that_was_given_up_has_no_live_holder() -> None:
    leases = Leases()
    leases.put(lease(), 100.0)
    assert leases.put(lease(holder=""), 101.0)
    assert leases.liveness("l", 101.0) is Liveness.RELEASED


def test_a_deleted_lease_counts_until_it_would_have_expired() -> None:
    leases = Leases()
    leases.put(lease(), 100.0)
    leases.delete(lease(), 103.0)
    assert leases.liveness("l", 109.0) is Liveness.LIVE
    assert leases.advance(110.0) == ["l"]
    assert leases.liveness("l", 110.0) is Liveness.EXPIRED
    assert leases.advance(111.0) == ["l"]
    assert leases.liveness("l", 111.0) is Liveness.MISSING, "forgotten once its holder has surely stopped"


def test_a_deleted_lease_that_comes_back_counts_from_then() -> None:
    leases = Leases()
    leases.put(lease(), 100.0)
    leases.delete(lease(), 103.0)
    leases.put(lease(), 108.0)
    assert leases.liveness("l", 117.0) is Liveness.LIVE


def test_a_new_leader_does_not_revive_one_that_was_given_up_before() -> None:
    leases = Leases()
    leases.put(lease(), 100.0)
    leases.restart(101.0, {"l"})
    assert leases.liveness("l", 101.0) is Liveness.EXPIRED
    assert leases.put(lease("r2"), 102.0), "until it is renewed"
    assert leases.liveness("l", 102.0) is Liveness.LIVE


def test_a_new_leader_believes_a_renewal_that_it_has_seen_itself() -> None:
    leases = Leases()
    leases.put(lease("r1"), 100.0)
    leases.put(lease("r2"), 103.0)
    leases.restart(104.0, {"l"})
    assert leases.liveness("l", 104.0) is Liveness.LIVE


def test_no_moment_of_change_is_missed() -> None:
    leases = Leases()
    leases.put(lease(), 100.0)
    for expected in (110.0, 111.0):
        moment = leases.next_change()
        assert moment is not None
        assert moment <= expected
        assert pass_time(leases, expected) == ["l"]
    assert leases.next_change() is None


# ---- a Member and its Lease ---------------------------------------------------------------------


def fleet_with(reported: bool = True, **changes: str) -> tuple[Ledger, Leases]:
    leases = Leases()
    fleet = Ledger(leases)
    leases.put(lease_object("l", "s1", "r1", 10.0), 100.0)
    fleet.put_item(item_object("x", 1))
    fleet.put_member(member_object("m", 5, lease="l", reported=reported, uid="u"), 100.0)
    fleet.put_assignment(
        changed(assignment_object("m", ("x#0@3:4",), 4, "a", "u", 1, 1, "s1", ("x@3=Ready",)), **changes),
        100.0,
    )
    return fleet, leases


def ready(fleet: Ledger) -> bool:
    member = fleet.member_named("m")
    assert member is not None
    return member.ready("x")


def test_a_reported_entry_is_ready_when_its_grant_is_reported_by_the_holder() -> None:
    assert ready(fleet_with()[0])


@pytest.mark.parametrize("report", ["x@3=Preparing", "x@3=Failed", "x@3=Draining", "x@2=Ready", "y@3=Ready"])
def test_other_phases_grants_and_items_do_not_make_it_ready(report: str) -> None:
    assert not ready(fleet_with(reports=(report,))[0])


def test_reports_of_another_session_than_the_leases_holder_count_for_nothing() -> None:
    fleet, leases = fleet_with()
    assert leases.put(lease_object("l", "s2", "r2", 10.0), 101.0)
    fleet.changed.converge.clear()
    fleet.lease_changed("l", 101.0)
    assert not ready(fleet)
    assert fleet.items.of["x"] in fleet.changed.converge


def test_an_item_reported_twice_counts_for_nothing() -> None:
    assert not ready(fleet_with(reports=("x@3=Ready", "x@3=Preparing"))[0])


def test_an_assumed_entry_is_ready_when_written() -> None:
    assert ready(fleet_with(reported=False, reports=())[0])


def test_nothing_is_ready_on_a_dead_member() -> None:
    fleet, _ = fleet_with(reported=False)
    let_time_pass(fleet, 110.0)
    assert not ready(fleet)


def test_what_an_earlier_member_of_the_name_was_given_is_held_by_nobody() -> None:
    fleet, _ = fleet_with()
    fleet.put_member(member_object("m", 5, lease="l", reported=True, uid="u2"), 101.0)
    member = fleet.member_named("m")
    assert member is not None
    assert member.entries == {}
    assert member.orphaned
    assert member.row in fleet.changed.assignments


def test_a_deleted_item_is_looked_at_once_more_so_that_nobody_waits_for_it() -> None:
    fleet = Ledger(Leases())
    fleet.put_item(item_object("x", 1))
    row = fleet.items.of["x"]
    fleet.changed.converge.clear()
    fleet.delete_item("x")
    assert row in fleet.changed.converge


def test_an_expired_member_has_not_surely_stopped() -> None:
    fleet, _ = fleet_with()
    member = fleet.member_named("m")
    assert member is not None
    for at, expected in ((110.0, False), (111.0, True)):
        let_time_pass(fleet, at)
        assert stopped(member) is expected


# ---- who has not released -----------------------------------------------------------------------


def taken(**changes: str) -> tuple[Ledger, Leases]:
    """Slot 0 of x was taken from m, which had it ready or at work."""
    fleet, leases = fleet_with(**changes)
    member = fleet.member_named("m")
    assert member is not None
    assert member.assignment is not None
    fleet.put_assignment(changed(member.assignment, items=(), generation=2), 101.0)
    return fleet, leases


def test_one_that_still_lists_the_item_has_not_released() -> None:
    fleet, _ = taken()
    assert fleet.former.unreleased("x", 101.0) == ["m"]


def test_one_that_lists_it_no_longer_has_released() -> None:
    fleet, _ = taken()
    member = fleet.member_named("m")
    assert member is not None
    assert member.assignment is not None
    fleet.put_assignment(changed(member.assignment, reports=()), 102.0)
    assert fleet.former.unreleased("x", 102.0) == []


def test_one_that_died_has_released_once_it_has_surely_stopped() -> None:
    fleet, _ = taken()
    for at, expected in ((110.5, ["m"]), (111.0, [])):
        fleet.changed.converge.clear()
        let_time_pass(fleet, at)
        assert fleet.items.of["x"] in fleet.changed.converge
        assert fleet.former.unreleased("x", at) == expected


def test_a_new_leader_knows_from_the_status_who_is_at_work() -> None:
    fleet, _ = fleet_with(items=(), reports=("x@3=Active",))
    assert fleet.former.unreleased("x", 101.0) == ["m"]


def test_one_that_keeps_a_replica_has_released_when_it_is_no_longer_active() -> None:
    for phase, expected in (("Active", ["m"]), ("Draining", ["m"]), ("Ready", [])):
        fleet, _ = fleet_with(items=("x#1@3",), reports=(f"x@3={phase}",))
        assert fleet.former.unreleased("x", 101.0) == expected, phase


def test_an_assignment_that_was_replaced_does_not_release_what_its_process_works_on() -> None:
    fleet, _ = fleet_with()
    fleet.put_assignment(assignment_object("m", (), 5, "a2", "u", 1, 9), 101.0)
    assert fleet.former.unreleased("x", 101.0) == ["m"]
    fleet.put_assignment(assignment_object("m", (), 5, "a2", "u", 1, 10, "s1"), 102.0)
    assert fleet.former.unreleased("x", 102.0) == []


def test_a_process_at_work_by_what_an_earlier_member_was_given_has_not_released() -> None:
    leases = Leases()
    fleet = Ledger(leases)
    fleet.put_item(item_object("x", 1))
    leases.put(lease_object("l", "s1", "r1", 10.0), 100.0)
    fleet.put_assignment(
        assignment_object("m", ("x#0@3:4",), 4, "a", "u", 1, 1, "s1", ("x@3=Active",)), 100.0
    )
    fleet.put_member(member_object("m", 5, lease="l", reported=True, uid="u2"), 100.0)
    fleet.delete_assignment("m", 101.0)
    assert fleet.former.unreleased("x", 101.0) == ["m"]


def test_a_report_of_an_older_grant_counts_for_nothing() -> None:
    assert not ready(fleet_with(reports=("x@2=Ready",))[0])


def test_a_member_whose_lease_was_never_seen_has_never_lived() -> None:
    fleet = Ledger(Leases())
    fleet.put_member(member_object("m", 5, lease="l", uid="u"), 100.0)
    member = fleet.member_named("m")
    assert member is not None
    assert (member.live, member.lived) == (False, False)
    fleet.leases.put(lease_object("l", "s", "r", 10.0), 101.0)
    fleet.lease_changed("l", 101.0)
    assert (member.live, member.lived) == (True, True)
    let_time_pass(fleet, 111.0)
    assert (member.live, member.lived) == (False, True)


def test_an_item_that_was_listed_twice_is_read_anew_when_only_the_lesser_entry_is_left() -> None:
    fleet = Ledger(Leases())
    fleet.put_member(member_object("m", 5, uid="u"), 100.0)
    both = ("i#0@2:2", "i#3@2")
    fleet.put_assignment(assignment_object("m", both, 2, uid="a", owner="u", generation=1), 100.0)
    assert fleet.members[0].entries["i"].slot == 0
    fleet.put_assignment(assignment_object("m", both[1:], 2, uid="a", owner="u", generation=2), 101.0)
    assert fleet.members[0].entries["i"].slot == 3
