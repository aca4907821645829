"""Measures how long an event loop is held up, and which processes are left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

EVERY = 0.002


@dataclass
class Ticks:
    """The longest time between two ticks beyond what was asked for, in seconds.

    Without the time for which the thread could have run and other processes had the processors: a busy
    machine is not a loop that is held up.
    """

    longest: float = 0.0


def kept_waiting() -> float:
    """Seconds for which this thread has been ready to run and did not."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


@contextlib.asynccontextmanager
async def ticking() -> AsyncIterator[Ticks]:
    """A task that ticks for as long as the context lasts."""
    ticks = Ticks()

    async def tick() -> None:
        while True:
            before = time.perf_counter() - kept_waiting()
            await asyncio.sleep(EVERY)
            ticks.longest = max(ticks.longest, time.perf_counter() - kept_waiting() - before - EVERY)

    task = asyncio.create_task(tick())
    await asyncio.sleep(0)
    try:
        yield ticks
        await asyncio.sleep(EVERY)  # a tick that is late by the last step
    finally:
        task.cancel()


def children() -> set[int]:
    """Processes that this one has started and that run."""
    found = set()
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with contextlib.suppress(OSError):
            found.update(map(int, (task / "children").read_text().split()))
    return {pid for pid in found if _runs(pid)}


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
