"""Solves for a Pool without holding up the event loop, in another process where it may take long."""

from __future__ import annotations

import asyncio
import copy
import logging
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any, Protocol

from berth.controller.rejected import Rejections
from berth.controller.saved import Names
from berth.solve import Pending, Problem, Solution, Solver, Touched, Tuning
from berth.solve.apart import ENGINE, EngineProcess
from berth.solve.tuning import DEFAULT

logger = logging.getLogger(__name__)

MIN_SECONDS = 0.1
"""Seconds that a question gets, however long it has waited for its turn."""
MANY_ITEMS = 10_000
MANY_MEMBERS = 10
"""With this many Items and changed Members, the start of a solve alone may take 50 ms."""
GRACE = 1.0
"""Seconds after the deadline at which a process is killed that is still sending its answer."""


class Solve(Protocol):
    """Solves the placement problem of a Pool.

    Events go on to change the arrays of `problem` while it is awaited: what it needs of them it reads or
    copies before it awaits anything.
    """

    async def __call__(self, problem: Problem, touched: Touched | None, ask: bool) -> Solution:
        """The answer, as `berth.solve.Solver.solve` gives it.

        Without `ask` only what is quick is tried, and the best certified plan that it gives is the answer:
        for a Pool whose thorough engine has just failed, and would cost a deadline again.
        """


class SolverProcess(EngineProcess):
    """The process that solves what may take long: one for all Pools of a controller, as it takes memory.

    It answers one question at a time. What a Pool waits for its turn counts towards its deadline.
    """

    def __init__(self, tuning: Tuning = DEFAULT, engine: str = ENGINE) -> None:
        super().__init__(tuning, engine)
        self._turn = asyncio.Lock()
        self._refuses = self._ended = False

    async def prepare(self) -> None:
        """Start it, so that the first request does not wait for Python to start."""
        try:
            # In a thread: there EngineProcess starts another Python. A fork would share our sockets.
            await asyncio.to_thread(self.start)
        except OSError as error:
            logger.warning("cannot start the solver's process, next attempt when it is needed: %s", error)

    async def answer(self, pending: Pending) -> None:
        """Ask; `pending` then holds how it went. A cancellation ends the question."""
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
            self.close()  # what it sent next would be the rest of this answer
            pending.failed = f"its answer cannot be read: {error!r}"

    async def _interrupt(self, asking: asyncio.Future[None]) -> None:
        """End the question with the process; the thread that waits for the answer ends by that."""
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

    def start(self) -> Connection[Any, Any]:
        """Start the process, unless the question that it is for was withdrawn meanwhile."""
        # A thread may get here when all is over: a process that it starts then would stay behind.
        connection = None if self._refuses else super().start()
        if connection is None or self._refuses:
            raise ConnectionAbortedError("the request was cancelled")
        return connection


class PoolSolver:
    """Solves for one Pool: what is quick at once, all else in the process that Pools share."""

    def __init__(self, process: SolverProcess, rejections: Rejections) -> None:
        self._process = process
        self._rejections = rejections
        self._solver = Solver(process.tuning, rejections.note, process)
        self._trouble = ""

    async def __call__(self, problem: Problem, touched: Touched | None, ask: bool) -> Solution:
        """See `Solve`."""
        names: Names | None = None
        if _is_much(problem, touched):
            names, problem = self._rejections.names(), copy.deepcopy(problem)
            found = await asyncio.to_thread(self._solver.begin, problem, touched)
        else:
            found = self._solver.begin(problem, touched)
        if isinstance(found, Pending):
            names = names or self._rejections.names()  # rows may be others' when the answer comes
            if ask:
                await self._process.answer(found)
            else:
                found.failed = self._trouble or "it was not asked"
            # In a thread, as the certificate and the plain engine read every Item.
            found = await asyncio.to_thread(self._solver.complete, found)
        self._trouble = found.trouble
        self._rejections.report(names)
        return found


def _is_much(problem: Problem, touched: Touched | None) -> bool:
    """Whether the start of a solve may hold up the event loop, so that a thread has to do it."""
    items = len(problem.replicas)
    few = touched is not None and len(touched.members) < MANY_MEMBERS and len(touched.items) < items // 10
    return items >= MANY_ITEMS and not few
