"""Is a Member alive? Decided by when this observer saw its Lease change, never by the Member's clock.

The idea is client-go's leader election: `renewTime` is only ever compared with its earlier value;
what counts is the observer's own monotonic clock at the moment the value was observed to change.

Events alone prove no death: a watch may be late, silent or hung, and then every Lease seems to run out. So
a Lease that ran out by what the events have shown is read from the API server, and its holder counts as
dead only if the read shows no renewal either. A read that fails proves nothing.
"""

from __future__ import annotations

import math
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
    RELEASED = "LeaseReleased"
    """Its Lease has no holder: the process gave it up itself."""
    EXPIRED = "LeaseExpired"
    """Its Lease was not renewed for its duration, as a read confirmed; the process may not know it yet."""
    LONG_EXPIRED = "LeaseLongExpired"
    """Expired for a full safety margin more, as a read confirmed: whatever ran there has stopped itself."""


class LeaseInfo(NamedTuple):
    """A Lease as last observed."""

    name: str
    holder: str = ""
    renewed: str = ""
    """`spec.renewTime`, only compared for equality."""
    duration: float = DEFAULT_DURATION
    """Seconds."""
    transitions: int = 0
    version: int = 0
    """resourceVersion, 0 if unknown."""


def safety_margin(duration: float) -> float:
    """Seconds that a Lease must have been expired before its holder has surely stopped.

    Covers a difference in the rates of two clocks of up to a tenth and the holder's last request.
    """
    return max(1.0, duration / 10)


@dataclass(frozen=True, slots=True)
class LeaseWatch:
    """A Lease and when it was last observed to change; `at` is on the observer's monotonic clock."""

    lease: LeaseInfo
    at: float
    deleted: bool = False
    given_up: bool = False
    """The leader before this one had found it dead; it counts as expired until it is renewed."""
    renewed: bool = False
    """Whether this observer has observed it change."""
    read_at: float = -math.inf
    """When the last read that showed no renewal was started."""
    read_version: int = 0
    """resourceVersion that a read has shown: an event of an older one is out of date."""

    def observe(self, lease: LeaseInfo, now: float) -> LeaseWatch:
        """The watch after `lease` was observed at `now`; only a renewal starts the count again."""
        if not self.shows_news(lease):
            return replace(self, lease=lease)
        return LeaseWatch(lease, now, renewed=True, read_version=self.read_version)

    def shows_news(self, lease: LeaseInfo) -> bool:
        """Whether `lease` was renewed, released or created since what was observed last."""
        old = self.lease
        same = (old.holder, old.renewed, old.transitions) == (lease.holder, lease.renewed, lease.transitions)
        return self.deleted or not same

    def vanish(self) -> LeaseWatch:
        """The watch after the Lease object was deleted: its holder may still run until it would expire."""
        return replace(self, deleted=True)

    @property
    def expires(self) -> float:
        """When the Lease runs out if it is not renewed."""
        return self.at + self.lease.duration

    @property
    def long_expires(self) -> float:
        """When its holder has surely stopped if it is not renewed."""
        return self.expires + safety_margin(self.lease.duration)

    def liveness(self, now: float) -> Liveness:
        """The state at `now`."""
        if not self.lease.holder:
            return Liveness.RELEASED
        if self._proven(self.long_expires, now):
            return Liveness.LONG_EXPIRED
        if self.given_up or self._proven(self.expires, now):
            return Liveness.EXPIRED
        return Liveness.LIVE

    def unread(self, now: float) -> bool:
        """Whether it ran out by what the events have shown, and no read has confirmed that yet.

        A read is due when it expires, and once more when its holder has surely stopped: it may have been
        renewed at the last moment.
        """
        if not self.lease.holder or now < self.expires:
            return False
        return not self._proven(self.long_expires if now >= self.long_expires else self.expires, now)

    @property
    def doubted(self) -> bool:
        """Whether only the leader before this one has found that its holder is dead."""
        found_dead = self.deleted or not self.lease.holder or self.read_at >= self.expires
        return self.given_up and not found_dead

    def _proven(self, moment: float, now: float) -> bool:
        """Whether it was not renewed up to `moment`: a read started since then says so, or it is deleted."""
        return now >= moment and (self.deleted or self.read_at >= moment)

    def next_change(self, now: float) -> float | None:
        """The moment after `now` at which a read is due or the state changes by itself, or None."""
        if not self.lease.holder or now >= self.long_expires:
            return None
        return self.expires if now < self.expires else self.long_expires
