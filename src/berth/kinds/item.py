"""Item: a unit of work that must live somewhere."""

from typing import Annotated, ClassVar, Literal

import msgspec
from pydantic import Field, StrictInt

from berth.kinds import model
from berth.kinds.meta import HasMeta, Part, ReadCondition

MAX_REPLICAS = 32
MAX_DATA_KEYS = 64
MAX_DATA_VALUE = 4096

_DATA_KEYS = model.Rule(
    "self.all(key, size(key) >= 1 && size(key) <= 253)", "every key must have 1 to 253 characters"
)


class ItemSpec(model.Shape):
    """The desired state of the Item."""

    pool: Annotated[model.PoolName, model.UNCHANGEABLE_POOL] = "default"
    """The Pool whose Members may hold the Item; a DNS label. It cannot be changed later."""
    replicas: Annotated[StrictInt, Field(ge=0, le=MAX_REPLICAS)] = 1
    """The number of Members that hold the Item at the same time. 0 keeps it unplaced."""
    data: Annotated[
        dict[str, Annotated[str, Field(max_length=MAX_DATA_VALUE), model.max_bytes(MAX_DATA_VALUE)]],
        Field(max_length=MAX_DATA_KEYS),
        _DATA_KEYS,
    ] = Field(default_factory=dict)
    """Data for the worker: at most 64 keys with values of up to 4 KiB (4096 bytes in UTF-8)."""


class ItemStatus(model.Observed):
    """Where the Item is. The controller writes it as `Pool.spec.itemStatus` specifies."""

    replicas: model.Count = 0
    """The number of Members that hold the Item."""
    ready: model.Count = 0
    """The number of Members that hold the Item and are ready."""
    primary: model.ObjectName | None = None
    """The Member with slot 0."""
    members: Annotated[tuple[model.ObjectName, ...], model.atomic(64)] = ()
    """The Members that hold the Item, in slot order."""
    observed_generation: model.Count | None = None
    """The generation of the Item that this status describes."""
    conditions: model.Conditions = ()
    """`Placed`: as many Members hold the Item as requested. `Ready`: all of its replicas are ready."""


class Item(model.Resource):
    """A unit of work that must live somewhere: a shard, a partition, a tenant, a feed."""

    about: ClassVar[model.Kind] = model.Kind(
        "Item",
        short_names=("bi",),
        columns=(
            model.column("Pool", ".spec.pool", description="The Pool whose Members may hold the Item"),
            model.column("Replicas", ".spec.replicas", "integer", "Requested replicas"),
            model.column("Held", ".status.replicas", "integer", "Members that hold the Item"),
            model.column("Ready", ".status.ready", "integer", "Members on which the Item is ready"),
            model.column("Primary", ".status.primary", description="The Member with slot 0"),
            model.AGE,
        ),
        scale={"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
    )

    kind: Literal["Item"] = "Item"
    spec: ItemSpec = ItemSpec()
    status: ItemStatus | None = None


class ReadItemSpec(Part, frozen=True):
    """`spec` of an Item without its data, which is for workers only."""

    pool: str = "default"
    replicas: int = 1


class ReadItemStatus(Part, frozen=True):
    """`status` of an Item."""

    replicas: int = 0
    ready: int = 0
    primary: str | None = None
    members: tuple[str, ...] = ()
    observed_generation: int | None = None
    conditions: tuple[ReadCondition, ...] = ()


class ItemObject(HasMeta, frozen=True):
    """An Item as it is read."""

    spec: ReadItemSpec = ReadItemSpec()
    status: ReadItemStatus | None = None


class ReadItemData(ReadItemSpec, frozen=True, gc=True):
    """`spec` of an Item with its data: up to 256 KiB that only the workers that hold it read."""

    data: dict[str, str] = msgspec.field(default_factory=dict)


class ItemWithData(ItemObject, frozen=True, gc=True):
    """An Item as a worker reads it."""

    spec: ReadItemData = msgspec.field(default_factory=ReadItemData)
