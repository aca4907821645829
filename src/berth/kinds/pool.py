"""Pool: the policy for the Items and Members that name it."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StrictInt, model_validator

from berth.kinds import model
from berth.kinds.entry import MAX_TERM, is_label
from berth.kinds.meta import HasMeta, Part, ReadCondition

_Number = Annotated[StrictInt, Field(ge=0, le=2**31 - 1)]


class Handoff(StrEnum):
    """How the primary's work passes from one Member to another: see `PoolSpec.handoff`."""

    OVERLAP = "Overlap"
    EXCLUSIVE = "Exclusive"


class ZonePolicy(StrEnum):
    """How replicas of one Item relate to zones: see `PoolSpec.zones`."""

    SPREAD = "Spread"
    REQUIRE = "Require"
    IGNORE = "Ignore"


class PrimaryBalance(StrEnum):
    """When primaries are balanced: see `BalancePolicy.primaries`."""

    PROMOTION = "Promotion"
    ACTIVE = "Active"


class ItemStatusMode(StrEnum):
    """Which Items get a status: see `PoolSpec.item_status`."""

    FULL = "Full"
    PROBLEMS = "Problems"
    NONE = "None"


class BalancePolicy(model.Shape):
    """How evenly Items are balanced over Members."""

    tolerance_percent: model.Percent = 0
    """How far a Member's load may deviate from its fair share before Items move, in percent of the share."""
    primaries: PrimaryBalance = PrimaryBalance.PROMOTION
    """`Promotion`: primaries are balanced when one must be chosen. `Active`: they also move among
    holders for balance."""


class MovePolicy(model.Shape):
    """Bounds on moving Items for balance."""

    max_in_flight: _Number | None = None
    """The maximum number of rebalancing moves in flight. Unset: no bound. It does not delay the recovery of
    missing replicas."""


class OutagePolicy(model.Shape):
    """What happens when Members die."""

    delay_seconds: _Number = 0
    """How long a dead Member's Items wait for its return, in seconds."""
    brake_percent: model.Percent = 55
    """If more than this share of the Members dies together, removals and moves are paused."""
    brake_min_members: _Number = 10
    """The brake applies only to Pools with at least this many Members."""


class PoolSpec(model.Shape):
    """The policy."""

    handoff: Handoff = Handoff.OVERLAP
    """`Overlap`: the new primary is promoted in the round that removes the old one. `Exclusive`: the
    new primary is promoted only after the old holder has released the Item, or after its Lease has
    been expired for a full safety margin."""
    zones: ZonePolicy = ZonePolicy.SPREAD
    """`Spread`: an Item with 2 or more replicas is in 2 or more zones where capacity allows. `Require`:
    a replica is left unplaced rather than all of them put in one zone. `Ignore`: zones are ignored."""
    balance: BalancePolicy = BalancePolicy()
    """How evenly Items are balanced over Members."""
    moves: MovePolicy = MovePolicy()
    """Bounds on moving Items for balance."""
    outage: OutagePolicy = OutagePolicy()
    """What happens when Members die."""
    item_status: ItemStatusMode = ItemStatusMode.FULL
    """Which Items get a status: `Full` (all), `Problems` (those with a problem) or `None`."""


class Slots(model.Observed):
    """Totals over the Items of the Pool."""

    wanted: model.Count = 0
    """Requested replicas."""
    held: model.Count = 0
    """Replicas that live Members hold."""
    ready: model.Count = 0
    """Replicas that are ready."""


class PoolStatus(model.Observed):
    """The state of the Pool, written by the leader."""

    term: Annotated[StrictInt, Field(ge=0, le=MAX_TERM)] | None = None
    """The term of the latest leader. It only grows; the API server refuses Assignments of an earlier term."""
    leader: Annotated[str, Field(max_length=253)] | None = None
    """The identity of the leader."""
    items: model.Count = 0
    """Items that name the Pool."""
    members: model.Count = 0
    """Members that name the Pool."""
    slots: Slots = Slots()
    """Replicas wanted, held and ready."""
    observed_generation: model.Count | None = None
    """The generation of the Pool that this status describes."""
    conditions: model.Conditions = ()
    """`Converged`: everything is where the plan wants it. `Degraded`: something is missing.
    `Paused`: the outage brake stops removals and moves."""


_NAME_MESSAGE = f"{model.DNS_LABEL.message}, 63 characters at most (Items and Members name it in spec.pool)"


class Pool(model.Resource):
    """Policy for the Items and Members that name it. The operator creates one that is missing."""

    about: ClassVar[model.Kind] = model.Kind(
        "Pool",
        short_names=("bp",),
        columns=(
            model.column("Items", ".status.items", "integer", "Items that name the Pool"),
            model.column("Members", ".status.members", "integer", "Members that name the Pool"),
            model.column("Wanted", ".status.slots.wanted", "integer", "Requested replicas"),
            model.column("Held", ".status.slots.held", "integer", "Replicas that live Members hold"),
            model.column("Ready", ".status.slots.ready", "integer", "Replicas that are ready"),
            model.condition_column("Converged", "Whether everything is where the plan wants it"),
            model.column("Term", ".status.term", "integer", "The term of the latest leader"),
            model.column("Handoff", ".spec.handoff", description="How primaries change hands", wide=True),
            model.column("Zones", ".spec.zones", description="How replicas relate to zones", wide=True),
            model.column("Leader", ".status.leader", description="The identity of the leader", wide=True),
            model.AGE,
        ),
        rules=(
            model.Rule(
                "size(self.metadata.name) <= 63 && "
                + model.DNS_LABEL.rule.replace("self", "self.metadata.name"),
                _NAME_MESSAGE,
                field=".metadata.name",
            ),
            model.Rule(
                "!has(oldSelf.status) || !has(oldSelf.status.term) || (has(self.status) && "
                "has(self.status.term) && self.status.term >= oldSelf.status.term)",
                "must not decrease: it identifies the latest leader",
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
        if name and not is_label(name):
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


class PoolObject(HasMeta, frozen=True):
    """A Pool as it is read."""

    spec: ReadPoolSpec = ReadPoolSpec()
    status: ReadPoolStatus | None = None

    @property
    def term(self) -> int:
        """The term of the latest leader; 0 before the first."""
        return self.status.term if self.status else 0

    @property
    def leader(self) -> str:
        """The latest leader; empty before the first."""
        return self.status.leader if self.status else ""
