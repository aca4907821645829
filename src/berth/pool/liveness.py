"""Which Members are live, judged by when this observer observed their Leases change.

The idea is client-go's leader election: `renewTime` is only ever compared with its earlier value, never with
a clock. What counts is the observer's own monotonic clock when it observed the change.

Events alone prove no death: a watch may be late, silent or hung, and then every Lease seems to expire. So a
Lease that has expired according to the events is read from the API server, and its holder counts as dead only
if the read shows no renewal either. A read that fails proves nothing.
"""

import heapq
import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from msgspec import structs

from berth.kinds import LeaseObject, LeaseSpec, Meta

DEFAULT_DURATION = 15.0  # seconds assumed if a Lease does not say how long it lasts
MAX_FORMER = 8  # former holders that are remembered of each Lease: more restarts than a leader may miss
UNKNOWN = "?"  # stands for the holder of a Lease that was deleted before this observer knew of it


class Liveness(Enum):
    """What is known of a Member's process."""

    LIVE = "Live"  # its Lease is renewed, or it needs none
    MISSING = "LeaseMissing"  # it names a Lease that does not exist yet
    RELEASED = "LeaseReleased"  # its Lease has no holder: the process gave it up itself
    EXPIRED = "LeaseExpired"
    """Its Lease was not renewed for its duration, as a read confirmed; the process may not know it yet."""
    LONG_EXPIRED = "LeaseLongExpired"
    """Expired for a full safety margin more, as a read confirmed: the process has stopped itself."""


def safety_margin(duration: float) -> float:
    """Seconds for which a Lease must have been expired until its holder is guaranteed to have stopped.

    Covers a difference in the rates of two clocks of up to a tenth and the holder's last request.
    """
    return max(1.0, duration / 10)


@dataclass(frozen=True, slots=True)
class LeaseWatch:
    """A Lease and when it was last observed to change; `at` is on the observer's monotonic clock."""

    lease: LeaseObject
    at: float
    deleted: bool = False  # the object is gone; it counts until it would have expired, as its holder may run
    found_dead: bool = False  # by the leader before this one: it counts as expired until it is renewed
    renewed: bool = False  # whether this observer has observed it change
    read_at: float = -math.inf  # when the last read that showed no renewal was started
    read_version: int = 0  # resourceVersion that a read has shown: an event of an older one is out of date

    def observe(self, lease: LeaseObject, now: float) -> "LeaseWatch":
        """The watch after `lease` was observed at `now`; only a renewal restarts its duration."""
        if not self.is_renewed_by(lease):
            return replace(self, lease=lease)
        return LeaseWatch(lease, now, renewed=True, read_version=self.read_version)

    def is_newer_than(self, lease: LeaseObject) -> bool:
        """Whether a read has shown a newer version than that of an event."""
        return 0 < _version(lease) < self.read_version

    def is_renewed_by(self, lease: LeaseObject) -> bool:
        """Whether `lease` was renewed, released or created since the last observation."""
        duration = lease.spec.lease_duration_seconds  # if only this differs, nothing has happened
        return self.deleted or structs.replace(self.lease.spec, lease_duration_seconds=duration) != lease.spec

    @property
    def holder(self) -> str:
        """holderIdentity; empty if it was released."""
        return self.lease.spec.holder_identity or ""

    @property
    def duration(self) -> float:
        """Seconds that the Lease lasts."""
        return float(self.lease.spec.lease_duration_seconds or DEFAULT_DURATION)

    @property
    def expires(self) -> float:
        """When the Lease expires if it is not renewed."""
        return self.at + self.duration

    @property
    def long_expires(self) -> float:
        """When its holder is guaranteed to have stopped if it is not renewed."""
        return self.expires + safety_margin(self.duration)

    def liveness(self, now: float) -> Liveness:
        """The state at `now`."""
        if not self.holder:
            return Liveness.RELEASED
        if self._proven(self.long_expires, now):
            return Liveness.LONG_EXPIRED
        if self.found_dead or self._proven(self.expires, now):
            return Liveness.EXPIRED
        return Liveness.LIVE

    def unread(self, now: float) -> bool:
        """Whether it has expired according to the events, and no read has confirmed that yet.

        A read is due when it expires, and once more when its holder must have stopped: it may have been
        renewed at the last moment.
        """
        if not self.holder or now < self.expires:
            return False
        return not self._proven(self.long_expires if now >= self.long_expires else self.expires, now)

    @property
    def unconfirmed(self) -> bool:
        """Whether its holder counts as dead only because the leader before this one found it dead."""
        confirmed = self.deleted or not self.holder or self.read_at >= self.expires
        return self.found_dead and not confirmed

    def _proven(self, moment: float, now: float) -> bool:
        """Whether it was not renewed up to `moment`: a read started since then shows so, or it is deleted."""
        return now >= moment and (self.deleted or self.read_at >= moment)

    def next_change(self, now: float) -> float | None:
        """The moment after `now` at which a read is due or the state changes by itself, or None."""
        if not self.holder or now >= self.long_expires:
            return None
        return self.expires if now < self.expires else self.long_expires


