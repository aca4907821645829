"""The placement problem and its answer as arrays: what goes into a solver and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

SCALE = 4096
"""Units of the levels that weigh by limit: `floor(SCALE·k/limit)` for the k-th unit."""


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
    held, a deleted Member a row that is not `live`. Identity is the key, never the row, so the
    same input gives the same plan whatever the order in which it became known.
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
    """Rows of the Problem that changed since the previous solve; any order, may repeat."""

    items: Int32
    """Rows whose key, replicas, held or held_primary changed."""
    members: Int32
    """Rows whose key, limit, zone, live, draining or age changed."""


LEVELS = (
    "given-up",
    "placed",
    "shortage",
    "misplaced",
    "split-groups",
    "single-zone",
    "rollout",
    "separate",
    "balance",
    "zone-pairs",
    "preference",
    "moves",
    "draining-age",
    "primaries-moved",
)
"""Names of the levels of the objective, most important first.

`placed` counts placed replicas and should be large; all others are costs and should be small.
Levels without a rule behind them (yet, or in this Pool) are 0.
"""
SHAPE_LEVELS = LEVELS[: LEVELS.index("moves")]
"""The levels that look only at where entries end, not at where they come from."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a plan reaches in each level, and the bound that no plan can pass.

    A bound holds among the plans that are equal on the levels before. Both map the names in
    `LEVELS`, in that order, to integers.
    """

    reached: Mapping[str, int]
    bounds: Mapping[str, int]

    @property
    def optimal(self) -> bool:
        """Whether every level meets its bound."""
        return self.first_open is None

    @property
    def first_open(self) -> str | None:
        """The first level that does not meet its bound; those after it say nothing."""
        return next((name for name in LEVELS if self.reached[name] != self.bounds[name]), None)


@dataclass(frozen=True, slots=True)
class Solution:
    """Who should hold what. Its arrays are its own: nothing changes them later."""

    members: Int32
    """Shape (n, v): Member rows of each Item in slot order (slot 0 first), padded with -1."""
    proof: Proof
    engine: str
    """Which engine answered: `pooled`, `exact` or `plain`."""
    why: str
    """Why that engine answered, for people."""
    seconds: float
    """Wall time from the arrays to the certified plan, child processes included."""
    trouble: str = ""
    """What went wrong on the way here; empty where nothing did."""
    changed: Int32 | None = field(default=None, repr=False)
    """Item rows whose row of `members` differs from the solver's previous answer; None: maybe all."""

    @property
    def primary(self) -> Int32:
        """Shape (n,): Member row of slot 0, or -1 for an Item that is not placed."""
        first: Int32 = self.members[:, 0]
        return first

    @property
    def optimal(self) -> bool:
        """Whether the proof closes in all levels."""
        return self.proof.optimal


def minor(level: str | None) -> bool:
    """Whether a level that is not proven (None: all are) is not worth another search: one after the moves."""
    return level is None or LEVELS.index(level) > LEVELS.index("moves")
