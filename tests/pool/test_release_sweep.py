"""Who was an Item's primary is remembered while it may matter, and no longer."""

from __future__ import annotations

from objects import assignment_object, changed, item_object, lease_object, member_object, pool_spec
from reading import let_time_pass

from berth.kinds import AssignmentObject, Handoff
from berth.pool import Leases, Ledger


def entries(count: int, slot: int, term: int) -> tuple[str, ...]:
    suffix = f"#0@{term}:{term}" if slot == 0 else f"#{slot}@{term}"
    return tuple(f"i{n:03d}{suffix}" for n in range(count))


def assignment(member: str, items: tuple[str, ...], generation: int) -> AssignmentObject:
    return assignment_object(
        member, items, 1, f"a-{member}", f"u-{member}", generation, generation, session=f"s-{member}"
    )


def test_primaries_that_have_moved_on_many_times_leave_nothing_behind() -> None:
    leases = Leases()
    fleet = Ledger(leases)
    for n in range(100):
        fleet.put_item(item_object(f"i{n:03d}", 1))
    # Members come and go as pods do, each with a name and a Lease of its own.
    for turn in range(30):
        name, now = f"pod-{turn}", 100.0 * turn
        leases.put(lease_object(name, f"s-{name}", "then"), now)
        fleet.put_member(member_object(name, 500, lease=name, uid=f"u-{name}"), now)
        fleet.put_assignment(assignment(name, entries(100, 0, turn + 1), 1), now)
        if turn:
            old = f"pod-{turn - 1}"
            fleet.put_assignment(assignment(old, (), 2), now)
            fleet.delete_member(old, now)
            fleet.delete_assignment(old, now)
        let_time_pass(fleet, now + 50.0)
        fleet.former.sweep(now + 50.0)
    assert not any(f"i{n:03d}" in fleet.former for n in range(100))


def test_who_may_still_work_is_not_forgotten() -> None:
    leases = Leases()
    fleet = Ledger(leases, pool_spec(handoff=Handoff.EXCLUSIVE))
    leases.put(lease_object("old", "s-old", "then", duration=10.0), 0.0)
    fleet.put_item(item_object("i000", 1))
    fleet.put_member(member_object("old", 5, lease="old", uid="u-old"), 0.0)
    fleet.put_assignment(assignment("old", entries(1, 0, 1), 1), 0.0)
    fleet.delete_member("old", 1.0)
    fleet.delete_assignment("old", 1.0)
    fleet.former.sweep(2.0)
    assert fleet.former.unreleased("i000", 2.0) == ["old"]  # its Lease runs on: so may the process
    let_time_pass(fleet, 12.0)
    fleet.former.sweep(12.0)
    assert "i000" not in fleet.former


def test_a_sweep_takes_turns_so_that_every_item_is_looked_at() -> None:
    leases = Leases()
    fleet = Ledger(leases)
    count = 3000
    leases.put(lease_object("old", "s-old", "then", duration=10.0), 0.0)
    fleet.put_member(member_object("old", 4096, lease="old", uid="u-old"), 0.0)
    for n in range(count):
        fleet.put_item(item_object(f"i{n:03d}", 1))
    fleet.put_assignment(assignment("old", entries(count, 0, 1), 1), 0.0)
    fleet.delete_member("old", 1.0)
    for _ in range(4):
        fleet.former.sweep(2.0)
    assert sum(f"i{n:03d}" in fleet.former for n in range(count)) == count
    let_time_pass(fleet, 20.0)
    for _ in range(3):
        fleet.former.sweep(20.0)
    assert sum(f"i{n:03d}" in fleet.former for n in range(count)) == 0


def two_of_one_lease(handoff: Handoff) -> tuple[Ledger, Leases]:
    """Slot 0 of x was taken from a, then from b, which name one Lease and both say that they work."""
    leases = Leases()
    leases.put(lease_object("l", "s", "then", 10.0), 0.0)
    fleet = Ledger(leases, pool_spec(handoff=handoff))
    fleet.put_item(item_object("x", 1))
    for name in "ab":
        fleet.put_member(member_object(name, 5, lease="l", reported=True, uid=f"u-{name}"), 0.0)
    for name in "ab":
        held = changed(assignment(name, ("x#0@1:1",), 1), session="s", reports=("x@1=Active",))
        fleet.put_assignment(held, 0.0)
        fleet.put_assignment(changed(held, items=(), generation=2), 0.0)
    return fleet, leases


