"""Gathers a burst of events: quiet for 20 ms, or 500 ms at most."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

QUIET = 0.020
LONGEST = 0.500


class Burst:
    """A wake-up call that waits for the burst of events to end. For one event loop."""

    def __init__(
        self,
        quiet: float = QUIET,
        longest: float = LONGEST,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._quiet = quiet
        self._longest = longest
        self._clock = clock
        self._sleep = sleep
        self._event = asyncio.Event()
        self._last = 0.0

    def wake(self) -> None:
        """Something happened."""
        self._last = self._clock()
        self._event.set()

    async def wait(self, until: float | None) -> None:
        """Return after the next burst of events, or at `until` (monotonic seconds)."""
        timeout = None if until is None else max(0.0, until - self._clock())
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return
        started = self._clock()
        # A later event moves the end of the burst, it does not signal it.
        while (left := min(self._last + self._quiet, started + self._longest) - self._clock()) > 0:
            await self._sleep(left)
        self._event.clear()
