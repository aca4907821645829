"""The levels from `moves` on, within the intervals: how few entries must move, and of which kinds.

                        kept                   ┌────────> pooled Members of zone a ───> ┐
    source ──> kind ──> kind in zone a ────────┤                                        ├─> sink
                   │                     moves └─> new ─> crowded or draining Member ─> │
                   └──> kind in zone b ...                                              ┘

A *kind* in this module is that of `work.Kinds`: Items with equal requests, equal held replicas and
equal entries in each zone. An entry that is held may be kept at no cost, and every other one is a
move. Members within their interval are pooled by zone, because it does not matter yet which of
them gives or takes an entry. Members that must shed load, or drain, are *own* nodes, with an arc
for the entries of each kind that they hold.

Only sums of the solution are used: the bound on moves (pooling relaxes the problem, so the bound
can only be too low), the entries that leave and join each kind in each zone, the load of each zone
and of each draining Member. The split over Members is not used: an optimal flow is an extreme
point, with all the change on few Members, and dealing it out would cost more moves.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from berth.solve.arrays import Table, crosstab, entries_on, first_few, rank_within, scattered, sums, twice
from berth.solve.flow import Network
from berth.solve.model import SCALE, Int64
from berth.solve.work import RADIX, Work

LEVELS = ("moves", "draining-age", "primaries-moved", "share", "drift", "even")
"""At equal moves, zones share what their Members gain or lose, or else the next event would have to move more
(`share`); few entries change zones (`drift`); loads are even for the limits (`even`)."""
MANY_UNITS = 8_192  # above this number of units, those of a Member form packs
STEPS = 48  # maximum arcs for the load of one node within its interval, which differ in their cost in `even`


class Surplus(NamedTuple):
    """Entries of which some must go: an Item has more of them in one area or cell than it may have."""

    row: Int64  # shape (entries,), like `member` and `group`
    member: Int64
    group: Int64  # an Item in an area or cell
    cap: Int64  # shape (groups,): how many of its entries may stay


class Moves(NamedTuple):
    """The sums of the network's solution."""

    bounds: dict[str, int]  # bounds of `moves`, `draining-age` and `primaries-moved`
    leave: Int64  # shape (kinds, areas): entries that leave the Items of a kind in an area
    join: Int64  # shape (kinds, areas): entries that join them
    loads: Int64  # shape (areas,): total load of the Members of an area
    load_low: Int64  # shape (positions,): the load of draining Members; the interval of others
    load_high: Int64
    kept: Int64  # shape (surplus entries,): 1 if the entry stays, else 0


