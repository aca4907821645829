"""How long a Lease is ours: its periods, the clock that measures them, and until when it is held."""

import threading
import time
from dataclasses import dataclass
from typing import Self


def lease_clock() -> float:
    """Seconds on a clock that never jumps and does not stop while the machine is suspended.

    On Linux `time.monotonic` stops during a suspend, while the Lease expires for everybody else.
    """
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


@dataclass(frozen=True, slots=True)
class Timing:
    """The periods of a Lease, all in seconds.

    The holder counts from the moment it SENT its last successful renewal: after `renew_deadline` it considers
    the Lease lost, after `lease_duration - margin` the last of its requests has ended, and others may take it
    after `lease_duration` (counted from a later moment). A renewal is sent every `retry_period`.
    """

    lease_duration: float
    renew_deadline: float
    retry_period: float

    @classmethod
    def of(
        cls,
        lease_duration: float,
        renew_deadline: float | None = None,
        retry_period: float | None = None,
    ) -> Self:
        """By default it is renewed every 2/15 of its duration, and lost when only the margin is left.

        Raises ValueError if the periods contradict each other.
        """
        latest = lease_duration - lease_duration / 15
        renew_deadline = latest if renew_deadline is None else renew_deadline
        retry_period = lease_duration * 2 / 15 if retry_period is None else retry_period
        if not 0 < retry_period < renew_deadline <= latest:
            raise ValueError(
                f"a Lease needs 0 < retry_period ({retry_period:g}) < renew_deadline ({renew_deadline:g})"
                f" <= 14/15 of lease_duration ({lease_duration:g})"
            )
        return cls(lease_duration, renew_deadline, retry_period)

    @property
    def margin(self) -> float:
        """What is left of the Lease when the last request that relies on it must have ended."""
        return self.lease_duration / 15

    @property
    def attempt(self) -> float:
        """How long one attempt to renew may take, so that three fit before the deadline."""
        return self.renew_deadline / 3


class Validity:
    """Until when a Lease is certainly ours. After it has lapsed only `start` revives it. Thread-safe."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._lock = threading.Lock()
        self._sent: float | None = None

    def start(self, sent: float, now: float) -> bool:
        """Record that the Lease was taken by a request sent at `sent`; False if that is too long ago."""
        with self._lock:
            self._sent = sent
        return self.held(now)

    def extend(self, sent: float, now: float) -> bool:
        """Record a renewal sent at `sent`; False if the Lease had lapsed before the answer arrived."""
        with self._lock:
            self._end_if_lapsed(now)
            if self._sent is not None:
                self._sent = max(self._sent, sent)
            return self._sent is not None

    def end(self) -> None:
        """Consider the Lease lost."""
        with self._lock:
            self._sent = None

    def held(self, now: float) -> bool:
        """Whether the Lease is certainly ours at `now`."""
        with self._lock:
            self._end_if_lapsed(now)
            return self._sent is not None

    def until(self) -> float | None:
        """When it counts as lost unless it is renewed; None if it is not held."""
        return None if (sent := self._sent) is None else sent + self._timing.renew_deadline

    def deadline(self) -> float | None:
        """When the last request that relies on it must have ended; None if it is not held."""
        after = self._timing.lease_duration - self._timing.margin
        return None if (sent := self._sent) is None else sent + after

    def _end_if_lapsed(self, now: float) -> None:
        if self._sent is not None and now >= self._sent + self._timing.renew_deadline:
            self._sent = None
