"""From informers to brains: every object goes to the Pool that it names, leading or not."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any, Literal

from berth import kube
from berth.kinds import AssignmentObject, ItemObject, LeaseObject, MemberObject, PoolObject
from berth.pool import (
    Brain,
    Event,
    Gone,
    LeaseChanged,
    LeaseRead,
    Leases,
)

logger = logging.getLogger(__name__)

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]
QUIET = 0.020
"""Seconds without an event after which a burst has ended."""
LONGEST = 0.500
"""Seconds after which a burst is handled although it continues."""


@dataclass
class Burst:
    """Wakes one waiter at the end of a burst of events."""

    clock: Clock = time.monotonic
    sleep: Sleep = asyncio.sleep
    more: Callable[[], bool] = lambda: False
    """Whether another event of the same burst is about to come."""
    _event: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _last: float = field(default=0.0, init=False)

    def wake(self, since: float | None = None) -> None:
        """Note an event, whose cause happened at `since` (monotonic seconds), now by default."""
        self._last = max(self._last, self.clock() if since is None else since)
        self._event.set()

    async def wait(self, until: float | None) -> None:
        """Wait for the end of the next burst of events, at most until `until` (monotonic seconds)."""
        timeout = None if until is None else max(0.0, until - self.clock())
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return
        started = self.clock()
        # A later event postpones the end of the burst; it sends no signal. Therefore one that is
        # about to come is looked for again after each quiet time.
        while (now := self.clock()) < started + LONGEST:
            quiet_at = self._last + QUIET
            if quiet_at <= now:
                if not self.more():
                    break
                quiet_at = now + QUIET
            await self.sleep(min(quiet_at, started + LONGEST) - now)
        self._event.clear()


@dataclass(slots=True)
class FollowedPool:
    """A Pool of which events are observed."""

    brain: Brain
    burst: Burst = field(default_factory=Burst)
    """Wakes the loop that leads it."""


@dataclass
class Follower:
    """Keeps the brains of all watched namespaces up to date."""

    client: kube.Client
    namespaces: Sequence[str] = ()
    """The namespaces to watch; empty is all of them."""
    _: KW_ONLY
    on_pool: Callable[[FollowedPool], None]
    """Called for each new Pool in `pools`."""
    on_unusable: Callable[[str, kube.Key, Exception], None]
    """Called for each object that cannot be read: its kind, its key and the error."""
    clock: Clock = time.monotonic

    def __post_init__(self) -> None:
        self.pools: dict[tuple[str, str], FollowedPool] = {}
        """By namespace and name; it has every Pool that any object names."""
        self._leases: defaultdict[str, Leases] = defaultdict(Leases)
        """By namespace: the Pools of a namespace share them."""
        self._timer = asyncio.Event()
        self.reads_due = asyncio.Event()
        """Set when Leases may have to be read."""
        self._informers: dict[tuple[kube.Resource, str | None], kube.Informer[Any]] = {
            (resource, namespace): self._informer(resource, type_, namespace, handler)
            for namespace in self.namespaces or (None,)
            for resource, type_, handler in (
                (kube.ITEMS, ItemObject, partial(self._on_spec, "Item")),
                (kube.MEMBERS, MemberObject, partial(self._on_spec, "Member")),
                (kube.ASSIGNMENTS, AssignmentObject, self._on_assignment),
                (kube.LEASES, LeaseObject, self._on_lease),
            )
        }

    def _informer(
        self, resource: kube.Resource, type_: Any, namespace: str | None, handler: Any
    ) -> kube.Informer[Any]:
        # Each kubelet renews a Lease; in a large cluster these would be most of the events.
        selector = (
            "metadata.namespace!=kube-node-lease" if resource is kube.LEASES and namespace is None else None
        )
        return kube.Informer(
            self.client,
            resource,
            type_,
            namespace,
            field_selector=selector,
            on_event=handler,
            on_error=partial(self._unusable, type_.__name__.removesuffix("Object")),
            # With only four informers per replica, a retry each 5 s does not harm a server that refuses them;
            # and a leader can work after an outage only when all of them work again.
            backoff=kube.Backoff(limit=5.0),
        )

    @property
    def informers(self) -> list[kube.Informer[Any]]:
        """The informers of all kinds and namespaces."""
        return list(self._informers.values())

    def informer(self, resource: kube.Resource, namespace: str) -> kube.Informer[Any]:
        """The informer of a kind that covers `namespace`."""
        return self._informers.get((resource, namespace)) or self._informers[resource, None]

    async def run(self) -> None:
        """Pass on what happens in the cluster and what time changes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self.informers:
                group.create_task(informer.run())
            group.create_task(self._watch_time())

    async def synced(self) -> None:
        """Wait until everything has been listed once: no decision may be made before."""
        for informer in self.informers:
            await informer.synced()

    def pool(self, namespace: str, name: str) -> FollowedPool:
        """The Pool of that name; it is created when something names it for the first time."""
        key = (namespace, name)
        pool = self.pools.get(key)
        if pool is None:
            brain = Brain(namespace, name, self._leases[namespace])
            # Members that die together are found dead one read after the other, but planned for only once.
            burst = Burst(self.clock, more=lambda: bool(brain.leases_to_read()))
            pool = self.pools[key] = FollowedPool(brain, burst)
            self.on_pool(pool)
        return pool

    def unusable(self, namespace: str) -> dict[str, str]:
        """Objects of the namespace that cannot be read, and why."""
        return {
            f"{informer.resource.plural}/{name}": str(error)
            for informer in self.informers
            for (where, name), error in informer.bad.items()
            if where == namespace
        }

    # ---- Leases ----------------------------------------------------------------------------

    async def _watch_time(self) -> None:
        """Pass on Leases that expire."""
        while True:
            moments = [at for leases in self._leases.values() if (at := leases.next_change()) is not None]
            self._timer.clear()
            timeout = max(0.0, min(moments) - self.clock()) if moments else None
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._timer.wait()
                # Renewals only postpone these moments, so they do not set the timer.
                continue
            now = self.clock()
            for namespace, leases in self._leases.items():
                self._leases_changed(namespace, leases.advance(now), now)
            self.reads_due.set()

    def restart_leases(self) -> None:
        """At the start of a lead: have every Lease read again that seems to have expired."""
        now = self.clock()
        reported: defaultdict[tuple[str, bool | None], set[str]] = defaultdict(set)
        for informer in self.informers:
            for member in informer.store.values() if informer.resource is kube.MEMBERS else ():
                if member.spec.lease_name:
                    namespace = member.metadata.namespace
                    reported[namespace, member.reported_live].add(member.spec.lease_name)
        for namespace in self._leases.keys() | {namespace for namespace, _ in reported}:
            dead, live = reported[namespace, False], reported[namespace, True]
            self._leases_changed(namespace, self._leases[namespace].restart(now, dead, live), now)
        # If every Lease expired long ago, the timer has no moment to wait for.
        self._timer.set()
        self.reads_due.set()

    def leases_to_read(self, namespace: str) -> set[str]:
        """The Leases of a namespace that have to be read from the API server."""
        return set[str]().union(*(pool.brain.leases_to_read() for pool in self._pools_in(namespace)))

    def put_lease_read(self, namespace: str, name: str, lease: LeaseObject | None, started: float) -> bool:
        """Observe the result of a read started at `started`; returns whether the watch missed a renewal."""
        now, leases = self.clock(), self._leases[namespace]
        expired = name in leases.unread()
        answer = leases.put_read(name, lease, started, now)
        if answer.changed:
            # The read has taken up part of the time for which a burst waits for others that died, too.
            self._leases_changed(namespace, [name], now, started)
        holder = (lease.spec.holder_identity or "") if lease else ""
        for pool in self._pools_in(namespace):
            if pool.brain.ledger.doubts_holder(name):
                self._observe(pool, LeaseRead(name, holder))
        self._timer.set()
        return expired and answer.missed

    def _leases_changed(
        self, namespace: str, names: Iterable[str], now: float, since: float | None = None
    ) -> None:
        for name in names:
            for pool in self._pools_in(namespace):
                if pool.brain.ledger.uses_lease(name):
                    self._observe(pool, LeaseChanged(name), now, since)

    def _pools_in(self, namespace: str) -> list[FollowedPool]:
        return [pool for (where, _), pool in self.pools.items() if where == namespace]

    # ---- events ----------------------------------------------------------------------------

    def _observe(
        self, pool: FollowedPool, event: Event, now: float | None = None, since: float | None = None
    ) -> None:
        pool.brain.observe(event, self.clock() if now is None else now)
        pool.burst.wake(since)
        # Only what this event can have changed: an expiry asks for its read itself.
        if pool.brain.needs_read(event.spec.lease_name if isinstance(event, MemberObject) else None):
            self.reads_due.set()

    def put_pool(self, pool: PoolObject, deleted: bool) -> None:
        """Observe a Pool that appeared, changed or is gone."""
        meta = pool.metadata
        if not deleted:
            self._observe(self.pool(meta.namespace, meta.name), pool)
        elif (gone := self.pools.get((meta.namespace, meta.name))) is not None:
            self._observe(gone, Gone("Pool", meta.uid))

    def _on_spec(self, kind: Literal["Item", "Member"], old: Any, new: Any) -> None:
        """Observe an Item or a Member that appeared, is gone or has a new spec; ignore its status."""
        if old and new and old.metadata.generation == new.metadata.generation:
            return
        there = new or old
        pool = self.pool(there.metadata.namespace, there.spec.pool)
        self._observe(pool, new or Gone(kind, there.metadata.name))

    def _on_assignment(self, old: AssignmentObject | None, new: AssignmentObject | None) -> None:
        if old and (new is None or old.spec.pool != new.spec.pool):
            left = self.pool(old.metadata.namespace, old.spec.pool)
            self._observe(left, Gone("Assignment", old.metadata.name))
        if new is not None:
            self._observe(self.pool(new.metadata.namespace, new.spec.pool), new)

    def _on_lease(self, old: LeaseObject | None, new: LeaseObject | None) -> None:
        lease = new or old
        assert lease is not None
        namespace, name = lease.metadata.key
        leases, now = self._leases[namespace], self.clock()
        before = leases.next_change()
        if new is None:
            leases.delete(lease, now)
        elif leases.put(new, now):
            self._leases_changed(namespace, [name], now)
        if before is None or leases.next_change() != before:
            self._timer.set()

    def _unusable(self, kind: str, key: kube.Key, error: Exception) -> None:
        logger.warning("kind=%s namespace=%s name=%s cannot be used: %s", kind, *key, error)
        for pool in self._pools_in(key[0]):
            pool.burst.wake()
        self.on_unusable(kind, key, error)
