"""Why an Item has fewer replicas than it asks for."""

from __future__ import annotations

from problems import problem_of

from berth.pool.reasons import Reason, reasons
from berth.solve import Problem, Zones, solve


def reason_of(problem: Problem) -> dict[int, Reason]:
    return reasons(problem, solve(problem))


def test_nothing_is_said_of_items_that_have_all_they_ask_for() -> None:
    assert reason_of(problem_of([2, 0], [[], []], [5, 5])) == {}


def test_no_member_is_live_with_a_limit() -> None:
    assert reason_of(problem_of([1], [[]], [0, 5], live=[True, False])) == {0: Reason.NO_MEMBERS}
    assert reason_of(problem_of([1], [[]], [])) == {0: Reason.NO_MEMBERS}


def test_more_replicas_than_members() -> None:
    assert reason_of(problem_of([3], [[]], [5, 5])) == {0: Reason.TOO_FEW_MEMBERS}


def test_the_limits_are_used_up() -> None:
    short = reason_of(problem_of([2, 2], [[], []], [1, 2]))
    assert list(short.values()) == [Reason.LIMIT_REACHED]


def test_require_leaves_one_out_rather_than_use_one_zone() -> None:
    alone = problem_of([2], [[]], [5, 5], [0, 0], policy=Zones.REQUIRE)
    assert reason_of(alone) == {0: Reason.SINGLE_ZONE}
    full = problem_of([2, 1], [[], [2]], [5, 5, 1], [0, 0, 1], policy=Zones.REQUIRE)
    plan = solve(full)
    short = reasons(full, plan)
    assert set(short.values()) <= {Reason.SINGLE_ZONE}
    assert (plan.members >= 0).sum() in (2, 3)


def test_require_with_every_limit_used_up_names_the_limits_where_raising_them_would_help() -> None:
    problem = problem_of([2, 2], [[], []], [1, 1, 1], [0, 0, 1], policy=Zones.REQUIRE)
    assert set(reason_of(problem).values()) == {Reason.LIMIT_REACHED}
    none_placed = problem_of([2, 2, 2], [[], [], []], [1, 1], [0, 0], policy=Zones.REQUIRE)
    assert sorted(reason_of(none_placed).values()) == [
        Reason.LIMIT_REACHED,
        Reason.SINGLE_ZONE,
        Reason.SINGLE_ZONE,
    ]


def test_require_with_one_zone_names_the_zones_though_the_limits_are_used_up() -> None:
    problem = problem_of([2, 2], [[], []], [1, 1], [0, 0], policy=Zones.REQUIRE)
    assert set(reason_of(problem).values()) == {Reason.SINGLE_ZONE}
