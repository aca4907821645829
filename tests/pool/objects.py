"""Objects as a brain observes them, in one line each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from berth.kinds import (
    AssignmentObject,
    Handoff,
    ItemObject,
    ItemStatusMode,
    LeaseObject,
    LeaseSpec,
    MemberObject,
    Meta,
    PoolObject,
    PrimaryBalance,
    ReadAssignmentSpec,
    ReadAssignmentStatus,
    Readiness,
    ReadItemSpec,
    ReadMemberSpec,
    ReadPoolSpec,
    ReadPoolStatus,
    ReadProblem,
    ZonePolicy,
)
from berth.kinds.meta import OwnerReference
from berth.kinds.pool import ReadBalance, ReadMoves, ReadOutage


def item_object(name: str, replicas: int, uid: str = "", generation: int = 0) -> ItemObject:
    return ItemObject(Meta(name, "ns", uid, generation=generation), ReadItemSpec("pool", replicas))


def member_object(
    name: str,
    limit: int,
    zone: str = "",
    draining: bool = False,
    lease: str | None = None,
    reported: bool = False,
    uid: str = "",
    created: str = "",
    generation: int = 0,
) -> MemberObject:
    readiness = Readiness.REPORTED if reported else Readiness.ASSUMED
    return MemberObject(
        Meta(name, "ns", uid, generation=generation, creation_timestamp=created),
        ReadMemberSpec(limit, "pool", zone, draining, lease, readiness),
    )


def lease_object(
    name: str,
    holder: str = "",
    renewed: str = "",
    duration: float = 15.0,
    transitions: int = 0,
    version: int = 0,
) -> LeaseObject:
    meta = Meta(name, "ns", resource_version=str(version))
    return LeaseObject(meta, LeaseSpec(holder, int(duration), renewed, transitions))


def owned_by(name: str, uid: str) -> tuple[OwnerReference, ...]:
    return (OwnerReference("berth.dev/v1alpha1", "Member", name, uid),) if uid else ()


def assignment_object(
    name: str,
    items: Iterable[str] = (),
    term: int = 0,
    uid: str = "",
    owner: str = "",
    generation: int = 0,
    resource_version: int = 0,
    session: str = "",
    reports: Iterable[str] = (),
    problems: Iterable[tuple[str, int, str]] = (),
    written_for: str = "",
) -> AssignmentObject:
    """`owner` is the uid of the Member."""
    return AssignmentObject(
        Meta(name, "ns", uid, str(resource_version), generation, owner_references=owned_by(name, owner)),
        ReadAssignmentSpec("pool", term, written_for or None, tuple(items)),
        ReadAssignmentStatus(session, tuple(reports), tuple(ReadProblem(*each) for each in problems)),
    )


def pool_object(
    uid: str, version: int = 0, spec: ReadPoolSpec | None = None, term: int = 0, leader: str = ""
) -> PoolObject:
    meta = Meta("pool", "ns", uid, str(version))
    return PoolObject(meta, spec or ReadPoolSpec(), ReadPoolStatus(term, leader))


def pool_spec(
    handoff: Handoff = Handoff.OVERLAP,
    zones: ZonePolicy = ZonePolicy.SPREAD,
    tolerance: int = 0,
    active_primaries: bool = False,
    max_in_flight: int | None = None,
    outage_delay: int = 0,
    brake_percent: int = 55,
    brake_min_members: int = 10,
    item_status: ItemStatusMode = ItemStatusMode.FULL,
) -> ReadPoolSpec:
    """`spec` of a Pool."""
    primaries = PrimaryBalance.ACTIVE if active_primaries else PrimaryBalance.PROMOTION
    balance = ReadBalance(tolerance, primaries)
    outage = ReadOutage(outage_delay, brake_percent, brake_min_members)
    return ReadPoolSpec(handoff, zones, balance, ReadMoves(max_in_flight), outage, item_status)


PLACES = {
    **dict.fromkeys(("name", "uid", "generation", "resource_version"), "metadata"),
    "session": "status.session",
    "reports": "status.items",
    "written_for": "spec.session",
}
"""Where a field of `changed` is found; others are in `spec`."""


def changed(there: Any, **fields: Any) -> Any:
    """An object with other values in these fields, which have the names that they have above."""
    parts: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in fields.items():
        part, _, field = PLACES.get(name, "spec").partition(".")
        parts[part][field or name] = value
    return replace(there, **{part: replace(getattr(there, part), **new) for part, new in parts.items()})
