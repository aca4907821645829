"""The objects of a cluster, read once or followed; nothing is written."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from typing import Any, TypeVar

from berth import kinds, kube
from berth.cli.errors import UsageError, note
from berth.cli.objects import Pools, Source, assemble
from berth.kube import Client, Decoder, Forbidden, Informer, NotFound, Resource, load_config

T = TypeVar("T")

STRUCTS: dict[Resource, Any] = {
    kube.ITEMS: kinds.ItemObject,
    kube.MEMBERS: kinds.MemberObject,
    kube.ASSIGNMENTS: kinds.AssignmentObject,
    kube.POOLS: kinds.PoolObject,
}
PATIENCE = 5.0
"""Seconds for which requests to an API server that does not answer are repeated: a person is waiting."""
NOT_INSTALLED = "the CRDs of berth.dev are not installed; install them with: berth crds | kubectl apply -f -"


def with_client(source: Source, run: Callable[[Client, str | None], Coroutine[Any, Any, T]]) -> T:
    """Call `run` with a client and the namespace that the options name (None: all of them).

    Where `run` raises NotFound, the API server does not know the kinds.
    """
    config = load_config(source.kubeconfig, source.context)
    namespace = None if source.all_namespaces else source.namespace or config.namespace

    async def connected() -> T:
        async with Client(config, retry_for=PATIENCE, user_agent="berth-cli") as client:
            return await run(client, namespace)

    try:
        return asyncio.run(connected())
    except NotFound:
        raise UsageError(NOT_INSTALLED) from None


async def read_pools(client: Client, namespace: str | None) -> Pools:
    """Read all Pools of the namespace. Raises ApiError."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_list(client, *kind, namespace)) for kind in STRUCTS.items()]
            leases = group.create_task(_lease_holders(client, namespace))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    pools = assemble(chain.from_iterable(task.result() for task in tasks))
    for pool in pools.values():
        pool.lease_holders = leases.result()
    return pools


async def _list(
    client: Client, kind: Resource, struct: Any, namespace: str | None, params: dict[str, str] | None = None
) -> list[Any]:
    """The objects of a kind, without those that cannot be decoded: a note names each of these."""
    found: list[Any] = []
    async for first, objects, bad, _ in client.pages(kind.path(namespace), params, Decoder(struct)):
        if first:
            found.clear()
        found += objects
        for one in bad:
            note(f"left out {kind.plural} {one.meta.namespace}/{one.meta.name}: {one.error}")
    return found


async def _lease_holders(client: Client, namespace: str | None) -> dict[kinds.Key, str] | None:
    """The holder of each Lease; None where Leases may not be read."""
    # Every kubelet renews a Lease: in a large cluster those would be most of the answer.
    params = {"fieldSelector": "metadata.namespace!=kube-node-lease"} if namespace is None else {}
    try:
        leases = await _list(client, kube.LEASES, kinds.LeaseObject, namespace, params)
    except Forbidden:
        # The holder only decides whose reports count; without it those of every session do.
        return None
    return {lease.metadata.key: lease.spec.holder_identity or "" for lease in leases}


@asynccontextmanager
async def follow(
    client: Client, namespace: str | None
) -> AsyncIterator[tuple[Callable[[], Pools], asyncio.Event]]:
    """Keep all objects of a namespace (None: of all namespaces) up to date.

    Gives a function for the Pools as they are now, and an event that each change sets. Leases are not
    followed: their renewals would be most of the traffic.
    """
    changed = asyncio.Event()
    async with AsyncExitStack() as stack:
        informers: list[Informer[Any]] = []
        for kind, struct in STRUCTS.items():
            # An informer repeats a request that fails; a person wants to see the error.
            await client.get(kind.path(namespace), {"limit": 1}, type=bytes)
            informer = Informer[Any](client, kind, struct, namespace, on_event=lambda *_: changed.set())
            informers.append(await stack.enter_async_context(informer))
        for informer in informers:
            await informer.synced()
        yield lambda: assemble(chain.from_iterable(i.store.values() for i in informers)), changed
