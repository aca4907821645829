"""Which entries leave: of each kind of Items as many in each zone as the networks say.

An entry costs one move if it leaves from a Member that has to shed one anyway, and two if that
Member has to shed another one besides. So what Members must shed is counted by a small flow,

    source ──> Member ──> kind in a zone ──> sink
       what it has above     what has to
       its interval          leave there

and the rest is chosen by lot. Primaries go last, except where Members could not shed enough then.
"""

import numpy as np

from berth.solve.arrays import first_few, sums
from berth.solve.deal import TURNS, Deal
from berth.solve.flow import Network
from berth.solve.model import Int64


def leave(deal: Deal) -> None:
    """Take away what leaves; Items of kinds of which not enough could leave become `left_over`."""
    left, areas = deal.moves.leave.copy(), deal.work.areas
    size, total = np.maximum(1, deal.kinds.count), left.sum(axis=1)
    most = -(-total // size)  # entries that one Item gives
    # Kinds with little choice go first.
    tight = (deal.scarce | deal.unfit)[:, None]
    later = left * ~tight
    left = _choose(deal, left * tight, most, later.sum(axis=0)) + later
    if left.any():
        left = _choose(deal, left, most, np.zeros(areas, np.int64))
    deal.left_over[first_few(deal.kind, 4 * left.sum(axis=1))] = True


def _choose(deal: Deal, left: Int64, most: Int64, later: Int64) -> Int64:
    """Take away `left` entries, shape (kinds, areas), in a few turns; returns what could not be found.

    An Item gives at most `most` of its kind in all, one more in each turn. `later`, shape (areas,),
    says how many more will leave each area afterwards.
    """
    kinds, group = deal.kinds, deal.kind_of * deal.work.areas + deal.area
    low, high = kinds.area_low.ravel(), kinds.area_high.ravel()
    candidates = np.flatnonzero(left.ravel()[group] > 0)
    for turn in range(TURNS):
        candidates = candidates[~deal.gone[candidates] & (left.ravel()[group[candidates]] > 0)]
        item, area, kind = deal.item[candidates], deal.area[candidates], deal.kind_of[candidates]
        may = deal.given[item] < np.minimum(most, turn + 1)[kind]
        pool = candidates[may & (deal.have[item, area] > low[group[candidates]])]
        if not len(pool) and turn >= most.max(initial=0):
            break
        item, kind, total = deal.item[pool], deal.kind_of[pool], deal.have.sum(axis=1)
        # What Items must give goes before anything else.
        must = deal.have[item, deal.area[pool]] > high[group[pool]]
        must |= (total > kinds.placed_high[deal.kind])[item]
        first = must if must.any() else np.ones(len(pool), np.bool_)
        surely, maybe = deal.to_spare()
        # Where entries come what a Member gives below its interval is made up for at no cost.
        maybe[deal.moves.join.sum(axis=0)[deal.work.area] > 0] = 0
        over = (surely + maybe > 0)[deal.member[pool]]
        # A primary can wait where enough others will leave the area for its Members to shed all.
        more = later + left.sum(axis=0) - np.maximum(0, deal.have - kinds.area_high[deal.kind]).sum(axis=0)
        more -= sums(deal.work.area, len(more), surely)
        waits = deal.leads[pool] & must & (more >= 0)[deal.area[pool]]
        stages = first & over & ~waits, first & ~deal.leads[pool], first
        stage = next((number for number, some in enumerate(stages) if some.any()), 2)
        some = stages[stage]
        pool, item, kind = pool[some], item[some], kind[some]
        # Rather from Items that gave none, that need no entry elsewhere, and of kinds with little choice.
        share = left.ravel() / np.maximum(1, sums(group[pool], left.size))
        choice = (64 * (1 - np.minimum(1, share))).astype(np.int64)[group[pool]]
        needs = total[item] <= kinds.placed_low[kind]
        cost = 512 * np.minimum(deal.given[item], 9) + 256 * needs + 200 * deal.leads[pool] + 2 * choice
        cell, few = group[pool], left.ravel()
        if stage == 0:
            cell, few = _shed(deal, pool, group[pool], left.ravel(), surely, maybe)
        pool = pool[first_few(cell, few, deal.entry_lot[pool], cost)]
        deal.take(deal.one_each(pool), left)
    return left


def _shed(
    deal: Deal, pool: Int64, group: Int64, left: Int64, surely: Int64, maybe: Int64
) -> tuple[Int64, Int64]:
    """How many entries of the pool go: as many as Members `surely` have to shed, then as they `maybe` do.

    Returns the cell of each entry (its Member, its group, and whether the primary is there; where
    there are few entries, each is a cell), and how many of each cell go.
    """
    members, giver = np.unique(deal.member[pool], return_inverse=True)
    groups, taker = np.unique(group, return_inverse=True)
    few = len(pool) <= deal.work.tuning.shed_entries
    code = np.arange(len(pool)) if few else (giver * len(groups) + taker) * 2 + deal.leads[pool]
    _, one, cell, have = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
    net = Network("gives", "primaries", "choice", limit=deal.work.arcs)
    ends, inside = net.add_nodes(len(groups), hub=True), net.add_nodes(len(members), hub=True)
    total = int((surely + maybe)[members].sum())
    net.add(net.source, net.sink, 0, total)
    for amount, gain in ((surely, 3), (maybe, 1)):
        net.add(net.source, inside, 0, amount[members], gives=-gain)
    heads = ends[taker]
    if few:  # then the flow also sees that an Item gives one entry of a group in a turn
        code = deal.item[pool] * deal.work.areas + deal.area[pool]
        _, first, gate = np.unique(code, return_index=True, return_inverse=True)
        gates = net.add_nodes(len(first))
        net.add(gates, heads[first], 0, 1)
        heads = gates[gate]
    net_arcs = net.add(inside[giver[one]], heads[one], 0, have, primaries=deal.leads[pool][one])
    # Kinds of which most of what there is has to go come first: the others have more choice.
    there = sums(taker, len(groups))
    net.add(ends, net.sink, 0, left[groups], choice=64 - 64 * np.minimum(left[groups], there) // there)
    return cell, net.solve(total).units[net_arcs]