def least_moves(work: Work, surplus: Surplus | None = None) -> Moves:
    """Solve the network of the module's docstring. Raises NoFlowError if the intervals cannot be met."""
    kinds, found, areas, n, tuning = work.kinds, work.intervals, work.areas, work.kinds.count, work.tuning
    over, slots = np.maximum(0, work.load - found.load_high), n.sum() * kinds.placed_high.max(initial=0)
    few, lead = tuning.quick_own / max(1, slots / tuning.quick_slots), work.state.lead
    # A quick solve also pools many Members that shed few of many entries: the bound may then be lower.
    many = work.quick and np.count_nonzero(over) > few
    own = ((64 if many else RADIX) * over > work.load) | work.members.draining
    if surplus is not None:
        own[surplus.member] = True
    own_at = np.flatnonzero(own & (found.load_high > 0))
    node_of, area_of = scattered(len(own) + 1, own_at, np.arange(len(own_at))), work.area[own_at]
    # For each kind its entries and its primaries on own Members.
    rows, position = entries_on(node_of >= 0, work.at)
    holder, owner, leads = work.kind[rows], node_of[position], position == lead[rows]
    held, led = (crosstab(holder, owner, len(n), len(own_at), of) for of in (None, leads))

    # To decide which surplus entries stay, the last levels do not matter, and smaller costs save time.
    net = Network(*LEVELS[: 3 if surplus else None], limit=work.arcs)
    keep, new, pool, new_own = (net.add_nodes(areas, hub=True) for _ in range(4))
    nodes, owners = net.add_nodes(len(n)), net.add_nodes(len(own_at), hub=True)
    net.add(net.source, nodes, kinds.placed_low * n, kinds.placed_high * n)
    kind, area = np.nonzero(kinds.area_high > 0)
    inside, count = net.add_nodes(len(kind)), n[kind]
    low, high, here = (a[kind, area] for a in (kinds.area_low, kinds.area_high, kinds.spread))
    near = np.clip(here, low, high)
    # A kind without entries in an area can only get new ones there, so it needs no node for the area.
    without_entries = (here == 0) & ~np.isin(area, area_of)
    head = np.where(without_entries, new[area], inside)
    into = [net.add(nodes[kind], head, low * count, near * count, moves=without_entries)]
    # `drift` costs more for the last three quarters of a kind's Items, because if nearly all of them
    # give an entry up there is no choice of Members left. A second new entry of an Item costs most.
    first = np.where(near > here, 0, count)
    edges = [np.minimum(edge, (high - near) * count) for edge in (0, first // 4, first, high * count)]
    for drift, (less, more) in enumerate(pairwise(edges), 1):
        into.append(net.add(nodes[kind], head, 0, more - less, drift=drift, moves=without_entries))

    pair_of = scattered((len(n), areas), (kind, area), np.arange(len(kind)))  # indices of `inside`
    own_held, own_led = (np.zeros((len(n), areas), np.int64) for _ in range(2))
    np.add.at(own_held.T, area_of, held.T)
    np.add.at(own_led.T, area_of, led.T)
    rest, kept = inside, np.zeros(0, np.int64)  # `rest`: the nodes for entries that are not surplus
    if surplus is not None:
        # Each surplus entry gets an arc, at most `cap` of a group may stay, and the counts exclude them.
        its_kind = work.kind[surplus.row]
        pair = scattered(len(surplus.cap), surplus.group, pair_of[its_kind, work.area[surplus.member]])
        gates, some, cap = net.add_nodes(len(pair)), pair[pair >= 0], surplus.cap[pair >= 0]
        net.add(inside[some], gates[pair >= 0], 0, cap)
        may_stay = np.flatnonzero(node_of[surplus.member] >= 0)  # other Members must end empty
        node, leads = node_of[surplus.member[may_stay]], (lead[surplus.row] == surplus.member)[may_stay]
        arcs = net.add(gates[surplus.group[may_stay]], owners[node], 0, 1, primaries_moved=-1 * leads)
        kept = scattered(len(surplus.row), may_stay, arcs)
        np.subtract.at(held, (its_kind[may_stay], node), 1)
        np.subtract.at(led, (its_kind[may_stay], node), leads)
        # The other Items keep at most what they may have, except in merged zones, where this is unknown.
        taken = sums(some, len(kind), cap)
        taken[(area == areas - 1) & bool(work.state.merged)] = 0
        rest = np.where(taken > 0, net.add_nodes(len(kind)), inside)
        net.add(inside[taken > 0], rest[taken > 0], 0, np.maximum(0, high * count - taken)[taken > 0])

    free = np.minimum(here * count - own_held[kind, area], high * count)
    free_led = np.clip((kinds.led - own_led)[kind, area], 0, free)
    net.add_preferred(rest, keep[area], free_led, free, "primaries-moved")
    new_units = np.where(without_entries, 0, high * count)
    net.add(inside, new[area], 0, new_units, moves=1)
    loads = np.minimum(work.load, found.load_high), np.maximum(0, found.load_low - work.load), found.load_high
    may_keep, lowest, highest = (sums(work.area[~own], areas, load[~own]) for load in loads)
    net.add(keep, pool, 0, may_keep)
    net.add(new, pool, lowest, highest)
    pool_loads = add_loads(net, work, pool, np.where(own, -1, work.area), STEPS)
    k, d = np.nonzero((held > 0) & (kinds.area_high[:, area_of] > 0))
    gate = rest[pair_of[k, area_of[d]]]
    net.add(gate, owners[d], 0, (held - led)[k, d])
    net.add(gate, owners[d], 0, led[k, d], primaries_moved=-1)
    net.add(inside, new_own[area], 0, new_units, moves=1)
    net.add(new_own[area_of], owners, 0, found.load_high[own_at])
    own_loads = add_loads(net, work, owners, node_of[:-1], STEPS)

    flow = net.solve(found.placed)
    inflow = scattered((len(n), areas), (kind, area), sum(flow.units[arcs] for arcs in into), 0)
    change = inflow - kinds.spread * n[:, None]
    on_own = scattered(len(own), own_at, sums(own_loads[0], len(own_at), flow.units[own_loads[1]]), 0)
    bounds = {name: flow.totals[name] for name in LEVELS[:3]}
    bounds["primaries-moved"] += int(np.count_nonzero(lead >= 0))
    return Moves(
        bounds=bounds,
        leave=np.maximum(0, -change),
        join=np.maximum(0, change),
        loads=sums(pool_loads[0], areas, flow.units[pool_loads[1]]) + sums(work.area, areas, on_own),
        load_low=np.where(work.members.draining, on_own, found.load_low),
        load_high=np.where(work.members.draining, on_own, found.load_high),
        kept=np.where(kept >= 0, flow.units[kept], 0),
    )


def add_loads(net: Network, work: Work, owners: Int64, owner: Int64, steps: int) -> tuple[Int64, Int64]:
    """Add arcs to the sink for the loads of Members, pooled by owner; returns (owners, arcs).

    `owner`, shape (positions,), is the index in `owners` of each Member's node, -1 if it has none.
    The first arc of an owner is the load that it must have. The units above it follow in the order of
    their cost in `even`. If there are very many units, those of a Member form packs; and if an owner has
    more than `steps` packs, they form bundles. Each has the cost of its most expensive unit.
    """
    found, members, at, size = work.intervals, work.members, np.flatnonzero(owner >= 0), len(owners)
    low, rank = sums(owner[at], size, found.load_low[at]), np.zeros(size, np.int64)
    np.maximum.at(rank, owner[at], members.age_rank[at])
    span = found.load_high[at] - found.load_low[at]
    plain = span * members.draining[at]
    rest, pack = span - plain, 1 + int(span.sum()) // MANY_UNITS
    arcs = [
        net.add(owners, net.sink, low, low, draining_age=rank),
        net.add(owners, net.sink, 0, sums(owner[at], size, plain), draining_age=rank),
    ]
    unit = np.repeat(np.arange(len(at)), -(-rest // pack))
    end = np.minimum((rank_within(unit) + 1) * pack, rest[unit])
    cost = SCALE * (found.load_low[at][unit] + end) // np.maximum(members.limit[at[unit]], 1)  # at most SCALE
    order = np.lexsort((cost, owner[at[unit]]))
    owner_of, cost = owner[at[unit]][order], cost[order]
    bundle = rank_within(owner_of) // np.maximum(1, -(-sums(owner_of, size) // steps))[owner_of]
    last = np.flatnonzero(np.diff(owner_of * steps + bundle, append=-1))  # the last pack of each bundle
    units = np.cumsum((end - rank_within(unit) * pack)[order])[last]
    size_of = np.diff(units, prepend=0)
    arcs.append(net.add(owners[owner_of[last]], net.sink, 0, size_of, even=cost[last], share=bundle[last]))
    return np.concatenate([np.arange(size), np.arange(size), owner_of[last]]), np.concatenate(arcs)


def drop_surplus(work: Work) -> dict[str, int] | None:
    """Decide which surplus entries go, by the network with an arc for each of them, and remove them.

    Returns the bounds of that network, which are tighter than those of a network of kinds alone;
    None if there is no surplus, or too much of it for separate arcs.
    """
    kinds, cell, limit = work.kinds, np.append(work.cell, -1).astype(np.int32), work.tuning.surplus_entries
    too_many = (kinds.spread > kinds.area_high).any(axis=1)
    if not too_many.any() and not work.state.merged:
        return None
    chosen = np.append(too_many, False).take(work.kind, mode="wrap")
    if work.state.merged:
        chosen |= twice(cell[np.ascontiguousarray(work.at.T)].T) & (work.kind >= 0)
    rows = work.by_key(chosen)
    at, kind = work.at[rows].astype(np.int64), work.kind[rows, None]
    area, in_cell = np.append(work.area, -1)[at], _twins(cell[at])
    double = in_cell > 1  # in a merged zone, because no Item is twice on a Member
    size, cap = np.where(double, in_cell, _twins(area)), np.where(double, 1, kinds.area_high[kind, area])
    item, column = np.nonzero((at >= 0) & (size > cap))
    group = np.where(double, work.areas + cell[at], area)[item, column]
    member, cap, code = at[item, column], cap[item, column], item * (1 << 24) + group
    must_shed = (work.members.draining | (work.load > work.intervals.load_high))[member]
    if not (must_shed.any() or double.any()):
        return None  # it does not matter which entries go, so the network of kinds knows as much
    if len(item) > limit:
        # Take only Items with two entries on Members that must shed: the network of kinds would count both.
        _, group = np.unique(code, return_inverse=True)
        some, limit = sums(group, len(code), must_shed)[group] > 1, limit // 4
        item, column, member, cap, code = (of[some] for of in (item, column, member, cap, code))
    if not 0 < len(item) <= limit:
        return None
    _, first, group, count = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
    moves = least_moves(work, Surplus(rows[item], member, group, cap[first]))
    # Of each group the necessary number goes: first entries that the network does not keep, primaries last.
    go = first_few(group, count - cap[first], member == work.state.lead[rows[item]], moves.kept)
    at[item[go], column[go]] = -1
    some = np.unique(item[go])
    work.lay_over(rows[some], at[some])
    return moves.bounds


def _twins(values: Table) -> Int64:
    """For each element the number of elements of its row that are equal to it, including itself."""
    return sum((values == column[:, None] for column in values.T), np.zeros(values.shape, np.int64))
