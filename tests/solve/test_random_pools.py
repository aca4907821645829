"""Many random Pools: none hangs, none is planned wrongly, none is beaten, and all small ones are proven."""

from __future__ import annotations

from contextlib import suppress
from time import process_time

import numpy as np
import pytest
from benchmarks.solve.bounds import bound
from random_pools import random_pool, random_tuning, reordered

from berth.solve import Problem, Solver, Touched
from berth.solve.answer import answer, thorough
from berth.solve.certify import certify
from berth.solve.flow import TooLargeError
from berth.solve.model import LEVELS, minor
from berth.solve.state import State

SLOW = 2.0
"""Seconds of this process that no Pool of these sizes may take; others on the machine do not count."""
TO_MOVES = LEVELS[: LEVELS.index("moves") + 1]
SURELY_PROVEN = 300_000
"""Distinct holdings × Members up to which the plan must be proven on all levels up to the moves."""


def holdings(problem: Problem) -> int:
    """How many different (asked, held, primary) there are."""
    held = np.sort(np.where(problem.held >= 0, problem.held, -1), axis=1)
    rows = np.column_stack([problem.replicas, problem.held_primary, held])
    return len(np.unique(rows, axis=0)) if len(rows) else 0


def check(seed: int, oracle: bool) -> None:
    problem, tuning = random_pool(seed), random_tuning(seed)
    began = process_time()
    found = thorough(problem, tuning)
    took = process_time() - began
    assert took < SLOW, f"seed {seed}: {took:.1f} s"
    certificate = certify(problem, found.members, found.proof.bounds)
    assert not certificate.faults, f"seed {seed}: {certificate.faults}"
    if holdings(problem) * len(problem.limit) <= SURELY_PROVEN:
        assert minor(found.proof.first_open), f"seed {seed}: {found.proof.first_open} is open"
    with suppress(TooLargeError):
        quick = answer(State(problem, tuning), quick=True)
        assert not quick.faults, f"seed {seed}: {quick.faults}"
        if minor(quick.proof.first_open) and minor(found.proof.first_open):
            differ = [name for name in TO_MOVES if quick.proof.reached[name] != found.proof.reached[name]]
            assert not differ, f"seed {seed}: {differ} differ, though both are proven"
    if oracle and len(problem.replicas) <= 150:
        for name, best in bound(problem, exact=True).levels.items():
            assert certificate.reached[name] == best, f"seed {seed}: {name}"


@pytest.mark.parametrize("first", range(0, 2_000, 250))
def test_random_pools_are_planned_rightly_and_in_time(first: int) -> None:
    for seed in range(first, first + 250):
        check(seed, oracle=seed % 5 == 0)


@pytest.mark.deep
@pytest.mark.parametrize("first", range(2_000, 102_000, 5_000))
def test_a_hundred_thousand_random_pools_are_planned_rightly_and_in_time(first: int) -> None:
    for seed in range(first, first + 5_000):
        check(seed, oracle=seed % 20 == 0)


def changed(problem: Problem, rng: np.random.Generator) -> Touched:
    """An event or two, in place."""
    items, members = set(), set()
    n, m = len(problem.replicas), len(problem.limit)
    for _ in range(int(rng.integers(1, 3))):
        kind = int(rng.integers(0, 6))
        if kind >= 3 and m:
            row = int(rng.integers(0, m))
            members.add(row)
            if kind == 3:
                problem.live[row] = not problem.live[row]
            elif kind == 4:
                problem.limit[row] = int(rng.integers(0, 2 * int(problem.limit.max()) + 2))
            else:
                problem.draining[row] = not problem.draining[row]
                problem.zone[row] = int(rng.integers(0, 4))
        elif n:
            row = int(rng.integers(0, n))
            items.add(row)
            if kind == 0:
                problem.replicas[row] = int(rng.integers(0, 4))
            elif kind == 1:  # the row is given to another Item
                problem.item_key[row] = rng.integers(1, 2**63, dtype=np.uint64)
                problem.held[row] = -1
                problem.held_primary[row] = -1
            elif m:
                count = min(m, problem.held.shape[1])
                problem.held[row, :count] = rng.permutation(m)[:count]
                problem.held_primary[row] = problem.held[row, 0]
    return Touched(np.array(sorted(items), np.int32), np.array(sorted(members), np.int32))


def test_what_is_kept_between_solves_changes_no_plan() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        problem, tuning = random_pool(seed, 60, 9), random_tuning(seed)
        solver = Solver(tuning)
        solver.solve(problem)
        for _ in range(8):
            touched = changed(problem, rng)
            kept, fresh = solver.solve(problem, touched), Solver(tuning).solve(problem)
            assert np.array_equal(kept.members, fresh.members), f"seed {seed}"
            assert kept.proof == fresh.proof


def test_the_order_of_rows_changes_no_plan() -> None:
    for seed in range(150):
        rng = np.random.default_rng(seed)
        problem, tuning = random_pool(seed, 50, 10), random_tuning(seed)
        items, members, zones = rng.permutation(50), rng.permutation(10), rng.permutation(200)
        zone = zones[problem.zone[members]].astype(np.int32)
        other = reordered(problem, items, members, zone)
        back = np.append(members, -1)[thorough(other, tuning).members]
        assert np.array_equal(back, thorough(problem, tuning).members[items]), f"seed {seed}"
