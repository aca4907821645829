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
    the Lease lost, after `lease_duration - margin` the last of its requests has ended, and only after
    `lease_duration` (counted from a later moment) may anybody else take it. A renewal is sent every
    `retry_period`.
    """

    lease_duration: float
    renew_deadline: float
    retry_period: float
    margin: float

    @classmethod
    def of(
        cls,
        lease_duration: float = 15.0,
        renew_deadline: float | None = None,
        retry_period: float | None = None,
        margin: float | None = None,
    ) -> Self:
        """Defaults: margin 1/15 of the duration, renewal every 2/15, deadline at the margin.

        Raises ValueError if the periods contradict each other.
        """
        margin = lease_duration / 15 if margin is None else margin
        renew_deadline = lease_duration - margin if renew_deadline is None else renew_deadline
        retry_period = lease_duration * 2 / 15 if retry_period is None else retry_period
        if not 0 < retry_period < renew_deadline <= lease_duration - margin or margin < 0:
            raise ValueError(
                f"a Lease needs 0 < retry_period ({retry_period:g}) < renew_deadline ({renew_deadline:g})"
                f" <= lease_duration ({lease_duration:g}) - margin ({margin:g})"
            )
        return cls(lease_duration, renew_deadline, retry_period, margin)

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
            self._sent = sent if now < sent + self._timing.renew_deadline else None
            return self._sent is not None

    def extend(self, sent: float, now: float) -> bool:
        """Record a renewal sent at `sent`; False if the Lease had lapsed before the answer arrived."""
        with self._lock:
            if self._sent is None or now >= self._sent + self._timing.renew_deadline:
                self._sent = None
                return False
            self._sent = max(self._sent, sent)
            return True

    def end(self) -> None:
        """Consider the Lease lost."""
        with self._lock:
            self._sent = None

    def held(self, now: float) -> bool:
        """Whether the Lease is certainly ours at `now`."""
        with self._lock:
            if self._sent is not None and now >= self._sent + self._timing.renew_deadline:
                self._sent = None
            return self._sent is not None

    def until(self) -> float | None:
        """When it counts as lost unless it is renewed; None if it is not held."""
        with self._lock:
            return None if self._sent is None else self._sent + self._timing.renew_deadline

    def deadline(self) -> float | None:
        """When the last request that relies on it must have ended; None if it is not held."""
        with self._lock:
            return (
                None if self._sent is None else self._sent + self._timing.lease_duration - self._timing.margin
            )
