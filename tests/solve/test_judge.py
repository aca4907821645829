"""The judge's bounds against every placement there is, and its rules against plans that break them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from problems import brute_force, problem_of, problems

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.solve.bounds import SHAPE, bound, least_moves
from benchmarks.solve.judge import Verdict, broken, judge

from berth.solve.model import Problem, Zones

ORDER = ("placed", "given-up", "shortage", "misplaced", "single-zone", "balance", "zone-pairs", "moves")
"""Of the levels that `brute_force` returns, those that the judge bounds."""


def check(problem: Problem) -> None:
    best = dict(zip(ORDER, brute_force(problem), strict=False))
    worth = [-best["placed"] if name == "placed" else best[name] for name in SHAPE]
    pooled, exact = bound(problem), bound(problem, exact=True)
    assert {name: best[name] for name in SHAPE} == exact.levels
    floor = [-pooled.levels[name] if name == "placed" else pooled.levels[name] for name in SHAPE]
    assert floor <= worth
    assert least_moves(problem, exact, 2) == best["moves"]
    for some in [exact] + [pooled] * (floor == worth):
        for detail in range(3):
            found = least_moves(problem, some, detail)
            assert found is not None
            assert found <= best["moves"]


@given(problems(items=3, members=4, replicas=3))
@settings(max_examples=300)
def test_no_placement_beats_the_bounds_and_the_exact_ones_are_reached(problem: Problem) -> None:
    check(problem)


@pytest.mark.deep
@given(problems(items=3, members=5, replicas=4))
@settings(max_examples=5000)
def test_no_placement_beats_the_bounds_many_times(problem: Problem) -> None:
    check(problem)


HELD = [[0, 1], [1, 2], [2, 3]]


def judged(plan: list[list[int]], **rules: object) -> Verdict:
    """Three Items that ask for two, on four Members of limit 2 in zones 0, 0, 1, 1."""
    problem = problem_of([2] * 3, HELD, [2, 2, 2, 2], [0, 0, 1, 1], **rules)  # type: ignore[arg-type]
    return judge(problem, np.array(plan, dtype=np.int32))


@pytest.mark.parametrize(
    ("plan", "rules", "said"),
    [
        ([[0, 2], [0, 3], [0, 1]], {}, "1 Members are above their limit, by 1"),
        ([[0, 0], [1, 2], [2, 3]], {}, "an Item is twice on a Member"),
        ([[0, 1], [1, 2], [2, 3]], {"live": [False, True, True, True]}, "a Member that is not live"),
        ([[0, 1, 2], [1, 3, -1], [2, 3, -1]], {}, "an Item has more than it wants"),
        ([[-1, 0], [1, 2], [2, 3]], {}, "padding is not at the end of a row"),
        ([[0, 1], [1, 2], [2, 3]], {"policy": Zones.REQUIRE}, "wholly in one zone where Require forbids it"),
        ([[0, 2], [1, 2]], {}, "the plan's shape"),
        ([[0, 2], [1, 7], [2, 3]], {}, "the plan's shape"),
    ],
)
def test_a_plan_that_breaks_a_rule_is_told_so(
    plan: list[list[int]], rules: dict[str, object], said: str
) -> None:
    problem = problem_of([2] * 3, HELD, [2, 2, 2, 2], [0, 0, 1, 1], **rules)  # type: ignore[arg-type]
    assert any(said in wrong for wrong in broken(problem, np.array(plan, dtype=np.int32)))


def test_what_stays_where_it_is_may_miss_a_level() -> None:
    verdict = judged(HELD)
    assert verdict.broken == []
    assert verdict.missed == "single-zone"
    assert verdict.reached["single-zone"] == 2
    assert verdict.bounds["single-zone"] == 0
    assert verdict.least_moves is None
    assert not verdict.holds


def test_a_plan_with_more_moves_than_are_needed_is_not_close() -> None:
    least = judged([[0, 2], [1, 2], [1, 3]])
    assert (least.missed, least.least_moves, least.over) == (None, 2, 0)
    assert least.holds
    more = judged([[0, 2], [0, 3], [1, 3]])
    assert (more.missed, more.least_moves, more.over) == (None, 2, 2)
    assert not more.close
