"""Choose the entries that leave: the networks say how many of each kind of Items in each zone.

Suppose that an entry leaves a zone from a Member that is not above its interval. The Member then
gets another entry instead, and some other Member that is above its interval still has to shed one:
two moves, where one would do if the entry left from that Member. So leaving entries are matched
with Members that have to shed, by a small flow:

    source ──> Member ──> kind in a zone ──> sink
       load above its         entries that
       interval               leave there

When no Member has to shed any more, the remaining entries are chosen by lot. Primaries leave last,
unless Members could not shed enough without them.
"""

import numpy as np

from berth.solve.arrays import first_few, sums
from berth.solve.deal import TURNS, Deal
from berth.solve.flow import Network
from berth.solve.model import Int64


def leave(deal: Deal) -> None:
    """Remove the entries that leave. Some Items of a kind that could not give enough become `left_over`."""
    left, areas = deal.moves.leave.copy(), deal.work.areas
    size, total = np.maximum(1, deal.kinds.count), left.sum(axis=1)
    max_given = -(-total // size)  # entries that one Item gives
    # Kinds with little choice come first.
    tight = (deal.scarce | deal.unfit)[:, None]
    later = left * ~tight
    left = _choose(deal, left * tight, max_given, later.sum(axis=0)) + later
    if left.any():
        left = _choose(deal, left, max_given, np.zeros(areas, np.int64))
    deal.left_over[first_few(deal.kind, 4 * left.sum(axis=1))] = True


def _choose(deal: Deal, left: Int64, max_given: Int64, later: Int64) -> Int64:
    """Remove `left` entries, shape (kinds, areas), in a few turns; returns how many were not found.

    An Item gives at most `max_given` of its kind in total, and in turn n at most n. `later`, shape
    (areas,), is the number of entries that another call will remove from each area afterwards.
    """
    kinds, group = deal.kinds, deal.kind_of * deal.work.areas + deal.area
    low, high = kinds.area_low.ravel(), kinds.area_high.ravel()
    candidates = np.flatnonzero(left.ravel()[group] > 0)
    # Where entries join an area they refill Members that gave too many: then slack does not matter.
    refilled = (deal.moves.join.sum(axis=0) > 0)[deal.work.area]
    for turn in range(TURNS):
        candidates = candidates[~deal.gone[candidates] & (left.ravel()[group[candidates]] > 0)]
        item, area, kind = deal.item[candidates], deal.area[candidates], deal.kind_of[candidates]
        may = deal.given[item] < np.minimum(max_given, turn + 1)[kind]
        pool = candidates[may & (deal.have[item, area] > low[group[candidates]])]
        if not len(pool) and turn >= max_given.max(initial=0):
            break
        item, kind, total = deal.item[pool], deal.kind_of[pool], deal.have.sum(axis=1)
        # Entries that an Item cannot keep in any plan go before all others.
        must = deal.have[item, deal.area[pool]] > high[group[pool]]
        must |= (total > kinds.placed_high[deal.kind])[item]
        first = must if must.any() else np.ones(len(pool), np.bool_)
        excess, slack = deal.to_spare()
        slack[refilled] = 0
        over = (excess + slack > 0)[deal.member[pool]]
        # A primary can wait if enough other entries will leave the area to cover all excess there.
        more = later + left.sum(axis=0) - np.maximum(0, deal.have - kinds.area_high[deal.kind]).sum(axis=0)
        more -= sums(deal.work.area, len(more), excess)
        waits = deal.leads[pool] & must & (more >= 0)[deal.area[pool]]
        stages = first & over & ~waits, first & ~deal.leads[pool], first
        stage = next((number for number, some in enumerate(stages) if some.any()), 2)
        some = stages[stage]
        pool, item, kind = pool[some], item[some], kind[some]
        # Prefer Items that gave none yet, that need no entry elsewhere, and of kinds with little choice.
        share = left.ravel() / np.maximum(1, sums(group[pool], left.size))
        choice = (64 * (1 - np.minimum(1, share))).astype(np.int64)[group[pool]]
        needs = total[item] <= kinds.placed_low[kind]
        cost = 512 * np.minimum(deal.given[item], 9) + 256 * needs + 200 * deal.leads[pool] + 2 * choice
        cell, few = group[pool], left.ravel()
        if stage == 0:
            cell, few = _shed(deal, pool, group[pool], left.ravel(), excess, slack)
        pool = pool[first_few(cell, few, deal.entry_lot[pool], cost)]
        deal.take(deal.one_each(pool), left)
    return left


def _shed(
    deal: Deal, pool: Int64, group: Int64, left: Int64, excess: Int64, slack: Int64
) -> tuple[Int64, Int64]:
    """Solve the flow of the module's docstring: Members first shed their `excess`, then their `slack`.

    Returns the cell of each entry of the pool, and how many entries of each cell go. A cell is a
    Member, a group (kind and area) and whether the Member is primary; if there are few entries,
    each is its own cell.
    """
    members, giver = np.unique(deal.member[pool], return_inverse=True)
    groups, taker = np.unique(group, return_inverse=True)
    few = len(pool) <= deal.work.tuning.shed_entries
    code = np.arange(len(pool)) if few else (giver * len(groups) + taker) * 2 + deal.leads[pool]
    _, one, cell, have = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
    net = Network("gives", "primaries", "choice", limit=deal.work.arcs)
    ends, inside = net.add_nodes(len(groups), hub=True), net.add_nodes(len(members), hub=True)
    total = int((excess + slack)[members].sum())
    net.add(net.source, net.sink, 0, total)
    for amount, gain in ((excess, 3), (slack, 1)):
        net.add(net.source, inside, 0, amount[members], gives=-gain)
    heads = ends[taker]
    if few:  # the flow can then also respect that an Item gives one entry of a group in a turn
        code = deal.item[pool] * deal.work.areas + deal.area[pool]
        _, first, gate = np.unique(code, return_index=True, return_inverse=True)
        gates = net.add_nodes(len(first))
        net.add(gates, heads[first], 0, 1)
        heads = gates[gate]
    net_arcs = net.add(inside[giver[one]], heads[one], 0, have, primaries=deal.leads[pool][one])
    # Kinds that must give most of their entries come first, because the others have more choice.
    there = sums(taker, len(groups))
    net.add(ends, net.sink, 0, left[groups], choice=64 - 64 * np.minimum(left[groups], there) // there)
    return cell, net.solve(total).units[net_arcs]
