"""Calls to many workers at once: each with a deadline, none of which can hold up a term for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from berth.orchestrator.model import W

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
    deadline: float | None
    """Loop time at which the running call should have ended; None while none is running."""
    overdue: bool = False
    given_up: bool = False
    """True when the running call ignored its cancellation: what it returns no longer counts."""


class Caller(Generic[W]):
    """Runs lanes side by side. Keeps those that ignored their cancellation until they end."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.grace = min(1.0, timeout)
        """Seconds that a cancelled call gets to clean up before its lane is given up."""
        self._stuck: dict[asyncio.Task[None], W] = {}

    @property
    def stuck(self) -> set[W]:
        """Workers with a call that was cancelled and still runs."""
        return set(self._stuck.values())

    async def call(self, lane: Lane[W], awaitable: Callable[[], Awaitable[R]]) -> R:
        """Await one call of a lane for at most `timeout` seconds; CallError when it fails."""
        lane.deadline = asyncio.get_running_loop().time() + self.timeout
        lane.overdue = False
        clock = asyncio.timeout(self.timeout)
        try:
            async with clock:
                return await awaitable()
        except Exception as error:
            if clock.expired():
                raise CallError(f"no answer within {self.timeout:g} s", blocked=True) from error
            raise CallError(f"{type(error).__name__}: {error}", blocked=False) from error
        except asyncio.CancelledError as error:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise  # it is the term that is being cancelled
            raise CallError("the call cancelled itself", blocked=False) from error
        finally:
            lane.deadline = None

    async def run(
        self,
        works: Mapping[W, Callable[[Lane[W]], Coroutine[Any, Any, None]]],
        on_given_up: Callable[[W], None],
    ) -> None:
        """Run one lane for each worker and return when all have ended or have been given up."""
        loop = asyncio.get_running_loop()
        lanes: dict[asyncio.Task[None], Lane[W]] = {}
        for worker, work in works.items():
            lane = Lane(worker, loop.time() + self.timeout)
            lanes[loop.create_task(work(lane))] = lane
        pending = set(lanes)
        try:
            while pending:
                _, pending = await asyncio.wait(pending, timeout=self._patience(lanes, pending))
                for task in self._hopeless(lanes, pending):
                    pending.discard(task)
                    self._give_up(task, lanes[task])
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

    def _patience(self, lanes: dict[asyncio.Task[None], Lane[W]], pending: set[asyncio.Task[None]]) -> float:
        """Return the seconds until the first deadline of a call that is running now."""
        deadlines = [d for task in pending if (d := lanes[task].deadline) is not None]
        if not deadlines:
            return self.timeout
        return max(0.001, min(deadlines) - asyncio.get_running_loop().time())

    def _hopeless(
        self, lanes: dict[asyncio.Task[None], Lane[W]], pending: set[asyncio.Task[None]]
    ) -> list[asyncio.Task[None]]:
        """Return the tasks whose call has outlived its cancellation by the grace period.

        The grace period begins when the call is first seen to be late, not when it should have
        ended: where the event loop itself had stalled, the cancellation comes late as well.
        """
        now = asyncio.get_running_loop().time()
        hopeless = []
        for task in pending:
            lane = lanes[task]
            if lane.deadline is None or lane.deadline > now:
                continue
            if lane.overdue:
                hopeless.append(task)
            else:
                lane.overdue, lane.deadline = True, now + self.grace
        return hopeless

    def _give_up(self, task: asyncio.Task[None], lane: Lane[W]) -> None:
        lane.given_up = True
        self._stuck[task] = lane.worker
        task.add_done_callback(self._ended)
        task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._stuck.pop(task, None)
        if not task.cancelled():
            task.exception()  # taken, so that asyncio does not report it as lost
