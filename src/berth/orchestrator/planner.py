"""Plans terms beside the event loop, with one solver whose child process stays for the next term."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Set
from functools import partial

from berth.orchestrator.model import T, W
from berth.orchestrator.plan import Plan, plan_term
from berth.orchestrator.registry import Expected
from berth.solve import Solver, Tuning

TUNING = Tuning(quick_moves=20_000, quick_items=20_000)
"""A thread may do more than an event loop before it asks the child process, which takes 0.2 s to start."""


class Planner:
    """Plans one term at a time.

    A quick plan is made in a thread, any other in a child process. The process is started when it is first
    needed and stays until `close`, or until the planner is garbage.
    """

    def __init__(self, logger: logging.Logger, tuning: Tuning = TUNING) -> None:
        self._logger, self._tuning = logger, tuning
        self._solver: Solver | None = None

    async def plan(
        self,
        expected: Expected[W, T],
        actual: Mapping[W, list[T]],
        *,
        moves_per_worker: int | None,
        resting: Set[W] = frozenset(),
        failures: Mapping[T, int] | None = None,
    ) -> Plan[W, T]:
        """Call `plan_term` without blocking the event loop."""
        if self._solver is None:
            self._solver = Solver(self._tuning)
        work = partial(
            plan_term,
            expected,
            actual,
            moves_per_worker=moves_per_worker,
            resting=resting,
            failures=failures,
            solve=self._solver.solve,
        )
        try:
            plan = await asyncio.to_thread(work)
        except asyncio.CancelledError:
            self.close()  # ends the child process, and with it the thread that waits for its answer
            raise
        if plan.trouble:
            text = "the solver gave no plan (%s): missing instances are placed, nothing is moved"
            self._logger.error(text, plan.trouble)
        return plan

    def close(self) -> None:
        """End the child process; a later plan starts another."""
        # The next plan gets a new solver: a thread may still be using this one.
        solver, self._solver = self._solver, None
        if solver is not None:
            solver.close()
