"""Who is waited for when Members die."""

from __future__ import annotations

from berth.kinds import ReadOutage
from berth.pool.outage import TOGETHER, Health, OutageState, outage


def judge(
    *members: Health, now: float = 1000.0, delay: int = 0, percent: int = 55, least: int = 10
) -> OutageState:
    return outage(members, now, ReadOutage(delay, percent, least))


def fleet(live: int, dead: int, *, since: float = 990.0, holds: int = 1) -> list[Health]:
    return [Health(row, None, 1) for row in range(live)] + [
        Health(live + row, since, holds) for row in range(dead)
    ]


def test_without_a_delay_nobody_is_waited_for() -> None:
    assert judge(*fleet(9, 1)).awaited == frozenset()


def test_within_the_delay_a_dead_member_is_waited_for() -> None:
    decided = judge(*fleet(9, 1), delay=30)
    assert decided.awaited == {9}
    assert decided.until == 1020.0


def test_after_the_delay_it_is_not() -> None:
    assert judge(*fleet(9, 1), delay=10).awaited == frozenset()


def test_one_that_holds_nothing_is_not_waited_for() -> None:
    assert judge(*fleet(9, 1, holds=0), delay=30).awaited == frozenset()


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
    assert judge(*fleet(4, 6, holds=0)).braking
    assert not judge(*fleet(4, 6, holds=0, since=1000.0 - TOGETHER)).braking


def test_the_brake_ends_by_itself_when_enough_are_back() -> None:
    assert judge(*fleet(4, 6)).braking
    assert not judge(*fleet(5, 5)).braking


def test_one_that_only_an_earlier_leader_found_dead_is_waited_for_until_that_is_confirmed() -> None:
    unconfirmed = Health(9, 990.0, 1, 10.0, 5.0, unconfirmed=True)
    assert judge(*fleet(9, 0), unconfirmed).awaited == {9}
    assert judge(*fleet(9, 0), unconfirmed._replace(unconfirmed=False)).awaited == frozenset()


def test_a_live_member_whose_lease_is_still_to_be_read_gives_no_moment_that_has_passed() -> None:
    members = [Health(row, None, 1, 10.0, 12.0) for row in range(9)]
    decided = judge(*members, Health(9, 999.0, 1, 10.0, 11.0))
    assert decided.awaited == {9}, "most have not been seen renewed for long: they may follow"
    assert decided.until == 1003.0


def test_it_is_said_when_the_answer_may_change_by_itself() -> None:
    assert judge(*fleet(4, 6, holds=0)).until == 990.0 + TOGETHER
    assert judge(*fleet(10, 0)).until is None
