"""Pool: the policy for the Items and Members that name it."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StrictInt, model_validator

from berth.kinds.entry import MAX_TERM
from berth.kinds.meta import Meta, Part, ReadCondition
from berth.kinds.model import (
    AGE,
    DNS_LABEL,
    Column,
    Conditions,
    Count,
    Kind,
    Observed,
    Percent,
    Resource,
    Rule,
    Shape,
)

MAX_SECONDS = 2**31 - 1
MAX_NUMBER = 2**31 - 1


class Handoff(StrEnum):
    """How the primary's work passes from one Member to another."""

    OVERLAP = "Overlap"
    """The new primary is promoted in the round that removes the old one."""
    EXCLUSIVE = "Exclusive"
    """Only after the old holder has released, or its Lease has been expired for a full safety margin."""


class ZonePolicy(StrEnum):
    """How replicas of one Item relate to zones."""

    SPREAD = "Spread"
    """In two or more zones where capacity allows."""
    REQUIRE = "Require"
    """Rather a replica short than wholly in one zone."""
    IGNORE = "Ignore"
    """Zones count for nothing."""


class PrimaryBalance(StrEnum):
    """When primaries are balanced."""

    PROMOTION = "Promotion"
    """When one must be chosen."""
    ACTIVE = "Active"
    """They also move among holders for balance."""


class ItemStatusMode(StrEnum):
    """Which Items get a status."""

    FULL = "Full"
    """All."""
    PROBLEMS = "Problems"
    """Those that are not as they should be."""
    NONE = "None"
    """None."""


class Balance(Shape):
    """How evenly Items are shared."""

    tolerance_percent: Percent = 0
    """How far a Member's load may stray from its fair share, in percent of it, before Items move."""
    primaries: PrimaryBalance = PrimaryBalance.PROMOTION
    """`Promotion`: primaries are balanced when one must be chosen. `Active`: they also move among
    holders for balance."""


class Moves(Shape):
    """Bounds on moving Items for balance."""

    max_in_flight: Annotated[StrictInt, Field(ge=0, le=MAX_NUMBER)] | None = None
    """Most rebalancing moves under way at once; unset is no bound. Missing replicas are recovered
    whatever it says."""


class Outage(Shape):
    """What happens when Members die."""

    delay_seconds: Annotated[StrictInt, Field(ge=0, le=MAX_SECONDS)] = 0
    """How long a dead Member's Items wait for it to return, in seconds."""
    brake_percent: Percent = 55
    """When more than this share of the Members dies together, removals and moves pause."""
    brake_min_members: Annotated[StrictInt, Field(ge=0, le=MAX_NUMBER)] = 10
    """The brake acts only in a Pool of at least this many Members."""


class PoolSpec(Shape):
    """The policy."""

    handoff: Handoff = Handoff.OVERLAP
    """`Overlap`: the new primary is promoted in the round that removes the old one. `Exclusive`: only
    after the old holder has released, or its Lease has been expired for a full safety margin."""
    zones: ZonePolicy = ZonePolicy.SPREAD
    """`Spread`: an Item with 2 or more replicas is in 2 or more zones where capacity allows. `Require`:
    rather a replica short than wholly in one zone. `Ignore`: zones count for nothing."""
    balance: Balance = Balance()
    """How evenly Items are shared."""
    moves: Moves = Moves()
    """Bounds on moving Items for balance."""
    outage: Outage = Outage()
    """What happens when Members die."""
    item_status: ItemStatusMode = ItemStatusMode.FULL
    """Which Items get a status: `Full` (all), `Problems` (those not as they should be) or `None`."""


class Slots(Observed):
    """Sums over the Items of the Pool."""

    wanted: Count = 0
    """Replicas asked for."""
    held: Count = 0
    """Replicas that live Members hold."""
    ready: Count = 0
    """Replicas that are ready."""


