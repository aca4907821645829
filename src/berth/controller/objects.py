"""The kinds as the controller's informers read them, and what of them the fleet is told."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from berth.kinds import API_VERSION, Handoff, ItemStatusMode, Readiness, ZonePolicy
from berth.kube import Meta, Resource
from berth.pool import AssignmentSeen, ItemSeen, LeaseSeen, MemberSeen, Policy

GROUP, VERSION = API_VERSION.split("/")
ITEMS = Resource(GROUP, VERSION, "items")
MEMBERS = Resource(GROUP, VERSION, "members")
ASSIGNMENTS = Resource(GROUP, VERSION, "assignments")
POOLS = Resource(GROUP, VERSION, "pools")
EVENTS = Resource("", "v1", "events")


class _Struct(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    pass


class Condition(_Struct, frozen=True):
    """A condition of a status."""

    type: str
    status: str = "Unknown"
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""


class ItemSpec(_Struct, frozen=True):
    """`spec` of an Item, without its data: that is for workers only."""

    pool: str = "default"
    replicas: int = 1


class ItemStatus(_Struct, frozen=True):
    """`status` of an Item."""

    replicas: int = 0
    ready: int = 0
    primary: str | None = None
    members: tuple[str, ...] = ()
    observed_generation: int | None = None
    conditions: tuple[Condition, ...] = ()


class ItemObject(_Struct, frozen=True):
    """An Item."""

    metadata: Meta
    spec: ItemSpec = ItemSpec()
    status: ItemStatus | None = None

    def seen(self) -> ItemSeen:
        """What placement depends on."""
        meta = self.metadata
        return ItemSeen(meta.name, self.spec.replicas, meta.uid, meta.generation)


class MemberSpec(_Struct, frozen=True):
    """`spec` of a Member."""

    limit: int
    pool: str = "default"
    zone: str = ""
    draining: bool = False
    lease_name: str | None = None
    readiness: Readiness = Readiness.ASSUMED


class MemberStatus(_Struct, frozen=True):
    """`status` of a Member."""

    items: int = 0
    primaries: int = 0
    ready: int = 0
    observed_generation: int | None = None
    conditions: tuple[Condition, ...] = ()


class MemberObject(_Struct, frozen=True):
    """A Member."""

    metadata: Meta
    spec: MemberSpec
    status: MemberStatus | None = None

    @property
    def said_dead(self) -> bool:
        """Whether its status says that it is not live."""
        return self._said("False")

    @property
    def said_live(self) -> bool:
        """Whether its status says that it is live."""
        return self._said("True")

    def _said(self, live: str) -> bool:
        conditions = self.status.conditions if self.status else ()
        return any(c.type == "Live" and c.status == live for c in conditions)

    def seen(self) -> MemberSeen:
        """What placement depends on."""
        meta, spec = self.metadata, self.spec
        return MemberSeen(
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


class AssignmentSpec(_Struct, frozen=True):
    """`spec` of an Assignment."""

    pool: str = "default"
    term: int = 0
    session: str | None = None
    items: tuple[str, ...] = ()


class Problem(_Struct, frozen=True):
    """One of `status.problems`."""

    item: str = ""
    grant: int = 0
    message: str = ""


class AssignmentStatus(_Struct, frozen=True):
    """`status` of an Assignment."""

    session: str = ""
    items: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


class AssignmentObject(_Struct, frozen=True):
    """An Assignment."""

    metadata: Meta
    spec: AssignmentSpec = AssignmentSpec()
    status: AssignmentStatus = AssignmentStatus()

    def seen(self) -> AssignmentSeen:
        """What placement depends on."""
        meta, status = self.metadata, self.status
        owner = next((o.uid for o in meta.owner_references if o.kind == "Member"), "")
        return AssignmentSeen(
            name=meta.name,
            items=self.spec.items,
            term=self.spec.term,
            uid=meta.uid,
            owner=owner,
            generation=meta.generation,
            resource_version=int(meta.resource_version or 0),
            session=status.session,
            reports=status.items,
            problems=tuple((p.item, p.grant, p.message) for p in status.problems),
            written_for=self.spec.session or "",
        )


class LeaseSpec(_Struct, frozen=True):
    """`spec` of a Lease."""

    holder_identity: str | None = None
    renew_time: str | None = None
    lease_duration_seconds: int | None = None
    lease_transitions: int | None = None


class LeaseObject(_Struct, frozen=True):
    """A Lease."""

    metadata: Meta
    spec: LeaseSpec = LeaseSpec()

    def seen(self) -> LeaseSeen:
        """What liveness depends on."""
        spec = self.spec
        return LeaseSeen(
            name=self.metadata.name,
            holder=spec.holder_identity or "",
            renewed=spec.renew_time or "",
            duration=float(spec.lease_duration_seconds or 15),
            transitions=spec.lease_transitions or 0,
            version=int(self.metadata.resource_version or 0),
        )


class Balance(_Struct, frozen=True):
    """`spec.balance` of a Pool."""

    tolerance_percent: int = 0
    primaries: str = "Promotion"


class Moves(_Struct, frozen=True):
    """`spec.moves` of a Pool."""

    max_in_flight: int | None = None


class Outage(_Struct, frozen=True):
    """`spec.outage` of a Pool."""

    delay_seconds: int = 0
    brake_percent: int = 55
    brake_min_members: int = 10


class PoolSpec(_Struct, frozen=True):
    """`spec` of a Pool."""

    handoff: Handoff = Handoff.OVERLAP
    zones: ZonePolicy = ZonePolicy.SPREAD
    balance: Balance = Balance()
    moves: Moves = Moves()
    outage: Outage = Outage()
    item_status: ItemStatusMode = ItemStatusMode.FULL


class PoolStatus(_Struct, frozen=True):
    """`status` of a Pool, the part that the controller reads back."""

    term: int = 0
    leader: str = ""
    conditions: tuple[Condition, ...] = ()


class PoolObject(_Struct, frozen=True):
    """A Pool."""

    metadata: Meta
    spec: PoolSpec = PoolSpec()
    status: PoolStatus | None = None

    def policy(self) -> Policy:
        """The policy for fleet and converge."""
        spec = self.spec
        return Policy(
            handoff=spec.handoff,
            zones=spec.zones,
            tolerance=spec.balance.tolerance_percent,
            active_primaries=spec.balance.primaries == "Active",
            max_in_flight=spec.moves.max_in_flight,
            outage_delay=float(spec.outage.delay_seconds),
            brake_percent=spec.outage.brake_percent,
            brake_min_members=spec.outage.brake_min_members,
            item_status=spec.item_status,
        )


def timestamp() -> str:
    """Now, as Kubernetes writes the time of a condition or an Event."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