def test_of_two_former_primaries_with_one_lease_each_is_forgotten_by_itself() -> None:
    fleet, _ = two_of_one_lease(Handoff.EXCLUSIVE)
    first = fleet.member_named("a")
    assert first is not None
    assert first.assignment is not None
    fleet.put_assignment(changed(first.assignment, reports=()), 2.0)
    fleet.former.sweep(2.0)
    assert fleet.former.unreleased("x", 2.0) == ["b"]
    assert fleet.former.of_lease("l") == {"x"}  # when it runs out x must be looked at
    for at in (11.0, 40.0):
        let_time_pass(fleet, at)
    fleet.former.sweep(40.0)
    assert fleet.former.of_lease("l") == set()


def test_an_item_with_two_former_primaries_of_one_lease_can_be_deleted() -> None:
    fleet, _ = two_of_one_lease(Handoff.OVERLAP)
    fleet.delete_item("x")
    fleet.former.sweep(1.0)


def held_by_a(report: str) -> tuple[Ledger, AssignmentObject]:
    """Slot 0 of x is a's, whose session reports this; and what a's Assignment says."""
    leases = Leases()
    leases.put(lease_object("a", "s", "then", 10.0), 0.0)
    fleet = Ledger(leases, pool_spec(handoff=Handoff.EXCLUSIVE))
    fleet.put_item(item_object("x", 1))
    fleet.put_member(member_object("a", 5, lease="a", reported=True, uid="u-a"), 0.0)
    held = changed(assignment("a", ("x#0@1:1",), 1), session="s", reports=(report,))
    fleet.put_assignment(held, 0.0)
    return fleet, held


def drained() -> tuple[Ledger, AssignmentObject]:
    """Slot 0 of x was taken from a, whose session still says that it works; and what a's Assignment says."""
    fleet, held = held_by_a("x@1=Active")
    taken = changed(held, items=(), generation=2)
    fleet.put_assignment(taken, 0.0)
    assert fleet.former.unreleased("x", 0.0) == ["a"]
    return fleet, taken


def test_a_release_counts_although_the_member_is_gone_before_the_next_round() -> None:
    """A worker that has drained reports the release, and deletes its Member some milliseconds later."""
    fleet, taken = drained()
    fleet.put_assignment(changed(taken, reports=()), 1.0)
    fleet.delete_member("a", 1.0)
    assert fleet.former.unreleased("x", 1.0) == []
    assert fleet.former.of_lease("a") == set()


def test_a_release_counts_although_the_watch_of_members_was_faster() -> None:
    fleet, taken = drained()
    fleet.delete_member("a", 1.0)
    assert fleet.former.unreleased("x", 1.0) == ["a"]  # its Lease runs on: so may the process
    fleet.put_assignment(changed(taken, reports=()), 1.0)
    assert fleet.former.unreleased("x", 1.0) == []


def test_an_assignment_that_is_deleted_is_no_release() -> None:
    fleet, _ = drained()
    fleet.delete_member("a", 1.0)
    fleet.delete_assignment("a", 1.0)
    assert fleet.former.unreleased("x", 1.0) == ["a"]


def test_another_session_that_does_not_report_the_item_releases_nothing_for_the_one_before() -> None:
    fleet, taken = drained()
    fleet.put_assignment(changed(taken, session="s2", reports=()), 1.0)
    fleet.delete_member("a", 1.0)
    assert fleet.former.unreleased("x", 1.0) == ["a"]


def test_a_report_that_never_named_the_item_is_no_release() -> None:
    """It was granted a moment ago: the session may be about to report, and then to work."""
    fleet, granted = held_by_a("y@1=Ready")
    fleet.delete_member("a", 1.0)
    fleet.put_assignment(changed(granted, reports=()), 1.0)
    assert fleet.former.unreleased("x", 1.0) == ["a"]
