"""The second path: bounds on all ten levels from a small network, and an exact solve of a few Items.

Items that are held alike by zone are joined to one group, whoever of a zone's Members holds
them. That network is a relaxation (see `network`): its optimum bounds every placement, and it
says which Members should send how many Items of which group. Only those, and the Items that
cannot stay as they are, then go into an exact network; the rest are frozen where they are. If
the two meet, the placement is a best one of all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from berth.solve.flow import Network, solve_levels
from berth.solve.groups import deal, identical
from berth.solve.index import Index, mix, pairs_of
from berth.solve.levels import evaluate
from berth.solve.network import Fleet, Groups, Outcome, solve_groups
from berth.solve.primaries import arrange
from berth.solve.problem import Bool, Int32, Int64, Problem, Proof, Zones
from berth.solve.repair import Open, Repaired
from berth.solve.seats import Seekers, seat_all, seekers_at

SINGLES = 48
"""Up to so many Items that cannot stay as they are stay apart in the relaxation."""
SURPLUS = 6000
"""The same for Items held more often than they want: joined they would bound little."""
POOLED = 100_000
"""With more (group, Member) pairs new entries go through one node for each zone."""
CHOICE = 20
"""So many candidates, and so many more for each, are considered where the relaxation takes an entry."""
KINDS = 20_000_000
"""More (group, Member) pairs than these are not tried."""
ARCS = 800_000
"""Parts with more arcs are not tried: that would take many seconds."""


class Margin(NamedTuple):
    """How many Items more than those that must move go into the exact network."""

    times: int
    """For each that the relaxation takes from a Member, among those of its group there."""
    more: int
    any: int
    """From each group."""
    paired: int
    """From each group with more pairs in one zone than its Items need."""
    targets: int
    """Members more than those that take entries in the relaxation."""


MARGINS = (Margin(2, 2, 0, 0, 16), Margin(3, 4, 30, 500, 10**6), Margin(6, 12, 300, 1500, 10**6))
"""One try after the other, until the bounds are met."""


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


def relax(problem: Problem, index: Index, coarse: bool = False) -> Repaired:
    """A placement and how far it is proven, by bound and exact part.

    Raises Open where even the relaxation is too large; `coarse` makes it smaller and weaker, so
    that it never is.
    """
    low, high = index.band(problem)
    fleet = replace(index.fleet, low=low, high=high)
    seen = _look(problem, index)
    groups, inverse = _alike(problem, index, fleet, seen, coarse)
    if not coarse and len(groups.size) * len(fleet.rows) > KINDS:
        raise Open("too many kinds of Items for the relaxation")
    pooled = len(groups.size) * len(fleet.rows) > POOLED
    held = np.minimum(index.held_count[fleet.rows], fleet.limit)
    bound = solve_groups(problem, groups, fleet, pooled=pooled, guess=held)
    bounds = (*bound.levels[:-1], bound.levels[-1] + _hopeless(problem, index, seen))
    sends = _sends(groups, bound, len(fleet.rows))
    best = _rounded(problem, index, fleet, seen, inverse, bound, sends, bounds)
    if best is not None and best.proof.optimal:
        return best
    for margin in MARGINS:
        part = _part(index, fleet, seen, inverse, sends, margin)
        targets = _targets(bound.gains, margin)
        if best is not None and int(part.sum()) * len(targets) > ARCS:
            break
        repaired = _solve_part(problem, index, fleet, seen, part, targets, bounds, bound.load)
        if repaired.proof.optimal:
            return repaired
        if best is None or _better(repaired, best):
            best = repaired
    assert best is not None
    return best


def _better(one: Repaired, other: Repaired) -> bool:
    # The first level counts what is placed, all others what it costs.
    return (-one.proof.reached[0], *one.proof.reached[1:]) < (
        -other.proof.reached[0],
        *other.proof.reached[1:],
    )


def _look(problem: Problem, index: Index) -> Snapshot:
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
        zones = _zones(index.fleet, where)
        whole &= pairs_of(zones) < np.maximum(want * (want - 1) // 2, 1)
    return Snapshot(
        rows=rows,
        where=where,
        primary=np.where((held == primary[:, None]).any(axis=1), place[primary], -1),
        whole=whole,
        keep=np.minimum(live.sum(axis=1), want),
    )


def _zones(fleet: Fleet, where: Int64) -> Int64:
    return np.where(where >= 0, fleet.zone[where], -1)


def _alike(
    problem: Problem, index: Index, fleet: Fleet, seen: Snapshot, coarse: bool
) -> tuple[Groups, Int64]:
    """Groups by replicas asked for and zones held; few Items that cannot stay are groups of their own."""
    zones = np.sort(_zones(fleet, seen.where), axis=1)
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


def _hopeless(problem: Problem, index: Index, seen: Snapshot) -> int:
    """Live primaries that no placement keeps: on Members with limit 0, of Items that want nothing."""
    live = np.flatnonzero(problem.live)
    return int(index.live_primaries(live)) - int((seen.primary >= 0).sum())


def _sends(groups: Groups, bound: Outcome, m: int) -> Int32:
    """Shape (g, m): entries of each group that the relaxation takes from each Member."""
    sends = np.zeros((len(groups.size), m), dtype=np.int32)
    np.add.at(sends, (groups.group, groups.member), groups.count)
    kept = ~bound.new
    np.subtract.at(sends, (bound.group[kept], bound.member[kept]), bound.count[kept])
    return sends


def _part(index: Index, fleet: Fleet, seen: Snapshot, inverse: Int64, sends: Int32, spare: Margin) -> Bool:
    """Which Items go into the exact network: those that cannot stay, and some for each that must go."""
    part = ~seen.whole
    key = mix(index.keys_rows(seen.rows), 17)
    if spare.any:
        rows = np.flatnonzero(seen.whole)
        order = np.lexsort((key[rows], inverse[rows]))
        zones = _zones(fleet, seen.where[rows])
        paired = pairs_of(zones) > index.shapes.pairs[index.want_rows(seen.rows[rows])]
        most = np.where(paired, spare.paired, spare.any)
        part[rows[order[_ranks(inverse[rows][order]) < most[order]]]] = True
    if sends.any():
        item, _, cell = _candidates(index, fleet, seen, inverse, sends)
        part[item[_ranks(cell) < sends.ravel()[cell] * spare.times + spare.more]] = True
    return part


def _candidates(
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
    item, column, cell = _candidates(index, fleet, seen, inverse, sends)
    if not len(item):
        return picked
    need = sends.ravel()
    few = _ranks(cell) < need[cell] * CHOICE + CHOICE
    item, column, cell = item[few], column[few], cell[few]
    cells, from_cell = np.unique(cell, return_inverse=True)
    items, to_item = np.unique(item, return_inverse=True)
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


def _ranks(owner: Int64) -> Int64:
    """The place of each among its equals, which lie together."""
    if not len(owner):
        return owner
    start = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    return np.arange(len(owner)) - np.repeat(start, np.diff(np.r_[start, len(owner)]))


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
            chosen = order[_ranks(group[order]) < adds[group[order], zone]]
            counts[chosen, zone] += 1
            left[chosen] -= 1
            np.subtract.at(adds[:, zone], group[chosen], 1)
        if not left.any() or int(left.sum()) == before:
            return counts - seekers.counts


def _rounded(
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
    return _finished(problem, index, seen, seen.rows[moved], members[:, : max(index.widest, 1)], bounds)


def _targets(gains: Int64, spare: Margin) -> Int64:
    """Members that take entries in the relaxation, and some more of the emptiest."""
    order = np.lexsort((np.arange(len(gains)), -gains))
    return np.sort(order[: int((gains > 0).sum()) + spare.targets])


def _solve_part(
    problem: Problem,
    index: Index,
    fleet: Fleet,
    seen: Snapshot,
    part: Bool,
    targets: Int64,
    bounds: tuple[int, ...],
    guess: Int64,
) -> Repaired:
    stay = seen.where[~part]
    frozen = np.bincount(stay[stay >= 0], minlength=len(fleet.rows)).astype(np.int64)
    rows = seen.rows[part]
    rows = rows[np.argsort(problem.item_key[rows], kind="stable")]
    members = np.full((len(rows), max(index.widest, 1)), -1, dtype=np.int32)
    # As a rule one network; of a huge part one slice after the other, which proves less.
    for piece in np.array_split(np.arange(len(rows)), -(-len(rows) * max(len(targets), 1) // ARCS) or 1):
        rest = replace(fleet, frozen=frozen)
        groups, inverse = identical(problem, rest, rows[piece])
        outcome = solve_groups(problem, groups, rest, targets, guess=guess)
        dealt = deal(problem, rest, rows[piece], inverse, outcome)
        members[piece, : dealt.shape[1]] = dealt
        frozen = frozen + np.bincount(outcome.member, weights=outcome.count, minlength=len(frozen)).astype(
            np.int64
        )
    return _finished(problem, index, seen, rows, members, bounds)


def _finished(
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
