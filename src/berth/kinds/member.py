"""Member: a process that can hold Items."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt

from berth.kinds.entry import MAX_NAME
from berth.kinds.meta import Meta, Part, ReadCondition, condition_status
from berth.kinds.model import (
    AGE,
    DNS_SUBDOMAIN,
    LABEL_VALUE,
    UNCHANGEABLE_POOL,
    Column,
    Conditions,
    Count,
    Kind,
    Observed,
    PoolName,
    Resource,
    Shape,
)

MAX_LIMIT = 4096


class Readiness(StrEnum):
    """When an entry counts as ready."""

    ASSUMED = "Assumed"
    """As soon as it is written."""
    REPORTED = "Reported"
    """Once the Member says so in the status of its Assignment."""


class MemberSpec(Shape):
    """What the Member offers."""

    pool: Annotated[PoolName, UNCHANGEABLE_POOL] = "default"
    """The Pool whose Items it may hold; a DNS label. It cannot be changed later."""
    zone: Annotated[str, Field(max_length=63), LABEL_VALUE] = ""
    """Where it runs, so that replicas can be spread. Empty is a zone like any other."""
    limit: Annotated[StrictInt, Field(ge=0, le=MAX_LIMIT)]
    """Most Items it may hold; also its weight when Items are shared out. 0 drains it."""
    draining: StrictBool = False
    """Leave as capacity allows: hold only what no other Member can. Nothing is unplaced by it."""
    lease_name: Annotated[str, Field(max_length=MAX_NAME), DNS_SUBDOMAIN] | None = None
    """A Lease of the same namespace: the Member is live while it is renewed. Unset: live while the
    Member exists."""
    readiness: Readiness = Readiness.ASSUMED
    """When an entry counts as ready: `Assumed` as soon as it is written, `Reported` once the Member
    says so in the status of its Assignment."""


class MemberStatus(Observed):
    """What the controller sees of the Member."""

    items: Count = 0
    """Items it holds."""
    primaries: Count = 0
    """Items of which it holds slot 0."""
    ready: Count = 0
    """Items that it is ready with."""
    observed_generation: Count | None = None
    """The generation of the Member that this was said of."""
    conditions: Conditions = Field(default_factory=list)
    """`Live`: it takes part. `Drained`: it was asked to leave and holds nothing any more."""


class Member(Resource):
    """A process that can hold Items, usually a pod."""

    about: ClassVar[Kind] = Kind(
        "Member",
        short_names=("bm",),
        columns=(
            Column("Pool", ".spec.pool", description="The Pool whose Items it may hold"),
            Column("Zone", ".spec.zone", description="Where it runs"),
            Column("Limit", ".spec.limit", "integer", "Most Items it may hold"),
            Column("Items", ".status.items", "integer", "Items it holds"),
            Column("Primaries", ".status.primaries", "integer", "Items of which it holds slot 0"),
            Column.condition("Live", "Whether it takes part"),
            AGE,
        ),
    )

    kind: Literal["Member"] = "Member"
    spec: MemberSpec
    status: MemberStatus | None = None


class ReadMemberSpec(Part, frozen=True):
    """`spec` of a Member."""

    limit: int
    pool: str = "default"
    zone: str = ""
    draining: bool = False
    lease_name: str | None = None
    readiness: Readiness = Readiness.ASSUMED


class ReadMemberStatus(Part, frozen=True):
    """`status` of a Member."""

    items: int = 0
    primaries: int = 0
    ready: int = 0
    observed_generation: int | None = None
    conditions: tuple[ReadCondition, ...] = ()


class MemberObject(Part, frozen=True):
    """A Member as it is read."""

    metadata: Meta
    spec: ReadMemberSpec
    status: ReadMemberStatus | None = None

    @property
    def reported_live(self) -> bool | None:
        """What its condition `Live` says; None where it says nothing."""
        return condition_status(self.status.conditions if self.status else (), "Live")
