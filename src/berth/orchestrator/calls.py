"""Calls to many workers at once, each with a deadline, so that none can block a term for long."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from math import inf
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
    deadline: float = inf  # the monotonic time by which the running call must end; inf if none is running
    expired: bool = False  # whether the running call was cancelled at its deadline
    given_up: bool = False  # whether it ignored that: its result no longer counts, and no more calls are made


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
        """Await one call for at most `timeout` seconds.

        Raises CallError if it fails, CancelledError if it was given up or the whole term is cancelled.
        """
        calls.deadline = monotonic() + self.timeout
        task = asyncio.current_task()
        assert task is not None
        try:
            return await method(*args, **kwargs)
        except (Exception, asyncio.CancelledError) as error:
            cancelled = isinstance(error, asyncio.CancelledError)
            if cancelled and task.cancelling() > calls.expired:
                raise  # the whole term is being cancelled
            if calls.expired:
                raise CallError(f"no answer within {self.timeout:g} s", blocked=True) from error
            text = "the call cancelled itself" if cancelled else f"{type(error).__name__}: {error}"
            raise CallError(text, blocked=False) from error
        finally:
            calls.deadline = inf
            if calls.given_up:
                raise asyncio.CancelledError
            if calls.expired:
                calls.expired = False
                task.uncancel()

    async def run(
        self,
        works: Mapping[W, Callable[[WorkerCalls[W]], Coroutine[Any, Any, None]]],
        on_given_up: Callable[[W], None],
    ) -> None:
        """Run the calls of each worker; returns when all have ended or were given up."""
        calls_of: dict[asyncio.Task[None], WorkerCalls[W]] = {}
        for worker, work in works.items():
            calls = WorkerCalls(worker)
            calls_of[asyncio.create_task(work(calls))] = calls
        pending = set(calls_of)
        try:
            while pending:
                # A call that starts meanwhile has its deadline after `timeout` seconds or later.
                wait = min(calls_of[task].deadline for task in pending) - monotonic()
                _, pending = await asyncio.wait(pending, timeout=max(0.0, min(wait, self.timeout)))
                now = monotonic()
                for task in [task for task in pending if calls_of[task].deadline <= now]:
                    calls = calls_of[task]
                    if calls.expired:
                        pending.discard(task)
                        self._give_up(task, calls)
                        on_given_up(calls.worker)
                    else:
                        calls.expired, calls.deadline = True, now + self.grace
                        task.cancel()
        except asyncio.CancelledError:
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending, timeout=self.grace)
            raise
        finally:
            for task in pending:
                if not task.done():
                    self._give_up(task, calls_of[task])
        for task, calls in calls_of.items():
            if not calls.given_up:
                task.result()

    def _give_up(self, task: asyncio.Task[None], calls: WorkerCalls[W]) -> None:
        calls.given_up = True
        self._stuck[task] = calls.worker
        task.add_done_callback(self._ended)
        task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._stuck.pop(task, None)
        if not task.cancelled():
            task.exception()  # retrieve it, so that asyncio does not report it
