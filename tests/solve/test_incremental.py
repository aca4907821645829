"""Whatever path answers, the ten levels are those of the exact engine, and of any other order of rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import problems

from berth.solve import Problem, Solution, Touched, evaluate, solve, violations
from berth.solve.exact import solve_exact


def check(problem: Problem, solution: Solution) -> None:
    assert violations(problem, solution.members, solution.primary) == []
    reached = evaluate(problem, solution.members, solution.primary)
    assert reached == solution.proof.reached, (solution.engine, solution.why)
    assert reached == solve_exact(problem).proof.bounds, (solution.engine, solution.why)
    assert solution.optimal


def apply(problem: Problem, solution: Solution, share: float, rng: np.random.Generator) -> list[int]:
    """Some of the plan comes true; returns the rows that changed."""
    width = solution.members.shape[1]
    if problem.held.shape[1] < width:
        wider = np.full((len(problem.held), width), -1, dtype=np.int32)
        wider[:, : problem.held.shape[1]] = problem.held
        problem.held = wider
    rows = np.flatnonzero(rng.random(len(problem.held)) < share)
    problem.held[rows] = -1
    problem.held[rows, :width] = solution.members[rows]
    problem.held_primary[rows] = solution.primary[rows]
    return rows.tolist()


def event(problem: Problem, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Change one thing; returns (Item rows, Member rows)."""
    n, m = len(problem.replicas), len(problem.limit)
    kind = rng.integers(6)
    if kind <= 1 and n:
        row = int(rng.integers(n))
        problem.replicas[row] = rng.integers(0, 6) if kind else 0
        return [row], []
    if not m:
        return [], []
    row = int(rng.integers(m))
    if kind == 2:
        problem.live[row] = not problem.live[row]
    elif kind == 3:
        problem.draining[row] = not problem.draining[row]
    elif kind == 4:
        problem.limit[row] = rng.integers(0, 2 * int(problem.limit.max()) + 2)
    else:
        problem.zone[row] = rng.integers(0, 4)
    return [], [row]


def run_events(problem: Problem, seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    solution = solve(problem)
    check(problem, solution)
    for _ in range(length):
        before = (solution.members.copy(), solution.primary.copy())
        items = apply(problem, solution, rng.choice([0.0, 0.5, 1.0]), rng)
        members: list[int] = []
        for _ in range(rng.integers(0, 3)):
            more = event(problem, rng)
            items += more[0]
            members += more[1]
        touched = Touched(np.array(items, dtype=np.int32), np.array(members, dtype=np.int32))
        solution = solve(problem, solution, touched)
        check(problem, solution)
        fresh = solve(problem)
        assert np.array_equal(fresh.members, solution.members[:, : fresh.members.shape[1]])
        assert np.array_equal(fresh.primary, solution.primary)
        differ = np.flatnonzero(solution.primary != before[1])
        assert solution.changed is not None
        assert set(differ.tolist()) <= set(solution.changed.tolist())
        width = min(before[0].shape[1], solution.members.shape[1])
        differ = np.flatnonzero((solution.members[:, :width] != before[0][:, :width]).any(axis=1))
        assert set(differ.tolist()) <= set(solution.changed.tolist())


def permuted(problem: Problem, seed: int) -> tuple[Problem, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    items, members = rng.permutation(len(problem.replicas)), rng.permutation(len(problem.limit))
    place = np.append(np.argsort(members), -1).astype(np.int32)
    names = rng.permutation(int(problem.zone.max(initial=0)) + 1).astype(np.int32)
    return (
        replace(
            problem,
            item_key=problem.item_key[items],
            replicas=problem.replicas[items],
            held=place[problem.held[items]],
            held_primary=place[problem.held_primary[items]],
            member_key=problem.member_key[members],
            limit=problem.limit[members],
            zone=names[problem.zone[members]],
            live=problem.live[members],
            draining=problem.draining[members],
            age=problem.age[members],
        ),
        items,
        place,
    )


def check_permuted(problem: Problem, seed: int) -> None:
    solution = solve(problem)
    other, items, place = permuted(problem, seed)
    again = solve(other)
    assert np.array_equal(place[solution.members[items]], again.members)
    assert np.array_equal(place[solution.primary[items]], again.primary)
    assert solution.engine == again.engine


@given(problems(items=40, members=8))
@settings(max_examples=100)
def test_levels_equal_the_exact_engine(problem: Problem) -> None:
    check(problem, solve(problem))


@given(problems(items=25, members=7), st.integers(0, 2**32))
@settings(max_examples=40)
def test_after_any_events_the_plan_is_that_of_a_fresh_solve(problem: Problem, seed: int) -> None:
    run_events(problem, seed, 5)


@given(problems(items=25, members=7), st.integers(0, 2**32))
@settings(max_examples=60)
def test_the_plan_does_not_depend_on_the_order_of_rows(problem: Problem, seed: int) -> None:
    check_permuted(problem, seed)


@pytest.mark.deep
@given(problems(items=80, members=12))
@settings(max_examples=5000)
def test_levels_equal_the_exact_engine_many_times(problem: Problem) -> None:
    check(problem, solve(problem))


@pytest.mark.deep
@given(problems(items=40, members=9), st.integers(0, 2**32))
@settings(max_examples=1500)
def test_after_any_events_the_plan_is_that_of_a_fresh_solve_many_times(problem: Problem, seed: int) -> None:
    run_events(problem, seed, 8)


@pytest.mark.deep
@given(problems(items=60, members=10), st.integers(0, 2**32))
@settings(max_examples=3000)
def test_the_plan_does_not_depend_on_the_order_of_rows_many_times(problem: Problem, seed: int) -> None:
    check_permuted(problem, seed)
