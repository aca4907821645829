"""The placement problem and its solution as arrays: what goes into `solve` and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]


class Zones(IntEnum):
    """What zones mean for an Item with two or more replicas (`spec.zones` of a Pool)."""

    SPREAD = 0
    REQUIRE = 1
    IGNORE = 2


class Primaries(IntEnum):
    """When primaries move for balance (`spec.balance.primaries` of a Pool)."""

    PROMOTION = 0
    ACTIVE = 1


@dataclass(slots=True)
class Problem:
    """Items (rows 0..n-1), Members (rows 0..m-1) and what is held now.

    The arrays may be changed in place between two solves; the changed rows are then named in
    `Touched`. A row is never renumbered: a deleted Item is a row with `replicas` 0 and nothing
    held, a deleted Member a row that is not `live`. Identity is the key, never the row, so that
    the same input gives the same plan whatever the order in which it became known.
    """

    item_key: UInt64
    """Shape (n,): a stable hash of the Item's name; equal keys of live rows are not allowed."""
    replicas: Int32
    """Shape (n,): replicas asked for, 0 to 32."""
    held: Int32
    """Shape (n, w): Member rows that hold the Item now, in slot order, padded at the end with -1.

    Members that are not live may be listed; they count as absent. A row has no duplicates.
    """
    held_primary: Int32
    """Shape (n,): Member row that holds slot 0 now (live or not), or -1."""

    member_key: UInt64
    """Shape (m,): a stable hash of the Member's name."""
    limit: Int32
    """Shape (m,): most Items the Member may hold, 0 to 4096; also its weight."""
    zone: Int32
    """Shape (m,): zone number, 0 or more. The empty zone name is a zone like any other."""
    live: Bool
    """Shape (m,)."""
    draining: Bool
    """Shape (m,): `spec.draining`; holds only what no other Member can."""
    age: Int64
    """Shape (m,): order of creation, smaller is older; no two live Members share a value."""

    zones: Zones = Zones.SPREAD
    tolerance: int = 0
    """Percent of the fair share that a load may stray, 0 to 100."""
    primaries: Primaries = Primaries.PROMOTION


@dataclass(frozen=True, slots=True)
class Touched:
    """Rows of the Problem that changed since the previous solution; any order, may repeat."""

    items: Int32
    """Rows whose key, replicas, held or held_primary changed."""
    members: Int32
    """Rows whose key, limit, zone, live, draining or age changed."""


LEVELS = (
    "placed",
    "given up",
    "shortage",
    "draining",
    "single zone",
    "balance",
    "zone pairs",
    "moves",
    "draining age",
    "primaries moved",
)
"""Names of the ten levels of the objective, most important first."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The ten levels reached and, for each, the bound that shows that none can be better.

    `reached[0]` counts placed replicas (more is better); all others are costs (less is better).
    The solution is proven optimal where `reached == bounds`. Levels are compared one after the
    other, so where they differ only the first that does says anything.
    """

    reached: tuple[int, ...]
    bounds: tuple[int, ...]

    @property
    def optimal(self) -> bool:
        """True when every level meets its bound."""
        return self.reached == self.bounds


@dataclass(frozen=True, slots=True)
class Solution:
    """Who should hold what.

    `members` and `primary` are shared with the solution that this one was solved from, and with
    the next one solved from it: they always show the newest plan. Copy what must stay.
    """

    members: Int32
    """Shape (n, v): Member rows of each Item in slot order (slot 0 first), padded with -1.

    v is the most replicas wanted by any Item so far, at least 1. Items that stay where they are
    have just the row that `held` has.
    """
    primary: Int32
    """Shape (n,): Member row of slot 0, or -1 for an Item that is not placed."""
    proof: Proof
    engine: str
    """`exact` or `incremental`: which engine answered."""
    why: str
    """Why that engine answered, for people."""
    seconds: float
    changed: Int32 | None = None
    """Item rows whose `members` or `primary` differ from the previous solution; None: maybe all.

    Without a previous solution nothing is known to be unchanged, so it is None.
    """
    state: object = field(default=None, repr=False, compare=False)
    """What the next incremental solve starts from; opaque."""

    @property
    def optimal(self) -> bool:
        """True when the proof closes."""
        return self.proof.optimal
