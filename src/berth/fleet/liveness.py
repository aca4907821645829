"""Is a Member alive? Decided from what this observer saw of its Lease and when, never from its clock.

The idea is client-go's leader election: `renewTime` is only ever compared with its earlier value;
what counts is the observer's own monotonic clock at the moment the value was seen to change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

DEFAULT_DURATION = 15.0
"""Seconds assumed where a Lease does not say how long it lasts."""


class Liveness(Enum):
    """What is known of a Member's process."""

    LIVE = "Live"
    """Its Lease is renewed, or it needs none."""
    MISSING = "LeaseMissing"
    """It names a Lease that nobody has created yet."""
    FREED = "LeaseReleased"
    """Its Lease has no holder: the process gave it up itself."""
    EXPIRED = "LeaseExpired"
    """Its Lease was not renewed for its duration; the process may believe otherwise for a moment."""
    SURE = "LeaseLongExpired"
    """Expired for a full safety margin more: whatever ran there has stopped itself."""


class LeaseSeen(NamedTuple):
    """A Lease as last seen."""

    name: str
    holder: str = ""
    renewed: str = ""
    """`spec.renewTime`, only compared for equality."""
    duration: float = DEFAULT_DURATION
    """Seconds."""
    transitions: int = 0


def safety_margin(duration: float) -> float:
    """Seconds that a Lease must have been expired before its holder has surely stopped.

    Covers a difference in the rates of two clocks of up to a tenth and the holder's last request.
    """
    return max(1.0, duration / 10)


@dataclass(frozen=True, slots=True)
class LeaseWatch:
    """A Lease and when it was last seen to change; `at` is on the observer's monotonic clock."""

    lease: LeaseSeen
    at: float
    deleted: bool = False
    silent: bool = False
    """Believed dead before this observer began to count; counts as expired until it is renewed."""
    renewed: bool = False
    """Whether this observer has seen it change."""
    delays: int = 0
    """How often it was given more time since, because the observer was held up."""

    def observe(self, lease: LeaseSeen, now: float) -> LeaseWatch:
        """The watch after `lease` was seen at `now`; only a renewal starts the count again."""
        old = self.lease
        same = (old.holder, old.renewed, old.transitions) == (lease.holder, lease.renewed, lease.transitions)
        if same and not self.deleted:
            return replace(self, lease=lease)
        return LeaseWatch(lease, now, renewed=True)

    def vanish(self) -> LeaseWatch:
        """The watch after the Lease object was deleted: its holder may still run until it would expire."""
        return replace(self, deleted=True)

    @property
    def expires(self) -> float:
        """When the Lease runs out if it is not renewed."""
        return self.at + self.lease.duration

    @property
    def sure(self) -> float:
        """When its holder has surely stopped if it is not renewed."""
        return self.expires + safety_margin(self.lease.duration)

    def liveness(self, now: float) -> Liveness:
        """The state at `now`."""
        if not self.lease.holder:
            return Liveness.FREED
        if now < self.expires:
            return Liveness.EXPIRED if self.silent else Liveness.LIVE
        return Liveness.EXPIRED if now < self.sure else Liveness.SURE

    def next_change(self, now: float) -> float | None:
        """The moment after `now` at which the state changes by itself, or None."""
        if not self.lease.holder or now >= self.sure:
            return None
        return self.expires if now < self.expires else self.sure
