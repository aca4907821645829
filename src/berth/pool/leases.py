"""The Leases of one namespace: who is alive now, and when that will next change by itself."""

from __future__ import annotations

import heapq
import math
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import NamedTuple

from berth.pool.liveness import LeaseInfo, LeaseWatch, Liveness

MAX_FORMER = 8
"""Former holders that are remembered of each Lease: more restarts than a leader may miss."""
UNKNOWN = "?"
"""Stands for the holder of a Lease that was deleted before this observer knew of it."""


class Answer(NamedTuple):
    """What a read of a Lease has changed."""

    changed: bool = False
    """Its state or its holder, so that whoever uses it must look again."""
    unseen: bool = False
    """It showed what the watch had not: the watch is late or silent."""


class Leases:
    """Watches of Leases by name, and a queue of the moments at which they run out.

    One that runs out by what the events have shown is in `unread` until the answer of a read comes back by
    `put_read`. Until then its holder counts as live.
    """

    def __init__(self) -> None:
        self._watches: dict[str, LeaseWatch] = {}
        self._queue: list[tuple[float, str]] = []
        self._queued: dict[str, float] = {}
        """The moment at which each Lease in the queue comes up."""
        self._last: dict[str, Liveness] = {}
        self._unread: set[str] = set()
        self._former: dict[str, tuple[str, ...]] = {}
        """Holders that each Lease had before the present one, oldest first, as events or reads have shown."""
        self._confirmed: dict[str, tuple[str, str]] = {}

    def put(self, lease: LeaseInfo, now: float) -> bool:
        """Note a Lease as an event shows it at `now` (monotonic seconds); True if that changes anything.

        An event that is older than what a read has shown is out of date and changes nothing.
        """
        old = self._watches.get(lease.name)
        if old is not None and lease.version and lease.version < old.read_version:
            return False
        return self._set(old.observe(lease, now) if old else LeaseWatch(lease, now), now)

    def delete(self, name: str, now: float, version: int = 0) -> None:
        """Note that a Lease object is gone; it goes on to count until it would have expired.

        `version` is the resourceVersion that the event had shown last, 0 if unknown.
        """
        watch = self._watches.get(name)
        if watch is not None and not (version and version < watch.read_version):
            self._set(watch.vanish(), now)

    def unread(self) -> AbstractSet[str]:
        """Leases that ran out by what the events have shown, which no read has confirmed yet."""
        return self._unread

    def put_read(self, name: str, lease: LeaseInfo | None, started: float, now: float) -> Answer:
        """Note what a read has shown that was started at `started`; `lease` None: there is none of that name.

        If an event came meanwhile the answer is out of date, and changes nothing.
        """
        old = self._watches.get(name)
        if old is None or old.at > started:
            return Answer()
        if lease is None:
            new, unseen = old.vanish(), not old.deleted
        elif unseen := old.shows_news(lease):
            new = replace(old.observe(lease, now), read_version=lease.version)
        else:
            new = replace(old, lease=lease, read_at=started, read_version=lease.version)
        return Answer(self._set(new, now), unseen)

    def restart(
        self, now: float, dead: AbstractSet[str] = frozenset(), missing: AbstractSet[str] = frozenset()
    ) -> list[str]:
        """Forget what reads have shown, for a leader that has just taken over: that may be long ago.

        `dead` names those that the leader before it had found dead: unless a renewal was observed since,
        they count as expired. `missing` names those whose holders it had found live: one that was never
        observed, as somebody has deleted it meanwhile, counts from now on. Returns the names of those that
        changed.
        """
        changed = []
        for name in missing - self._watches.keys() - dead:
            self._watches[name] = LeaseWatch(LeaseInfo(name, holder=UNKNOWN), now, deleted=True)
        for name, watch in list(self._watches.items()):
            live = watch.renewed and now < watch.expires and bool(watch.lease.holder)
            new = replace(watch, given_up=name in dead and not live, read_at=-math.inf)
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
        return watch.lease.holder if watch else ""

    def confirm(self, name: str, session: str) -> None:
        """Note that a read has shown the holder that was observed last, while entries were for `session`."""
        self._confirmed[name] = (session, self.holder(name))

    def follows(self, name: str, session: str) -> bool:
        """Whether the holder as last observed surely had the Lease later than `session`.

        Where the watch of Leases lags, a new leader observes holders that have already been replaced.
        """
        return session in self._former.get(name, ()) or self._confirmed.get(name) == (
            session,
            self.holder(name),
        )

    def expired_for(self, name: str, now: float) -> float:
        """Seconds since the Lease ran out or was given up; 0 while it has not."""
        watch = self._watches.get(name)
        if watch is None:
            return 0.0
        return max(0.0, now - (watch.expires if watch.lease.holder else watch.at))

    def silence(self, name: str, now: float) -> tuple[float, float, bool]:
        """Seconds that a Lease lasts, seconds since it was last observed renewed, whether its end is doubted.

        It is if the holder counts as dead only because the leader before this one had found it dead.
        """
        watch = self._watches.get(name)
        return (watch.lease.duration, now - watch.at, watch.doubted) if watch else (0.0, 0.0, False)

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
        """Make this the watch of its Lease; True if whoever uses the Lease must look at it again."""
        name = watch.lease.name
        old, self._watches[name] = self._watches.get(name), watch
        was, self._last[name] = self._last.get(name), watch.liveness(now)
        if old is not None and old.lease.holder not in ("", watch.lease.holder):
            former = (*self._former.get(name, ()), old.lease.holder)
            self._former[name] = former[-MAX_FORMER:]
        was_unread, unread = name in self._unread, watch.unread(now)
        if unread:
            self._unread.add(name)
        else:
            self._unread.discard(name)
        self._enqueue(name, now)
        same = old is not None and old.lease.holder == watch.lease.holder and was is self._last[name]
        return not same or (was_unread and not unread)

    def _enqueue(self, name: str, now: float) -> None:
        # One place in the queue for each Lease: a renewal moves the true moment later, and the
        # queued one then merely comes early. 1,000 renewals a second cost 1,000 look-ups. Only a Lease
        # that was renewed for a shorter time than before comes up earlier than it was queued for.
        at = self._watches[name].next_change(now)
        if at is not None and at < self._queued.get(name, math.inf):
            heapq.heappush(self._queue, (at, name))
            self._queued[name] = at
