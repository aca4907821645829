"""Plans of terms beside the event loop, by one solver whose other process stays for the next term."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence, Set
from functools import partial

from berth.orchestrator.model import T, W
from berth.orchestrator.plan import Draft, Plan, draft, finish
from berth.orchestrator.registry import Expected
from berth.solve import Pending, Problem, Solver, Tuning

TUNING = Tuning(quick_moves=20_000, quick_items=20_000)
"""In a thread more may be done at once than in an event loop: a process takes 0.2 s to start."""


class Planner:
    """Plans one term after another, never two at once.

    What is quick is done in a thread, what is not in a process of its own, which is started when
    it is first needed and stays until `close`, or until nobody has the planner any more.
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
        """See `plan_term`, which does the same here and now."""
        if self._solver is None:
            self._solver = Solver(self._tuning, rejected=partial(_log_rejected, self._logger))
        solver = self._solver
        try:
            found = await asyncio.to_thread(
                _begin, solver, expected, actual, resting, failures, moves_per_worker
            )
            if not isinstance(found, Plan):
                drafted, pending = found
                await asyncio.to_thread(pending.ask)
                found = await asyncio.to_thread(_complete, solver, drafted, pending, moves_per_worker)
        except asyncio.CancelledError:
            self.close()  # ends the question, and with it the thread that waits for the answer
            raise
        if found.trouble:
            self._logger.error(
                "the solver gave no plan (%s): what is missing is placed, nothing is moved", found.trouble
            )
        return found

    def close(self) -> None:
        """End the solver's other process; a later plan starts another."""
        # The next plan gets a new solver: a thread may still be at work with this one.
        solver, self._solver = self._solver, None
        if solver is not None:
            solver.close()


def _begin(
    solver: Solver,
    expected: Expected[W, T],
    actual: Mapping[W, list[T]],
    resting: Set[W],
    failures: Mapping[T, int] | None,
    moves_per_worker: int | None,
) -> Plan[W, T] | tuple[Draft[W, T], Pending]:
    drafted = draft(expected, actual, resting, failures)
    if drafted.problem is None:
        return drafted.plan
    found = solver.begin(drafted.problem)
    return (drafted, found) if isinstance(found, Pending) else finish(drafted, found, moves_per_worker)


def _complete(
    solver: Solver, drafted: Draft[W, T], pending: Pending, moves_per_worker: int | None
) -> Plan[W, T]:
    return finish(drafted, solver.complete(pending), moves_per_worker)


def _log_rejected(logger: logging.Logger, engine: str, faults: Sequence[str], _: Problem) -> None:
    logger.error("the plan of the %s engine is not used: %s", engine, "; ".join(faults[:3]))
