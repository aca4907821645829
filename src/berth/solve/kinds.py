"""Items as a relaxation sees them: joined by the zones that hold them, whichever Member of a zone does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from berth.solve.index import Index, pairs_of
from berth.solve.levels import evaluate
from berth.solve.network import Fleet, Groups
from berth.solve.primaries import arrange
from berth.solve.problem import Bool, Int32, Int64, Problem, Proof, Zones
from berth.solve.repair import Repaired

SINGLES = 48
"""Up to so many Items that cannot stay as they are stay apart in the relaxation."""
SURPLUS = 6000
"""The same for Items held more often than they want: joined they would bound little."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Items that want replicas, seen from the fleet's places."""

    rows: Int64
    where: Int64
    """Shape (k, w): place that holds the Item, also one that drains, or -1."""
    primary: Int64
    """Shape (k,): place of slot 0, or -1."""
    whole: Bool
    """Shape (k,): may stay just as it is held."""
    keep: Int64
    """Shape (k,): min(held on live Members, wanted)."""


def look(problem: Problem, index: Index) -> Snapshot:
    """All Items that want replicas: one pass."""
    rows = np.flatnonzero(index.want_rows(np.arange(index.items)) > 0)
    held = index.held_rows(rows)
    place = np.full(len(problem.limit) + 1, -1, dtype=np.int64)
    place[index.fleet.rows] = np.arange(len(index.fleet.rows))
    where = place[held]
    want = index.want_rows(rows)
    live = np.append(problem.live, False)[held]
    drains = np.append(index.fleet.draining == 1, False)[where]
    primary = index.primary_rows(rows)
    whole = ((where >= 0) & ~drains).sum(axis=1) == want
    whole &= (held >= 0).sum(axis=1) == want
    whole &= primary == held[:, 0]
    if problem.zones == Zones.REQUIRE:
        zones = zones_of(index.fleet, where)
        whole &= pairs_of(zones) < np.maximum(want * (want - 1) // 2, 1)
    return Snapshot(
        rows=rows,
        where=where,
        primary=np.where((held == primary[:, None]).any(axis=1), place[primary], -1),
        whole=whole,
        keep=np.minimum(live.sum(axis=1), want),
    )


def zones_of(fleet: Fleet, where: Int64) -> Int64:
    """The zone of each place in `where`, -1 where there is none."""
    return np.where(where >= 0, fleet.zone[where], -1)


def alike(problem: Problem, index: Index, fleet: Fleet, seen: Snapshot, coarse: bool) -> tuple[Groups, Int64]:
    """Groups by replicas asked for and zones held; few Items that cannot stay are groups of their own."""
    zones = np.sort(zones_of(fleet, seen.where), axis=1)
    single = np.zeros(len(seen.rows), dtype=np.int64)
    odd = np.flatnonzero(~seen.whole)
    if len(odd) > SINGLES:
        surplus = (seen.where >= 0).sum(axis=1) > index.want_rows(seen.rows)
        odd = np.flatnonzero(~seen.whole & surplus)
        coarse_odd = len(odd) > SURPLUS
    else:
        coarse_odd = False
    if not coarse and not coarse_odd:
        single[odd[np.argsort(problem.item_key[seen.rows[odd]], kind="stable")]] = 1 + np.arange(len(odd))
    replicas = index.replicas_rows(seen.rows)
    inverse = np.zeros(len(seen.rows), dtype=np.int64)
    for column in (single, seen.whole, seen.keep, replicas, *(() if coarse else zones.T)):
        # Columns are folded in one by one, so that the codes stay small.
        low = int(column.min(initial=0))
        span = int(column.max(initial=0)) - low + 1
        _, inverse = np.unique(inverse * span + (column - low), return_inverse=True)
    inverse = inverse.ravel().astype(np.int64)
    size = np.bincount(inverse).astype(np.int64)
    first = np.zeros(len(size), dtype=np.int64)
    first[inverse] = np.arange(len(inverse))
    item, column = np.nonzero(seen.where >= 0)
    member = seen.where[item, column]
    is_primary = (member == seen.primary[item]).astype(np.int64)
    m = len(fleet.rows)
    code, count = np.unique((inverse[item] * 2 + is_primary) * m + member, return_counts=True)
    group, rest = np.divmod(code, 2 * m)
    return Groups(
        size=size,
        replicas=replicas[first].astype(np.int64),
        wanted=index.want_rows(seen.rows[first]),
        keep=seen.keep[first],
        group=group,
        member=rest % m,
        count=count.astype(np.int64),
        primary=rest // m,
    ), inverse


def place_among(owner: Int64) -> Int64:
    """Counts 0, 1, 2, … among equals, which lie together; shape of `owner`."""
    if not len(owner):
        return owner
    start = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    return np.arange(len(owner)) - np.repeat(start, np.diff(np.r_[start, len(owner)]))


def finished(
    problem: Problem, index: Index, seen: Snapshot, rows: Int64, members: Int32, bounds: tuple[int, ...]
) -> Repaired:
    """Slots in order, and the ten levels counted."""
    counts = index.primary_count - index.primaries_of(rows, len(problem.limit))
    members = arrange(problem, rows, members, counts, index.ranks)
    # Items that want nothing are written, too: they may be held still.
    nothing = index.loose[index.want_rows(index.loose) == 0]
    whole = np.full((len(rows) + len(nothing), members.shape[1]), -1, dtype=np.int32)
    whole[: len(rows)] = members
    every = np.concatenate([rows, nothing])
    return Repaired(every, whole, Proof(_reached(problem, index, seen, every, whole), bounds))


def _reached(problem: Problem, index: Index, seen: Snapshot, rows: Int64, members: Int32) -> tuple[int, ...]:
    plan = np.full((len(problem.replicas), max(members.shape[1], index.widest, 1)), -1, dtype=np.int32)
    held = index.held_rows(seen.rows)[:, : plan.shape[1]]
    plan[seen.rows, : held.shape[1]] = held
    plan[rows] = -1
    plan[rows, : members.shape[1]] = members
    return evaluate(problem, plan, plan[:, 0])
