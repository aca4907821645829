"""Pools as a cluster has them now: one read of everything, no watch, no writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from berth.cli.errors import UsageError, note
from berth.cli.snapshot import PoolSnapshot, Said
from berth.cli.source import Pools, Source
from berth.kinds import AssignmentObject, ItemObject, LeaseObject, MemberObject, PoolObject, ReadCondition
from berth.kube import (
    ASSIGNMENTS,
    ITEMS,
    LEASES,
    MEMBERS,
    POOLS,
    Client,
    Config,
    Forbidden,
    HasMeta,
    NotFound,
    Resource,
    load_config,
)
from berth.kube.decode import Bad, Decoder
from berth.pool import assignment_seen, item_seen, member_seen, policy_of

T = TypeVar("T", bound=HasMeta)

PATIENCE = 5.0
"""Seconds for which an API server that does not answer is tried again."""
NOT_INSTALLED = "the kinds of berth.dev are not installed there: berth crds | kubectl apply -f -"


def load_cluster(source: Source) -> Pools:
    """Read all Pools of the namespaces that the options name."""
    config = load_config(source.kubeconfig, source.context)

    async def read() -> Pools:
        async with connect(config) as client:
            return await read_pools(client, namespace_of(source, config), tell=note)

    return asyncio.run(read())


def namespace_of(source: Source, config: Config) -> str | None:
    """The namespace to look at, None for all."""
    return None if source.all_namespaces else source.namespace or config.namespace


def connect(config: Config) -> Client:
    """A client for a person who waits: it gives up early."""
    return Client(config, retry_for=PATIENCE, user_agent="berth-cli")


async def probe(client: Client, namespace: str | None) -> None:
    """A small request of each kind, which fails as the rest would, with words for a person."""
    try:
        for resource in (MEMBERS, ITEMS, ASSIGNMENTS, POOLS):
            await client.get(resource.path(namespace), {"limit": 1}, type=bytes)
    except NotFound:
        raise UsageError(NOT_INSTALLED) from None


async def read_pools(client: Client, namespace: str | None, *, tell: Callable[[str], None]) -> Pools:
    """All Pools of `namespace` (None: of all). `tell` gets a line for each object that cannot be used."""
    try:
        async with asyncio.TaskGroup() as group:
            items = group.create_task(_list(client, ITEMS, ItemObject, namespace, tell))
            members = group.create_task(_list(client, MEMBERS, MemberObject, namespace, tell))
            assignments = group.create_task(_list(client, ASSIGNMENTS, AssignmentObject, namespace, tell))
            pools = group.create_task(_list(client, POOLS, PoolObject, namespace, tell))
            leases = group.create_task(_leases(client, namespace, tell))
    except ExceptionGroup as failed:
        raise _first(failed) from None
    return assemble(items.result(), members.result(), assignments.result(), pools.result(), leases.result())


def assemble(
    items: Iterable[ItemObject],
    members: Iterable[MemberObject],
    assignments: Iterable[AssignmentObject],
    pools: Iterable[PoolObject],
    leases: Iterable[LeaseObject] | None,
) -> Pools:
    """Objects of any namespaces into Pools."""
    found: Pools = {}

    def at(namespace: str, name: str) -> PoolSnapshot:
        pool = found.get((namespace, name))
        if pool is None:
            pool = found[namespace, name] = PoolSnapshot(namespace, name)
        return pool

    for item in items:
        pool = at(item.metadata.namespace, item.spec.pool)
        pool.items[item.metadata.name] = item_seen(item)
        if item.status is not None and item.status.conditions:
            pool.item_said[item.metadata.name] = _said(item.status.conditions)
    for member in members:
        pool = at(member.metadata.namespace, member.spec.pool)
        pool.members[member.metadata.name] = member_seen(member)
        if member.status is not None:
            pool.member_said[member.metadata.name] = _said(member.status.conditions)
    for assignment in assignments:
        pool = at(assignment.metadata.namespace, assignment.spec.pool)
        pool.assignments[assignment.metadata.name] = assignment_seen(assignment)
    for policy in pools:
        pool = at(*policy.metadata.key)
        pool.exists, pool.policy = True, policy_of(policy)
        if policy.status is not None:
            pool.term, pool.leader = policy.status.term, policy.status.leader
            pool.pool_said = _said(policy.status.conditions)
    if leases is not None:
        holders: dict[str, dict[str, str]] = {}
        for lease in leases:
            holder = lease.spec.holder_identity or ""
            holders.setdefault(lease.metadata.namespace, {})[lease.metadata.name] = holder
        for (namespace, _), pool in found.items():
            pool.lease_holders = holders.get(namespace, {})
    return found


def _said(conditions: Iterable[ReadCondition]) -> tuple[Said, ...]:
    return tuple(Said(c.type, c.status, c.reason, c.message, c.last_transition_time) for c in conditions)


async def _leases(
    client: Client, namespace: str | None, tell: Callable[[str], None]
) -> list[LeaseObject] | None:
    # Kubelets renew a Lease each: in a large cluster those would be most of what is sent.
    params = {"fieldSelector": "metadata.namespace!=kube-node-lease"} if namespace is None else {}
    try:
        return await _list(client, LEASES, LeaseObject, namespace, tell, params)
    except Forbidden:
        # Who holds a Lease only decides whose reports count; then those of any session do.
        return None


async def _list(
    client: Client,
    resource: Resource,
    type_: type[T],
    namespace: str | None,
    tell: Callable[[str], None],
    params: dict[str, Any] | None = None,
) -> list[T]:
    decoder = Decoder(type_)
    query: dict[str, Any] = {**(params or {}), "limit": 500}
    found: list[T] = []
    while True:
        try:
            body = await client.get(resource.path(namespace), query, type=bytes)
        except NotFound:
            raise UsageError(NOT_INSTALLED) from None
        objects, bad, meta = decoder.page(body)
        found += objects
        for one in bad:
            tell(_unusable(resource, one))
        if not meta.continue_:
            return found
        query["continue"] = meta.continue_


def _unusable(resource: Resource, bad: Bad) -> str:
    return f"berth: left out {resource.plural} {bad.meta.namespace}/{bad.meta.name}: {bad.error}"


def _first(failed: ExceptionGroup[Exception]) -> Exception:
    error = failed.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
