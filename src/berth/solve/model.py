"""The placement problem and its solution as arrays: the input and the output of a solver."""

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
"""Scale of the levels that weigh load by limit: the k-th unit costs `floor(SCALE·k/limit)`."""


class Zones(IntEnum):
    """How zones constrain an Item with two or more replicas (`spec.zones` of a Pool)."""

    SPREAD = 0
    REQUIRE = 1
    IGNORE = 2


class Primaries(IntEnum):
    """When primaries move for balance (`spec.balance.primaries` of a Pool)."""

    PROMOTION = 0
    ACTIVE = 1


@dataclass(slots=True)
class Problem:
    """Items (rows 0..n-1), Members (rows 0..m-1) and who holds what now.

    The arrays may be changed in place between two solves; `Touched` then names the changed rows.
    A row is never renumbered: a deleted Item is a row with `replicas` 0 and nothing held, a deleted
    Member is a row that is not `live`. The key identifies an Item or a Member, never the row, so
    the same fleet gets the same plan, whatever the order of its rows.
    """

    # Items: shape (n,), except `held`: (n, w)
    item_key: UInt64  # a stable hash of the Item's name; keys should be distinct
    replicas: Int32  # requested, 0 or more (in a Pool at most 32)
    held: Int32  # distinct Member rows that hold the Item now, live or not, in slot order, padded with -1
    held_primary: Int32  # Member row that holds slot 0 now, live or not, or -1

    # Members: shape (m,)
    member_key: UInt64  # a stable hash of the Member's name
    limit: Int32  # maximum number of Items, 0 or more (in a Pool at most 4096); also its weight
    zone: Int32  # zone number, 0 or more; the empty zone name is an ordinary zone
    live: Bool  # a Member that is not live is treated as absent
    draining: Bool  # holds only what no other Member can hold
    age: Int64  # order of creation, smaller is older; distinct among live Members

    zones: Zones = Zones.SPREAD
    tolerance: int = 0  # how far a load may deviate from its fair share, in percent of it, 0 to 100
    primaries: Primaries = Primaries.PROMOTION


@dataclass(frozen=True, slots=True)
class Touched:
    """Rows of the Problem that changed since the previous solve, in any order; rows may repeat."""

    items: Int32
    members: Int32


LEVELS = (
    *("given-up", "placed", "shortage"),  # how many replicas are placed
    *("misplaced", "split-groups", "single-zone", "rollout", "separate"),  # placement rules
    *("balance", "zone-pairs", "preference"),  # shape
    *("moves", "draining-age", "primaries-moved"),  # disruption
)
"""Names of the levels of the objective, most important first.

`placed` counts placed replicas and is maximised; the others are costs and are minimised. A level
whose rule does not apply to the Pool is 0.
"""
SHAPE_LEVELS = LEVELS[: LEVELS.index("moves")]
"""The levels that depend only on where entries end up, not on where they come from."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The value of a plan in each level, and the bound that no plan can beat.

    The bound of a level applies to plans that have the same values in all levels before it. Both
    map the names in `LEVELS`, in that order, to integers.
    """

    reached: Mapping[str, int]
    bounds: Mapping[str, int]

    @property
    def first_open(self) -> str | None:
        """The first level that does not meet its bound, or None; the bounds after it prove nothing."""
        return next((name for name in LEVELS if self.reached[name] != self.bounds[name]), None)


@dataclass(frozen=True, slots=True)
class Solution:
    """Who should hold what. A later solve does not change its arrays."""

    members: Int32  # shape (n, v): Member rows of each Item in slot order (slot 0 first), padded with -1
    proof: Proof
    engine: str  # the engine that found it: `pooled`, `exact` or `plain`
    why: str  # why that engine was used, for users
    seconds: float = 0.0  # wall time of the solve, including the other process
    trouble: str = ""  # what failed during the solve; empty if nothing did
    changed: Int32 | None = field(default=None, repr=False)
    """Item rows in which `members` differs from the solver's previous solution; None: unknown."""
    faults: tuple[str, ...] = ()  # why the certificate rejects the plan; always empty from a `Solver`

    @property
    def optimal(self) -> bool:
        """Whether every level meets its bound."""
        return self.proof.first_open is None


def minor(level: str | None) -> bool:
    """Whether another search is not worthwhile for this first open level: it is after `moves`, or None."""
    return level is None or LEVELS.index(level) > LEVELS.index("moves")
