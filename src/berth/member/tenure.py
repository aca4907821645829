"""Until when this process may surely act: a deadline on its own clock, which only a renewal in time moves."""

import sys
import threading
import time
from collections.abc import Callable

if sys.platform == "linux":

    def now() -> float:
        """Seconds on a clock that never goes back and goes on while the machine is suspended."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:

    def now() -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()


class Tenure:
    """The time for which one session may act, extended by each renewal of its Lease.

    Once it has ended it stays ended, even where a late renewal succeeds: in between somebody else
    may have been given what was held. Both `valid` and `extend` look at the clock themselves, so a
    process that was stopped, or whose event loop is blocked, finds out at its first look. May be
    used from any thread.
    """

    __slots__ = ("_clock", "_ended", "_lock", "_until")

    def __init__(self, until: float, clock: Callable[[], float] = now) -> None:
        self._clock = clock
        self._until = until
        self._ended = False
        self._lock = threading.Lock()

    @property
    def until(self) -> float:
        """The deadline, in seconds of the clock."""
        return self._until

    @property
    def left(self) -> float:
        """Seconds for which it is still valid; 0 once it has ended."""
        return max(0.0, self._until - self._clock()) if self.valid() else 0.0

    def valid(self) -> bool:
        """Whether this session may surely still act."""
        if not self._ended and self._clock() >= self._until:
            self._ended = True
        return not self._ended

    def extend(self, until: float) -> bool:
        """Move the deadline to `until`; False, and nothing changes, where the tenure has ended before."""
        with self._lock:
            if not self.valid():
                return False
            self._until = max(self._until, until)
            return True

    def end(self) -> None:
        """End it now, for good."""
        self._ended = True
