"""What a Pool's solver does in a thread is not disturbed by events, and changes no plan."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator

import numpy as np
import pytest
from benchmarks.solve.families import EVENTS, SIZES, Fleet, happen, hold, prepared, touched, turn

from berth.controller import solving
from berth.controller.metrics import Metrics
from berth.controller.rejected import Rejections
from berth.controller.solving import PoolSolver, SolverProcess
from berth.pool import Brain, Leases
from berth.solve import Problem, Solver, Touched, solve


@pytest.fixture
async def process() -> AsyncIterator[SolverProcess]:
    process = SolverProcess()
    yield process
    process.end()


async def disturbed(solver: PoolSolver, problem: Problem, changed: Touched | None) -> np.ndarray:
    """The plan, though every array of the problem changes while it is made."""
    before = copy.deepcopy(problem)
    solves = asyncio.create_task(solver(problem, changed, True))
    await asyncio.sleep(0)
    assert not solves.done()
    problem.limit[:], problem.replicas[:], problem.live[:] = 1, 1, False
    problem.held[:], problem.held_primary[:] = -1, -1
    found = await solves
    for name in ("limit", "replicas", "live", "held", "held_primary"):
        getattr(problem, name)[:] = getattr(before, name)
    assert not found.trouble
    return found.members


@pytest.mark.parametrize("family", ["regular", "limits 1:10", "zone lost", "shortage", "scale-out"])
async def test_events_during_a_solve_change_nothing_of_it(
    family: str, process: SolverProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solving, "MANY_ITEMS", 0)
    monkeypatch.setattr(solving, "MANY_MEMBERS", 0)
    now: Fleet = prepared(family, SIZES["tiny"], "random", lambda problem: solve(problem).members)
    state = Brain("ns", "p", Leases())
    here, there = Solver(process=process), PoolSolver(process, Rejections(state, Metrics()))
    changed: Touched | None = None
    every = np.arange(len(now.problem.replicas))
    for step in (turn, *(lambda fleet, event=event: happen(fleet, event) for event in EVENTS)):
        expected = here.solve(now.problem, changed)
        assert np.array_equal(await disturbed(there, now.problem, changed), expected.members)
        hold(now.problem, expected.members)
        more = step(now)
        changed = touched(np.append(every, more.items), more.members)
