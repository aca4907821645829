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
    left = deal.moves.leave
    max_given = -(-left.sum(axis=1) // deal.kinds.count)  # entries that one Item gives
    # Kinds with little choice come first.
    tight = (deal.scarce | deal.unfit)[:, None]
    later = left * ~tight
    left = _choose(deal, left * tight, max_given, later.sum(axis=0)) + later
    if left.any():
        left = _choose(deal, left, max_given, np.zeros(deal.work.areas, np.int64))
    deal.left_over[first_few(deal.kind, 4 * left.sum(axis=1))] = True


def _choose(deal: Deal, left: Int64, max_given: Int64, later: Int64) -> Int64:
    """Remove `left` entries, shape (kinds, areas), in a few turns; returns how many were not found.

    An Item gives at most `max_given` of its kind in total, and in turn n at most n. `later`, shape
    (areas,), is the number of entries that another call will remove from each area afterwards.
    """
    kinds, group = deal.kinds, deal.group
    low, high = kinds.area_low.ravel(), kinds.area_high.ravel()
    candidates = np.flatnonzero(left.ravel()[group] > 0)
    # Where entries join an area they refill Members that gave too many: then slack does not matter.
    refilled = (deal.moves.join.sum(axis=0) > 0)[deal.work.area]
    for turn in range(TURNS):
        candidates = candidates[~deal.gone[candidates] & (left.ravel()[group[candidates]] > 0)]
        item, may_give = deal.item[candidates], np.minimum(max_given, turn + 1)
        may = deal.given[item] < may_give[deal.kind_of[candidates]]
        pool = candidates[may & (deal.have[item, deal.area[candidates]] > low[group[candidates]])]
        if not len(pool) and turn >= max_given.max(initial=0):
            break
        item, area, member = deal.item[pool], deal.area[pool], deal.member[pool]
        # Entries that an Item cannot keep in any plan go before all others.
        must = deal.have[item, area] > high[group[pool]]
        must |= deal.have[item].sum(axis=1) > kinds.placed_high[deal.kind_of[pool]]
        first = must | ~must.any()
        excess = np.maximum(0, deal.load - deal.moves.load_high)
        slack = np.where(refilled, 0, np.maximum(0, deal.load - excess - deal.moves.load_low))
        # A primary can wait if enough other entries will leave the area to cover all excess there.
        more = later + left.sum(axis=0) - np.maximum(0, deal.have - kinds.area_high[deal.kind]).sum(axis=0)
        more -= sums(deal.work.area, len(more), excess)
        waits = deal.leads[pool] & must & (more >= 0)[area]
        sheds = pool[first & (excess + slack > 0)[member] & ~waits]
        pick = _shed(deal, sheds, may_give, left, excess, slack) if len(sheds) else sheds
        if not len(pick):
            rest = pool[first & ~deal.leads[pool]]
            rest = rest if len(rest) else pool[first]
            pick = _preferred(deal, rest, left, group[rest], left.ravel())
        deal.take(pick)
        left -= sums(group[pick], left.size).reshape(left.shape)
    return left


def _preferred(deal: Deal, pool: Int64, left: Int64, cell: Int64, count: Int64) -> Int64:
    """The first `count` entries of each cell, but at most one of each Item.

    Items that gave none yet come first, then those that need no entry elsewhere, then entries that
    are not primaries, then kinds that must give most of their entries and so have little choice.
    """
    item, group = deal.item[pool], deal.group[pool]
    share = left.ravel() / np.maximum(1, sums(group, left.size))
    choice = (64 * (1 - np.minimum(1, share))).astype(np.int64)[group]
    needs = deal.have[item].sum(axis=1) <= deal.kinds.placed_low[deal.kind_of[pool]]
    cost = 512 * np.minimum(deal.given[item], 9) + 256 * needs + 200 * deal.leads[pool] + 2 * choice
    return deal.one_each(pool[first_few(cell, count, deal.entry_lot[pool], cost)])


def _shed(deal: Deal, pool: Int64, may_give: Int64, left: Int64, excess: Int64, slack: Int64) -> Int64:
    """Entries that Members shed, by the flow of the module's docstring, with one arc for each cell.

    A cell has the entries of a Member in one group (kind and area), primaries apart. If there are few
    entries, each is its own cell, but `_shed_singly` is tried first.
    """
    few = len(pool) <= deal.work.tuning.shed_entries
    if few and len(pick := _shed_singly(deal, pool, may_give, left, excess, slack)):
        return pick
    members, giver = np.unique(deal.member[pool], return_inverse=True)
    groups, taker = np.unique(deal.group[pool], return_inverse=True)
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
    arcs = net.add(inside[giver[one]], heads[one], 0, have, primaries=deal.leads[pool][one])
    # Kinds that must give most of their entries come first, because the others have more choice.
    there, some = sums(taker, len(groups)), left.ravel()[groups]
    net.add(ends, net.sink, 0, some, choice=64 - 64 * np.minimum(some, there) // there)
    return _preferred(deal, pool, left, cell, net.solve(total).units[arcs])


def _shed_singly(deal: Deal, pool: Int64, may_give: Int64, left: Int64, excess: Int64, slack: Int64) -> Int64:
    """Entries that Members shed, by a flow in which each Item and its limit is a node.

        source ──> kind ──> Item ──> Member ──> area ──> sink

    It respects how many entries an Item may give, which `_shed` cannot. It only knows how many entries
    a kind gives and an area loses in total: if a kind gives too many in an area, the result is empty.
    """
    items, giver = np.unique(deal.item[pool], return_inverse=True)
    members, taker = np.unique(deal.member[pool], return_inverse=True)
    kinds, kind = np.unique(deal.kind[items], return_inverse=True)
    net = Network("gives", "primaries", limit=deal.work.arcs)
    ends, inside = net.add_nodes(deal.work.areas, hub=True), net.add_nodes(len(members), hub=True)
    groups, nodes = net.add_nodes(len(kinds), hub=True), net.add_nodes(len(items))
    total = int(left.sum())
    net.add(net.source, net.sink, 0, total)
    net.add(net.source, groups, 0, left[kinds].sum(axis=1))
    net.add(groups[kind], nodes, 0, (may_give[deal.kind] - deal.given)[items])
    arcs = net.add(nodes[giver], inside[taker], 0, 1, primaries=deal.leads[pool])
    for amount, gain in ((excess, 3), (slack, 1)):
        net.add(inside, ends[deal.work.area[members]], 0, amount[members], gives=-gain)
    net.add(ends, net.sink, 0, left.sum(axis=0))
    pick = pool[net.solve(total).units[arcs] > 0]
    return pick[:0] if (sums(deal.group[pick], left.size) > left.ravel()).any() else pick