def _version(lease: LeaseObject) -> int:
    """resourceVersion, 0 if unknown."""
    return int(lease.metadata.resource_version or 0)


class ReadResult(NamedTuple):
    """What a read of a Lease has changed."""

    changed: bool = False  # its state or its holder, so that what depends on it must be checked again
    missed: bool = False  # it showed what the watch had not: the watch is late or silent


class Leases:
    """The Leases of one namespace by name, and a queue of the moments at which they expire.

    One that has expired according to the events is in `unread` until `put_read` brings the result of a read.
    Until then its holder counts as live.
    """

    def __init__(self) -> None:
        self._watches: dict[str, LeaseWatch] = {}
        self._queue: list[tuple[float, str]] = []
        self._queued: dict[str, float] = {}  # the moment for which each Lease in the queue is due
        self._last: dict[str, Liveness] = {}
        self._unread: set[str] = set()
        self._former: dict[str, tuple[str, ...]] = {}
        """Holders that each Lease had before the present one, oldest first, as events or reads have shown."""
        self._confirmed: dict[str, tuple[str, str]] = {}

    def put(self, lease: LeaseObject, now: float) -> bool:
        """Note a Lease as an event shows it at `now` (monotonic seconds); True if that changes anything.

        An event that is older than what a read has shown is out of date and changes nothing.
        """
        old = self._watches.get(lease.metadata.name)
        if old is not None and old.is_newer_than(lease):
            return False
        return self._set(old.observe(lease, now) if old else LeaseWatch(lease, now), now)

    def delete(self, lease: LeaseObject, now: float) -> None:
        """Note that a Lease object is gone; `lease` is as the last event had shown it."""
        watch = self._watches.get(lease.metadata.name)
        if watch is not None and not watch.is_newer_than(lease):
            self._set(replace(watch, deleted=True), now)

    def unread(self) -> AbstractSet[str]:
        """Leases that have expired according to the events, which no read has confirmed yet."""
        return self._unread

    def put_read(self, name: str, lease: LeaseObject | None, started: float, now: float) -> ReadResult:
        """Note what a read has shown that was started at `started`; `lease` None: there is none of that name.

        If an event came meanwhile the result is out of date, and changes nothing.
        """
        old = self._watches.get(name)
        if old is None or old.at > started:
            return ReadResult()
        if lease is None:
            new, missed = replace(old, deleted=True), not old.deleted
        elif missed := old.is_renewed_by(lease):
            new = replace(old.observe(lease, now), read_version=_version(lease))
        else:
            new = replace(old, lease=lease, read_at=started, read_version=_version(lease))
        return ReadResult(self._set(new, now), missed)

    def restart(
        self, now: float, dead: AbstractSet[str] = frozenset(), missing: AbstractSet[str] = frozenset()
    ) -> list[str]:
        """Forget what reads have shown, for a leader that has just taken over: that may be long ago.

        `dead` names those whose holders the leader before it found dead: unless a renewal was observed
        since, they count as expired. `missing` names those whose holders it found live: one that was never
        observed, because it was deleted meanwhile, counts from now on. Returns the names of those that
        changed.
        """
        for name in missing - self._watches.keys() - dead:
            self._watches[name] = LeaseWatch(LeaseObject(Meta(name), LeaseSpec(UNKNOWN)), now, deleted=True)
        changed = []
        for name, watch in list(self._watches.items()):
            live = watch.renewed and now < watch.expires and bool(watch.holder)
            new = replace(watch, found_dead=name in dead and not live, read_at=-math.inf)
            if self._set(new, now):
                changed.append(name)
        return changed

    def state(self, name: str) -> Liveness:
        """The state of a Lease as of the last change of it that was returned; MISSING if never observed."""
        return self._last.get(name, Liveness.MISSING)

    def liveness(self, name: str, now: float) -> Liveness:
        """The state of a Lease at `now`; MISSING if it was never observed."""
        watch = self._watches.get(name)
        return watch.liveness(now) if watch else Liveness.MISSING

    def holder(self, name: str) -> str:
        """holderIdentity as last observed, or the empty string."""
        watch = self._watches.get(name)
        return watch.holder if watch else ""

    def confirm(self, name: str, session: str) -> None:
        """Note that a read has shown the holder that was observed last, while entries were for `session`."""
        self._confirmed[name] = (session, self.holder(name))

    def follows(self, name: str, session: str) -> bool:
        """Whether the holder as last observed is known to have had the Lease later than `session`.

        If the watch of Leases lags, a new leader observes holders that have already been replaced.
        """
        confirmed = self._confirmed.get(name) == (session, self.holder(name))
        return confirmed or session in self._former.get(name, ())

    def expired_at(self, name: str, now: float) -> float:
        """When the Lease expired or was released; `now` if it has not or was never observed."""
        watch = self._watches.get(name)
        return now if watch is None else min(now, watch.expires if watch.holder else watch.at)

    def silence(self, name: str, now: float) -> tuple[float, float, bool]:
        """Seconds that a Lease lasts, seconds since an observed renewal, whether it is `unconfirmed`."""
        watch = self._watches.get(name)
        return (watch.duration, now - watch.at, watch.unconfirmed) if watch else (0.0, 0.0, False)

    def next_change(self) -> float | None:
        """The next moment to call `advance`, or None. May be early, never late."""
        return self._queue[0][0] if self._queue else None

    def advance(self, now: float) -> list[str]:
        """Names of Leases whose state changed by the passing of time up to `now`."""
        changed = []
        while self._queue and self._queue[0][0] <= now:
            at, name = heapq.heappop(self._queue)
            if self._queued.get(name) != at:
                continue  # it was queued again for an earlier moment, which has come
            del self._queued[name]
            watch = self._watches.get(name)
            if watch is None:
                continue
            if self._set(watch, now):
                changed.append(name)
            if watch.deleted and watch.liveness(now) in (Liveness.LONG_EXPIRED, Liveness.RELEASED):
                del self._watches[name], self._last[name]
                self._former.pop(name, None)
                self._confirmed.pop(name, None)
        return changed

    def _set(self, watch: LeaseWatch, now: float) -> bool:
        """Make this the watch of its Lease; True if what depends on the Lease must be checked again."""
        name = watch.lease.metadata.name
        old, self._watches[name] = self._watches.get(name), watch
        was, self._last[name] = self._last.get(name), watch.liveness(now)
        if old is not None and old.holder not in ("", watch.holder):
            former = (*self._former.get(name, ()), old.holder)
            self._former[name] = former[-MAX_FORMER:]
        was_unread, unread = name in self._unread, watch.unread(now)
        if unread:
            self._unread.add(name)
        else:
            self._unread.discard(name)
        # One place in the queue for each Lease: a renewal moves the true moment later, and the queued one is
        # then merely early. 1,000 renewals a second cost 1,000 look-ups. Only a Lease that was renewed for a
        # shorter time than before is due earlier than it was queued for.
        at = watch.next_change(now)
        if at is not None and at < self._queued.get(name, math.inf):
            heapq.heappush(self._queue, (at, name))
            self._queued[name] = at
        same = old is not None and old.holder == watch.holder and was is self._last[name]
        return not same or (was_unread and not unread)
