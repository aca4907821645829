"""Sorts Items before a round: most are where they should be, or wholly new, and need no rules.

Vectorised, so that a round over a whole fleet costs little more than its changes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from berth.kinds import Handoff
from berth.pool.ledger import PoolFleet
from berth.solve import Solution


class Sorted(NamedTuple):
    """Item rows by what a round has to do for them."""

    settled: list[int]
    """Where the target wants them, slots in order: nothing to do."""
    fresh: list[int]
    """Held by nobody, and nobody was their primary: every entry of the target can be given at once."""
    others: list[int]
    """Left to the step rules."""


def sort_items(fleet: PoolFleet, solution: Solution, rows: list[int]) -> Sorted:
    """Sort `rows` (each a row of an Item that exists or is held somewhere)."""
    index = np.array(rows, dtype=np.int64)
    known = index < len(solution.primary)
    index, rest = index[known], index[~known]
    arrays = fleet.arrays
    held, target = arrays.held[index], solution.members[index]
    width = max(held.shape[1], target.shape[1])
    same = (_padded(held, width) == _padded(target, width)).all(axis=1)

    # A row of -1 reads the last Member, whose answer `held < 0` overrules.
    calm = arrays.live.copy()
    calm[[m.row for m in fleet.members.values() if not m.live or m.restarted]] = False
    quiet = (calm[held] | (held < 0)).all(axis=1) if len(arrays.live) else np.ones(len(index), np.bool_)
    primary = arrays.held_primary[index]
    settled = same & quiet & arrays.tidy[index] & ((primary >= 0) | (held[:, 0] < 0))
    if fleet.policy.active_primaries:
        settled &= primary == solution.primary[index]
    exists = np.array([row in fleet.item_seen for row in index.tolist()], dtype=np.bool_)
    settled &= exists
    fresh = exists & (held[:, 0] < 0) & (target[:, 0] >= 0) & (solution.primary[index] == target[:, 0])
    if fleet.policy.handoff is Handoff.EXCLUSIVE:
        names = fleet.items.names
        fresh &= np.array([(names[row] or "") not in fleet.former for row in index.tolist()], dtype=np.bool_)
    others = ~(settled | fresh)
    return Sorted(index[settled].tolist(), index[fresh].tolist(), [*index[others].tolist(), *rest.tolist()])


def _padded(rows: np.ndarray, width: int) -> np.ndarray:
    wide = np.full((len(rows), width), -1, dtype=np.int32)
    wide[:, : rows.shape[1]] = rows
    wide.sort(axis=1)
    return wide
