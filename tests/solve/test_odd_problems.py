"""Problems of the documented form that fleets seldom have: each is planned, and the plan is certified."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from problems import problem_of

from berth.solve import Primaries, Problem, Solver, Touched, Zones
from berth.solve.answer import thorough
from berth.solve.certify import certify
from berth.solve.model import minor

HUGE = 2**31 - 1


def wide() -> Problem:
    """More is held than asked for, in more columns."""
    return problem_of([1, 2, 0, 3], [[0, 1, 2, 3], [3, 2, 1, 0], [1, 2], []], [9] * 4, [0, 0, 1, 1])


def huge_limits() -> Problem:
    """What the orchestrator says of workers without a limit, beside some that have one."""
    limits = [HUGE, HUGE, 5000, 70_000, 3]
    return problem_of([2] * 60, [[0, 1]] * 30 + [[]] * 30, limits, [0, 1, 0, 1, 2], tolerance=10)


def many_on_huge() -> Problem:
    """More on each Member than the units of equal cost that its limit has in one step."""
    return problem_of([1] * 9_000, [[]] * 9_000, [HUGE, HUGE])


def many_replicas() -> Problem:
    """Counts above the 32 of a Pool, some next to each other, some above the Members there are."""
    some = list(range(90))
    held = [some[:k] for k in (89, 70, 6, 64, 0, 1, 70, 90, 90, 64)]
    problem = problem_of([90] * 10, held, [40] * 90, [k % 3 for k in some])
    problem.replicas[:] = [90, 100, 101, 64, 63, 1, 70, 5_000, 40_000, 200]
    return problem


def odd_zones() -> Problem:
    """Numbers with gaps, up to the largest."""
    return problem_of([3] * 12, [[0, 1]] * 12, [9] * 6, [HUGE, 7, 7, 10**9, HUGE, 0])


def equal_keys() -> Problem:
    problem = problem_of([2] * 8, [[0, 1]] * 4 + [[]] * 4, [9] * 5, [0, 1, 0, 1, 2])
    problem.item_key[:] = 5
    problem.member_key[:] = 7
    return problem


CASES: dict[str, Callable[[], Problem]] = {
    "no Items": lambda: problem_of([], [], [3, 0], [0, 1]),
    "no Members": lambda: problem_of([2, 0, 1], [[], [], []], []),
    "neither": lambda: problem_of([], [], []),
    "all dead": lambda: problem_of([2] * 3, [[0, 1]] * 3, [9] * 2, live=[False] * 2),
    "all draining": lambda: problem_of([2] * 3, [[0, 1]] * 3, [9] * 3, draining=[True] * 3),
    "limit 0": lambda: problem_of([2] * 3, [[0, 1], [1, 2], [0, 2]], [0, 0, 9], [0, 1, 2]),
    "limit 0 everywhere": lambda: problem_of([2] * 3, [[0, 1]] * 3, [0] * 3),
    "above limits": lambda: problem_of([1] * 9, [[0]] * 9, [2, 3]),
    "nothing asked for": lambda: problem_of([0] * 3, [[0, 1]] * 3, [9] * 3),
    "one Member": lambda: problem_of([3] * 3, [[0]] * 3, [9], policy=Zones.REQUIRE),
    "held wider than wanted": wide,
    "huge limits": huge_limits,
    "many on huge limits": many_on_huge,
    "many replicas": many_replicas,
    "odd zones": odd_zones,
    "equal keys": equal_keys,
}


@pytest.mark.parametrize("primaries", list(Primaries))
@pytest.mark.parametrize("policy", list(Zones))
@pytest.mark.parametrize("name", CASES)
def test_an_odd_problem_has_a_certified_plan(name: str, policy: Zones, primaries: Primaries) -> None:
    problem = CASES[name]()
    problem.zones, problem.primaries = policy, primaries
    found = thorough(problem)
    assert certify(problem, found.members, found.proof.bounds).faults == ()
    assert minor(found.proof.first_open)


@pytest.mark.parametrize("name", CASES)
def test_a_solver_that_is_kept_gets_over_an_odd_problem(name: str) -> None:
    rejected: list[object] = []
    problem = CASES[name]()
    solver = Solver(rejected=lambda *what: rejected.append(what))
    members = np.arange(len(problem.limit), dtype=np.int32)
    for _ in range(3):
        found = solver.begin(problem, Touched(np.zeros(0, np.int32), members))
        problem.live[:] = ~problem.live
        problem.zone[:] = np.roll(problem.zone, 1)
        assert not rejected
    solver.close()
    assert found is not None


def test_zones_of_a_pool_without_items_may_become_many() -> None:
    rejected: list[object] = []
    solver = Solver(rejected=lambda *what: rejected.append(what))
    problem = problem_of([], [], [5] * 30, [0] * 30)
    solver.solve(problem)
    problem.zone[:] = np.arange(30)
    problem.live[:3] = False
    solver.solve(problem, Touched(np.zeros(0, np.int32), np.arange(30, dtype=np.int32)))
    solver.close()
    assert not rejected
