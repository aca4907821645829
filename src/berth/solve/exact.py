"""The exact network: Items that hold exactly the same are one kind, every Member a node of its own.

    source ──> kind ──> kind in zone a ──> Member 1 ──> sink
                   └──> kind in zone b ──> Member 2 ──>

Items of one kind are interchangeable in every level, so any way to deal a kind's entries out to
its Items is as good as another: Member after Member, round and round, puts an Item at most once on
a Member and as evenly as can be in every zone. So what the flow says can be done, and it is best.

It has kinds × Members arcs, which is why `pooled` goes first. Two forms: within the intervals of
`intervals` only the levels from `moves` on are left to decide; where pooling promised what cannot
be done, all levels are in the network, with the rising arcs of `intervals` for each kind and Member.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from berth.solve.arrays import SALT, alike, rank_within
from berth.solve.flow import Network, TooLargeError
from berth.solve.intervals import Demand, add_demand, shape_bounds, units_of_load
from berth.solve.model import SCALE, SHAPE_LEVELS, Int64
from berth.solve.work import Work

LATER = ("moves", "draining-age", "primaries-moved", "even")


@dataclass(frozen=True, slots=True)
class Placement:
    """Who holds some Items, and the bounds that prove it to be the best."""

    rows: Int64
    at: Int64
    """Shape (rows, v): positions, -1 for none."""
    bounds: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Same:
    """Items that ask for as much and hold the same; arrays of shape (kinds,)."""

    rows: Int64
    """All Items that ask for something, by kind and key."""
    start: Int64
    count: Int64
    coarse: Int64
    """Row of the kind in the demand and the intervals."""
    holds: np.ndarray
    """Shape (kinds, positions): whether they hold it."""
    lead: Int64
    """Their primary's position, -1 for none."""


def exact(work: Work, arcs: int, whole: bool) -> Placement:
    """The best placement; with `whole` in all levels, else within the intervals.

    Raises TooLargeError where the network would have more than `arcs` arcs, and NoFlowError where
    the intervals cannot be met.
    """
    same = _same_holdings(work, arcs)
    found, members, zones = work.intervals, work.members, work.members.zones
    net = Network(*SHAPE_LEVELS, *LATER) if whole else Network(*LATER)
    source, sink = net.add_ends()
    ends, nodes = net.add_nodes(len(members.limit), hub=True), net.add_nodes(len(same.count))
    inside = net.add_nodes(len(same.count) * zones).reshape(len(same.count), zones)
    coarse, count, rank = same.coarse, same.count, members.age_rank
    some = work.demand
    demand = Demand(some.asked[coarse], some.right[coarse], some.wanted[coarse], count)
    if whole:
        open_members, open_zones, total = members.limit > 0, np.ones(inside.shape, np.bool_), demand.total
        add_demand(net, (source, sink), nodes, inside, demand, members, work.rule)
        units = units_of_load(members, len(same.rows), single=True)
        net.add(
            ends[units.of], sink, 0, units.size,
            balance=units.cost, misplaced=units.draining, draining_age=rank[units.of],
        )  # fmt: skip
    else:
        open_members, open_zones, total = found.load_high > 0, (found.zone_high > 0)[coarse], found.placed
        net.add(source, nodes, found.placed_low[coarse] * count, found.placed_high[coarse] * count)
        low, high = found.zone_low[coarse], found.zone_high[coarse]
        net.add(nodes[:, None], inside, low * count[:, None], high * count[:, None])
        net.add(ends, sink, found.load_low, found.load_low, draining_age=rank)
        span = found.load_high - found.load_low
        plain = np.where(members.draining | (int(span.sum()) > work.tuning.even_units), span, 0)
        net.add(ends, sink, 0, plain, draining_age=rank)
        unit = np.repeat(np.arange(len(span)), span - plain)
        nth = found.load_low[unit] + rank_within(unit) + 1
        net.add(ends[unit], sink, 0, 1, even=SCALE * nth // np.maximum(1, members.limit[unit]))
    kind, member = np.nonzero(open_zones[:, members.zone] & open_members)
    gates, lead = inside[kind, members.zone[member]], same.lead[kind] == member
    arcs_in = net.add(
        gates, ends[member], 0, count[kind], moves=~same.holds[kind, member], primaries_moved=-1 * lead
    )
    flow = net.solve({source: total, sink: -total})
    bounds = {name: flow.totals[name] for name in LATER[:3]}
    bounds["primaries-moved"] += int((work.state.lead >= 0).sum())
    shape = shape_bounds(flow.totals, demand, units.unfilled) if whole else found.bounds
    return Placement(same.rows, _dealt(work, same, kind, member, flow.units[arcs_in]), shape | bounds)


def _same_holdings(work: Work, arcs: int) -> _Same:
    state, demand = work.state, work.demand
    rows = work.by_key(state.wants > 0)
    salt = np.append(SALT[np.arange(len(work.area)) % 4000] + np.arange(len(work.area), dtype=np.uint64), 0)
    held = np.zeros(len(rows), np.uint64)
    for column in range(state.at.shape[1]):
        held += salt.astype(np.uint64)[state.at[rows, column]]
    first, kind = alike(state.wants[rows], state.lead[rows], held)
    if len(first) * work.usable > arcs:
        raise TooLargeError(f"an exact network of {len(first) * work.usable} arcs")
    # Kinds in the order of their first Item's key, so that rows do not matter.
    order = np.argsort(first)
    first, kind = first[order], np.argsort(order)[kind]
    count = np.bincount(kind, minlength=len(first)).astype(np.int64)
    one = rows[first]
    asked, at = state.wants[one].astype(np.int64), state.at[one]
    right = np.minimum((at >= 0).sum(axis=1), np.minimum(asked, work.usable))
    holds = np.zeros((len(first), len(work.area) + 1), np.bool_)
    holds[np.arange(len(first))[:, None], at] = True
    return _Same(
        rows=rows[np.argsort(kind, kind="stable")],
        start=np.cumsum(count) - count,
        count=count,
        coarse=np.searchsorted(demand.asked * 64 + demand.right, asked * 64 + right),
        holds=holds[:, :-1],
        lead=state.lead[one].astype(np.int64),
    )


def _dealt(work: Work, same: _Same, kind: Int64, member: Int64, units: Int64) -> Int64:
    """Deal each kind's entries to its Items, zone by zone and Member after Member, round and round."""
    order = np.lexsort((member, work.members.zone[member], kind))
    order = order[units[order] > 0]
    kind, member = np.repeat(kind[order], units[order]), np.repeat(member[order], units[order])
    item = same.start[kind] + rank_within(kind) % same.count[kind]
    order = np.argsort(item, kind="stable")
    item, member, column = item[order], member[order], rank_within(item[order])
    at = np.full((len(same.rows), max(1, int(column.max(initial=0)) + 1)), -1)
    at[item, column] = member
    return at
