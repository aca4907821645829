"""Notices from another thread that an event loop is blocked."""

import asyncio
import contextlib

__all__ = ["Watchdog"]

STEPS = 4


class Watchdog:
    """Asks a loop for a sign of life each `period` seconds; it is blocked when it owes `STEPS` of them.

    Counting unanswered questions instead of seconds makes a process that was stopped as a whole (SIGSTOP, a
    suspended machine) count for one, not for a blocked loop.
    """

    def __init__(self, limit: float) -> None:
        """`limit`: seconds that the loop may be blocked."""
        self.limit = limit
        self.period = limit / STEPS
        self._owed = 0
        self._due = 0.0

    def reset(self) -> None:
        """Forget what is owed."""
        self._owed = 0

    def blocked(self, loop: asyncio.AbstractEventLoop, now: float) -> bool:
        """Whether the loop owes too many answers; asks once more where that is due."""
        if now < self._due:
            return False
        self._due = now + self.period
        if self._owed >= STEPS:
            return True
        self._owed += 1
        with contextlib.suppress(RuntimeError):  # a closed loop answers nothing
            loop.call_soon_threadsafe(self.reset)
        return False
