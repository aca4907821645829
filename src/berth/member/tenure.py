"""Whether this process may surely still act for the session that an Item is held under."""

from collections.abc import Callable


class Tenure:
    """One session's right to act: as long as its Lease is surely held, and never again once it was not.

    In between somebody else may have been given what was held here. Each look asks the Lease's keeper,
    which reads the clock, so a process that was stopped, or whose event loop is blocked, finds out at its
    first look. May be used from any thread.
    """

    __slots__ = ("_ended", "_seconds")

    def __init__(self, seconds: Callable[[], float]) -> None:
        """`seconds` gives the time for which the Lease is surely held from now; 0 or less once it is not."""
        self._seconds = seconds
        self._ended = False

    def valid(self) -> bool:
        """Whether this session may surely still act."""
        return self.left > 0.0

    @property
    def left(self) -> float:
        """Seconds for which it may surely act if the Lease is not renewed again; 0 once it has ended."""
        if self._ended:
            return 0.0
        seconds = self._seconds()
        if seconds <= 0.0:
            self._ended = True
            return 0.0
        return seconds

    def end(self) -> None:
        """End it now, for good."""
        self._ended = True


def never() -> Tenure:
    """A tenure that has ended."""
    return Tenure(lambda: 0.0)
