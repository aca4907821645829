"""Member: a process that can hold Items."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt

from berth.kinds import model
from berth.kinds.entry import MAX_NAME
from berth.kinds.meta import HasMeta, Part, ReadCondition

MAX_LIMIT = 4096


class Readiness(StrEnum):
    """When an entry counts as ready: see `MemberSpec.readiness`."""

    ASSUMED = "Assumed"
    REPORTED = "Reported"


class MemberSpec(model.Shape):
    """The desired state of the Member."""

    pool: Annotated[model.PoolName, model.UNCHANGEABLE_POOL] = "default"
    """The Pool whose Items it may hold; a DNS label. It cannot be changed later."""
    zone: Annotated[str, Field(max_length=63), model.LABEL_VALUE] = ""
    """The zone in which it runs, used to spread replicas. The empty zone is a zone like any other."""
    limit: Annotated[StrictInt, Field(ge=0, le=MAX_LIMIT)]
    """The maximum number of Items it may hold, and its weight when Items are balanced. 0 drains it."""
    draining: StrictBool = False
    """Drain as capacity allows: the Member keeps only what no other Member can hold. It leaves no Item
    unplaced."""
    lease_name: Annotated[str, Field(max_length=MAX_NAME), model.DNS_SUBDOMAIN] | None = None
    """The name of a Lease in the same namespace: the Member is live while the Lease is renewed. Unset: the
    Member is live while it exists."""
    readiness: Readiness = Readiness.ASSUMED
    """When an entry counts as ready: `Assumed` as soon as it is written, `Reported` once the Member
    reports it ready in the status of its Assignment."""


class MemberStatus(model.Observed):
    """The observed state of the Member."""

    items: model.Count = 0
    """The number of Items it holds."""
    primaries: model.Count = 0
    """The number of Items for which it holds slot 0."""
    ready: model.Count = 0
    """The number of its Items that are ready."""
    observed_generation: model.Count | None = None
    """The generation of the Member that this status describes."""
    conditions: model.Conditions = ()
    """`Live`: it can hold Items. `Drained`: it is draining and holds nothing."""


class Member(model.Resource):
    """A process that can hold Items, usually a pod."""

    about: ClassVar[model.Kind] = model.Kind(
        "Member",
        short_names=("bm",),
        columns=(
            model.column("Pool", ".spec.pool", description="The Pool whose Items it may hold"),
            model.column("Zone", ".spec.zone", description="Where it runs"),
            model.column("Limit", ".spec.limit", "integer", "Maximum number of Items it may hold"),
            model.column("Items", ".status.items", "integer", "Items it holds"),
            model.column("Primaries", ".status.primaries", "integer", "Items for which it holds slot 0"),
            model.condition_column("Live", "Whether it can hold Items"),
            model.AGE,
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


class MemberObject(HasMeta, frozen=True):
    """A Member as it is read."""

    spec: ReadMemberSpec
    status: ReadMemberStatus | None = None

    @property
    def reported_live(self) -> bool | None:
        """Whether its condition `Live` holds; None if that is unknown."""
        conditions = self.status.conditions if self.status else ()
        found = next((condition.status for condition in conditions if condition.type == "Live"), "")
        return {"True": True, "False": False}.get(found)
