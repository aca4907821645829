"""Whether this process may certainly still act for the session under which it holds an Item."""

from collections.abc import Callable


class Tenure:
    """One session's right to act: while its Lease is certainly held, and never again once it was not.

    Meanwhile another Member may have been given its Items. Each check reads the clock, so a process that was
    stopped, or whose event loop was blocked, knows at its first check. Thread-safe.
    """

    __slots__ = ("_ended", "_seconds")

    def __init__(self, seconds: Callable[[], float]) -> None:
        """`seconds` returns for how long the Lease is certainly still held; 0 or less if it is not."""
        self._seconds = seconds
        self._ended = False

    def valid(self) -> bool:
        """Whether this session may certainly still act."""
        return self.left > 0.0

    @property
    def left(self) -> float:
        """Seconds for which it may certainly act without another renewal; 0 once it has ended."""
        if self._ended:
            return 0.0
        seconds = self._seconds()
        if seconds <= 0.0:
            self._ended = True
            return 0.0
        return seconds

    def end(self) -> None:
        """End it, for good."""
        self._ended = True


def never() -> Tenure:
    """A tenure that has ended."""
    return Tenure(lambda: 0.0)
