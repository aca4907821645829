"""The ten levels of a placement, counted plainly: the yardstick of the engines and of their tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from berth.solve.problem import Int32, Int64, Primaries, Problem, Zones
from berth.solve.shares import SCALE, age_ranks, bands, held_live, placeable, second_zone, wanted


def imbalance(limit: Int64, distance: Int64) -> Int64:
    """Sum of floor(SCALE·k/limit) for k = 1..distance, element by element; both of shape (m,)."""
    out = np.zeros(len(limit), dtype=np.int64)
    for row in np.flatnonzero(distance):
        steps = np.arange(1, int(distance[row]) + 1, dtype=np.int64)
        out[row] = int((SCALE * steps // max(int(limit[row]), 1)).sum())
    return out


def zone_pairs(zones: npt.NDArray[np.integer]) -> Int64:
    """Pairs of equal numbers in each row; shape (k, v), negative numbers count for nothing."""
    ordered = np.sort(zones, axis=1)
    pairs = np.zeros(len(zones), dtype=np.int64)
    for lag in range(1, zones.shape[1]):
        ahead = ordered[:, lag:]
        pairs += ((ahead == ordered[:, :-lag]) & (ahead >= 0)).sum(axis=1)
    return pairs


def loads(problem: Problem, members: Int32) -> Int64:
    """Shape (m,): how many entries each Member has."""
    return np.bincount(members[members >= 0], minlength=len(problem.limit)).astype(np.int64)


def violations(problem: Problem, members: Int32, primary: Int32) -> list[str]:
    """What breaks a hard rule, for people; empty when the placement is allowed."""
    found = []
    on = members >= 0
    placed = on.sum(axis=1)
    if (placed > wanted(problem)).any():
        found.append("an Item has more replicas than it wants")
    if on.any() and not placeable(problem)[members[on]].all():
        found.append("an entry is on a Member that is not live or has limit 0")
    if (loads(problem, members) > problem.limit).any():
        found.append("a Member is above its limit")
    if (zone_pairs(members) > 0).any():
        found.append("an Item is twice on a Member")
    if on.shape[1] > 1 and (on[:, 1:] & ~on[:, :-1]).any():
        found.append("the padding of a row is not at its end")
    first = members[:, 0] if members.shape[1] else np.full(len(members), -1, dtype=np.int32)
    if (first != primary).any():
        found.append("the primary is not in slot 0")
    if problem.zones == Zones.REQUIRE and len(problem.zone):
        zones = np.sort(np.where(on, problem.zone[members], -1), axis=1)
        for row in np.flatnonzero((problem.replicas >= 2) & (placed >= problem.replicas)):
            if np.unique(zones[row][zones[row] >= 0]).size == 1:
                found.append("an Item is wholly in one zone where Require forbids it")
                break
    return found


def evaluate(problem: Problem, members: Int32, primary: Int32) -> tuple[int, ...]:
    """The ten levels that a placement reaches, in the order of `LEVELS`.

    `members` has shape (n, v), padded with -1; `primary` shape (n,). The rules that no placement
    may break are checked by `violations`, not here.
    """
    want = wanted(problem).astype(np.int64)
    on = members >= 0
    placed = on.sum(axis=1).astype(np.int64)
    live = held_live(problem)
    given_up = np.maximum(0, np.minimum(live.sum(axis=1), want) - placed).sum()
    shortage = (placed * (placed + 1) // 2).sum()
    load = loads(problem, members)
    draining = load[problem.draining].sum()

    single = pairs = 0
    if problem.zones != Zones.IGNORE and len(problem.zone) and members.shape[1]:
        zones = np.where(on, problem.zone[members], -1)
        counts = zone_pairs(zones)
        pairs = counts.sum()
        if second_zone(problem):
            whole = counts == placed * (placed - 1) // 2
            single = (whole & (placed == want) & (want >= 2)).sum()

    band = bands(problem, int(want.sum()))
    distance = np.maximum(band.low - load, 0) + np.maximum(load - band.high, 0)
    balance = imbalance(problem.limit.astype(np.int64), np.where(problem.live, distance, 0)).sum()

    kept = np.zeros(len(members), dtype=np.int64)
    has_primary = np.zeros(len(members), dtype=np.bool_)
    stays = np.zeros(len(members), dtype=np.bool_)
    for column in range(problem.held.shape[1]):
        there = live[:, column]
        still = there & (members == problem.held[:, column : column + 1]).any(axis=1)
        kept += still
        is_primary = there & (problem.held[:, column] == problem.held_primary)
        has_primary |= is_primary
        stays |= is_primary & still
    if problem.primaries == Primaries.PROMOTION:
        stays &= primary == problem.held_primary
    age = (load * age_ranks(problem)).sum()
    taken = (has_primary & ~stays).sum()
    return tuple(
        int(level)
        for level in (
            placed.sum(), given_up, shortage, draining, single, balance, pairs,
            (placed - kept).sum(), age, taken,
        )
    )  # fmt: skip
