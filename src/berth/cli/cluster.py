"""The objects of a cluster, read once or followed; nothing is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from typing import Any, Self, TypeVar

import msgspec

from berth.cli.errors import UsageError, note
from berth.cli.objects import Pools, Source, assemble
from berth.kinds import AssignmentObject, ItemObject, LeaseObject, MemberObject, Meta, PoolObject
from berth.kube import (
    ASSIGNMENTS,
    ITEMS,
    LEASES,
    MEMBERS,
    POOLS,
    Client,
    Forbidden,
    Informer,
    NotFound,
    Resource,
    load_config,
)

T = TypeVar("T")

STRUCTS: dict[Resource, Any] = {
    ITEMS: ItemObject,
    MEMBERS: MemberObject,
    ASSIGNMENTS: AssignmentObject,
    POOLS: PoolObject,
}
PATIENCE = 5.0
"""Seconds for which requests to an API server that does not answer are repeated: a person is waiting."""
NOT_INSTALLED = "the CRDs of berth.dev are not installed; install them with: berth crds | kubectl apply -f -"


def with_client(source: Source, run: Callable[[Client, str | None], Coroutine[Any, Any, T]]) -> T:
    """Call `run` with a client and the namespace that the options name (None: all of them)."""
    config = load_config(source.kubeconfig, source.context)
    namespace = None if source.all_namespaces else source.namespace or config.namespace

    async def connected() -> T:
        async with Client(config, retry_for=PATIENCE, user_agent="berth-cli") as client:
            return await run(client, namespace)

    return asyncio.run(connected())


async def read_pools(client: Client, namespace: str | None) -> Pools:
    """Read all Pools of the namespace. Raises UsageError and ApiError."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_list(client, kind, namespace)) for kind in STRUCTS]
            leases = group.create_task(_lease_holders(client, namespace))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    pools = _pools(found for task in tasks for found in task.result())
    if (holders := leases.result()) is not None:
        for pool in pools.values():
            pool.lease_holders = holders.get(pool.namespace, {})
    return pools


class _AnyObject(msgspec.Struct):
    metadata: Meta


async def _list(
    client: Client, kind: Resource, namespace: str | None, params: dict[str, str] | None = None
) -> list[Any]:
    """The objects of a kind, without those that cannot be decoded: a note names each of these."""
    found = []
    try:
        listed = await client.list(kind.path(namespace), params, type=msgspec.Raw)
    except NotFound:
        raise UsageError(NOT_INSTALLED) from None
    decoder = msgspec.json.Decoder(STRUCTS.get(kind, LeaseObject))
    for raw in listed:
        try:
            found.append(decoder.decode(raw))
        except msgspec.DecodeError as error:
            meta = msgspec.json.decode(raw, type=_AnyObject).metadata
            note(f"left out {kind.plural} {meta.namespace}/{meta.name}: {error}")
    return found


async def _lease_holders(client: Client, namespace: str | None) -> dict[str, dict[str, str]] | None:
    """The holder of each Lease, by namespace and name; None where Leases may not be read."""
    # Every kubelet renews a Lease: in a large cluster those would be most of the answer.
    params = {"fieldSelector": "metadata.namespace!=kube-node-lease"} if namespace is None else {}
    try:
        leases = await _list(client, LEASES, namespace, params)
    except Forbidden:
        # The holder only decides whose reports count; without it those of every session do.
        return None
    holders: dict[str, dict[str, str]] = {}
    for lease in leases:
        name = lease.metadata.name
        holders.setdefault(lease.metadata.namespace, {})[name] = lease.spec.holder_identity or ""
    return holders


def _pools(objects: Iterable[Any]) -> Pools:
    return assemble((found.metadata.namespace, found) for found in objects)


class Follower:
    """Keeps all objects of a namespace (None: of all namespaces) up to date; an async context manager.

    Leases are not followed: their renewals would be most of the traffic.
    """

    def __init__(self, client: Client, namespace: str | None) -> None:
        self.changed = asyncio.Event()
        self._client, self._namespace = client, namespace
        self._stack = AsyncExitStack()
        self._informers = [
            Informer[Any](client, kind, struct, namespace, on_event=lambda *_: self.changed.set())
            for kind, struct in STRUCTS.items()
        ]

    async def __aenter__(self) -> Self:
        try:
            # An informer repeats a request that fails; a person wants to see the error.
            for kind in STRUCTS:
                await self._client.get(kind.path(self._namespace), {"limit": 1}, type=bytes)
        except NotFound:
            raise UsageError(NOT_INSTALLED) from None
        for informer in self._informers:
            await self._stack.enter_async_context(informer)
        for informer in self._informers:
            await informer.synced()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def pools(self) -> Pools:
        """The Pools as they are now."""
        return _pools(found for informer in self._informers for found in informer.store.values())
