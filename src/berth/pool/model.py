"""What a brain observes of each kind: the parts that placement depends on, and a Pool's policy."""

from __future__ import annotations

from typing import NamedTuple

from berth.kinds import (
    AssignmentObject,
    Handoff,
    ItemObject,
    ItemStatusMode,
    LeaseObject,
    MemberObject,
    PoolObject,
    PrimaryBalance,
    Readiness,
    ZonePolicy,
)
from berth.pool.liveness import DEFAULT_DURATION, LeaseInfo


class ItemInfo(NamedTuple):
    """An Item as last observed."""

    name: str
    replicas: int
    uid: str = ""
    generation: int = 0


class MemberInfo(NamedTuple):
    """A Member as last observed."""

    name: str
    limit: int
    zone: str = ""
    draining: bool = False
    lease: str | None = None
    reported: bool = False
    """Whether an entry is ready only once the Member reports it (`spec.readiness: Reported`)."""
    uid: str = ""
    created: str = ""
    """`metadata.creationTimestamp`, RFC 3339 in UTC: compares as text."""
    generation: int = 0


class AssignmentInfo(NamedTuple):
    """An Assignment as last observed."""

    name: str
    items: tuple[str, ...] = ()
    """Entries of `spec.items`, in the wire format."""
    term: int = 0
    uid: str = ""
    owner: str = ""
    """uid of the Member that owns it."""
    generation: int = 0
    resource_version: int = 0
    session: str = ""
    reports: tuple[str, ...] = ()
    """Reports of `status.items`, in the wire format."""
    problems: tuple[tuple[str, int, str], ...] = ()
    """(item, grant, message) of `status.problems`."""
    written_for: str = ""
    """`spec.session`: the session that the entries are for; empty where it is absent."""


class Policy(NamedTuple):
    """`spec` of a Pool. The ledger has the one copy that everything goes by."""

    handoff: Handoff = Handoff.OVERLAP
    zones: ZonePolicy = ZonePolicy.SPREAD
    tolerance: int = 0
    """Percent."""
    active_primaries: bool = False
    max_in_flight: int | None = None
    outage_delay: float = 0.0
    """Seconds."""
    brake_percent: int = 55
    brake_min_members: int = 10
    item_status: ItemStatusMode = ItemStatusMode.FULL


class PoolInfo(NamedTuple):
    """A Pool object as last observed."""

    uid: str
    version: int = 0
    """resourceVersion."""
    policy: Policy = Policy()
    term: int = 0
    leader: str = ""


def item_info(item: ItemObject) -> ItemInfo:
    """What placement depends on."""
    meta = item.metadata
    return ItemInfo(meta.name, item.spec.replicas, meta.uid, meta.generation)


def member_info(member: MemberObject) -> MemberInfo:
    """What placement depends on."""
    meta, spec = member.metadata, member.spec
    return MemberInfo(
        name=meta.name,
        limit=spec.limit,
        zone=spec.zone,
        draining=spec.draining,
        lease=spec.lease_name or None,
        reported=spec.readiness is Readiness.REPORTED,
        uid=meta.uid,
        created=meta.creation_timestamp or "",
        generation=meta.generation,
    )


def assignment_info(assignment: AssignmentObject) -> AssignmentInfo:
    """What placement depends on."""
    meta, spec, status = assignment.metadata, assignment.spec, assignment.status
    return AssignmentInfo(
        name=meta.name,
        items=spec.items,
        term=spec.term,
        uid=meta.uid,
        owner=assignment.owner,
        generation=meta.generation,
        resource_version=int(meta.resource_version or 0),
        session=status.session,
        reports=status.items,
        problems=tuple((p.item, p.grant, p.message) for p in status.problems),
        written_for=spec.session or "",
    )


def lease_info(lease: LeaseObject) -> LeaseInfo:
    """What liveness depends on."""
    spec = lease.spec
    return LeaseInfo(
        name=lease.metadata.name,
        holder=spec.holder_identity or "",
        renewed=spec.renew_time or "",
        duration=float(spec.lease_duration_seconds or DEFAULT_DURATION),
        transitions=spec.lease_transitions or 0,
        version=int(lease.metadata.resource_version or 0),
    )


def policy_of(pool: PoolObject) -> Policy:
    """The policy that its `spec` sets."""
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


def pool_info(pool: PoolObject) -> PoolInfo:
    """What its leader goes by."""
    meta, status = pool.metadata, pool.status
    return PoolInfo(
        uid=meta.uid,
        version=int(meta.resource_version or 0),
        policy=policy_of(pool),
        term=status.term if status else 0,
        leader=status.leader if status else "",
    )
