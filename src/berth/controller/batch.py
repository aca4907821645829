"""Gathers a burst of events into one round: quiet for 20 ms, or 500 ms at most."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

QUIET = 0.020
LONGEST = 0.500


class Batch:
    """A wake-up call that waits for the burst to end. For one event loop."""

    def __init__(self, quiet: float = QUIET, longest: float = LONGEST) -> None:
        self._quiet = quiet
        self._longest = longest
        self._event = asyncio.Event()
        self._last = 0.0
        self._since: float | None = None

    def wake(self) -> None:
        """Something happened."""
        self._last = time.monotonic()
        if self._since is None:
            self._since = self._last
        self._event.set()

    @property
    def age(self) -> float:
        """Seconds since the first event that no round has served; 0 without one."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def take(self) -> float | None:
        """When the first event came that is to be served now (monotonic seconds); later ones count anew."""
        since, self._since = self._since, None
        return since

    def put_back(self, since: float | None) -> None:
        """What came at `since` was not served after all."""
        if since is not None:
            self._since = since if self._since is None else min(since, self._since)

    async def wait(self, until: float | None, thinking: Callable[[], None] | None = None) -> None:
        """Return after the next burst of events, or at `until` (monotonic seconds).

        `thinking` is called when a burst has begun, and when it went on after that: while nothing may be
        done yet there is time to think.
        """
        timeout = None if until is None else max(0.0, until - time.monotonic())
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return
        started = time.monotonic()

        def left() -> float:
            return min(self._last + self._quiet, started + self._longest) - time.monotonic()

        # A later event moves the end of the burst, it does not signal it.
        while left() > 0:
            if thinking is not None:
                thinking()
                if time.monotonic() > self._last + self._quiet:
                    self._last = time.monotonic()  # nothing could be heard meanwhile
            await asyncio.sleep(max(0.0, left()))  # none is left where thinking took the longest time
        self._event.clear()
