"""Choose the entries that leave: the networks say how many of each kind of Items in each zone.

Suppose that an entry leaves a zone from a Member that is not above its interval. The Member then
gets another entry instead, and some other Member that is above its interval still has to shed one:
two moves, where one would do if the entry left from that Member. So leaving entries are matched
with Members that have to shed, by a flow. It is limited to what leaves in total, of each kind and in
each zone, to one entry of an Item, and to the load that a Member has above its interval:

    source ──> gate ──> kind ──> Item ──> Member ──> zone ──> sink

When no Member has to shed any more, entries stay if the zone that they would join can do without
them; others are chosen by lot. Primaries leave last, unless Members could not shed enough without.
"""

import numpy as np

from berth.solve.arrays import first_few, numbered, sums
from berth.solve.deal import LOTS, TURNS, Deal
from berth.solve.flow import Network
from berth.solve.model import Int64


def leave(deal: Deal) -> None:
    """Remove the entries that leave; `repair` handles what kinds could not give."""
    left = deal.moves.leave
    max_given = -(-left.sum(axis=1) // deal.kinds.count)  # entries that one Item gives
    # Kinds with little choice come first: those of which many Items give one up.
    tight = ((4 * left.sum(axis=1) > deal.kinds.count) | deal.unfit)[:, None]
    left = _choose(deal, left * tight, max_given) + left * ~tight
    _choose(deal, left, max_given)


def _choose(deal: Deal, left: Int64, max_given: Int64) -> Int64:
    """Remove `left` entries, shape (kinds, areas), in a few turns; returns how many were not found.

    An Item gives at most `max_given` of its kind in total, and in turn n at most n.
    """
    kinds, group = deal.kinds, deal.group
    low, high = kinds.area_low.ravel(), kinds.area_high.ravel()
    candidates = np.flatnonzero(left.ravel()[group] > 0)
    # Entries that join an area beyond what its Members lack refill those that gave: slack does not matter.
    lacks = sums(deal.work.area, deal.work.areas, np.maximum(0, deal.moves.load_low - deal.load))
    refilled = (deal.moves.join.sum(axis=0) > lacks)[deal.work.area]
    for turn in range(TURNS):
        candidates = candidates[~deal.gone[candidates]]
        item, may_give = deal.item[candidates], np.minimum(max_given, turn + 1)
        may = deal.given[item] < may_give[deal.kind_of[candidates]]
        able = candidates[may & (deal.have.T.ravel()[deal.spot[candidates]] > low[group[candidates]])]
        pool = able[left.ravel()[group[able]] > 0]
        if not len(pool) and turn + 1 >= max_given.max(initial=0):
            break
        # Entries that an Item cannot keep in any plan go before all others.
        must = deal.have.T.ravel()[deal.spot[pool]] > high[group[pool]]
        must |= (deal.have.sum(axis=1) > kinds.placed_high[deal.kind])[deal.item[pool]]
        pool = pool[must | ~must.any()]
        excess = np.maximum(0, deal.load - deal.moves.load_high)
        slack = np.where(refilled, 0, np.maximum(0, deal.load - excess - deal.moves.load_low))
        pick = _shed(deal, pool, left, excess, slack, shift=False)
        if not (len(pick) or must.any() or excess.any()):
            pick = _shed(deal, able, left, excess, slack, shift=True)
            if not len(pick):
                _keep(deal, left)
        if not len(pick):
            some = first_few(group[pool], left.ravel(), deal.entry_lot[pool], deal.leads[pool])
            pick = deal.one_each(pool[some])
            pick = pick[first_few(deal.kind_of[pick], left.sum(axis=1))]
        deal.take(pick)
        left -= sums(group[pick], left.size).reshape(left.shape)
        if not left.sum():  # some may have left other areas than planned
            deal.loads += left.sum(axis=0)
            left[:] = 0
    return left


def _keep(deal: Deal, left: Int64) -> None:
    """Keep what no Member has to give, if as many fewer may join the kinds elsewhere."""
    kinds, rest, join = deal.kinds, left.sum(axis=1, keepdims=True), deal.moves.join
    free = np.maximum(0, join - kinds.count[:, None] * np.maximum(0, kinds.area_low - kinds.spread))
    fewer = np.diff(np.minimum(np.cumsum(free, axis=1), rest), prepend=0, axis=1)
    loads = deal.loads + left.sum(axis=0) - fewer.sum(axis=0)
    low, high = (sums(deal.work.area, len(loads), of) for of in (deal.moves.load_low, deal.moves.load_high))
    if fewer.sum() == rest.sum() and ((low <= loads) & (loads <= high)).all():
        deal.loads, left[:] = loads, 0
        join -= fewer


def _shed(deal: Deal, pool: Int64, left: Int64, excess: Int64, slack: Int64, *, shift: bool) -> Int64:
    """Entries that Members shed: excess before slack, primaries only if the others are not enough.

    With `shift`, kinds and areas may lose more than planned where others cannot lose as many.
    """
    area, needed, pick = deal.work.area, left.sum(axis=0), pool[:0]

    def most(some: Int64) -> int:
        able = np.minimum(amount, sums(deal.member[some], len(amount)))
        return int(np.minimum(needed, sums(area, len(needed), able)).sum())

    for amount in (excess, slack):
        near = pool[(amount > 0)[deal.member[pool]]]
        plain = near[~deal.leads[near]]
        # Where little is needed, few entries of each kind and on each Member are choice enough.
        use = amount * np.minimum(6, 9 * needed / np.maximum(1, sums(area, len(needed), amount)))[area]
        member, group = deal.member[plain], deal.group[plain]
        share = (use / np.maximum(1, sums(member, len(use))))[member]
        share = np.maximum(share, (4 * left.ravel() / np.maximum(1, sums(group, left.size)))[group])
        few = plain[deal.entry_lot[plain] < share * LOTS]
        for some in (few, plain)[len(few) == len(plain) :]:
            if len(pick) < most(some):
                pick = _matched(deal, some, left, amount, shift)
        if len(pick) < most(near) and 2 * len(pick) <= deal.work.tuning.shed_entries:
            both = np.union1d(pick, _matched(deal, near, left, amount, shift))
            pick = _matched(deal, both, left, amount, shift, exact=True)
        if len(pick):
            break
    return pick


def _matched(deal: Deal, pool: Int64, left: Int64, amount: Int64, shift: bool, exact: bool = False) -> Int64:
    """Entries that Members shed, at most one of each Item, by the flow of the module's docstring.

    A maximum flow is far quicker than one with costs, which `exact` needs to take the fewest primaries.
    """
    items, giver = numbered(deal.item[pool], len(deal.rows))
    members, taker = numbered(deal.member[pool], len(amount))
    net, (kinds, areas), total = Network("given", "primaries"), left.shape, int(left.sum())
    gate, groups, inside, ends = (net.add_nodes(count, hub=True) for count in (1, kinds, len(members), areas))
    nodes = net.add_nodes(len(items))
    net.add(net.source, gate, 0, total)
    net.add(gate, groups, 0, total if shift else np.maximum(0, left.sum(axis=1)))
    net.add(groups[deal.kind[items]], nodes, 0, 1)
    arcs = net.add(nodes[giver], inside[taker], 0, 1, primaries=deal.leads[pool])
    net.add(inside, ends[deal.work.area[members]], 0, amount[members], given=-1)
    net.add(ends, net.sink, 0, total if shift else np.maximum(0, left.sum(axis=0)))
    net.add(net.source, net.sink, 0, total)
    pick = pool[(net.solve(total).units if exact else net.maximum())[arcs] > 0]
    # The flow does not know what a kind loses in an area. Where it is exceeded, the rest takes no part again.
    over = sums(deal.group[pick], left.size) > left.ravel()
    if shift or not over.any():
        return pick
    kept = pick[first_few(deal.group[pick], left.ravel())]
    return _matched(deal, np.union1d(kept, pool[~over[deal.group[pool]]]), left, amount, shift, exact)