class PoolStatus(Observed):
    """The state of the Pool, written by the leader."""

    term: Annotated[StrictInt, Field(ge=0, le=MAX_TERM)] | None = None
    """The term of the last leader; only ever grows. Assignments of an earlier one are refused."""
    leader: Annotated[str, Field(max_length=253)] | None = None
    """Who leads."""
    items: Count = 0
    """Items that name the Pool."""
    members: Count = 0
    """Members that name the Pool."""
    slots: Slots = Slots()
    """Replicas wanted, held and ready."""
    observed_generation: Count | None = None
    """The generation of the Pool that this was said of."""
    conditions: Conditions = Field(default_factory=list)
    """`Converged`: everything is where the plan wants it. `Degraded`: something is missing.
    `Paused`: the brake holds removals and moves."""


_NAME_MESSAGE = f"{DNS_LABEL.message}, 63 characters at most (Items and Members name it in spec.pool)"


class Pool(Resource):
    """Policy for the Items and Members that name it. The operator creates one that is missing."""

    about: ClassVar[Kind] = Kind(
        "Pool",
        short_names=("bp",),
        columns=(
            Column("Items", ".status.items", "integer", "Items that name the Pool"),
            Column("Members", ".status.members", "integer", "Members that name the Pool"),
            Column("Wanted", ".status.slots.wanted", "integer", "Replicas asked for"),
            Column("Held", ".status.slots.held", "integer", "Replicas that live Members hold"),
            Column("Ready", ".status.slots.ready", "integer", "Replicas that are ready"),
            Column.condition("Converged", "Whether everything is where the plan wants it"),
            Column("Term", ".status.term", "integer", "The term of the last leader"),
            Column("Handoff", ".spec.handoff", description="How primaries change hands", wide=True),
            Column("Zones", ".spec.zones", description="How replicas relate to zones", wide=True),
            Column("Leader", ".status.leader", description="Who leads", wide=True),
            AGE,
        ),
        rules=(
            Rule(
                f"size(self.metadata.name) <= 63 && {DNS_LABEL.rule('self.metadata.name')}",
                _NAME_MESSAGE,
                field=".metadata.name",
            ),
            Rule(
                "!has(oldSelf.status) || !has(oldSelf.status.term) || (has(self.status) && "
                "has(self.status.term) && self.status.term >= oldSelf.status.term)",
                "may only grow: leaders are told apart by it",
                field=".status.term",
            ),
        ),
    )

    kind: Literal["Pool"] = "Pool"
    spec: PoolSpec = PoolSpec()
    status: PoolStatus | None = None

    @model_validator(mode="after")
    def _name_is_a_label(self) -> Self:
        name = self.metadata.name
        if name and (len(name) > 63 or not DNS_LABEL.accepts(name)):
            raise ValueError(f"metadata.name {_NAME_MESSAGE}")
        return self


class ReadBalance(Part, frozen=True):
    """`spec.balance` of a Pool."""

    tolerance_percent: int = 0
    primaries: PrimaryBalance = PrimaryBalance.PROMOTION


class ReadMoves(Part, frozen=True):
    """`spec.moves` of a Pool."""

    max_in_flight: int | None = None


class ReadOutage(Part, frozen=True):
    """`spec.outage` of a Pool."""

    delay_seconds: int = 0
    brake_percent: int = 55
    brake_min_members: int = 10


class ReadPoolSpec(Part, frozen=True):
    """`spec` of a Pool."""

    handoff: Handoff = Handoff.OVERLAP
    zones: ZonePolicy = ZonePolicy.SPREAD
    balance: ReadBalance = ReadBalance()
    moves: ReadMoves = ReadMoves()
    outage: ReadOutage = ReadOutage()
    item_status: ItemStatusMode = ItemStatusMode.FULL


class ReadSlots(Part, frozen=True):
    """`status.slots` of a Pool."""

    wanted: int = 0
    held: int = 0
    ready: int = 0


class ReadPoolStatus(Part, frozen=True):
    """`status` of a Pool."""

    term: int = 0
    leader: str = ""
    items: int = 0
    members: int = 0
    slots: ReadSlots = ReadSlots()
    observed_generation: int | None = None
    conditions: tuple[ReadCondition, ...] = ()


class PoolObject(Part, frozen=True):
    """A Pool as it is read."""

    metadata: Meta
    spec: ReadPoolSpec = ReadPoolSpec()
    status: ReadPoolStatus | None = None
