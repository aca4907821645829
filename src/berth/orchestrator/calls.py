"""Calls to many workers at once, each with a deadline, so that none can block a term for long."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, ParamSpec, TypeVar

from berth.orchestrator.model import W

P = ParamSpec("P")
R = TypeVar("R")


class CallError(Exception):
    """A call raised, or was cancelled at its deadline."""

    def __init__(self, message: str, *, blocked: bool) -> None:
        super().__init__(message)
        self.blocked = blocked
        """True if it was cancelled at its deadline: more calls would probably block as well."""


@dataclass(slots=True, eq=False)
class WorkerCalls(Generic[W]):
    """The calls to one worker, made one after the other in one asyncio task."""

    worker: W
    deadline: float | None = None
    """The monotonic time by which the running call must end; None if none is running."""
    expired: bool = False
    """Whether the running call was cancelled at its deadline."""
    given_up: bool = False
    """Whether it ignored that: its result no longer counts."""


class Caller(Generic[W]):
    """Runs the calls to many workers concurrently, and cancels calls that take too long.

    A call only records its deadline, and `run` wakes at the earliest one. For thousands of short calls that
    is several times cheaper than a timer for each.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.grace = min(1.0, timeout)
        """Seconds for a cancelled call to clean up before it is given up."""
        self._stuck: dict[asyncio.Task[None], W] = {}

    @property
    def stuck(self) -> set[W]:
        """Workers with a call that was given up and is still running."""
        return set(self._stuck.values())

    async def call(
        self, calls: WorkerCalls[W], method: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Await one call for at most `timeout` seconds. Raises CallError if it fails."""
        calls.deadline = monotonic() + self.timeout
        try:
            return await method(*args, **kwargs)
        except Exception as error:
            if calls.expired:
                raise self._too_late() from error
            raise CallError(f"{type(error).__name__}: {error}", blocked=False) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling() > calls.expired:
                raise  # the whole term is being cancelled
            if calls.expired:
                raise self._too_late() from error
            raise CallError("the call cancelled itself", blocked=False) from error
        finally:
            calls.deadline = None
            if calls.expired:
                calls.expired = False
                if (current := asyncio.current_task()) is not None:
                    current.uncancel()

    async def run(
        self,
        works: Mapping[W, Callable[[WorkerCalls[W]], Coroutine[Any, Any, None]]],
        on_given_up: Callable[[W], None],
    ) -> None:
        """Run the calls of each worker; returns when all have ended or were given up."""
        by_task: dict[asyncio.Task[None], WorkerCalls[W]] = {}
        for worker, work in works.items():
            calls = WorkerCalls(worker)
            by_task[asyncio.create_task(work(calls))] = calls
        pending = set(by_task)
        try:
            while pending:
                _, pending = await asyncio.wait(pending, timeout=self._patience(by_task, pending))
                for task in self._enforce(by_task, pending):
                    pending.discard(task)
                    on_given_up(by_task[task].worker)
        except asyncio.CancelledError:
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending, timeout=self.grace)
            raise
        finally:
            for task in pending:
                if not task.done():
                    self._give_up(task, by_task[task])
        for task, calls in by_task.items():
            if not calls.given_up:
                task.result()

    def _too_late(self) -> CallError:
        return CallError(f"no answer within {self.timeout:g} s", blocked=True)

    def _patience(
        self, by_task: dict[asyncio.Task[None], WorkerCalls[W]], pending: set[asyncio.Task[None]]
    ) -> float:
        """Seconds until the first deadline of the running calls; later calls have later deadlines."""
        deadlines = [d for task in pending if (d := by_task[task].deadline) is not None]
        if not deadlines:
            return self.timeout
        return max(0.0, min(deadlines) - monotonic())

    def _enforce(
        self, by_task: dict[asyncio.Task[None], WorkerCalls[W]], pending: set[asyncio.Task[None]]
    ) -> list[asyncio.Task[None]]:
        """Cancel the late calls; give up and return those that were already cancelled."""
        now = monotonic()
        given_up = []
        for task in pending:
            calls = by_task[task]
            if calls.deadline is None or calls.deadline > now:
                continue
            if calls.expired:
                self._give_up(task, calls)
                given_up.append(task)
            else:
                calls.expired, calls.deadline = True, now + self.grace
                task.cancel()
        return given_up

    def _give_up(self, task: asyncio.Task[None], calls: WorkerCalls[W]) -> None:
        calls.given_up = True
        self._stuck[task] = calls.worker
        task.add_done_callback(self._ended)
        task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._stuck.pop(task, None)
        if not task.cancelled():
            task.exception()  # retrieve it, so that asyncio does not report it
