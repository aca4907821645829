"""One term: ask every worker what it runs, plan, and make the calls."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Container
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Generic

from berth.orchestrator.calls import Caller, CallError, WorkerCalls
from berth.orchestrator.model import MAX_LIMIT, Communicator, Expected, T, TermStats, W
from berth.orchestrator.plan import NO_MOVE, Plan, Step, plan_term

STRIKES = 2  # terms in a row in which a worker started none of its tasks, before it rests
MAX_REST = 32  # terms; the first rest is 2, each further one twice as long


class Trust(Generic[W, T]):
    """Counts failures; one success restores the trust.

    A task that also fails on a second worker is itself to blame, and no worker rests because of it.
    """

    def __init__(self) -> None:
        self.failures: Counter[T] = Counter()
        """Failed calls for a task since the last that succeeded."""
        self._failed_on: dict[T, set[W]] = {}
        self._strikes: Counter[W] = Counter()
        self.rest: dict[W, int] = {}
        """The workers that should get nothing in this term, and for how many terms."""
        self._started: set[W] = set()
        self._refused: set[W] = set()

    def succeeded(self, worker: W, task: T, *, started: bool) -> None:
        """Record a successful call; `started` for an add."""
        self.failures.pop(task, None)
        if started:
            self._started.add(worker)
            self._failed_on.pop(task, None)

    def failed(self, worker: W, task: T, *, started: bool) -> None:
        """Record a failed call; `started` for an add."""
        self.failures[task] += 1
        if started:
            where = self._failed_on.setdefault(task, set())
            where.add(worker)
            if len(where) == 1:
                self._refused.add(worker)

    def end_term(self, workers: Container[W], tasks: Container[T]) -> None:
        """End a term: count strikes and rests, forget removed workers and tasks."""
        self.rest = {worker: left - 1 for worker, left in self.rest.items() if left > 1}
        for worker in self._started:
            self._strikes.pop(worker, None)
            self.rest.pop(worker, None)
        for worker in self._refused - self._started:
            self._strikes[worker] += 1
            if (more := self._strikes[worker] - STRIKES) >= 0:
                self.rest[worker] = min(2 ** (more + 1), MAX_REST)
        self._started.clear()
        self._refused.clear()
        self._strikes = Counter({w: n for w, n in self._strikes.items() if w in workers})
        self.rest = {w: n for w, n in self.rest.items() if w in workers}
        self.failures = Counter({t: n for t, n in self.failures.items() if t in tasks})
        self._failed_on = {t: where for t, where in self._failed_on.items() if t in tasks}


@dataclass(slots=True)
class _Counts:
    """The fields of TermStats that change with each call."""

    added: int = 0
    removed: int = 0
    moved: int = 0
    failed: int = 0
    skipped: int = 0
    missing: int = 0


@dataclass(slots=True)
class Term(Generic[W, T]):
    """A running term. Only the trust in workers and tasks outlives it."""

    expected: Expected[W, T]
    communicator: Communicator[W, T]
    caller: Caller[W]
    trust: Trust[W, T]
    plan: Callable[[Callable[..., Plan[W, T]]], Awaitable[Plan[W, T]]]
    """Makes a plan by the function it is given, with a solver."""
    logger: logging.Logger
    number: int
    moves_per_worker: int | None
    actual: dict[W, list[T]] = field(default_factory=dict)  # what each answering worker ran at the start
    _started: float = field(default_factory=time.monotonic)
    _counts: _Counts = field(default_factory=_Counts)
    _released: list[asyncio.Future[bool]] = field(default_factory=list)
    """For each move: whether its removal succeeded."""

    async def run(self) -> TermStats:
        """Plan and make the calls, after `list_workers`."""
        listed = time.monotonic()
        resting = self._resting()
        plan = await self.plan(
            partial(
                plan_term,
                self.expected,
                self.actual,
                moves_per_worker=self.moves_per_worker,
                resting=resting,
                failures=dict(self.trust.failures),
            )
        )
        if plan.trouble:
            text = "the solver gave no plan (%s): missing instances are placed, nothing is moved"
            self.logger.error(text, plan.trouble)
        planned = time.monotonic()
        self._counts.missing = plan.missing
        if plan.removals or plan.adds:
            await self._apply(plan)
        self.trust.end_term(self.expected.workers, self.expected.tasks)
        left_out = len(self.expected.workers) - len(self.actual)
        return TermStats(
            worker_count=len(self.actual),
            term=self.number,
            left_out=left_out,
            resting=len(resting),
            **asdict(self._counts),
            postponed=plan.postponed,
            settled=not (plan.removals or plan.adds or plan.postponed or plan.trouble or resting or left_out),
            optimal=plan.optimal,
            list_seconds=listed - self._started,
            plan_seconds=planned - listed,
            seconds=time.monotonic() - self._started,
        )

    async def list_workers(self) -> dict[W, list[T]]:
        """Ask all workers at once what they run; those that fail or block are left out."""
        answers: dict[W, list[T]] = {}
        stuck = self.caller.stuck

        async def ask(calls: WorkerCalls[W]) -> None:
            try:
                listed = await self.caller.call(calls, self._list_one, calls.worker)
                answers[calls.worker] = listed
            except CallError as failure:
                self.logger.warning("worker %r left out: its list failed: %s", calls.worker, failure)

        def given_up(worker: W) -> None:
            self.logger.error("worker %r left out: its list call ignores cancellation", worker)

        for worker in self.expected.workers:
            if worker in stuck:
                self.logger.error("worker %r left out: an earlier call to it is still running", worker)
        await self.caller.run({w: ask for w in self.expected.workers if w not in stuck}, given_up)
        self.actual = {w: answers[w] for w in self.expected.workers if w in answers}
        return self.actual

    async def _list_one(self, worker: W) -> list[T]:
        return list(dict.fromkeys(await self.communicator.list(worker)))

    def _resting(self) -> set[W]:
        """The answering workers that should rest; none if they are needed."""
        resting = self.trust.rest.keys() & self.actual.keys()
        if not resting:
            return resting
        limits = {w: s.limit if s.limit is not None else MAX_LIMIT for w, s in self.expected.workers.items()}
        useful = sum(1 for w in self.actual if limits[w])
        spare = [w for w in self.actual if limits[w] and w not in resting]
        wanted = [min(spec.instances, useful) for spec in self.expected.tasks.values()]
        if max(wanted, default=0) > len(spare) or sum(wanted) > sum(limits[w] for w in spare):
            return set()
        for worker in resting:
            self.logger.warning(
                "worker %r gets nothing in this term: it started none of its last tasks", worker
            )
        return resting

    async def _apply(self, plan: Plan[W, T]) -> None:
        """Make the calls: workers concurrently, on each the removals, then the adds."""
        loop = asyncio.get_running_loop()
        self._released = [loop.create_future() for _ in range(plan.moves)]

        def given_up(worker: W) -> None:
            text = "a call to worker %r ignores cancellation; the worker is left out until it ends"
            self.logger.error(text, worker)
            self._counts.failed += 1
            self._hold_moves(plan.removals[worker])

        works = {
            worker: partial(self._work, plan.removals[worker], plan.adds[worker])
            for worker in self.actual
            if worker in plan.removals or worker in plan.adds
        }
        await self.caller.run(works, given_up)
        counts, planned = self._counts, [*plan.removals.values(), *plan.adds.values()]
        counts.skipped = sum(map(len, planned)) - counts.added - counts.removed - counts.failed

    async def _work(self, removals: list[Step[T]], adds: list[Step[T]], calls: WorkerCalls[W]) -> None:
        """Make the calls to one worker, until one blocks: the others are left to the next term."""
        limit = self.expected.workers[calls.worker].limit
        load = len(self.actual[calls.worker])
        try:
            for step in removals:
                done = await self._call(calls, step.task, add=False)
                if done:
                    load -= 1
                    self._counts.removed += 1
                    self._counts.missing += not step.surplus
                if step.move != NO_MOVE:
                    self._released[step.move].set_result(done)
            for step in adds:
                if step.move != NO_MOVE and not await self._released[step.move]:
                    continue
                if limit is not None and load >= limit:
                    continue
                load += 1  # even if it fails: the task may run then
                if await self._call(calls, step.task, add=True):
                    self._counts.added += 1
                    self._counts.missing -= 1
                    self._counts.moved += step.move != NO_MOVE
        except CallError:
            self._hold_moves(removals)

    async def _call(self, calls: WorkerCalls[W], task: T, *, add: bool) -> bool:
        """Make one call: whether it succeeded. Raises CallError if the worker blocks."""
        worker = calls.worker
        name, method = ("add", self.communicator.add) if add else ("remove", self.communicator.remove)
        try:
            await self.caller.call(calls, method, worker, task)
        except CallError as failure:
            self.logger.warning("%s of task %r on worker %r failed: %s", name, task, worker, failure)
            self._counts.failed += 1
            self.trust.failed(worker, task, started=add)
            if failure.blocked:
                raise
            return False
        self.logger.debug("%s of task %r on worker %r done", name, task, worker)
        self.trust.succeeded(worker, task, started=add)
        return True

    def _hold_moves(self, removals: list[Step[T]]) -> None:
        """Leave the removals that were not made, and the adds that wait for them, to the next term."""
        for step in removals:
            if step.move != NO_MOVE and not self._released[step.move].done():
                self._released[step.move].set_result(False)
