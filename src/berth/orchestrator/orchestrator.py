"""The orchestrator: expected workers and tasks, and the terms that make them real."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import EllipsisType
from typing import Generic

from berth.orchestrator.calls import Caller
from berth.orchestrator.model import (
    MAX_INSTANCES,
    MAX_LIMIT,
    Communicator,
    Expected,
    T,
    Task,
    TaskSpec,
    TermStats,
    W,
    WorkerSpec,
    WorkerState,
    stable_key,
)
from berth.orchestrator.plan import Plan
from berth.orchestrator.term import Term, Trust
from berth.solve import Solver, Tuning

TUNING = Tuning(quick_moves=20_000, quick_items=20_000)
"""A thread may do more than an event loop before it asks the child process, which takes 0.2 s to start."""


class Orchestrator(Generic[W, T]):
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
        if not timeout > 0:
            raise ValueError(f"timeout must be a number of seconds above 0; got {timeout!r}")
        if moves_per_worker is not None and moves_per_worker < 0:
            raise ValueError(f"moves_per_worker must be 0 or more, or None; got {moves_per_worker!r}")
        self._communicator = communicator
        self._on_term = on_term
        self._logger = logger if logger is not None else logging.getLogger("berth.orchestrator")
        self._moves_per_worker = moves_per_worker
        self._lock = threading.Lock()  # of the two below
        self._workers: dict[W, WorkerSpec] = {}
        self._tasks: dict[T, TaskSpec] = {}
        self._caller: Caller[W] = Caller(timeout)
        self._trust: Trust[W, T] = Trust()
        self._solver: Solver | None = None
        self._one_at_a_time = asyncio.Lock()
        self._terms = 0
        self._last_actual: list[WorkerState[W, T]] | None = None

    def expected_tasks(self) -> list[Task[T]]:
        """The expected tasks, in the order in which they were added."""
        with self._lock:
            return [Task(task, spec.instances) for task, spec in self._tasks.items()]

    def add_worker(self, worker: W, *, limit: int | None = None, zone: str = "") -> None:
        """Add a worker. A known worker stays as it is.

        `limit` (0 to 4096) is the maximum number of tasks that it may run, and its weight: loads are even in
        proportion to the limits. Without one it counts as a worker with a limit of 4096. If the workers have
        different zones, the instances of a task are spread over them.

        Raises ValueError if the limit is out of range.
        """
        _check_limit(limit)
        with self._lock:
            self._workers.setdefault(worker, WorkerSpec(stable_key(worker), limit, zone))

    def update_worker(
        self, worker: W, *, limit: int | EllipsisType | None = ..., zone: str | EllipsisType = ...
    ) -> None:
        """Change the limit or the zone of a worker. A limit of 0 empties it, term by term.

        Raises KeyError if the worker is not known, ValueError if the limit is out of range.
        """
        if limit is not ...:
            _check_limit(limit)
        with self._lock:
            spec = self._workers[worker]
            if limit is not ...:
                spec = replace(spec, limit=limit)
            if zone is not ...:
                spec = replace(spec, zone=zone)
            self._workers[worker] = spec

    def remove_worker(self, worker: W) -> None:
        """Remove a worker: it gets no more calls, and its tasks are placed on the others.

        It does not stop its tasks. To empty it first, call `update_worker(worker, limit=0)` and remove it
        once it runs nothing. An unknown worker is ignored.
        """
        with self._lock:
            self._workers.pop(worker, None)

    def update_workers(self, workers: Iterable[W]) -> None:
        """Replace all workers. Known ones keep their limit and zone; duplicates are ignored."""
        wanted = dict.fromkeys(workers)  # consumed before anything changes: it may raise
        with self._lock:
            known = self._workers
            self._workers = {w: known.get(w) or WorkerSpec(stable_key(w), None, "") for w in wanted}

    def add_task(self, task: T, instances: int = 1) -> None:
        """Add a task that `instances` (0 to 32) workers should run. A known task stays as it is.

        Raises ValueError if `instances` is out of range, TypeError for a `Task` instead of its definition.
        """
        if isinstance(task, Task):
            raise TypeError(f"add_task takes the task itself and instances=N, not a Task; got {task!r}")
        _check_instances(instances)
        with self._lock:
            self._tasks.setdefault(task, TaskSpec(stable_key(task), instances))

    def remove_task(self, task: T) -> None:
        """Remove a task: it is stopped wherever it runs. An unknown task is ignored."""
        with self._lock:
            self._tasks.pop(task, None)

    def update_tasks(self, tasks: Iterable[Task[T]]) -> None:
        """Replace all tasks. Of several with one definition the first counts.

        Raises ValueError, and changes nothing, if the `instances` of one are out of range.
        """
        wanted: dict[T, int] = {}
        for task in tasks:
            _check_instances(task.instances)
            wanted.setdefault(task.definition, task.instances)
        with self._lock:
            known = self._tasks
            self._tasks = {
                task: TaskSpec(known[task].key if task in known else stable_key(task), instances)
                for task, instances in wanted.items()
            }

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
                plan=self._plan,
                logger=self._logger,
                number=self._terms,
                moves_per_worker=self._moves_per_worker,
            )
            actual = await term.list_workers()
            self._last_actual = [WorkerState(worker, list(tasks)) for worker, tasks in actual.items()]
            stats = await term.run()
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
            self._close_solver()

    def _snapshot(self) -> Expected[W, T]:
        """Copies that later changes do not affect."""
        with self._lock:
            return Expected(dict(self._workers), dict(self._tasks))

    async def _plan(self, plan: Callable[..., Plan[W, T]]) -> Plan[W, T]:
        """Call `plan`, a `plan_term` that lacks `solve`, without blocking the event loop.

        A quick plan is made in a thread, any other in a child process. The process is started when it is
        first needed and stays for later terms, until `run` ends or the orchestrator is garbage.
        """
        if self._solver is None:
            self._solver = Solver(TUNING)
        try:
            return await asyncio.to_thread(plan, solve=self._solver.solve)
        except asyncio.CancelledError:
            self._close_solver()  # ends the child process, and with it the thread that waits for its answer
            raise

    def _close_solver(self) -> None:
        """End the child process; a later term starts another."""
        # The next plan gets a new solver: a thread may still be using this one.
        solver, self._solver = self._solver, None
        if solver is not None:
            solver.close()


def _check_limit(limit: object) -> None:
    if limit is not None and not (isinstance(limit, int) and 0 <= limit <= MAX_LIMIT):
        raise ValueError(f"limit must be a whole number from 0 to {MAX_LIMIT}, or None; got {limit!r}")


def _check_instances(instances: object) -> None:
    if not (isinstance(instances, int) and 0 <= instances <= MAX_INSTANCES):
        raise ValueError(f"instances must be a whole number from 0 to {MAX_INSTANCES}; got {instances!r}")
