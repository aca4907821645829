"""The second path: bounds on all ten levels from a small network, and an exact solve of a few Items.

Items that are held alike by zone are joined to one group, whoever of a zone's Members holds
them. That network is a relaxation (see `network`): its optimum bounds every placement, and it
says which Members should send how many Items of which group. Only those, and the Items that
cannot stay as they are, then go into an exact network; the rest are frozen where they are. If
the two meet, the placement is a best one of all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from berth.solve.groups import deal, identical
from berth.solve.index import Index, mix, pairs_of
from berth.solve.kinds import Snapshot, alike, finished, look, place_among, zones_of
from berth.solve.network import Fleet, Groups, Outcome, solve_groups
from berth.solve.problem import Bool, Int32, Int64, Problem
from berth.solve.repair import Open, Repaired
from berth.solve.rounding import candidates, rounded

POOLED = 100_000
"""With more (group, Member) pairs new entries go through one node for each zone."""
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


def relax(problem: Problem, index: Index, coarse: bool = False) -> Repaired:
    """A placement and how far it is proven, by bound and exact part.

    Raises Open where even the relaxation is too large; `coarse` makes it smaller and weaker, so
    that it never is.
    """
    low, high = index.band(problem)
    fleet = replace(index.fleet, low=low, high=high)
    seen = look(problem, index)
    groups, inverse = alike(problem, index, fleet, seen, coarse)
    if not coarse and len(groups.size) * len(fleet.rows) > KINDS:
        raise Open("too many kinds of Items for the relaxation")
    pooled = len(groups.size) * len(fleet.rows) > POOLED
    held = np.minimum(index.held_count[fleet.rows], fleet.limit)
    bound = solve_groups(problem, groups, fleet, pooled=pooled, guess=held)
    bounds = (*bound.levels[:-1], bound.levels[-1] + _hopeless(problem, index, seen))
    sends = _sends(groups, bound, len(fleet.rows))
    best = rounded(problem, index, fleet, seen, inverse, bound, sends, bounds)
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
        zones = zones_of(fleet, seen.where[rows])
        paired = pairs_of(zones) > index.shapes.pairs[index.want_rows(seen.rows[rows])]
        most = np.where(paired, spare.paired, spare.any)
        part[rows[order[place_among(inverse[rows][order]) < most[order]]]] = True
    if sends.any():
        item, _, cell = candidates(index, fleet, seen, inverse, sends)
        part[item[place_among(cell) < sends.ravel()[cell] * spare.times + spare.more]] = True
    return part


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
    return finished(problem, index, seen, rows, members, bounds)
