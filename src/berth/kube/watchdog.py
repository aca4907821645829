"""Notices from another thread that an event loop is blocked."""

import asyncio
import contextlib

STEPS = 4


class Watchdog:
    """Sends a ping to a loop every `period` seconds; the loop is blocked when it owes `STEPS` answers.

    Counting unanswered pings instead of seconds makes a process that was stopped as a whole (SIGSTOP, a
    suspended machine) owe one answer, not all.
    """

    def __init__(self, limit: float, loop: asyncio.AbstractEventLoop) -> None:
        """`limit`: seconds for which `loop` may be blocked."""
        self.limit = limit
        self.period = limit / STEPS
        self._loop = loop
        self._owed = 0
        self._due = 0.0

    def reset(self) -> None:
        """Forget unanswered pings."""
        self._owed = 0

    def blocked(self, now: float) -> bool:
        """Whether the loop owes too many answers; sends another ping if one is due."""
        if now < self._due:
            return False
        self._due = now + self.period
        if self._owed >= STEPS:
            return True
        self._owed += 1
        with contextlib.suppress(RuntimeError):  # a closed loop answers nothing
            self._loop.call_soon_threadsafe(self.reset)
        return False
