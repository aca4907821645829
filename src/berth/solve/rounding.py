"""Doing what a relaxation says: as many Items of each kind leave each Member, as many come."""

from __future__ import annotations

import numpy as np

from berth.solve.flow import Network, solve_levels
from berth.solve.index import Index, mix
from berth.solve.kinds import Snapshot, finished, place_among
from berth.solve.network import Fleet, Outcome
from berth.solve.problem import Bool, Int32, Int64, Problem
from berth.solve.repair import Repaired
from berth.solve.seats import Seekers, seat_all, seekers_at

CHOICE = 20
"""So many candidates, and so many more for each, are considered where the relaxation takes an entry."""


def candidates(
    index: Index, fleet: Fleet, seen: Snapshot, inverse: Int64, sends: Int32
) -> tuple[Int64, Int64, Int64]:
    """(item, column, cell) of the entries that the relaxation could mean, cell by cell.

    A cell is a group at a Member: `group × members + member`. Within it primaries are last, and
    else a scrambled order of keys decides.
    """
    rows = np.flatnonzero(np.isin(inverse, np.flatnonzero((sends > 0).any(axis=1))))
    item, column = np.nonzero(seen.where[rows] >= 0)
    member = seen.where[rows[item], column]
    item = rows[item]
    some = sends[inverse[item], member] > 0
    item, column, member = item[some], column[some], member[some]
    cell = inverse[item] * len(fleet.rows) + member
    scrambled = mix(index.keys_rows(seen.rows[item]), 17)
    order = np.lexsort((scrambled, member == seen.primary[item], cell))
    return item[order], column[order], cell[order]


def _departures(index: Index, fleet: Fleet, seen: Snapshot, inverse: Int64, sends: Int32) -> Bool:
    """Shape of `seen.where`: the entries that leave, each Item one where its group has more of them.

    A small flow from cells to Items: as many as asked for, then as few primaries as can be.
    """
    picked = np.zeros(seen.where.shape, dtype=np.bool_)
    item, column, cell = candidates(index, fleet, seen, inverse, sends)
    if not len(item):
        return picked
    need = sends.ravel()
    few = place_among(cell) < need[cell] * CHOICE + CHOICE
    item, column, cell = item[few], column[few], cell[few]
    cells, from_cell = np.unique(cell, return_inverse=True)
    # Nodes in the order of keys, so that the flow found does not depend on rows.
    items, to_item = np.unique(item, return_inverse=True)
    by_key = np.argsort(index.keys_rows(seen.rows[items]), kind="stable")
    items, to_item = items[by_key], np.argsort(by_key, kind="stable")[to_item]
    alone = np.bincount(inverse)[inverse[items]] == 1
    c, i, arcs = len(cells), len(items), len(item)
    primary = seen.where[item, column] == seen.primary[item]
    nothing, one = np.zeros(c, dtype=np.int64), np.ones(c, dtype=np.int64)
    many = need[cells].astype(np.int64)
    network = Network(
        nodes=2 + c + i,
        tail=np.concatenate([nothing, 2 + np.arange(c), 2 + from_cell, 2 + c + np.arange(i)]),
        head=np.concatenate([2 + np.arange(c), one, 2 + c + to_item, np.ones(i, dtype=np.int64)]),
        capacity=np.concatenate(
            [many, many, np.ones(arcs, dtype=np.int64), np.where(alone, seen.where.shape[1], 1)]
        ),
        costs=[
            np.concatenate([nothing, one, np.zeros(arcs + i, dtype=np.int64)]),
            np.concatenate([nothing, nothing, primary.astype(np.int64), np.zeros(i, dtype=np.int64)]),
        ],
        spans=[2, 2 * (c + 1)],
        source=0,
        sink=1,
        amount=int(many.sum()),
    )
    leaves = solve_levels(network)[2 * c : 2 * c + arcs] > 0
    picked[item[leaves], column[leaves]] = True
    return picked


def _assigned(seekers: Seekers, group: Int64, adds: Int64) -> Int64:
    """Shape (k, z): how many each seeker is to take in each zone, so that its group takes `adds` (g, z).

    In each zone the Items of the group that have the fewest there go first, as the relaxation's
    convex costs suppose.
    """
    counts = seekers.counts.copy()
    left = (seekers.want - seekers.have).copy()
    adds = np.maximum(adds, 0)
    while True:
        before = int(left.sum())
        for zone in range(adds.shape[1]):
            open_rows = np.flatnonzero((left > 0) & (adds[group, zone] > 0))
            order = open_rows[np.lexsort((seekers.key[open_rows], counts[open_rows, zone], group[open_rows]))]
            chosen = order[place_among(group[order]) < adds[group[order], zone]]
            counts[chosen, zone] += 1
            left[chosen] -= 1
            np.subtract.at(adds[:, zone], group[chosen], 1)
        if not left.any() or int(left.sum()) == before:
            return counts - seekers.counts


def rounded(
    problem: Problem,
    index: Index,
    fleet: Fleet,
    seen: Snapshot,
    inverse: Int64,
    bound: Outcome,
    sends: Int32,
    bounds: tuple[int, ...],
) -> Repaired | None:
    """Do what the relaxation says: as many Items leave each Member, as many come. None if that fails."""
    want = index.want_rows(seen.rows)
    if bounds[0] < int(want.sum()):
        return None
    where = seen.where.copy()
    leaving = _departures(index, fleet, seen, inverse, sends)
    where[leaving] = -1
    moved = np.flatnonzero(~seen.whole | leaving.any(axis=1))
    kept = np.zeros(bound.cells.shape, dtype=np.int64)
    item, column = np.nonzero(where >= 0)
    np.add.at(kept, (inverse[item], fleet.zone[where[item, column]]), 1)
    big = np.full(len(moved), 2**15, dtype=np.int64)
    seekers = seekers_at(index, seen.rows[moved], where[moved], want[moved], big, big)
    seekers.caps = seekers.counts + _assigned(seekers, inverse[moved], bound.cells - kept)
    short = seat_all(seekers, bound.gains.copy(), fleet.zone, fleet.limit, problem.member_key[fleet.rows])
    if len(short):
        return None
    members = np.where(seekers.at >= 0, fleet.rows[seekers.at], -1).astype(np.int32)
    return finished(problem, index, seen, seen.rows[moved], members[:, : max(index.widest, 1)], bounds)
