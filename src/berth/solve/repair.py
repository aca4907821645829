"""The net below the dealing: Items that do not fit yet, and some others, decided anew and exactly.

    source ──> Item ──> Item in zone a ──> (merged zone) ──> Member ──> sink

The network has the Items apart, but only a few Members for each: those that hold it, those that it
was dealt, and some drawn by lot. So it is small, and what it finds is the best among these.
"""

from __future__ import annotations

import numpy as np

from berth.solve.deal import Deal
from berth.solve.flow import Network
from berth.solve.model import Int64
from berth.solve.state import names_one

LEVELS = ("amiss", "moves", "draining-age", "primaries-moved")
TURNS = 4
"""Networks, each of more Items than the one before."""
POLISH = 2
"""Networks only to make some moves unnecessary."""
CHOICES = 8
"""Members drawn by lot for each Item."""


def repair(deal: Deal, moves: int) -> None:
    """Decide the Items that do not fit, and others, until all fit with so few moves or the turns are spent.

    `moves` is the bound; with more than that some entries have moved for nothing, and the Items
    that moved are decided anew.
    """
    size, polished = deal.work.tuning.repair_items, 0
    for turn in range(TURNS):
        bad = deal.misfits()
        if not bad.any() and deal.loads_fit():
            if polished == POLISH or deal.moved() <= moves:
                return
            polished += 1
            some = deal.work.tuning.polish_items
        else:
            some = size << turn
        if not _decide(deal, bad | deal.left_over, some, turn):
            return


def _decide(deal: Deal, bad: np.ndarray, size: int, turn: int) -> bool:
    """Solve the network of the bad Items and others; False where there is nobody to decide about."""
    work, kinds, found = deal.work, deal.kinds, deal.work.intervals
    some = _sample(deal, bad, size, turn)
    if not len(some):
        return False
    kind = deal.kind[some]
    was, now = work.state.at[deal.rows[some]].astype(np.int64), deal.at[some]
    fixed = deal.load - np.bincount(now[now >= 0], minlength=len(deal.load))
    item, member = _choices(deal, some, was, now, fixed, turn)
    area = work.area[member]
    held = (was[item] == member[:, None]).any(axis=1)
    lead = work.state.lead[deal.rows[some]][item] == member

    net = Network(*LEVELS, limit=work.arcs)
    source, sink = (int(net.add_nodes(1, hub=True)[0]) for _ in range(2))
    ends = net.add_nodes(len(fixed), hub=True)
    items = net.add_nodes(len(some))
    low, high = kinds.placed_low[kind], kinds.placed_high[kind]
    total = int(high.sum())
    spare = max(0, total + int(fixed.sum()) - found.placed)
    net.add(source, sink, 0, min(spare, total))
    net.add(source, sink, 0, total, amiss=1)
    net.add(source, items, 0, low, amiss=-1)
    net.add(source, items, 0, high - low)
    pairs, pair = np.unique(item * work.areas + area, return_inverse=True)
    inside = net.add_nodes(len(pairs))
    owner, where = pairs // work.areas, pairs % work.areas
    low, high = kinds.area_low[kind[owner], where], kinds.area_high[kind[owner], where]
    net.add(items[owner], inside, 0, low, amiss=-1)
    net.add(items[owner], inside, 0, high - low)
    gate = inside[pair]
    shared = work.cell[member] >= len(work.area)
    if shared.any():
        cells, cell = np.unique(item[shared] * (1 << 24) + work.cell[member[shared]], return_inverse=True)
        first = np.full(len(cells), -1)
        first[cell] = gate[shared]
        gates = net.add_nodes(len(cells))
        net.add(first, gates, 0, 1)
        gate = gate.copy()
        gate[shared] = gates[cell]
    chosen = net.add(gate, ends[member], 0, 1, moves=~held, primaries_moved=-1 * lead)
    least = np.maximum(0, found.load_low - fixed)
    most = np.maximum(0, found.load_high - fixed)
    rank = work.members.age_rank
    net.add(ends, sink, 0, np.minimum(least, most), amiss=-1, draining_age=rank)
    net.add(ends, sink, 0, most - np.minimum(least, most), draining_age=rank)
    flow = net.solve({source: total, sink: -total})

    taken = np.flatnonzero(flow.units[chosen] > 0)
    after = np.full((len(some), deal.at.shape[1]), -1)
    order = np.argsort(item[taken], kind="stable")
    who = item[taken][order]
    rank_in = np.arange(len(who)) - np.searchsorted(who, who)
    if len(rank_in) and int(rank_in.max()) >= after.shape[1]:
        more = int(rank_in.max()) + 1 - after.shape[1]
        after = np.concatenate([after, np.full((len(after), more), -1)], axis=1)
        deal.at = np.concatenate([deal.at, np.full((len(deal.at), more), -1)], axis=1)
    after[who, rank_in] = member[taken][order]
    deal.at[some] = after
    deal.load = fixed + np.bincount(after[after >= 0], minlength=len(fixed))
    deal.left_over[some] = False
    return True


def _sample(deal: Deal, bad: np.ndarray, size: int, turn: int) -> Int64:
    """The bad Items, some on Members that are astray, and some more by lot."""
    found = deal.work.intervals
    chosen = np.flatnonzero(bad)[:size]
    over = np.append(deal.load > found.load_high, False)
    near = np.flatnonzero(names_one(over, deal.at))[: size // 2] if over.any() else chosen[:0]
    moved = np.flatnonzero(deal.given > 0)
    scarce = np.flatnonzero(deal.scarce[deal.kind])
    lot = np.random.default_rng(11 + turn)
    more = [moved, scarce, np.arange(len(deal.rows))]
    drawn = [part[lot.permutation(len(part))[:size]] for part in more]
    return np.unique(np.concatenate([chosen, near, *drawn]))


def _choices(
    deal: Deal, some: Int64, was: Int64, now: Int64, fixed: Int64, turn: int
) -> tuple[Int64, Int64]:
    """(Item, Member) pairs: who holds it, who was dealt it, and Members with room by lot."""
    work, found, kinds = deal.work, deal.work.intervals, deal.kinds
    room = np.flatnonzero(found.load_high > fixed)
    parts = [was, now]
    if len(room):
        lot = np.random.default_rng(23 + turn)
        parts.append(room[lot.integers(0, len(room), (len(some), CHOICES))])
        short = np.flatnonzero((deal.load < found.load_low) & (found.load_high > 0))
        if len(short):
            parts.append(short[lot.integers(0, len(short), (len(some), 3))])
    table = np.concatenate(parts, axis=1)
    item, column = np.nonzero(table >= 0)
    member = table[item, column]
    fine = (kinds.area_high[deal.kind[some][item], work.area[member]] > 0) & (found.load_high[member] > 0)
    code = np.unique(item[fine] * len(fixed) + member[fine])
    return code // len(fixed), code % len(fixed)
