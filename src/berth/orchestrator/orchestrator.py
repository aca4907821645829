"""The orchestrator: expected workers and tasks, and the loop of terms that makes them true."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from types import EllipsisType
from typing import Generic

from berth.orchestrator.calls import Caller
from berth.orchestrator.model import Communicator, T, Task, TermStats, W, WorkerState
from berth.orchestrator.planner import Planner
from berth.orchestrator.registry import Registry
from berth.orchestrator.term import Term
from berth.orchestrator.trust import Trust


class Orchestrator(Generic[W, T]):
    """Keeps every expected task running on one of the workers (or on `instances` of them).

    Once a term it asks all workers what they run, and adds, removes and moves tasks until that is
    what is expected, evenly spread and with the fewest moves. It keeps nothing but memory: after a
    restart, say again what is expected; what runs is learned from the workers.

    The methods that change or read what is expected may be called at any time from any thread;
    they never wait for a term and count from the next one. `next_term` and `run` belong to one
    event loop. From another thread use `asyncio.run_coroutine_threadsafe(o.next_term(), loop)`.

    Args:
        communicator: how to reach the workers.
        timeout: seconds that each call of the communicator may take.
        on_term: called with the TermStats of each finished term, before `next_term` returns. What
            it raises is logged.
        logger: where failed calls and left-out workers are reported (warnings and errors), and
            every call that succeeded (debug); `berth.orchestrator` by default.
        moves_per_worker: how many tasks may be moved away from a worker in one term to even out
            the loads; None for any number, 0 for none. Missing instances are added, and surplus
            and unknown tasks removed, without such a bound.

    Raises:
        ValueError: `timeout` or `moves_per_worker` is out of range.
    """

    def __init__(
        self,
        communicator: Communicator[W, T],
        timeout: float = 10.0,
        on_term: Callable[[TermStats], object] | None = None,
        logger: logging.Logger | None = None,
        moves_per_worker: int | None = 1,
    ) -> None:
        if not timeout > 0:
            raise ValueError(f"timeout must be a number of seconds above 0; got {timeout!r}")
        if moves_per_worker is not None and moves_per_worker < 0:
            raise ValueError(f"moves_per_worker must be 0 or more, or None; got {moves_per_worker!r}")
        self._communicator = communicator
        self._on_term = on_term
        self._logger = logger if logger is not None else logging.getLogger("berth.orchestrator")
        self._moves_per_worker = moves_per_worker
        self._registry: Registry[W, T] = Registry()
        self._caller: Caller[W] = Caller(timeout)
        self._trust: Trust[W, T] = Trust()
        self._planner = Planner(self._logger)
        self._one_at_a_time = asyncio.Lock()
        self._terms = 0
        self._last_actual: list[WorkerState[W, T]] | None = None

    def add_worker(self, worker: W, *, limit: int | None = None, zone: str = "") -> None:
        """Add a worker. One that is known already stays as it is.

        `limit` (0 to 4096) is the most tasks that it may run and its weight: loads are even in
        proportion to the limits. Without one it counts as a worker with a limit of 4096. Where
        workers have different zones, the instances of a task are spread over the zones.

        Raises:
            ValueError: the limit is out of range.
        """
        self._registry.add_worker(worker, limit, zone)

    def update_worker(
        self, worker: W, *, limit: int | EllipsisType | None = ..., zone: str | EllipsisType = ...
    ) -> None:
        """Change the limit or the zone of a worker. A limit of 0 empties it, term by term.

        Raises:
            KeyError: the worker is not known.
            ValueError: the limit is out of range.
        """
        self._registry.update_worker(worker, limit, zone)

    def remove_worker(self, worker: W) -> None:
        """Forget a worker: no more calls go to it and its tasks are placed on the others.

        It is not told to stop them. To empty it first: `update_worker(worker, limit=0)`, and
        remove it once it runs nothing. An unknown worker is no error.
        """
        self._registry.remove_worker(worker)

    def update_workers(self, workers: Iterable[W]) -> None:
        """Replace all workers. Those already known keep their limit and zone; duplicates are ignored."""
        self._registry.update_workers(workers)

    def add_task(self, task: T, instances: int = 1) -> None:
        """Add a task that `instances` (0 to 32) workers should run. A known task stays as it is.

        Raises:
            ValueError: `instances` is out of range.
            TypeError: a `Task` was given instead of what defines it.
        """
        self._registry.add_task(task, instances)

    def remove_task(self, task: T) -> None:
        """Forget a task: it is removed wherever it runs. An unknown task is no error."""
        self._registry.remove_task(task)

    def update_tasks(self, tasks: Iterable[Task[T]]) -> None:
        """Replace all tasks; of several with one definition the first counts.

        Raises:
            ValueError: `instances` of one is out of range. Nothing is changed then.
        """
        self._registry.update_tasks(tasks)

    def expected_tasks(self) -> list[Task[T]]:
        """Return the expected tasks in the order in which they were added."""
        return self._registry.expected_tasks()

    def last_actual(self) -> list[WorkerState[W, T]] | None:
        """Return what the workers that answered ran at the start of the last term; None before the first."""
        last = self._last_actual
        return None if last is None else [WorkerState(s.worker, list(s.tasks)) for s in last]

    async def next_term(self) -> TermStats:
        """Run one term and return what it did; a term that is under way is waited for first.

        A worker that fails costs no exception: it is logged, counted, and dealt with by the next
        term. Cancelling this cancels all calls under way.
        """
        async with self._one_at_a_time:
            self._terms += 1
            term = Term(
                expected=self._registry.snapshot(),
                communicator=self._communicator,
                caller=self._caller,
                trust=self._trust,
                planner=self._planner,
                logger=self._logger,
                number=self._terms,
                moves_per_worker=self._moves_per_worker,
            )
            stats = await term.run(self._seen)
            if self._on_term is not None:
                try:
                    self._on_term(stats)
                except Exception:
                    self._logger.exception("on_term failed")
            return stats

    async def run(self, interval: float) -> None:
        """Run a term every `interval` seconds until cancelled; the first one at once.

        A term that takes longer delays the next one, which then starts at once; terms that were
        missed are not made up for. Unexpected errors of a term are logged and the next one starts
        in its turn.

        Raises:
            ValueError: `interval` is not above 0.
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

    def _seen(self, states: list[WorkerState[W, T]]) -> None:
        self._last_actual = states
