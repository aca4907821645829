"""Calls to many workers at once: each with a deadline, none of which can hold up a term for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, ParamSpec, TypeVar

from berth.orchestrator.model import W

P = ParamSpec("P")
R = TypeVar("R")


class CallError(Exception):
    """A call raised, or was cancelled when its time had run out."""

    def __init__(self, message: str, *, blocked: bool) -> None:
        super().__init__(message)
        self.blocked = blocked
        """True when the time had run out: more calls would most likely block as well."""


@dataclass(slots=True, eq=False)
class Lane(Generic[W]):
    """The calls to one worker, made one after the other in one asyncio task."""

    worker: W
    deadline: float | None = None
    """Monotonic time at which the running call should have ended; None while none is running."""
    expired: bool = False
    """True when the running call has been cancelled for being late."""
    given_up: bool = False
    """True when it ignored that: what it returns no longer counts."""


class Caller(Generic[W]):
    """Runs lanes side by side, and cancels the calls that take too long.

    One timer serves all lanes: a call only notes its deadline, and `run` wakes at the first one.
    That makes thousands of short calls several times cheaper than a timer of its own for each.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.grace = min(1.0, timeout)
        """Seconds that a cancelled call gets to clean up before its lane is given up."""
        self._stuck: dict[asyncio.Task[None], W] = {}

    @property
    def stuck(self) -> set[W]:
        """Workers with a call that was cancelled and still runs."""
        return set(self._stuck.values())

    async def call(
        self, lane: Lane[W], method: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Await one call of a lane for at most `timeout` seconds; CallError when it fails."""
        lane.deadline = monotonic() + self.timeout
        try:
            return await method(*args, **kwargs)
        except Exception as error:
            if lane.expired:
                raise self._too_late() from error
            raise CallError(f"{type(error).__name__}: {error}", blocked=False) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling() > lane.expired:
                raise  # it is the whole term that is being cancelled
            if lane.expired:
                raise self._too_late() from error
            raise CallError("the call cancelled itself", blocked=False) from error
        finally:
            lane.deadline = None
            if lane.expired:
                lane.expired = False
                if (current := asyncio.current_task()) is not None:
                    current.uncancel()

    async def run(
        self,
        works: Mapping[W, Callable[[Lane[W]], Coroutine[Any, Any, None]]],
        on_given_up: Callable[[W], None],
    ) -> None:
        """Run one lane for each worker and return when all have ended or have been given up."""
        lanes: dict[asyncio.Task[None], Lane[W]] = {}
        for worker, work in works.items():
            lane = Lane(worker)
            lanes[asyncio.create_task(work(lane))] = lane
        pending = set(lanes)
        try:
            while pending:
                _, pending = await asyncio.wait(pending, timeout=self._patience(lanes, pending))
                for task in self._enforce(lanes, pending):
                    pending.discard(task)
                    on_given_up(lanes[task].worker)
        except asyncio.CancelledError:
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending, timeout=self.grace)
            raise
        finally:
            for task in pending:
                if not task.done():
                    self._give_up(task, lanes[task])
        for task, lane in lanes.items():
            if not lane.given_up:
                task.result()

    def _too_late(self) -> CallError:
        return CallError(f"no answer within {self.timeout:g} s", blocked=True)

    def _patience(self, lanes: dict[asyncio.Task[None], Lane[W]], pending: set[asyncio.Task[None]]) -> float:
        """Return the seconds until the first deadline of the calls that are running now.

        A call that begins in the meantime has a later deadline than all of these.
        """
        deadlines = [d for task in pending if (d := lanes[task].deadline) is not None]
        if not deadlines:
            return self.timeout
        return max(0.0, min(deadlines) - monotonic())

    def _enforce(
        self, lanes: dict[asyncio.Task[None], Lane[W]], pending: set[asyncio.Task[None]]
    ) -> list[asyncio.Task[None]]:
        """Cancel the calls that are late; give up and return those that were cancelled before."""
        now = monotonic()
        given_up = []
        for task in pending:
            lane = lanes[task]
            if lane.deadline is None or lane.deadline > now:
                continue
            if lane.expired:
                self._give_up(task, lane)
                given_up.append(task)
            else:
                lane.expired, lane.deadline = True, now + self.grace
                task.cancel()
        return given_up

    def _give_up(self, task: asyncio.Task[None], lane: Lane[W]) -> None:
        lane.given_up = True
        self._stuck[task] = lane.worker
        task.add_done_callback(self._ended)
        task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._stuck.pop(task, None)
        if not task.cancelled():
            task.exception()  # taken, so that asyncio does not report it as lost
