"""The orchestrator: expected workers and tasks, and the terms that make them real."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from berth.orchestrator.calls import Caller
from berth.orchestrator.model import Communicator, T, TermStats, W, WorkerState
from berth.orchestrator.planner import Planner
from berth.orchestrator.registry import Registry
from berth.orchestrator.term import Term
from berth.orchestrator.trust import Trust


class Orchestrator(Registry[W, T]):
    """Keeps every expected task running on one of the workers (or on `instances` of them).

    In each term it asks all workers what they run, and adds, removes and moves tasks until that is what is
    expected, evenly spread and with the fewest moves. It keeps everything in memory: after a restart, set
    what is expected again; it learns from the workers what runs.

    The methods that change or read what is expected may be called at any time from any thread; they never
    wait for a term and take effect in the next one. `next_term` and `run` belong to one event loop. From
    another thread use `asyncio.run_coroutine_threadsafe(o.next_term(), loop)`.
    """

    def __init__(
        self,
        communicator: Communicator[W, T],
        timeout: float = 10.0,
        on_term: Callable[[TermStats], object] | None = None,
        logger: logging.Logger | None = None,
        moves_per_worker: int | None = 1,
    ) -> None:
        """`timeout` is in seconds, for each call of the communicator.

        `on_term` gets the TermStats of each finished term before `next_term` returns; what it raises is
        logged. `logger` gets failed calls and left-out workers (warnings and errors) and successful calls
        (debug); `berth.orchestrator` by default. `moves_per_worker` is how many tasks may be moved away from
        one worker in a term to even out the loads; None for any number, 0 for none. It bounds neither the
        adds of missing instances nor the removals of surplus and unknown tasks.

        Raises ValueError if `timeout` or `moves_per_worker` is out of range.
        """
        super().__init__()
        if not timeout > 0:
            raise ValueError(f"timeout must be a number of seconds above 0; got {timeout!r}")
        if moves_per_worker is not None and moves_per_worker < 0:
            raise ValueError(f"moves_per_worker must be 0 or more, or None; got {moves_per_worker!r}")
        self._communicator = communicator
        self._on_term = on_term
        self._logger = logger if logger is not None else logging.getLogger("berth.orchestrator")
        self._moves_per_worker = moves_per_worker
        self._caller: Caller[W] = Caller(timeout)
        self._trust: Trust[W, T] = Trust()
        self._planner = Planner(self._logger)
        self._one_at_a_time = asyncio.Lock()
        self._terms = 0
        self._last_actual: list[WorkerState[W, T]] | None = None

    def last_actual(self) -> list[WorkerState[W, T]] | None:
        """What the answering workers ran at the start of the last term; None before the first."""
        last = self._last_actual
        return None if last is None else [WorkerState(s.worker, list(s.tasks)) for s in last]

    async def next_term(self) -> TermStats:
        """Run one term, after the one that is running if there is one, and return what it did.

        A failing worker raises nothing: it is logged, counted, and left to the next term. Cancelling this
        cancels all its calls.
        """
        async with self._one_at_a_time:
            self._terms += 1
            term = Term(
                expected=self._snapshot(),
                communicator=self._communicator,
                caller=self._caller,
                trust=self._trust,
                planner=self._planner,
                logger=self._logger,
                number=self._terms,
                moves_per_worker=self._moves_per_worker,
            )
            stats = await term.run(self._set_last_actual)
            if self._on_term is not None:
                try:
                    self._on_term(stats)
                except Exception:
                    self._logger.exception("on_term failed")
            return stats

    async def run(self, interval: float) -> None:
        """Run a term every `interval` seconds until cancelled; the first one starts immediately.

        A longer term delays the next one, which then starts immediately; missed terms are not made up for.
        Unexpected errors of a term are logged. Raises ValueError unless `interval` is above 0.
        """
        if not interval > 0:
            raise ValueError(f"interval must be a number of seconds above 0; got {interval!r}")
        clock = asyncio.get_running_loop().time
        try:
            while True:
                started = clock()
                try:
                    await self.next_term()
                except Exception:
                    self._logger.exception("term %d failed", self._terms)
                await asyncio.sleep(max(0.0, started + interval - clock()))
        finally:
            self._planner.close()

    def _set_last_actual(self, states: list[WorkerState[W, T]]) -> None:
        self._last_actual = states
