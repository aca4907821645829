"""From informers to fleets: every object goes to the Pool that it names, leading or not."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

from berth.controller.state import PoolState
from berth.kinds import AssignmentObject, ItemObject, LeaseObject, MemberObject, PoolObject
from berth.kube import ASSIGNMENTS, ITEMS, LEASES, MEMBERS, Backoff, Client, EventKind, Informer, Key
from berth.pool import Leases, PoolFleet, assignment_seen, item_seen, lease_seen, member_seen, policy_of

logger = logging.getLogger(__name__)

Unusable = Callable[[str, Key, Exception], None]


class Cluster:
    """Keeps the fleets of all watched namespaces up to date; an async context manager.

    `states` grows by a Pool as soon as any object names it, and `on_pool` is told.
    """

    def __init__(
        self,
        client: Client,
        namespaces: Sequence[str] = (),
        *,
        on_pool: Callable[[PoolState], None],
        on_unusable: Unusable,
    ) -> None:
        """`namespaces` empty is all of them."""
        self.states: dict[tuple[str, str], PoolState] = {}
        self._leases: dict[str, Leases] = {}
        self._on_pool = on_pool
        self._on_unusable = on_unusable
        self._stack = AsyncExitStack()
        self._timer = asyncio.Event()
        self.leases_due = asyncio.Event()
        """Set when Leases may have to be read."""
        self.items: dict[str | None, Informer[ItemObject]] = {}
        self.members: dict[str | None, Informer[MemberObject]] = {}
        self.assignments: dict[str | None, Informer[AssignmentObject]] = {}
        self.leases: dict[str | None, Informer[LeaseObject]] = {}
        for namespace in namespaces or (None,):
            self.items[namespace] = self._informer(client, ITEMS, ItemObject, namespace, self._on_item)
            self.members[namespace] = self._informer(
                client, MEMBERS, MemberObject, namespace, self._on_member
            )
            self.assignments[namespace] = self._informer(
                client, ASSIGNMENTS, AssignmentObject, namespace, self._on_assignment
            )
            self.leases[namespace] = self._informer(client, LEASES, LeaseObject, namespace, self._on_lease)

    def _informer(
        self, client: Client, resource: Any, type_: Any, namespace: str | None, handler: Any
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
        return [
            informer
            for group in (self.items, self.members, self.assignments, self.leases)
            for informer in group.values()
        ]

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

    def informer_of(self, group: dict[str | None, Informer[Any]], namespace: str) -> Informer[Any]:
        """The informer that covers `namespace`."""
        return group.get(namespace) or group[None]

    async def watch_time(self) -> None:
        """Notice Leases that run out, until cancelled."""
        while True:
            moments = [at for leases in self._leases.values() if (at := leases.next_change()) is not None]
            self._timer.clear()
            timeout = max(0.0, min(moments) - time.monotonic()) if moments else None
            try:
                async with asyncio.timeout(timeout):
                    await self._timer.wait()
                # A renewal only moves moments later: look again when the earliest one comes.
                continue
            except TimeoutError:
                pass
            now = time.monotonic()
            for namespace, leases in self._leases.items():
                before = len(leases.unread())
                for name in leases.advance(now):
                    self._lease_changed(namespace, name, now)
                if len(leases.unread()) > before:
                    self.leases_due.set()

    def restart_leases(self) -> None:
        """Have every Lease read again that seems to have run out, at the start of a lead."""
        now = time.monotonic()
        dead: dict[str, set[str]] = {}
        alive: dict[str, set[str]] = {}
        for informer in self.members.values():
            for member in informer.store.values():
                if member.reported_live is False and member.spec.lease_name:
                    dead.setdefault(member.metadata.namespace, set()).add(member.spec.lease_name)
                elif member.reported_live and member.spec.lease_name:
                    alive.setdefault(member.metadata.namespace, set()).add(member.spec.lease_name)
                    self._leases.setdefault(member.metadata.namespace, Leases())
        for namespace, leases in self._leases.items():
            for name in leases.restart(now, dead.get(namespace, set()), alive.get(namespace, set())):
                self._lease_changed(namespace, name, now)
        # Where every Lease had long expired nobody waits for the next moment of one.
        self._timer.set()
        self.leases_due.set()

    @property
    def namespaces(self) -> set[str]:
        """Namespaces with a Pool, or with something that names one."""
        return {namespace for namespace, _ in self.states}

    def unread_leases(self, namespace: str) -> list[str]:
        """Leases of Members that ran out by what the events have shown, and that no read has confirmed."""
        leases = self._leases.get(namespace)
        if leases is None or not (unread := leases.unread()):
            return []
        fleets = [state.fleet for (where, _), state in self.states.items() if where == namespace]
        return sorted(name for name in unread if any(fleet.uses_lease(name) for fleet in fleets))

    def put_lease_read(self, namespace: str, name: str, lease: LeaseObject | None, begun: float) -> bool:
        """Take what a read has shown that was begun at `begun`; whether the watch had not shown it."""
        now = time.monotonic()
        answer = self._leases[namespace].put_read(name, lease_seen(lease) if lease else None, begun, now)
        if answer.changed:
            self._lease_changed(namespace, name, now)
        self._timer.set()
        return answer.unseen

    # ---- events ----------------------------------------------------------------------------

    def state(self, namespace: str, pool: str) -> PoolState:
        """The Pool's state, made on first mention."""
        key = (namespace, pool)
        state = self.states.get(key)
        if state is None:
            leases = self._leases.setdefault(namespace, Leases())
            state = self.states[key] = PoolState(namespace, pool, PoolFleet(leases))
            self._on_pool(state)
        return state

    def put_pool(self, pool: PoolObject, deleted: bool) -> None:
        """A Pool appeared, changed or is gone."""
        meta = pool.metadata
        if deleted:
            gone = self.states.get((meta.namespace, meta.name))
            if gone is not None:
                gone.gone = meta.uid
                gone.batch.wake()
            return
        state = self.state(meta.namespace, meta.name)
        state.fleet.set_policy(policy_of(pool))
        state.pool = pool
        if state.fleet.dirty.item_status:
            state.status_due.set()
        if state.fleet.dirty.problem:
            state.batch.wake()

    def _on_item(self, _: EventKind, old: ItemObject | None, new: ItemObject | None) -> None:
        seen = new or old
        assert seen is not None
        state = self.state(seen.metadata.namespace, seen.spec.pool)
        if new is None:
            state.fleet.delete_item(seen.metadata.name)
        elif old is None or old.metadata.generation != new.metadata.generation:
            state.fleet.put_item(item_seen(new))
        else:
            return
        state.batch.wake()

    def _on_member(self, _: EventKind, old: MemberObject | None, new: MemberObject | None) -> None:
        seen = new or old
        assert seen is not None
        state = self.state(seen.metadata.namespace, seen.spec.pool)
        now = time.monotonic()
        if new is None:
            state.fleet.delete_member(seen.metadata.name, now)
        elif old is None or old.metadata.generation != new.metadata.generation:
            state.fleet.put_member(member_seen(new), now)
            if new.spec.lease_name in state.fleet.leases.unread():
                self.leases_due.set()
        else:
            return
        state.batch.wake()

    def _on_assignment(
        self, _: EventKind, old: AssignmentObject | None, new: AssignmentObject | None
    ) -> None:
        seen = new or old
        assert seen is not None
        namespace, name = seen.metadata.key
        if old is not None and new is not None and old.spec.pool != new.spec.pool:
            left = self.state(namespace, old.spec.pool)
            left.hear(lambda: left.fleet.delete_assignment(name, time.monotonic()))
            left.batch.wake()
        state = self.state(namespace, seen.spec.pool)
        if new is None:
            state.hear(lambda: state.fleet.delete_assignment(name, time.monotonic()))
        else:
            state.hear(lambda: state.fleet.put_assignment(assignment_seen(new), time.monotonic()))
        state.batch.wake()

    def _on_lease(self, _: EventKind, old: LeaseObject | None, new: LeaseObject | None) -> None:
        seen = new or old
        assert seen is not None
        namespace, name = seen.metadata.key
        leases = self._leases.get(namespace)
        if leases is None:
            leases = self._leases[namespace] = Leases()
        now = time.monotonic()
        before = leases.next_change()
        if new is None:
            leases.delete(name, now, lease_seen(seen).version)
        elif leases.put(lease_seen(new), now):
            self._lease_changed(namespace, name, now)
        if before is None or leases.next_change() != before:
            self._timer.set()

    def _lease_changed(self, namespace: str, name: str, now: float) -> None:
        for (where, _), state in self.states.items():
            if where == namespace and state.fleet.uses_lease(name):
                state.fleet.lease_changed(name, now)
                state.batch.wake()

    def _unusable(self, kind: str, key: Key, error: Exception) -> None:
        logger.warning("kind=%s namespace=%s name=%s cannot be used: %s", kind, *key, error)
        for (namespace, _), state in self.states.items():
            if namespace == key[0]:
                state.status_due.set()
        self._on_unusable(kind, key, error)

    def unusable(self, namespace: str) -> dict[str, str]:
        """Objects of the namespace that cannot be read, and why."""
        return {
            f"{informer.resource.plural}/{name}": str(error)
            for informer in self.informers
            for (where, name), error in informer.bad.items()
            if where == namespace
        }
