"""One term: ask every worker what it runs, plan, and make the calls."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Generic

from berth.orchestrator.calls import Caller, CallError, WorkerCalls
from berth.orchestrator.model import MAX_LIMIT, Communicator, Expected, T, TermStats, W, WorkerState
from berth.orchestrator.plan import NO_MOVE, Plan, Step, plan_term
from berth.orchestrator.trust import Trust


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
    counts: _Counts = field(default_factory=_Counts)
    actual: dict[W, list[T]] = field(default_factory=dict)
    _left: dict[W, int] = field(default_factory=dict)
    """How many calls each worker still gets."""
    _released: list[asyncio.Future[bool]] = field(default_factory=list)
    """For each move: whether its removal succeeded."""
    _moves_from: dict[W, list[int]] = field(default_factory=dict)

    async def run(self, on_listed: Callable[[list[WorkerState[W, T]]], None]) -> TermStats:
        """Run the term; `on_listed` gets what the workers run, once all have answered."""
        started = time.monotonic()
        self.actual = await self._list_all()
        on_listed([WorkerState(worker, list(tasks)) for worker, tasks in self.actual.items()])
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
        self.counts.missing = plan.missing
        if plan.removals or plan.adds:
            await self._apply(plan)
        self.trust.end_term(self.expected.workers, self.expected.tasks)
        left_out = len(self.expected.workers) - len(self.actual)
        return TermStats(
            worker_count=len(self.actual),
            term=self.number,
            left_out=left_out,
            resting=len(resting),
            **asdict(self.counts),
            postponed=plan.postponed,
            settled=not (plan.removals or plan.adds or plan.postponed or plan.trouble or resting or left_out),
            optimal=plan.optimal,
            list_seconds=listed - started,
            plan_seconds=planned - listed,
            seconds=time.monotonic() - started,
        )

    async def _list_all(self) -> dict[W, list[T]]:
        """Ask all workers at once; those that fail or block are left out."""
        answers: dict[W, list[T]] = {}
        stuck = self.caller.stuck

        async def ask(calls: WorkerCalls[W]) -> None:
            try:
                tasks = await self.caller.call(calls, self._list_one, calls.worker)
            except CallError as failure:
                if not calls.given_up:
                    self.logger.warning("worker %r left out: its list failed: %s", calls.worker, failure)
            else:
                if not calls.given_up:
                    answers[calls.worker] = tasks

        def given_up(worker: W) -> None:
            self.logger.error("worker %r left out: its list call ignores cancellation", worker)

        for worker in self.expected.workers:
            if worker in stuck:
                self.logger.error("worker %r left out: an earlier call to it is still running", worker)
        await self.caller.run({w: ask for w in self.expected.workers if w not in stuck}, given_up)
        return {w: answers[w] for w in self.expected.workers if w in answers}

    async def _list_one(self, worker: W) -> list[T]:
        return list(dict.fromkeys(await self.communicator.list(worker)))

    def _resting(self) -> set[W]:
        """The answering workers that should rest; none if they are needed."""
        resting = self.trust.resting() & self.actual.keys()
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
        works: dict[W, Callable[[WorkerCalls[W]], Coroutine[Any, Any, None]]] = {}
        for worker in self.actual:
            removals, adds = plan.removals.get(worker, []), plan.adds.get(worker, [])
            if removals or adds:
                self._left[worker] = len(removals) + len(adds)
                self._moves_from[worker] = [step.move for step in removals if step.move != NO_MOVE]
                works[worker] = partial(self._work, removals, adds)
        await self.caller.run(works, self._given_up)

    async def _work(self, removals: list[Step[T]], adds: list[Step[T]], calls: WorkerCalls[W]) -> None:
        worker = calls.worker
        removed = await self._remove_all(removals, calls)
        if removed is None or not adds:
            return
        limit = self.expected.workers[worker].limit
        load = len(self.actual[worker]) - removed
        for step in adds:
            if step.move != NO_MOVE and not await self._released[step.move]:
                self._skip(worker)
                continue
            if limit is not None and load >= limit:
                self._skip(worker)
                continue
            ok = await self._call(calls, step.task, add=True)
            if ok is None:
                return
            load += 1  # even if it failed: the task may run
            if ok:
                self.counts.added += 1
                self.counts.missing -= 1
                self.counts.moved += step.move != NO_MOVE

    async def _remove_all(self, removals: list[Step[T]], calls: WorkerCalls[W]) -> int | None:
        """Remove tasks from a worker: how many calls succeeded, or None if it blocks."""
        removed = 0
        for step in removals:
            ok = await self._call(calls, step.task, add=False)
            if ok is None:
                return None
            if ok:
                removed += 1
                self.counts.removed += 1
                self.counts.missing += not step.surplus
            if step.move != NO_MOVE:
                self._released[step.move].set_result(ok)
        return removed

    async def _call(self, calls: WorkerCalls[W], task: T, *, add: bool) -> bool | None:
        """Make one call: whether it succeeded, or None if the worker blocks and gets no more calls."""
        worker = calls.worker
        name, method = ("add", self.communicator.add) if add else ("remove", self.communicator.remove)
        try:
            await self.caller.call(calls, method, worker, task)
        except CallError as failure:
            if calls.given_up:
                return None
            self.logger.warning("%s of task %r on worker %r failed: %s", name, task, worker, failure)
            self._left[worker] -= 1
            self.counts.failed += 1
            self.trust.failed(worker, task, started=add)
            if failure.blocked:
                self._abandon(worker)
                return None
            return False
        if calls.given_up:
            return None
        self.logger.debug("%s of task %r on worker %r done", name, task, worker)
        self._left[worker] -= 1
        self.trust.succeeded(worker, task, started=add)
        return True

    def _skip(self, worker: W) -> None:
        self._left[worker] -= 1
        self.counts.skipped += 1

    def _abandon(self, worker: W) -> None:
        """Leave the other calls of the worker to the next term; skip adds that wait for its removals."""
        self.counts.skipped += self._left.pop(worker)
        for move in self._moves_from[worker]:
            if not self._released[move].done():
                self._released[move].set_result(False)

    def _given_up(self, worker: W) -> None:
        self.logger.error(
            "a call to worker %r ignores cancellation; the worker is left out until it ends", worker
        )
        self._left[worker] -= 1
        self.counts.failed += 1
        self._abandon(worker)
