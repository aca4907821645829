"""Which dead Members are awaited."""

from __future__ import annotations

from objects import lease_object, member_object

from berth.kinds import Entry, ReadOutage
from berth.pool import Leases, MemberState
from berth.pool.outage import TOGETHER, OutageState, outage

NOW = 1000.0


def judge(
    *members: MemberState, leases: Leases | None = None, delay: int = 0, percent: int = 55, least: int = 10
) -> OutageState:
    return outage(members, leases or Leases(), NOW, ReadOutage(delay, percent, least))


def fleet(live: int, dead: int, *, since: float = 990.0, holds: bool = True) -> list[MemberState]:
    entries = {"x": Entry("x", 1, 1, 0)} if holds else {}
    alive = [MemberState(f"m{row}", row, entries={"x": Entry("x", 1, 1, 0)}) for row in range(live)]
    rows = range(live, live + dead)
    return alive + [MemberState(f"m{row}", row, entries=entries, dead_since=since) for row in rows]


def give_lease(leases: Leases, member: MemberState, silent: float) -> None:
    """A Lease of 10 s that was last renewed this many seconds ago."""
    member.info = member_object(member.name, 5, lease=member.name)
    leases.put(lease_object(member.name, "s", "r1", 10.0), NOW - silent)


def test_without_a_delay_nobody_is_waited_for() -> None:
    assert judge(*fleet(9, 1)).awaited == frozenset()


def test_within_the_delay_a_dead_member_is_waited_for() -> None:
    decided = judge(*fleet(9, 1), delay=30)
    assert decided.awaited == {9}
    assert decided.until == 1020.0


def test_after_the_delay_it_is_not() -> None:
    assert judge(*fleet(9, 1), delay=10).awaited == frozenset()


def test_one_that_holds_nothing_is_not_waited_for() -> None:
    assert judge(*fleet(9, 1, holds=False), delay=30).awaited == frozenset()


def test_more_than_the_brakes_share_dying_together_keeps_them_all() -> None:
    decided = judge(*fleet(4, 6))
    assert decided.braking
    assert decided.awaited == set(range(4, 10))
    assert (decided.dead, decided.counted) == (6, 10)


def test_exactly_the_brakes_share_does_not_brake() -> None:
    assert not judge(*fleet(9, 11)).braking


def test_the_brake_is_for_pools_of_some_size() -> None:
    assert not judge(*fleet(1, 8)).braking
    assert judge(*fleet(1, 9)).braking


def test_those_that_were_emptied_count_on_for_a_while() -> None:
    assert judge(*fleet(4, 6, holds=False)).braking
    assert not judge(*fleet(4, 6, holds=False, since=1000.0 - TOGETHER)).braking


def test_the_brake_ends_by_itself_when_enough_are_back() -> None:
    assert judge(*fleet(4, 6)).braking
    assert not judge(*fleet(5, 5)).braking


def test_one_that_only_an_earlier_leader_found_dead_is_awaited_until_that_is_confirmed() -> None:
    leases, members = Leases(), fleet(9, 1)
    give_lease(leases, members[9], silent=5.0)
    assert judge(*members, leases=leases).awaited == frozenset()
    leases.restart(NOW, dead={"m9"})
    assert judge(*members, leases=leases).awaited == {9}


def test_a_live_member_whose_lease_is_still_to_be_read_gives_no_moment_that_has_passed() -> None:
    leases, members = Leases(), fleet(9, 1, since=999.0)
    for member in members:
        give_lease(leases, member, silent=11.0 if member.dead_since else 12.0)
    decided = judge(*members, leases=leases)
    assert decided.awaited == {9}, "most were not observed to be renewed for long: they may follow"
    assert decided.until == 1003.0


def test_it_is_said_when_the_answer_may_change_by_itself() -> None:
    assert judge(*fleet(4, 6, holds=False)).until == 990.0 + TOGETHER
    assert judge(*fleet(10, 0)).until is None
