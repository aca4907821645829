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

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from berth.solve.arrays import Table, first_few, rank_within, rows_with, scattered, sums, twice
from berth.solve.flow import Network
from berth.solve.model import SCALE, Bool, Int64
from berth.solve.work import RADIX, Work

LEVELS = ("moves", "draining-age", "primaries-moved", "drift", "even")
"""`drift`: of equal moves those that change fewest zones. `even`: level 11 of the objective."""
STEPS = 48  # arcs for the units of one owner within its interval, by what they cost in `even`


class Surplus(NamedTuple):
    """Entries of which some must go: more of an Item in one area or cell than it may have there."""

    row: Int64
    member: Int64
    group: Int64
    first: Int64  # the first entry of each group,
    cap: Int64  # and how many of it may stay


class Moves(NamedTuple):
    """What the network says."""

    bounds: dict[str, int]  # the least of `moves`, `draining-age` and `primaries-moved`, one after the other
    leave: Int64  # shape (kinds, areas): entries that go from the Items of a kind in an area,
    join: Int64  # and that come to them
    loads: Int64  # shape (areas,): load of all Members of an area together
    draining_load: Int64  # shape (positions,): load of Members that drain; 0 for others
    kept: Int64  # shape (surplus entries,): 1 where the entry stays


def least_moves(work: Work, surplus: Surplus | None = None) -> Moves:
    """Solve the network of the introduction. Raises NoFlowError where the intervals cannot be met."""
    kinds, found, areas, n = work.kinds, work.intervals, work.areas, work.kinds.count
    # In a hurry Members that have to shed few of many entries are pooled, too: the bound is lower then.
    own = (64 if work.quick else RADIX) * (work.load - found.load_high) > work.load
    own, lead = own | work.members.draining, work.state.lead
    if surplus is not None:
        own[surplus.member] = True
    own_at = np.flatnonzero(own & (found.load_high > 0))
    node_of, area_of = scattered(len(own) + 1, own_at, np.arange(len(own_at))), work.area[own_at]
    held, led, led_in = _held(work, own_at, node_of)

    # Only for what is kept the last levels do not matter, and smaller costs take less time.
    net = Network(*LEVELS[: 3 if surplus else 5], limit=work.arcs)
    keep, new, pool, new_own = (net.add_nodes(areas, hub=True) for _ in range(4))
    nodes, owners = net.add_nodes(len(n)), net.add_nodes(len(own_at), hub=True)
    net.add(net.source, nodes, kinds.placed_low * n, kinds.placed_high * n)
    kind, area = np.nonzero(kinds.area_high > 0)
    inside, count = net.add_nodes(len(kind)), n[kind]
    low, high, here = (a[kind, area] for a in (kinds.area_low, kinds.area_high, kinds.spread))
    near = np.clip(here, low, high)
    # Of what is not held in an area all that comes is new: no node between is needed.
    bare = (here == 0) & ~np.isin(area, area_of)
    head = np.where(bare, new[area], inside)
    into = [net.add(nodes[kind], head, low * count, near * count, moves=bare)]
    # Dearer for the last three quarters of a kind: where nearly all of its Items must give an
    # entry up, there is no choice of Members left; and dearest for two of an Item in one zone.
    first = np.where(near > here, 0, count)
    edges = [np.minimum(edge, (high - near) * count) for edge in (0, first // 4, first, high * count)]
    for drift, (less, more) in enumerate(pairwise(edges), 1):
        into.append(net.add(nodes[kind], head, 0, more - less, drift=drift, moves=bare))

    gate_of = scattered((len(n), areas), (kind, area), inside)
    apart, apart_led = (np.zeros((len(n), areas), np.int64) for _ in range(2))
    np.add.at(apart.T, area_of, held.T)
    np.add.at(apart_led.T, area_of, led.T)
    rest, kept = inside, np.zeros(0, np.int64)  # from where those go that are not apart
    if surplus is not None:
        # Each entry an arc of its own, at most `cap` of a group together, and not among the counts.
        its_kind = work.kind[surplus.row]
        at = gate_of[its_kind, work.area[surplus.member]][surplus.first]
        gates = net.add_nodes(len(at))
        net.add(at[at >= 0], gates[at >= 0], 0, surplus.cap[at >= 0])
        mine = np.flatnonzero(node_of[surplus.member] >= 0)  # on the others nothing may stay
        node, leads = node_of[surplus.member[mine]], (lead[surplus.row] == surplus.member)[mine]
        arcs = net.add(gates[surplus.group[mine]], owners[node], 0, 1, primaries_moved=-1 * leads)
        kept = scattered(len(surplus.row), mine, arcs)
        np.subtract.at(held, (its_kind[mine], node), 1)
        np.subtract.at(led, (its_kind[mine], node), leads)
        # The others may not keep more than they may have either (in merged zones that is not known).
        of = scattered(net.nodes, inside, np.arange(len(kind)))[at[at >= 0]]
        taken = sums(of, len(kind), surplus.cap[at >= 0])
        taken[(area == areas - 1) & bool(work.state.merged)] = 0
        rest = np.where(taken > 0, net.add_nodes(len(kind)), inside)
        own_room = np.maximum(0, high * count - taken)[taken > 0]
        net.add(inside[taken > 0], rest[taken > 0], 0, own_room)

    free = np.minimum(here * count - apart[kind, area], high * count)
    free_led = np.clip((led_in - apart_led)[kind, area], 0, free)
    net.add_preferred(rest, keep[area], free_led, free, "primaries-moved")
    anew = np.where(bare, 0, high * count)
    net.add(inside, new[area], 0, anew, moves=1)
    loads = np.minimum(work.load, found.load_high), np.maximum(0, found.load_low - work.load), found.load_high
    may_keep, least, most = (sums(work.area[~own], areas, load[~own]) for load in loads)
    net.add(keep, pool, 0, may_keep)
    net.add(new, pool, least, most)
    pool_loads = add_loads(net, work, pool, ~own, work.area, STEPS)
    k, d = np.nonzero((held > 0) & (kinds.area_high[:, area_of] > 0))
    gate = scattered((len(n), areas), (kind, area), rest)[k, area_of[d]]
    net.add(gate, owners[d], 0, (held - led)[k, d])
    net.add(gate, owners[d], 0, led[k, d], primaries_moved=-1)
    net.add(inside, new_own[area], 0, anew, moves=1)
    net.add(new_own[area_of], owners, 0, found.load_high[own_at])
    own_loads = add_loads(net, work, owners, node_of[:-1] >= 0, node_of[:-1], STEPS)

    flow = net.solve(found.placed)
    inflow = scattered((len(n), areas), (kind, area), sum(flow.units[arcs] for arcs in into), 0)
    change = inflow - kinds.spread * n[:, None]
    on_own = scattered(len(own), own_at, sums(own_loads[0], len(own_at), flow.units[own_loads[1]]), 0)
    bounds = {name: flow.totals[name] for name in LEVELS[:3]}
    bounds["primaries-moved"] += int((lead >= 0).sum())
    return Moves(
        bounds=bounds,
        leave=np.maximum(0, -change),
        join=np.maximum(0, change),
        loads=sums(pool_loads[0], areas, flow.units[pool_loads[1]]) + sums(work.area, areas, on_own),
        draining_load=np.where(work.members.draining, on_own, 0),
        kept=np.where(kept >= 0, flow.units[kept], 0),
    )


def _held(work: Work, own_at: Int64, node_of: Int64) -> tuple[Int64, Int64, Int64]:
    """What each kind holds on own Members, with its primaries alone, and its primaries in each area."""
    state, kinds, areas, own = work.state, len(work.kinds.count), work.areas, len(own_at)
    # One group more for Items of no kind and for entries on no own Member: no mask over all is needed.
    code = np.append(work.area, areas).astype(np.int32)[state.lead]
    code += (work.kind + 1) * np.int32(areas + 1)
    over = work.over_rows  # a primary that is known to go cannot be kept
    over = over[(work.at[over] != state.lead[over][:, None]).all(axis=1)]
    size = (kinds + 1) * (areas + 1)
    led_in = (sums(code, size) - sums(code[over], size)).reshape(kinds + 1, areas + 1)[1:, :areas]

    rows = np.flatnonzero(rows_with(node_of >= 0, work.at))
    at, kind = work.at[rows], work.kind[rows, None] + 1
    node = np.where(node_of < 0, own, node_of)[at]
    leads = at == state.lead[rows, None]
    codes = kind * (own + 1) + node
    held, led = (
        sums(some, (kinds + 1) * (own + 1)).reshape(kinds + 1, own + 1)[1:, :own].copy()
        for some in (codes.ravel(), codes[leads])
    )
    return held, led, led_in


def add_loads(
    net: Network, work: Work, owners: Int64, chosen: Bool, owner: Int64, steps: int
) -> tuple[Int64, Int64]:
    """Arcs to the sink for the loads of the chosen Members, pooled by owner: (owners, arcs).

    The least that must be there, then unit by unit in the order of what it costs in level 11; of
    an owner with more than `steps` units bundles of about equal size, each at its dearest unit's cost.
    """
    found, members, at, size = work.intervals, work.members, np.flatnonzero(chosen), len(owners)
    low, rank = sums(owner[at], size, found.load_low[at]), np.zeros(size, np.int64)
    np.maximum.at(rank, owner[at], members.age_rank[at])
    span = found.load_high[at] - found.load_low[at]
    plain = span * (members.draining[at] | (int(span.sum()) > work.tuning.even_units))
    arcs = [
        net.add(owners, net.sink, low, low, draining_age=rank),
        net.add(owners, net.sink, 0, sums(owner[at], size, plain), draining_age=rank),
    ]
    unit = np.repeat(np.arange(len(at)), span - plain)
    nth = found.load_low[at][unit] + rank_within(unit) + 1
    cost = SCALE * nth // np.maximum(members.limit[at[unit]], 1)  # at most SCALE
    whose, cost = np.divmod(np.sort(owner[at[unit]] * (2 * SCALE) + cost), 2 * SCALE)
    bundle = rank_within(whose) // np.maximum(1, -(-sums(whose, size) // steps))[whose]
    edge = np.flatnonzero(np.r_[(whose[1:] != whose[:-1]) | (bundle[1:] != bundle[:-1]), len(whose) > 0])
    arcs.append(net.add(owners[whose[edge]], net.sink, 0, np.diff(np.r_[-1, edge]), even=cost[edge]))
    return np.concatenate([np.arange(size), np.arange(size), whose[edge]]), np.concatenate(arcs)


def drop_surplus(work: Work) -> dict[str, int] | None:
    """Decide which surplus entries go, by the network with them apart, and take them away.

    Returns the bounds of that network: it knows more of these Items than one of kinds. None
    where there is no surplus (or too much of it for arcs of their own).
    """
    kinds, every, merged = work.kinds, work.kind, len(work.area)  # cells from `merged` on are zones
    too_many = (kinds.spread > kinds.area_high).any(axis=1)
    if not too_many.any() and not work.state.merged:
        return None
    chosen = np.append(too_many, False)[every]
    if work.state.merged:
        zone = np.append(np.where(work.cell >= merged, work.cell, -1), -1)
        chosen |= twice(zone[work.at]) & (every >= 0)
    rows = work.by_key(chosen)
    at, kind = work.at[rows].astype(np.int64), every[rows]
    group = area = np.append(work.area, -1)[at]
    cap, size = kinds.area_high[kind[:, None], np.maximum(area, 0)], _twins(area)
    if work.state.merged:
        cell = np.append(work.cell, -1)[at]
        double = (cell >= merged) & (_twins(cell) > 1)
        size, cap = np.where(double, _twins(cell), size), np.where(double, 1, cap)
        group = np.where(double, work.areas + cell, area)
    entry = np.nonzero((at >= 0) & (size > cap))
    item, member, cap = entry[0], at[entry], cap[entry]
    code, entries_apart = item * (1 << 24) + group[entry], work.tuning.surplus_entries
    if len(item) > entries_apart:
        # Then only Items with two on Members that must shed: counts take it that both may go.
        must_shed = (work.members.draining | (work.load > work.intervals.load_high))[member]
        _, inverse = np.unique(code, return_inverse=True)
        few, entries_apart = sums(inverse, len(code), must_shed)[inverse] > 1, entries_apart // 4
        item, member, cap, code = item[few], member[few], cap[few], code[few]
        entry = entry[0][few], entry[1][few]
    if not 0 < len(item) <= entries_apart:
        return None
    _, first, group, count = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
    moves = least_moves(work, Surplus(rows[item], member, group, first, cap[first]))
    # Of each group as many go as must, first those that the network does not keep, primaries last.
    go = first_few(group, count - cap[first], member == work.state.lead[rows[item]], moves.kept)
    at[item[go], entry[1][go]] = -1
    item = np.unique(item[go])
    work.lay_over(rows[item], at[item].astype(work.at.dtype))
    return moves.bounds


def _twins(values: Table) -> Int64:
    """How many of its row equal each element (itself included)."""
    return sum((values == column[:, None] for column in values.T), np.zeros(values.shape, np.int64))
