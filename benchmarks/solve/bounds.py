"""How good a plan can be: bounds by flows that share nothing with the engines.

No level is weighed against another: each is one min-cost flow on what the levels before left
open. A flow's prices say which arcs *every* best flow uses fully (their reduced cost is negative)
and which none uses (positive); those are fixed before the next level is priced, so that it is
solved among the best of the levels before and nothing else.

Items are pooled by kind (wanted, asked, how many they hold a right to):

    source ─▶ kind ─▶ zone ─▶ sink

with one arc for the k-th replica of an Item, the k-th one in a zone, and the k-th unit of load of
the Members. Pooled, an Item may be twice on a Member, so this bounds the levels up to
`zone-pairs`; `exact` gives each Member a node that takes an Item of a kind once, and is then the
optimum itself (going round the Items of a kind, Member after Member, deals such a flow out).
The bound on moves is one more flow, over Items that hold as many in each zone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.solve.facts import Facts, alike, facts
from benchmarks.solve.net import Net
from berth.solve.model import SCALE, Int64, Problem, Zones

SHAPE = ("given-up", "placed", "shortage", "misplaced", "single-zone", "balance", "zone-pairs")
"""The levels that the pooled flow bounds, most important first."""
FEW_ZONES = 12
"""With more zones, those that hold at most one replica of an Item are seen as one for the moves."""
MOST_CELLS = 400_000
"""Distinct holdings x Members up to which each holding is a kind of its own: a third of a second."""


@dataclass(frozen=True)
class Bound:
    """What no plan can pass, and what every plan that reaches it keeps to."""

    levels: dict[str, int]
    kind: Int64
    """Kind of each of `Facts.rows`; the arrays below are by kind, (zone,) or Member."""
    placed_low: Int64
    placed_high: Int64
    zone_low: Int64
    zone_high: Int64
    load_low: Int64
    load_high: Int64
    on_low: Int64 | None
    """Shape (kinds, members): whether all Items of the kind are there; only of an exact bound."""
    on_high: Int64 | None


def bound(problem: Problem, *, exact: bool = False) -> Bound:
    """The best values of the levels in `SHAPE`, each among the best of those before; see the module."""
    f = facts(problem)
    first, kind = alike(f.wanted, f.asked, f.right) if len(f.rows) else (f.rows, f.rows)
    n = np.bincount(kind, minlength=len(first))
    want, asked, right = f.wanted[first], f.asked[first], f.right[first]
    kinds, zones, m = len(first), f.zones, len(f.members)
    together = problem.zones != Zones.IGNORE
    net = Net()
    source, sink, kind0 = 0, 1, 2
    zone0 = kind0 + kinds
    total = int(want @ n)
    net.add(source, sink, total)
    per_zone = np.bincount(f.zone, minlength=zones)
    steps, inside = [], []
    for step in range(1, int(want.max(initial=0)) + 1):
        some = np.flatnonzero(want >= step)
        costs = {"given-up": -1 * (step <= right[some]), "placed": -1, "shortage": step}
        steps.append((some, net.add(source, kind0 + some, n[some], **costs)))
        may = want >= step
        if problem.zones == Zones.REQUIRE:
            may &= step <= np.maximum(1, asked - 1)
        who, where = np.nonzero(may[:, None] & (per_zone >= step))
        alone = (want[who] == step) & (step > 1) & (zones > 1) & together
        costs = {"single-zone": alone, "zone-pairs": (step - 1) * together}
        to = zone0 + (who * zones + where if exact else where)
        inside.append((who, where, net.add(kind0 + who, to, n[who], **costs)))
    on, load0 = None, zone0
    if exact:
        load0 = zone0 + kinds * zones
        who, where = np.repeat(np.arange(kinds), m), np.tile(np.arange(m), kinds)
        on = net.add(zone0 + who * zones + f.zone[where], load0 + where, n[who])
    node = np.arange(m) if exact else f.zone
    group, cap, units, sums, offset = _loads(net, f, node, load0, sink)
    net.ready({source: total, sink: -total})
    offsets = {"given-up": int(right @ n), "balance": offset}
    levels = {name: net.solve(name) + offsets.get(name, 0) for name in SHAPE}
    levels["placed"] = -levels["placed"]

    full, open_ = (net.low == net.full) & (net.full > 0), net.cap > 0
    placed_low, placed_high = np.zeros(kinds, dtype=np.int64), np.zeros(kinds, dtype=np.int64)
    for some, arcs in steps:
        placed_low[some] += full[arcs]
        placed_high[some] += open_[arcs]
    zone_low, zone_high = np.zeros((2, kinds, zones), dtype=np.int64)
    for who, where, arcs in inside:
        zone_low[who, where] += full[arcs]
        zone_high[who, where] += open_[arcs]
    lows = np.bincount(group, cap * full[sums][units], minlength=m).astype(np.int64)
    highs = np.bincount(group, cap * open_[sums][units], minlength=m).astype(np.int64)
    shape = (kinds, m)
    return Bound(
        levels, kind, placed_low, placed_high, zone_low, zone_high, lows, highs,
        None if on is None else full[on].reshape(shape).astype(np.int64),
        None if on is None else open_[on].reshape(shape).astype(np.int64),
    )  # fmt: skip


def _loads(net: Net, f: Facts, node: Int64, load0: int, sink: int) -> tuple[Int64, Int64, Int64, slice, int]:
    """Arcs for the loads of the Members, those of equal cost at one node in one.

    Returns (Member, capacity and arc of each part, where the arcs are, what balance costs at load 0).
    """
    member, cap, cost, drains, offset = [], [], [], [], 0
    for row, (limit, low, high, draining) in enumerate(
        zip(f.limit.tolist(), f.low.tolist(), f.high.tolist(), f.drains.tolist(), strict=True)
    ):
        if draining:
            price, size = np.zeros(1, dtype=np.int64), np.array([limit])
        else:
            far = SCALE * np.arange(1, max(low, limit - high) + 1) // limit
            price = np.concatenate([-far[:low][::-1], [0], far[: limit - high]])
            size = np.ones(len(price), dtype=np.int64)
            size[low] = high - low
            offset += int(far[:low].sum())
        member.append(np.full(len(price), row))
        cap.append(size)
        cost.append(price)
        drains.append(np.full(len(price), draining))
    empty = [np.zeros(0, dtype=np.int64)]
    group, size, price = (np.concatenate(part or empty) for part in (member, cap, cost))
    drain = np.concatenate(drains or empty).astype(np.int64)
    key = ((node[group] * 2 + drain) << 14) + price + (1 << 13) if len(group) else group
    _, first, unit = np.unique(key, return_index=True, return_inverse=True)
    sums = net.add(
        load0 + node[group[first]], sink, np.bincount(unit, size, minlength=len(first)),
        misplaced=drain[first], balance=price[first],
    )  # fmt: skip
    return group, size, unit, sums, offset


def least_moves(problem: Problem, best: Bound, detail: int, most: int = MOST_CELLS) -> int | None:
    """No plan that reaches `best.levels` has fewer moves.

    Kinds are Items that hold as many in each zone; what is new goes through one hub for each zone.
    With `detail` 1 Items that hold too many in a zone are kinds by what exactly they hold, as it
    matters which of it goes. With 2 all Items are, and each Member takes an Item once: exact where
    `best` is. None where that is larger than `most`.
    """
    f = facts(problem)
    if not len(f.rows):
        return 0
    m, source, sink = len(f.members), 0, 1
    merged = np.zeros(f.zones, dtype=np.bool_)
    if f.zones > FEW_ZONES and detail < 2:
        merged = (best.zone_high.max(axis=0) <= 1) & (best.zone_low.max(axis=0) == 0)
    # What is on Members that end empty is gone for certain.
    at = np.where(np.append(best.load_high > 0, False)[f.at], f.at, -1)
    group, groups = _groups(merged)
    zones = np.append(f.zone, -1)[at]
    counts = _counts(np.append(group, -1)[zones], groups)
    keepable = counts.copy()
    pool = groups - 1
    if merged.any():
        allowed = np.append(best.zone_high > 0, np.zeros((len(best.zone_high), 1), dtype=np.bool_), axis=1)
        inside = np.append(merged, False)[zones] & allowed[best.kind[:, None], zones]
        small = np.sort(np.where(inside, zones, -1), axis=1)
        keepable[:, pool] = (np.diff(small, axis=1, prepend=-1) != 0).sum(axis=1)
    low, high = _by_group(best, merged, group, groups)
    exactly = np.full_like(at, -1)
    if detail:
        over = (counts > high[best.kind]) | (counts > keepable)
        alone = over.any(axis=1) | (detail > 1)
        exactly[alone] = np.sort(at[alone], axis=1)
    first, kind = alike(best.kind, counts, keepable, exactly)
    n, kinds, of = np.bincount(kind), len(first), best.kind[first]
    if detail > 1 and kinds * m > most:
        return None
    net = Net()
    kind0 = 2
    cell0 = kind0 + kinds
    keep0 = cell0 + kinds * groups
    hub0 = keep0 + kinds
    load0 = hub0 + groups
    net.add(source, kind0 + np.arange(kinds), best.placed_high[of] * n, best.placed_low[of] * n)
    who, where = np.nonzero(high[of] > 0)
    cell = cell0 + who * groups + where
    net.add(kind0 + who, cell, high[of][who, where] * n[who], low[of][who, where] * n[who])
    row, slot = np.nonzero(at >= 0)
    pair, held = np.unique(kind[row] * m + at[row, slot], return_counts=True)
    holder, member = pair // m, pair % m
    zone = group[f.zone[member]]
    through = merged[f.zone[member]]
    tail = cell0 + holder * groups + zone
    if through.any():
        # In each of the small zones an Item keeps one at most, and so many of them in all.
        some = np.arange(kinds)
        net.add(cell0 + some * groups + pool, keep0 + some, keepable[first, pool] * n)
        there, at_zone = np.unique(holder[through] * f.zones + f.zone[member[through]], return_inverse=True)
        holders, small0 = there // f.zones, load0 + m
        net.add(keep0 + holders, small0 + np.arange(len(there)), n[holders])
        tail[through] = small0 + at_zone
    if detail > 1:
        new = np.ones((kinds, m), dtype=np.bool_)
        new[holder, member] = False
        floor = np.zeros((kinds, m), dtype=np.int64) if best.on_low is None else best.on_low[of]
        roof = np.ones((kinds, m), dtype=np.int64) if best.on_high is None else best.on_high[of]
        net.add(
            cell0 + np.arange(kinds)[:, None] * groups + f.zone, load0 + np.tile(np.arange(m), (kinds, 1)),
            roof * n[:, None], floor * n[:, None], moves=new.ravel(),
        )  # fmt: skip
    else:
        net.add(tail, load0 + member, held)
        net.add(cell, hub0 + where, high[of][who, where] * n[who], moves=1)
        net.add(hub0 + group[f.zone], load0 + np.arange(m), best.load_high)
    net.add(load0 + np.arange(m), sink, best.load_high, best.load_low)
    net.ready({source: best.levels["placed"], sink: -best.levels["placed"]})
    return net.solve("moves", fix=False)


def _groups(merged: np.ndarray) -> tuple[Int64, int]:
    """(group of each zone, number of groups): the merged zones are the last one, together."""
    group = np.cumsum(~merged) - 1
    single = int((~merged).sum())
    return np.where(merged, single, group), single + int(merged.any())


def _counts(groups: Int64, size: int) -> Int64:
    """Shape (n, size): how often each group is in a row of `groups` (n, w); -1 counts for nothing."""
    row, column = np.nonzero(groups >= 0)
    flat = np.bincount(row * size + groups[row, column], minlength=len(groups) * size)
    return flat.reshape(len(groups), size)


def _by_group(best: Bound, merged: np.ndarray, group: Int64, groups: int) -> tuple[Int64, Int64]:
    """Fewest and most replicas of an Item of each kind in each group of zones."""
    low, high = np.zeros((2, len(best.zone_low), groups), dtype=np.int64)
    alone = np.flatnonzero(~merged)
    low[:, group[alone]], high[:, group[alone]] = best.zone_low[:, alone], best.zone_high[:, alone]
    if merged.any():
        high[:, -1] = np.minimum(best.placed_high, best.zone_high[:, merged].sum(axis=1))
    return low, high
