"""Solves for one Pool without holding up the event loop."""

from __future__ import annotations

import asyncio
from typing import Protocol

from berth.solve import Pending, Problem, Solution, Solver, Touched


class Solve(Protocol):
    """Solves the placement problem of a Pool.

    Events go on to change the arrays of `problem` while it is awaited: what it needs of them it reads or
    copies before it awaits anything.
    """

    async def __call__(self, problem: Problem, touched: Touched | None) -> Solution:
        """The answer, as `berth.solve.Solver.solve` gives it."""


class PoolSolver:
    """What is quick is done here and now; what is not is awaited from the solver's other process."""

    def __init__(self, solver: Solver) -> None:
        self._solver = solver

    async def __call__(self, problem: Problem, touched: Touched | None) -> Solution:
        """See `Solve`."""
        found = self._solver.begin(problem, touched)
        if not isinstance(found, Pending):
            return found
        try:
            await asyncio.to_thread(found.ask)
        except asyncio.CancelledError:
            self._solver.close()  # ends the question, and with it the thread that waits for the answer
            raise
        return self._solver.complete(found)
