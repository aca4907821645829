"""From informers to brains: every object goes to the Pool that it names, leading or not."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Self

from berth.controller.burst import Burst
from berth.kinds import AssignmentObject, ItemObject, LeaseObject, MemberObject, PoolObject
from berth.kube import (
    ASSIGNMENTS,
    ITEMS,
    LEASES,
    MEMBERS,
    Backoff,
    Client,
    Informer,
    Key,
    Resource,
)
from berth.pool import (
    Brain,
    Event,
    Gone,
    LeaseChanged,
    LeaseRead,
    Leases,
    MemberInfo,
    assignment_info,
    item_info,
    lease_info,
    member_info,
    pool_info,
)

logger = logging.getLogger(__name__)

Clock = Callable[[], float]


@dataclass(slots=True)
class FollowedPool:
    """A Pool that is followed."""

    brain: Brain
    burst: Burst = field(default_factory=Burst)
    """Wakes whoever leads it."""


class Follower:
    """Keeps the brains of all watched namespaces up to date; an async context manager.

    `pools` grows as soon as any object names a Pool; `on_pool` is called then.
    """

    def __init__(
        self,
        client: Client,
        namespaces: Sequence[str] = (),
        *,
        on_pool: Callable[[FollowedPool], None],
        on_unusable: Callable[[str, Key, Exception], None],
        clock: Clock = time.monotonic,
    ) -> None:
        """`namespaces` empty is all of them."""
        self.pools: dict[tuple[str, str], FollowedPool] = {}
        self._leases: dict[str, Leases] = {}
        self._on_pool = on_pool
        self._on_unusable = on_unusable
        self._clock = clock
        self._stack = AsyncExitStack()
        self._timer = asyncio.Event()
        self.reads_due = asyncio.Event()
        """Set when Leases may have to be read."""
        self._informers: dict[tuple[Resource, str | None], Informer[Any]] = {}
        for namespace in namespaces or (None,):
            for resource, type_, handler in (
                (ITEMS, ItemObject, self._on_item),
                (MEMBERS, MemberObject, self._on_member),
                (ASSIGNMENTS, AssignmentObject, self._on_assignment),
                (LEASES, LeaseObject, self._on_lease),
            ):
                self._informers[resource, namespace] = self._informer(
                    client, resource, type_, namespace, handler
                )

    def _informer(
        self, client: Client, resource: Resource, type_: Any, namespace: str | None, handler: Any
    ) -> Informer[Any]:
        # Kubelets renew a Lease each; in a large cluster those would be most of what is sent.
        selector = "metadata.namespace!=kube-node-lease" if resource is LEASES and namespace is None else None
        kind = type_.__name__.removesuffix("Object")
        return Informer(
            client,
            resource,
            type_,
            namespace,
            field_selector=selector,
            on_event=handler,
            on_error=lambda key, error: self._unusable(kind, key, error),
            # A replica has four of these: asking each 5 s does a server that refuses no harm, and after an
            # outage a leader is of use only once all of them work again.
            backoff=Backoff(limit=5.0),
        )

    @property
    def informers(self) -> list[Informer[Any]]:
        """All informers."""
        return list(self._informers.values())

    def informer(self, resource: Resource, namespace: str) -> Informer[Any]:
        """The informer of a kind that covers `namespace`."""
        return self._informers.get((resource, namespace)) or self._informers[resource, None]

    async def __aenter__(self) -> Self:
        for informer in self.informers:
            await self._stack.enter_async_context(informer)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def synced(self) -> None:
        """Wait until everything has been listed once: before that nothing may be judged."""
        for informer in self.informers:
            await informer.synced()

    def pool(self, namespace: str, name: str) -> FollowedPool:
        """The Pool of that name, made on first mention."""
        key = (namespace, name)
        pool = self.pools.get(key)
        if pool is None:
            pool = self.pools[key] = FollowedPool(Brain(namespace, name, self._leases_of(namespace)))
            self._on_pool(pool)
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

    async def watch_time(self) -> None:
        """Notice Leases that run out, until cancelled."""
        while True:
            moments = [at for leases in self._leases.values() if (at := leases.next_change()) is not None]
            self._timer.clear()
            timeout = max(0.0, min(moments) - self._clock()) if moments else None
            try:
                async with asyncio.timeout(timeout):
                    await self._timer.wait()
                # A renewal only moves moments later: look again when the earliest one comes.
                continue
            except TimeoutError:
                pass
            now = self._clock()
            for namespace, leases in self._leases.items():
                self._leases_changed(namespace, leases.advance(now), now)
            self.reads_due.set()

    def restart_leases(self) -> None:
        """Have every Lease read again that seems to have run out, at the start of a lead."""
        now = self._clock()
        reported: dict[bool, dict[str, set[str]]] = {False: {}, True: {}}
        for (resource, _), informer in self._informers.items():
            for member in informer.store.values() if resource is MEMBERS else ():
                live, lease = member.reported_live, member.spec.lease_name
                if live is not None and lease:
                    reported[live].setdefault(member.metadata.namespace, set()).add(lease)
                    self._leases_of(member.metadata.namespace)
        for namespace, leases in self._leases.items():
            dead, live = (reported[key].get(namespace, set()) for key in (False, True))
            self._leases_changed(namespace, leases.restart(now, dead, live), now)
        # Where every Lease had long expired nobody waits for the next moment of one.
        self._timer.set()
        self.reads_due.set()

    @property
    def namespaces(self) -> set[str]:
        """Namespaces with a Pool, or with something that names one."""
        return {namespace for namespace, _ in self.pools}

    def leases_to_read(self, namespace: str) -> set[str]:
        """The Leases of a namespace that have to be read."""
        return set[str]().union(*(pool.brain.leases_to_read() for pool in self._pools_in(namespace)))

    def put_lease_read(self, namespace: str, name: str, lease: LeaseObject | None, started: float) -> bool:
        """Take what a read has shown, started at `started`; whether the watch had missed a renewal."""
        now, leases = self._clock(), self._leases[namespace]
        expired = name in leases.unread()
        answer = leases.put_read(name, lease_info(lease) if lease else None, started, now)
        if answer.changed:
            self._leases_changed(namespace, [name], now)
        holder = (lease.spec.holder_identity or "") if lease else ""
        for pool in self._pools_in(namespace):
            if pool.brain.ledger.doubts_holder(name):
                self._observe(pool, LeaseRead(name, holder))
        self._timer.set()
        return expired and answer.unseen

    def _leases_of(self, namespace: str) -> Leases:
        return self._leases.setdefault(namespace, Leases())

    def _leases_changed(self, namespace: str, names: Iterable[str], now: float) -> None:
        for name in names:
            for pool in self._pools_in(namespace):
                if pool.brain.ledger.uses_lease(name):
                    self._observe(pool, LeaseChanged(name), now)

    def _pools_in(self, namespace: str) -> list[FollowedPool]:
        return [pool for (where, _), pool in self.pools.items() if where == namespace]

    # ---- events ----------------------------------------------------------------------------

    def _observe(self, pool: FollowedPool, event: Event, now: float | None = None) -> None:
        pool.brain.observe(event, self._clock() if now is None else now)
        pool.burst.wake()
        # Other Leases that have run out are read when that is noticed.
        if pool.brain.needs_read(event.lease if isinstance(event, MemberInfo) else None):
            self.reads_due.set()

    def put_pool(self, pool: PoolObject, deleted: bool) -> None:
        """A Pool appeared, changed or is gone."""
        meta = pool.metadata
        if not deleted:
            self._observe(self.pool(meta.namespace, meta.name), pool_info(pool))
        elif (gone := self.pools.get((meta.namespace, meta.name))) is not None:
            self._observe(gone, Gone("Pool", meta.uid))

    def _on_item(self, old: ItemObject | None, new: ItemObject | None) -> None:
        item = new or old
        assert item is not None
        if old is None or new is None or old.metadata.generation != new.metadata.generation:
            event = item_info(item) if new else Gone("Item", item.metadata.name)
            self._observe(self.pool(item.metadata.namespace, item.spec.pool), event)

    def _on_member(self, old: MemberObject | None, new: MemberObject | None) -> None:
        member = new or old
        assert member is not None
        if old is None or new is None or old.metadata.generation != new.metadata.generation:
            event = member_info(member) if new else Gone("Member", member.metadata.name)
            self._observe(self.pool(member.metadata.namespace, member.spec.pool), event)

    def _on_assignment(self, old: AssignmentObject | None, new: AssignmentObject | None) -> None:
        for gone in (old,) if old and (new is None or old.spec.pool != new.spec.pool) else ():
            left = self.pool(gone.metadata.namespace, gone.spec.pool)
            self._observe(left, Gone("Assignment", gone.metadata.name))
        if new is not None:
            self._observe(self.pool(new.metadata.namespace, new.spec.pool), assignment_info(new))

    def _on_lease(self, old: LeaseObject | None, new: LeaseObject | None) -> None:
        lease = new or old
        assert lease is not None
        namespace, name = lease.metadata.key
        leases, now = self._leases_of(namespace), self._clock()
        before = leases.next_change()
        if new is None:
            leases.delete(name, now, lease_info(lease).version)
        elif leases.put(lease_info(new), now):
            self._leases_changed(namespace, [name], now)
        if before is None or leases.next_change() != before:
            self._timer.set()

    def _unusable(self, kind: str, key: Key, error: Exception) -> None:
        logger.warning("kind=%s namespace=%s name=%s cannot be used: %s", kind, *key, error)
        for pool in self._pools_in(key[0]):
            pool.burst.wake()
        self._on_unusable(kind, key, error)
