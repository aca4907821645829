"""The placement problem and its answer as arrays: what goes into a solver and what comes out."""

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

    # Of the Items, shape (n,), and of `held` (n, w):
    item_key: UInt64  # a stable hash of the Item's name; should no two be equal
    replicas: Int32  # asked for, 0 or more (in a Pool at most 32)
    held: Int32  # Member rows that hold the Item now, live or not, in slot order, none twice; -1 at the end
    held_primary: Int32  # Member row that holds slot 0 now, live or not, or -1

    # Of the Members, shape (m,):
    member_key: UInt64  # a stable hash of the Member's name
    limit: Int32  # most Items it may hold, 0 or more (in a Pool at most 4096); also its weight
    zone: Int32  # zone number, 0 or more; the empty zone name is a zone like any other
    live: Bool  # one that is not counts as absent
    draining: Bool  # holds only what no other Member can
    age: Int64  # order of creation, smaller is older; no two live Members share a value

    zones: Zones = Zones.SPREAD
    tolerance: int = 0  # percent of the fair share that a load may stray, 0 to 100
    primaries: Primaries = Primaries.PROMOTION


@dataclass(frozen=True, slots=True)
class Touched:
    """Rows of the Problem of which something changed since the previous solve; any order, may repeat."""

    items: Int32
    members: Int32


LEVELS = (
    *("given-up", "placed", "shortage"),  # what is held
    *("misplaced", "split-groups", "single-zone", "rollout", "separate"),  # what was asked for
    *("balance", "zone-pairs", "preference"),  # shape
    *("moves", "draining-age", "primaries-moved"),  # disruption
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
    def first_open(self) -> str | None:
        """The first level that does not meet its bound; those after it say nothing."""
        return next((name for name in LEVELS if self.reached[name] != self.bounds[name]), None)


@dataclass(frozen=True, slots=True)
class Solution:
    """Who should hold what. Its arrays are its own: nothing changes them later."""

    members: Int32  # shape (n, v): Member rows of each Item in slot order (slot 0 first), padded with -1
    proof: Proof
    engine: str  # which answered (`pooled`, `exact` or `plain`), and why that one, for people
    why: str
    seconds: float = 0.0  # wall time from the arrays to the certified plan, the other process included
    trouble: str = ""  # what went wrong on the way here; empty where nothing did
    changed: Int32 | None = field(default=None, repr=False)
    """Item rows whose row of `members` differs from the solver's previous answer; None: maybe all."""
    faults: tuple[str, ...] = ()  # what the certificate rejects the plan for; a solver gives none with any

    @property
    def primary(self) -> Int32:
        """Shape (n,): Member row of slot 0, or -1 for an Item that is not placed."""
        return np.asarray(self.members[:, 0])

    @property
    def optimal(self) -> bool:
        """Whether every level meets its bound."""
        return self.proof.first_open is None


def minor(level: str | None) -> bool:
    """Whether a level that is not proven (None: all are) is not worth another search: one after the moves."""
    return level is None or LEVELS.index(level) > LEVELS.index("moves")
