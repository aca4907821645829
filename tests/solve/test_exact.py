"""The exact engine against trying every placement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from problems import brute_force, problem_of, problems

from berth.solve import Primaries, Problem, evaluate, violations
from berth.solve.exact import solve_exact


def check(problem: Problem) -> None:
    solution = solve_exact(problem)
    assert violations(problem, solution.members, solution.primary) == []
    best = brute_force(problem)
    # With Active a primary may leave a Member that still holds the Item; level 10 looks at entries.
    assert evaluate(problem, solution.members, solution.primary) == best
    assert solution.proof.bounds == best
    assert solution.optimal


@given(problems(items=3, members=4, replicas=3))
@settings(max_examples=150)
def test_all_ten_levels_equal_the_best_of_every_placement(problem: Problem) -> None:
    check(problem)


@pytest.mark.deep
@given(problems(items=3, members=5, replicas=4))
@settings(max_examples=5000)
def test_all_ten_levels_equal_the_best_of_every_placement_many_times(problem: Problem) -> None:
    check(problem)


def test_a_lost_member_costs_only_its_own_items() -> None:
    held = [[k % 4, (k + 1) % 4] for k in range(40)]
    problem = problem_of([2] * 40, held, [60] * 4, live=[True, True, True, False])
    solution = solve_exact(problem)
    assert solution.proof.reached[7] == 20
    kept = [p for p, row in zip(solution.primary, held, strict=True) if row[0] != 3 and p == row[0]]
    assert len(kept) == 30


def test_primaries_follow_limits_when_all_are_new() -> None:
    problem = problem_of([2] * 60, [[] for _ in range(60)], [30, 60, 90], primaries=Primaries.ACTIVE)
    solution = solve_exact(problem)
    assert np.bincount(solution.primary, minlength=3).tolist() == [10, 20, 30]
