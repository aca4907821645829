"""Levels 8 to 11 within the intervals: how few entries must move, and how many of which kind.

                        kept                   ┌────────> pooled Members of zone a ───> ┐
    source ──> kind ──> kind in zone a ────────┤                                        ├─> sink
                   │                     moves └─> new ─> crowded or draining Member ─> │
                   └──> kind in zone b ...                                              ┘

A *kind* is now all Items that ask for, held and hold as much in each zone. What is held may be
kept at no cost; everything else is a move. Members within their interval are pooled by zone:
which of them gives or takes an entry makes no difference yet. Those that must shed, or drain, are
nodes of their own, with the entries of each kind that they hold.

Of the answer only sums are used: the bound on moves (a relaxation can only be too low), what
leaves and joins each kind in each zone, the load of each zone and of each draining Member. Not
its split over Members: that is an extreme point, and dealing it out would cost more moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from berth.solve.arrays import names_one, rank_within
from berth.solve.flow import Network
from berth.solve.model import SCALE, Bool, Int64
from berth.solve.work import Work

LEVELS = ("moves", "draining-age", "primaries-moved", "drift", "even")
"""`drift`: of equal moves those that change fewest zones. `even`: level 11 of the objective."""
STEPS = 48
"""Arcs for the units of one owner within its interval, by what they cost in the level `even`."""


@dataclass(frozen=True, slots=True)
class Surplus:
    """Entries of which some must go: more of an Item in one area or cell than it may have there.

    Arrays of shape (entries,): row, column in `at`, Member, area, kind, and the group of which
    `cap` entries may stay.
    """

    row: Int64
    column: Int64
    member: Int64
    area: Int64
    kind: Int64
    group: Int64
    cap: Int64


@dataclass(frozen=True, slots=True)
class Moves:
    """What the network says."""

    bounds: dict[str, int]
    """The least of `moves`, `draining-age` and `primaries-moved`, one after the other."""
    leave: Int64
    join: Int64
    """Shape (kinds, areas): entries that go from, and come to, the Items of a kind in an area."""
    loads: Int64
    """Shape (areas,): load of all Members of an area together."""
    draining_load: Int64
    """Shape (positions,): load of Members that drain; 0 for others."""
    kept: Int64
    """Shape (surplus entries,): 1 where the entry stays."""


def least_moves(work: Work, surplus: Surplus | None = None) -> Moves:
    """Solve the network; see the module's introduction. Raises NoFlowError where the intervals cannot be met."""
    kinds, found, areas, n = work.kinds, work.intervals, work.areas, work.kinds.count
    own = (work.load > found.load_high) | work.members.draining
    if surplus is not None:
        own[surplus.member] = True
    pooled, own_at = ~own, np.flatnonzero(own & (found.load_high > 0))
    node_of = np.full(len(own) + 1, -1)
    node_of[own_at] = np.arange(len(own_at))
    area_of = work.area[own_at]
    held, led, led_in, leads = _held(work, node_of, len(own_at))

    # Only for what is kept the last levels do not matter, and smaller costs take less time.
    net = Network(*LEVELS[: 3 if surplus else 5], limit=work.arcs)
    source, sink = net.add_ends()
    keep, new, pool, new_own = (net.add_nodes(areas, hub=True) for _ in range(4))
    nodes, owners = net.add_nodes(len(n)), net.add_nodes(len(own_at), hub=True)
    net.add(source, nodes, kinds.placed_low * n, kinds.placed_high * n)
    kind, area = np.nonzero(kinds.area_high > 0)
    inside, count = net.add_nodes(len(kind)), n[kind]
    low, high, here = (a[kind, area] for a in (kinds.area_low, kinds.area_high, kinds.spread))
    near = np.clip(here, low, high)
    into = [net.add(nodes[kind], inside, low * count, near * count)]
    # Dearer for the last three quarters of a kind: where nearly all of its Items must give an
    # entry up, there is no choice of Members left; and dearest for two of an Item in one zone.
    first = np.where(near > here, 0, count)
    edges = [np.minimum(most, (high - near) * count) for most in (0, first // 4, first, high * count)]
    for drift, (less, more) in enumerate(pairwise(edges), 1):
        into.append(net.add(nodes[kind], inside, 0, more - less, drift=drift))

    lookup = np.full((len(n), areas), -1)
    lookup[kind, area] = np.arange(len(kind))
    apart, apart_led = (np.zeros((len(n), areas), np.int64) for _ in range(2))
    np.add.at(apart.T, area_of, held.T)
    np.add.at(apart_led.T, area_of, led.T)
    primary, kept = [np.zeros(0, np.int64)], np.zeros(0, np.int64)
    if surplus is not None:
        # Each entry an arc of its own, at most `cap` of a group together, and not among the counts.
        groups, first, group = np.unique(surplus.group, return_index=True, return_inverse=True)
        gates, at = net.add_nodes(len(groups)), lookup[surplus.kind[first], surplus.area[first]]
        net.add(inside[at[at >= 0]], gates[at >= 0], 0, surplus.cap[first][at >= 0])
        node, lead = node_of[surplus.member], work.state.lead[surplus.row] == surplus.member
        mine = np.flatnonzero(node >= 0)  # on the others nothing may stay
        kept = np.full(len(node), -1)
        kept[mine] = net.add(gates[group[mine]], owners[node[mine]], 0, 1, primaries_moved=-1 * lead[mine])
        primary.append(kept[mine][lead[mine]])
        np.subtract.at(held, (surplus.kind[mine], node[mine]), 1)
        np.subtract.at(led, (surplus.kind[mine][lead[mine]], node[mine][lead[mine]]), 1)

    free = np.minimum(here * count - apart[kind, area], high * count)
    free_led = np.clip((led_in - apart_led)[kind, area], 0, free)
    primary.append(net.add(inside, keep[area], 0, free_led, primaries_moved=-1))
    net.add(inside, keep[area], 0, free - free_led)
    moved = [net.add(inside, new[area], 0, high * count, moves=1)]

    def pool_up(value: Int64) -> Int64:
        return np.bincount(work.area[pooled], value[pooled], areas).astype(np.int64)

    net.add(keep, pool, 0, pool_up(np.minimum(work.load, found.load_high)))
    net.add(new, pool, pool_up(np.maximum(0, found.load_low - work.load)), pool_up(found.load_high))
    loads = _add_loads(net, work, pool, sink, pooled, work.area)
    k, d = np.nonzero((held > 0) & (kinds.area_high[:, area_of] > 0))
    gate = inside[lookup[k, area_of[d]]]
    net.add(gate, owners[d], 0, (held - led)[k, d])
    primary.append(net.add(gate, owners[d], 0, led[k, d], primaries_moved=-1))
    moved.append(net.add(inside, new_own[area], 0, high * count, moves=1))
    net.add(new_own[area_of], owners, 0, found.load_high[own_at])
    own_loads = _add_loads(net, work, owners, sink, own, node_of[:-1])

    flow = net.solve({source: found.placed, sink: -found.placed})
    inflow = np.zeros((len(n), areas), np.int64)
    inflow[kind, area] = sum(flow.units[arcs] for arcs in into)
    change = inflow - kinds.spread * n[:, None]
    on_own = np.zeros(len(own), np.int64)
    np.add.at(on_own, own_at[own_loads[0]], flow.units[own_loads[1]])
    total = np.bincount(loads[0], flow.units[loads[1]], areas) + np.bincount(work.area, on_own, areas)
    return Moves(
        bounds={
            "moves": int(flow.units[np.concatenate(moved)].sum()),
            "draining-age": flow.totals["draining-age"],
            "primaries-moved": leads - int(flow.units[np.concatenate(primary)].sum()),
        },
        leave=np.maximum(0, -change),
        join=np.maximum(0, change),
        loads=total.astype(np.int64),
        draining_load=np.where(work.members.draining, on_own, 0),
        kept=np.where(kept >= 0, flow.units[kept], 0),
    )


def _held(work: Work, node_of: Int64, own: int) -> tuple[Int64, Int64, Int64, int]:
    """What each kind holds on own Members, with its primaries alone, its primaries in each area, and all."""
    state, kinds, every = work.state, len(work.kinds.count), work.kind()
    held, led = (np.zeros((kinds, own), np.int64) for _ in range(2))
    lead = state.lead.astype(np.int64)
    leads = (lead >= 0) & (every >= 0)
    over = work.over_rows  # a primary that is known to go cannot be kept
    leads[over] &= (work.at(over) == state.lead[over][:, None]).any(axis=1)
    rows = np.flatnonzero(leads)
    led_in = np.bincount(every[rows] * work.areas + work.area[lead[rows]], minlength=kinds * work.areas)
    if own:
        some = np.flatnonzero(names_one(node_of >= 0, state.at))
        node = node_of[work.at(some)]
        item, column = np.nonzero(node >= 0)
        np.add.at(held, (every[some[item]], node[item, column]), 1)
        rows = rows[node_of[lead[rows]] >= 0]
        np.add.at(led, (every[rows], node_of[lead[rows]]), 1)
    return held, led, led_in.reshape(kinds, work.areas), int((lead >= 0).sum())


def _add_loads(
    net: Network, work: Work, owners: Int64, sink: int, chosen: Bool, owner: Int64
) -> tuple[Int64, Int64]:
    """Arcs to the sink for the loads of the chosen Members, pooled by owner: (owners, arcs).

    The least that must be there, then unit by unit in the order of what it costs in level 11.
    """
    found, members = work.intervals, work.members
    at = np.flatnonzero(chosen & (found.load_high > 0))
    low = np.bincount(owner[at], found.load_low[at], len(owners)).astype(np.int64)
    rank = np.zeros(len(owners), np.int64)
    np.maximum.at(rank, owner[at], members.age_rank[at])
    span = found.load_high[at] - found.load_low[at]
    plain = span * (members.draining[at] | (int(span.sum()) > work.tuning.even_units))
    loose = np.bincount(owner[at], plain, len(owners)).astype(np.int64)
    arcs = [
        net.add(owners, sink, low, low, draining_age=rank),
        net.add(owners, sink, 0, loose, draining_age=rank),
    ]
    unit = np.repeat(np.arange(len(at)), span - plain)
    nth = found.load_low[at][unit] + rank_within(unit) + 1
    cost, whose = SCALE * nth // np.maximum(members.limit[at[unit]], 1), owner[at[unit]]
    order = np.lexsort((cost, whose))
    whose, cost = whose[order], cost[order]
    # Owners with many units: bundles of about equal size, each at its dearest unit's cost.
    bundle = (
        rank_within(whose) // np.maximum(1, -(-np.bincount(whose, minlength=len(owners)) // STEPS))[whose]
    )
    edge = np.flatnonzero(np.r_[(whose[1:] != whose[:-1]) | (bundle[1:] != bundle[:-1]), len(whose) > 0])
    arcs.append(net.add(owners[whose[edge]], sink, 0, np.diff(np.r_[-1, edge]), even=cost[edge]))
    everyone = np.arange(len(owners))
    return np.concatenate([everyone, everyone, whose[edge]]), np.concatenate(arcs)


def surplus_entries(work: Work) -> Surplus | None:
    """Entries of Items that have more in one area, or one cell, than they may; None without any."""
    kinds, every = work.kinds, work.kind()
    chosen = np.append((kinds.spread > kinds.area_high).any(axis=1), False)[every]
    if work.state.merged:
        chosen |= _doubled(work) & (every >= 0)
    rows = work.by_key(chosen)
    at, kind = work.at(rows).astype(np.int64), every[rows].astype(np.int64)
    area = np.append(work.area, -1)[at]
    cap, size, group = kinds.area_high[kind[:, None], np.maximum(area, 0)], _twins(area), area
    if work.state.merged:
        cell = np.append(work.cell, -1)[at]
        inside = cell >= len(work.area)
        double = inside & (_twins(np.where(inside, cell, -1 - np.arange(at.shape[1]))) > 1)
        size, cap = np.where(double, _twins(cell), size), np.where(double, 1, cap)
        group = np.where(double, work.areas + cell, group)
    item, column = np.nonzero((at >= 0) & (size > cap))
    if not len(item):
        return None
    return Surplus(
        row=rows[item],
        column=column,
        member=at[item, column],
        area=area[item, column],
        kind=kind[item],
        group=item * (1 << 24) + group[item, column],
        cap=cap[item, column],
    )


def _doubled(work: Work) -> Bool:
    """Shape (n,): Items with two entries in one merged zone."""
    cell = np.append(np.where(work.cell >= len(work.area), work.cell, -1), -1)
    columns = [cell[column] for column in work.state.at.T]
    out = np.zeros(len(work.state.at), np.bool_)
    for one in range(len(columns)):
        for two in range(one):
            out |= (columns[one] == columns[two]) & (columns[one] >= 0)
    return out


def _twins(values: Int64) -> Int64:
    """How many of its row equal each element (itself included)."""
    return sum((values == column[:, None]).astype(np.int64) for column in values.T)


def drop_surplus(work: Work) -> dict[str, int] | None:
    """Decide which surplus entries go, by the network with them apart, and lay the Items over.

    Returns the bounds of that network: it knows more of these Items than one of kinds. None
    where there is no surplus (or too much of it for arcs of their own).
    """
    some = surplus_entries(work)
    if some is None or len(some.row) > work.tuning.surplus_entries:
        return None
    moves = least_moves(work, some)
    # Of each group as many go as must, first those that the network does not keep, primaries last.
    order = np.lexsort((some.member == work.state.lead[some.row], moves.kept, some.group))
    size = np.unique(some.group, return_counts=True)[1]
    go = order[rank_within(some.group[order]) < np.repeat(size, size) - some.cap[order]]
    rows, place = np.unique(some.row[go], return_inverse=True)
    at = work.at(rows)
    at[place, some.column[go]] = -1
    work.lay_over(rows, at)
    return moves.bounds
