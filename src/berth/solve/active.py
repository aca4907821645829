"""`Primaries.ACTIVE`: primaries are shared out among the holders of all Items, not only of new ones."""

from __future__ import annotations

import numpy as np

from berth.solve.index import Index
from berth.solve.primaries import arrange
from berth.solve.problem import Int32, Problem
from berth.solve.repair import Repaired


def share_primaries(problem: Problem, index: Index, repaired: Repaired) -> Repaired:
    """The same placement, its primaries as even for the limits as its holders allow, with fewest changes.

    Looks at every Item, so it costs what the fleet costs: an Item whose own entries stay may have
    to give its primary up because another one came.
    """
    settled = np.ones(len(problem.replicas), dtype=np.bool_)
    settled[repaired.rows] = False
    rows = np.flatnonzero(settled)
    held = index.held_rows(rows)
    rows, held = rows[(held >= 0).any(axis=1)], held[(held >= 0).any(axis=1)]
    width = max(held.shape[1], repaired.members.shape[1])
    every = np.concatenate([rows, repaired.rows])
    members = np.concatenate([_widened(held, width), _widened(repaired.members, width)])
    arranged = arrange(problem, every, members, ranks=index.ranks)
    written = (arranged != members).any(axis=1)
    written[len(rows) :] = True
    return Repaired(every[written], arranged[written], repaired.proof)


def _widened(members: Int32, width: int) -> Int32:
    out = np.full((len(members), width), -1, dtype=np.int32)
    out[:, : members.shape[1]] = members
    return out
