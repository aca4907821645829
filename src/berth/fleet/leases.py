"""The Leases of one namespace: who is alive now, and when that will next change by itself."""

from __future__ import annotations

import heapq
import math
from collections.abc import Set as AbstractSet
from dataclasses import replace

from berth.fleet.liveness import LeaseSeen, LeaseWatch, Liveness

MOST_DELAYS = 2
"""How often in a row a Lease is given more time: a machine that is always slow must find its dead, too."""
MAX_FORMER = 8
"""Former holders that are remembered of each Lease: more restarts than a leader may miss."""
UNKNOWN = "?"
"""Stands for the holder of a Lease that was deleted before this observer saw it."""


class Leases:
    """Watches of Leases by name, and a queue of the moments at which they run out."""

    def __init__(self) -> None:
        self._watches: dict[str, LeaseWatch] = {}
        self._queue: list[tuple[float, str]] = []
        self._queued: dict[str, float] = {}
        """The moment at which each Lease in the queue comes up."""
        self._last: dict[str, Liveness] = {}
        self._former: dict[str, tuple[str, ...]] = {}
        """Holders that each Lease was seen to have before the present one, oldest first."""
        self._confirmed: dict[str, tuple[str, str]] = {}

    def put(self, lease: LeaseSeen, now: float) -> bool:
        """Note a Lease as seen at `now` (monotonic seconds); True when its state or holder changed."""
        old = self._watches.get(lease.name)
        watch = old.observe(lease, now) if old else LeaseWatch(lease, now)
        self._watches[lease.name] = watch
        if old is not None and old.lease.holder not in ("", lease.holder):
            former = (*self._former.get(lease.name, ()), old.lease.holder)
            self._former[lease.name] = former[-MAX_FORMER:]
        self._enqueue(lease.name, now)
        return self._settle(lease.name, now) or old is None or old.lease.holder != lease.holder

    def delete(self, name: str, now: float) -> None:
        """Note that a Lease object is gone; it goes on to count until it would have expired."""
        if name in self._watches:
            self._watches[name] = self._watches[name].vanish()
            self._enqueue(name, now)

    def restart(
        self, now: float, dead: AbstractSet[str] = frozenset(), missing: AbstractSet[str] = frozenset()
    ) -> list[str]:
        """Begin every count afresh at `now`, for a leader that has just taken over.

        It may have been suspended, or cut off, while they were renewed. `dead` names those that the
        leader before it had given up: unless a renewal was seen since, they count as expired.
        `missing` names those whose holders it had called live: one that was never seen, as somebody has
        deleted it meanwhile, counts from now on. Returns the names of those whose state changed.
        """
        changed = []
        for name in missing - self._watches.keys() - dead:
            self._watches[name] = LeaseWatch(LeaseSeen(name, holder=UNKNOWN), now, deleted=True)
        for name, watch in self._watches.items():
            live = watch.renewed and watch.liveness(now) is Liveness.LIVE
            silent = name in dead and not live
            self._watches[name] = replace(watch, at=now, silent=silent)
            self._enqueue(name, now)
            if self._settle(name, now):
                changed.append(name)
        return changed

    def delay(self, now: float, seconds: float) -> None:
        """Let those that counted as live until now count so for `seconds` more.

        For an observer that was held up that long and could not see them renewed.
        """
        for name, watch in self._watches.items():
            if self._last.get(name) is Liveness.LIVE and watch.delays < MOST_DELAYS:
                at = min(now, watch.at + seconds)
                self._watches[name] = replace(watch, at=at, delays=watch.delays + 1)

    def state(self, name: str) -> Liveness:
        """The state of a Lease that `put`, `restart` and `advance` have told last; MISSING if never seen.

        An observer that was held up has yet to say whether the silence was its own (see `delay`).
        """
        return self._last.get(name, Liveness.MISSING)

    def liveness(self, name: str, now: float) -> Liveness:
        """The state of a Lease at `now`, whatever was told; MISSING when it was never seen."""
        watch = self._watches.get(name)
        return watch.liveness(now) if watch else Liveness.MISSING

    def holder(self, name: str) -> str:
        """holderIdentity as last seen, or the empty string."""
        watch = self._watches.get(name)
        return watch.lease.holder if watch else ""

    def confirm(self, name: str, session: str) -> None:
        """Note that a read has shown the holder that was seen last, while entries were for `session`."""
        self._confirmed[name] = (session, self.holder(name))

    def follows(self, name: str, session: str) -> bool:
        """Whether the holder as last seen surely had the Lease later than `session`.

        Where the watch of Leases lags, a new leader sees holders that the one before it has seen replaced.
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

    def silence(self, name: str, now: float) -> tuple[float, float]:
        """Seconds that a Lease lasts, and since it was last seen to be renewed; zeros if never seen."""
        watch = self._watches.get(name)
        return (watch.lease.duration, now - watch.at) if watch else (0.0, 0.0)

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
            if name not in self._watches:
                continue
            if self._settle(name, now):
                changed.append(name)
            self._enqueue(name, now)
            watch = self._watches[name]
            if watch.deleted and watch.liveness(now) in (Liveness.SURE, Liveness.FREED):
                del self._watches[name], self._last[name]
                self._former.pop(name, None)
                self._confirmed.pop(name, None)
        return changed

    def _enqueue(self, name: str, now: float) -> None:
        # One place in the queue for each Lease: a renewal moves the true moment later, and the
        # queued one then merely comes early. 1,000 renewals a second cost 1,000 look-ups. Only a Lease
        # that was renewed for a shorter time than before comes up earlier than it was queued for.
        at = self._watches[name].next_change(now)
        if at is not None and at < self._queued.get(name, math.inf):
            heapq.heappush(self._queue, (at, name))
            self._queued[name] = at

    def _settle(self, name: str, now: float) -> bool:
        state = self._watches[name].liveness(now)
        changed = self._last.get(name) is not state
        self._last[name] = state
        return changed
