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
from benchmarks.solve.judge import broken, count, judge
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
