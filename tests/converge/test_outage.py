"""The brake, and who is waited for: pure functions of what was seen when."""

from typing import Any

from berth.converge import Health, Outage, outage

LEASE = 10.0


def judge(
    *members: Health, now: float = 100.0, percent: int = 55, least: int = 4, delay: float = 0
) -> Outage:
    return outage(members, now, delay=delay, brake_percent=percent, brake_min_members=least)


def live(row: int, silent: float = 1.0) -> Health:
    return Health(row, None, 2, LEASE, silent)


def dead(row: int, since: float = 0.0, **kw: Any) -> Health:
    return Health(row, 100.0 - since, kw.get("holds", 2), LEASE, LEASE + since)


def test_one_that_dies_alone_is_not_waited_for() -> None:
    got = judge(dead(0), *(live(n) for n in range(1, 6)))
    assert (got.kept, got.braking) == (frozenset(), False)


def test_the_first_of_many_is_held_while_most_are_silent() -> None:
    got = judge(dead(0), *(live(n, silent=8.0) for n in range(1, 4)), live(4), live(5))
    assert (got.kept, got.braking) == ({0}, False)
    assert got.until == 102.0, "when the next of the silent ones runs out"


def test_when_most_have_died_the_brake_is_on() -> None:
    got = judge(*(dead(n, since=n / 2) for n in range(4)), live(4), live(5))
    assert (got.kept, got.braking) == ({0, 1, 2, 3}, True)


def test_who_is_held_on_suspicion_is_let_go_when_the_others_are_heard_again() -> None:
    got = judge(dead(0, since=1.0), *(live(n, silent=0.1) for n in range(1, 6)))
    assert got.kept == frozenset()


def test_suspicion_ends_by_itself_where_members_renew_late_all_the_time() -> None:
    late = [live(n, silent=8.0) for n in range(1, 6)]
    assert judge(dead(0, since=3.9), *late).kept == {0}
    assert judge(dead(0, since=4.1), *late).kept == frozenset()


def test_a_small_fleet_has_no_brake() -> None:
    got = judge(dead(0), *(live(n, silent=8.0) for n in range(1, 3)))
    assert (got.kept, got.braking) == (frozenset(), False)


def test_the_delay_holds_whatever_the_others_do() -> None:
    got = judge(dead(0, since=3.0), *(live(n) for n in range(1, 6)), delay=5)
    assert got.kept == {0}
    assert got.until == 102.0
