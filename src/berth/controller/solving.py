"""Solves for a Pool without blocking the event loop: in another process if it may take long."""

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from typing import Any

from berth.child_process import ChildProcess
from berth.controller.metrics import Metrics
from berth.pool import Brain
from berth.saved import Names, log, report
from berth.solve import Pending, Problem, Solution, Solver, Touched, Tuning
from berth.solve.engine import ENGINE
from berth.solve.tuning import DEFAULT

logger = logging.getLogger(__name__)

MIN_SECONDS = 0.1
"""Minimum time for a question in seconds, however long it has waited for its turn."""
MANY_ITEMS = 10_000
MANY_MEMBERS = 10
"""With this many Items and changed Members, the start of a solve alone may take 50 ms."""
GRACE = 1.0
"""Seconds after the deadline until a process is killed that is still sending its answer."""
SAVE_AGAIN = 60.0
"""Seconds between two problems of a Pool that are saved: a defect may appear at every event."""

Solve = Callable[[Problem, Touched | None, bool], Awaitable[Solution]]
"""Solves the placement problem of a Pool: see `PoolSolver`."""


class SolverProcess(ChildProcess):
    """The process for solves that may take long: one for all Pools of a controller, because of its memory.

    It answers one question at a time. The time that a Pool waits for its turn counts towards its deadline.
    """

    def __init__(self, tuning: Tuning = DEFAULT, engine: str = ENGINE) -> None:
        super().__init__(engine, tuning, memory=tuning.memory)
        self.tuning = tuning
        self._turn = asyncio.Lock()
        self._refuses = self._ended = False

    def prepare(self) -> None:
        """Start it if it does not run, so that no question waits for its start."""
        try:
            self.start()
        except OSError as error:
            logger.warning("cannot start the solver's process, next attempt when it is needed: %s", error)

    async def answer(self, pending: Pending) -> None:
        """Ask and store the answer or the failure in `pending`. A cancellation ends the question."""
        started, seconds = monotonic(), pending.seconds
        try:
            async with asyncio.timeout(seconds):
                await self._turn.acquire()
        except TimeoutError:
            pending.failed = f"no answer within {seconds:g} s, most of which were spent on other Pools"
            return
        try:
            pending.seconds = max(MIN_SECONDS, seconds - (monotonic() - started))
            await self._ask(pending)
        finally:
            self._turn.release()

    async def _ask(self, pending: Pending) -> None:
        asking = asyncio.get_running_loop().run_in_executor(None, pending.ask)
        try:
            await asyncio.wait({asking}, timeout=pending.seconds + GRACE)
        finally:
            if not asking.done():
                await self._interrupt(asking)
        if (error := asking.exception()) is not None:
            self.close()  # otherwise the rest of this answer would be read as the next one
            pending.failed = f"its answer cannot be read: {error!r}"

    async def _interrupt(self, asking: asyncio.Future[None]) -> None:
        """End the question by ending the process; that also ends the thread that waits for the answer."""
        self._refuses = True
        try:
            self.close()
            await asyncio.wait({asking})
        finally:
            self._refuses = self._ended

    def end(self) -> None:
        """End the process for good; a question under way fails at once."""
        self._refuses = self._ended = True
        self.close()

    def start(self) -> "Connection[Any, Any]":
        """Start the process, unless the question that needs it was cancelled in the meantime."""
        # A thread may get here after the end: a process started then would be left behind.
        connection = None if self._refuses else super().start()
        if connection is None or self._refuses:
            raise ConnectionAbortedError("the request was cancelled")
        return connection


class Rejections:
    """Collects the plans that a Solver rejects, in any thread; counts and logs them and saves the problem."""

    def __init__(self, brain: Brain, metrics: Metrics, folder: Path | None = None) -> None:
        """`folder` None: `default_folder()`."""
        self.brain = brain
        self._metrics = metrics
        self._folder = folder
        self._noted: list[tuple[str, Sequence[str], Problem]] = []
        self._saved_at: float | None = None
        self._saving: asyncio.Future[Path | None] | None = None
        for engine in ("pooled", "exact", "plain"):  # at 0: Prometheus sees no increase to a first value
            metrics.plans_rejected.labels(brain.namespace, brain.name, engine)
        metrics.solver_failures.labels(brain.namespace, brain.name)

    def note(self, engine: str, faults: Sequence[str], problem: Problem) -> None:
        """Note a plan that was not used; this is `rejected` of `Solver`."""
        self._noted.append((engine, faults, copy.deepcopy(problem)))

    def report(self, names: Names | None = None) -> None:
        """Report what was noted, with these names or the present ones; a thread saves the problem."""
        noted, self._noted = self._noted, []
        if not noted:
            return
        names, brain = names or Names.of(self.brain), self.brain
        for engine, faults, problem in noted:
            self._metrics.plans_rejected.labels(brain.namespace, brain.name, engine).inc()
            now = monotonic()
            if self._saved_at is not None and now - self._saved_at < SAVE_AGAIN:
                log(engine, faults, "a problem of this Pool was saved less than a minute ago", names)
                continue
            self._saved_at = now
            loop = asyncio.get_running_loop()
            self._saving = loop.run_in_executor(None, report, engine, faults, problem, names, self._folder)


class PoolSolver:
    """Solves for one Pool: quick solves immediately, all others in the process that the Pools share."""

    def __init__(self, process: SolverProcess, rejections: Rejections) -> None:
        self._process = process
        self._rejections = rejections
        self._solver = Solver(process.tuning, rejections.note, process)
        self._trouble = ""

    async def __call__(self, problem: Problem, touched: Touched | None, ask: bool) -> Solution:
        """The answer, as `berth.solve.Solver.solve` gives it.

        Events go on changing the arrays of `problem` while this is awaited, so whatever is needed of them is
        read or copied before the first await. Without `ask` only quick engines are tried, and their best
        certified plan is the answer: for a Pool whose thorough engine has just failed and would take as long
        again.
        """
        names: Names | None = None
        if _is_much(problem, touched):
            names, problem = Names.of(self._rejections.brain), copy.deepcopy(problem)
            found = await asyncio.to_thread(self._solver.begin, problem, touched)
        else:
            found = self._solver.begin(problem, touched)
        if isinstance(found, Pending):
            names = names or Names.of(self._rejections.brain)  # before events change them
            if ask:
                await self._process.answer(found)
            else:
                found.failed = self._trouble or "it was not asked"
            # In a thread, because the certificate and the plain engine read every Item.
            found = await asyncio.to_thread(self._solver.complete, found)
        self._trouble = found.trouble
        self._rejections.report(names)
        return found


def _is_much(problem: Problem, touched: Touched | None) -> bool:
    """Whether the start of a solve may block the event loop, so that it needs a thread."""
    items = len(problem.replicas)
    few = touched is not None and len(touched.members) < MANY_MEMBERS and len(touched.items) < items // 10
    return items >= MANY_ITEMS and not few
