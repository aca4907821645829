"""Manifests into Pools: which Pool each object belongs to, and what of it placement depends on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from berth.cli.errors import UsageError
from berth.cli.manifests import Key, Manifests, Resource, alike, differs
from berth.cli.snapshot import PoolSnapshot, Said
from berth.kinds import Assignment, Condition, Item, Member, Pool, PrimaryBalance, Readiness
from berth.pool import AssignmentSeen, ItemSeen, MemberSeen, Policy

DEFAULT_NAMESPACE = "default"

Pools = dict[tuple[str, str], PoolSnapshot]


def pools_of(manifests: Manifests, namespace: str | None = None) -> tuple[Pools, int]:
    """The Pools that the objects belong to, by (namespace, name), and how many objects were left out.

    An object that names no namespace belongs to `namespace`; without one to the only namespace that
    the other objects name, else to `default`. With `namespace` objects of others are left out.
    Raises UsageError where two differing objects are one and the same then.
    """
    named = {where for _, where, _ in manifests.objects if where}
    home = namespace or (named.pop() if len(named) == 1 else DEFAULT_NAMESPACE)
    pools: Pools = {}
    left_out = 0
    for (kind, said, object_), resource in manifests.objects.items():
        where = said or home
        if namespace is not None and where != namespace:
            left_out += 1
            continue
        if said == home:
            _check_same(manifests, (kind, said, object_), (kind, "", object_))
        name = resource.metadata.name if isinstance(resource, Pool) else resource.spec.pool
        pool = pools.get((where, name))
        if pool is None:
            pool = pools[where, name] = PoolSnapshot(where, name)
        _put(pool, resource)
    return pools, left_out


def _check_same(manifests: Manifests, named: Key, unnamed: Key) -> None:
    """An object may be given with and without its namespace, but not as two that differ."""
    one, other = manifests.objects[named], manifests.objects.get(unnamed)
    if other is None or alike(one, _in_namespace(other, named[1])):
        return
    order = list(manifests.objects)
    first, second = sorted((named, unnamed), key=order.index)
    raise UsageError(differs(second, manifests.where.get(second, ""), manifests.where.get(first, "")))


def _in_namespace(resource: Resource, namespace: str) -> Resource:
    meta = resource.metadata.model_copy(update={"namespace": namespace})
    return resource.model_copy(update={"metadata": meta})


def _put(pool: PoolSnapshot, resource: Item | Member | Assignment | Pool) -> None:
    name = resource.metadata.name
    if isinstance(resource, Item):
        pool.items[name] = item_seen(resource)
        if resource.status is not None and resource.status.conditions:
            pool.item_said[name] = _said(resource.status.conditions)
    elif isinstance(resource, Member):
        pool.members[name] = member_seen(resource)
        if resource.status is not None and resource.status.conditions:
            pool.member_said[name] = _said(resource.status.conditions)
    elif isinstance(resource, Assignment):
        pool.assignments[name] = assignment_seen(resource)
    else:
        pool.exists, pool.policy = True, policy(resource)
        if resource.status is not None:
            pool.term, pool.leader = resource.status.term or 0, resource.status.leader or ""
            pool.pool_said = _said(resource.status.conditions)


def item_seen(item: Item) -> ItemSeen:
    """What placement depends on."""
    meta = item.metadata
    return ItemSeen(meta.name, item.spec.replicas, meta.uid or "", meta.generation or 0)


def member_seen(member: Member) -> MemberSeen:
    """What placement depends on."""
    meta, spec = member.metadata, member.spec
    return MemberSeen(
        name=meta.name,
        limit=spec.limit,
        zone=spec.zone,
        draining=spec.draining,
        lease=spec.lease_name,
        reported=spec.readiness is Readiness.REPORTED,
        uid=meta.uid or "",
        created=_utc(meta.creation_timestamp),
        generation=meta.generation or 0,
    )


def assignment_seen(assignment: Assignment) -> AssignmentSeen:
    """What placement depends on."""
    meta, spec, status = assignment.metadata, assignment.spec, assignment.status
    owners = (o.uid for o in meta.owner_references or () if o.kind == "Member")
    return AssignmentSeen(
        name=meta.name,
        items=tuple(spec.items),
        term=spec.term,
        uid=meta.uid or "",
        owner=next(owners, ""),
        generation=meta.generation or 0,
        session=status.session if status else "",
        reports=tuple(status.items) if status else (),
        problems=tuple((p.item, p.grant, p.message) for p in status.problems) if status else (),
        written_for=spec.session or "",
    )


def policy(pool: Pool) -> Policy:
    """The policy for fleet and converge."""
    spec = pool.spec
    return Policy(
        handoff=spec.handoff,
        zones=spec.zones,
        tolerance=spec.balance.tolerance_percent,
        active_primaries=spec.balance.primaries is PrimaryBalance.ACTIVE,
        max_in_flight=spec.moves.max_in_flight,
        outage_delay=float(spec.outage.delay_seconds),
        brake_percent=spec.outage.brake_percent,
        brake_min_members=spec.outage.brake_min_members,
        item_status=spec.item_status,
    )


def _said(conditions: Iterable[Condition]) -> tuple[Said, ...]:
    return tuple(
        Said(c.type, c.status.value, c.reason, c.message, _utc(c.last_transition_time)) for c in conditions
    )


def _utc(when: datetime | None) -> str:
    """RFC 3339 in UTC, so that it compares as text."""
    if when is None:
        return ""
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
