"""The exact network: Items with the same holders form one kind, and every Member is a node.

    source ──> kind ──> kind in zone a ──> Member 1 ──> sink
                   └──> kind in zone b ──> Member 2 ──>

The flow gives, for each kind, the number of its Items that each Member holds. Every such flow can
be carried out: list the kind's entries zone by zone and within a zone Member by Member, and deal
them to the kind's Items in turn, round and round. A Member holds at most as many entries as the
kind has Items, and they are adjacent in the list, so none of the Items gets it twice. For the same
reason the Items' numbers of replicas differ by at most 1, in total and in each zone, which is what
the rising costs assume. And as the Items of a kind hold the same, it does not matter in any level
which of them gets which entry. So the flow's cost is the value of the plan, and it is optimal.

The network has kinds × Members arcs, which is why the pooled method is tried first. It has two
forms. Within the intervals only the levels from `moves` on are left to decide. If no plan lies in
the intervals, all levels are in the network, with the rising arcs of `intervals`.
"""

from typing import NamedTuple

import numpy as np

from berth.solve.arrays import alike, ordered, rank_within, scattered, sums
from berth.solve.flow import Network, TooLargeError
from berth.solve.intervals import Demand, add_demand, shape_bounds, units_of_load
from berth.solve.model import SHAPE_LEVELS, Int64
from berth.solve.moves import add_loads
from berth.solve.work import Work

LATER = ("moves", "draining-age", "primaries-moved", "even")


class Placement(NamedTuple):
    """Who holds some Items, as positions of shape (rows, v), and a bound for each level."""

    rows: Int64
    at: Int64
    bounds: dict[str, int]


def exact(work: Work, arcs: int, whole: bool) -> Placement:
    """The best placement: over all levels with `whole`, otherwise within the intervals.

    Raises TooLargeError if the network would have more than `arcs` arcs, and NoFlowError if no
    plan lies in the intervals.
    """
    rows, count = _same_holdings(work, arcs)
    state, found, members, size = work.state, work.intervals, work.members, len(count)
    start = np.cumsum(count) - count
    one = rows[start]  # the first Item of each kind represents all of them
    lead, holds = state.lead[one].astype(np.int64), np.zeros((size, len(work.area) + 1), np.bool_)
    holds[np.arange(size)[:, None], state.at[one]] = True
    codes = work.code(state.wants[one].astype(np.int64), holds[:, :-1].sum(axis=1))
    row, base = np.searchsorted(work.codes, codes), work.demand
    demand = Demand(base.asked[row], base.right[row], base.wanted[row], count, base.total)

    net = Network(*(SHAPE_LEVELS if whole else ()), *LATER, limit=work.arcs)
    ends, nodes = net.add_nodes(len(members.limit), hub=True), net.add_nodes(size)
    inside, rank = net.add_nodes(size * members.zones).reshape(size, members.zones), members.age_rank
    if whole:
        open_members, open_zones, total = members.limit > 0, np.ones(inside.shape, np.bool_), demand.total
        add_demand(net, nodes, inside, demand, members, work.rule)
        units = units_of_load(members, len(rows), single=True)
        at, draining = units.of, members.draining[units.of]
        net.add(ends[at], net.sink, 0, units.size,
                balance=units.cost, misplaced=draining, draining_age=rank[at])  # fmt: skip
    else:
        open_members, open_zones, total = found.load_high > 0, (found.zone_high > 0)[row], found.placed
        net.add(net.source, nodes, found.placed_low[row] * count, found.placed_high[row] * count)
        low, high = found.zone_low[row], found.zone_high[row]
        net.add(nodes[:, None], inside, low * count[:, None], high * count[:, None])
        add_loads(net, work, ends, np.arange(len(ends)), steps=1 << 40)
    kind, member = np.nonzero(open_zones[:, members.zone] & open_members)
    held, led = holds[kind, member], lead[kind] == member
    gates = inside[kind, members.zone[member]]
    on = net.add(gates, ends[member], 0, count[kind], moves=~held, primaries_moved=-1 * led)
    flow = net.solve(total)
    later = {name: flow.totals[name] for name in LATER[:3]}
    later["primaries-moved"] += int((state.lead >= 0).sum())
    shape = shape_bounds(flow.totals, demand, units.unfilled) if whole else found.bounds

    # Deal each kind's entries to its Items, zone by zone and Member by Member, round and round.
    order = ordered(member, members.zone[member], kind)
    kind, member = (np.repeat(a[order], flow.units[on][order]) for a in (kind, member))
    item = start[kind] + rank_within(kind) % count[kind]
    order = ordered(item)
    item, column = item[order], rank_within(item[order])
    at = scattered((len(rows), int(column.max(initial=0)) + 1), (item, column), member[order])
    return Placement(rows, at, shape | later)


def _same_holdings(work: Work, arcs: int) -> tuple[Int64, Int64]:
    """All Items that request replicas, sorted by kind and key, and the number of Items of each kind."""
    state, rows = work.state, work.by_key(work.state.wants > 0)
    held = np.sort(state.at[rows], axis=1)
    first, kind = alike(state.wants[rows], state.lead[rows], *held.T)
    if len(first) * work.usable > arcs:
        raise TooLargeError(f"the exact network has {len(first) * work.usable} arcs, the limit is {arcs}")
    return rows[ordered(kind)], sums(kind, len(first))
