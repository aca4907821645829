"""Repair a deal: solve the Items that do not fit again, exactly, together with some others.

    source ──> Item ──> Item in zone a ──> (merged zone) ──> Member ──> sink

Each Item is a node of the network, but it has only a few Members to choose from: its holders, those
it was dealt, and some drawn by lot. So the network stays small, and finds the best of these choices.
"""

import numpy as np

from berth.solve.arrays import entries, rank_within, widened
from berth.solve.deal import Deal
from berth.solve.flow import Network
from berth.solve.model import Bool, Int64

TURNS = 5  # maximum number of networks, each with more Items than the one before
CHOICES = 8  # Members drawn by lot for each Item; none where only moves can be saved and time is short


def repair(deal: Deal, moves: int) -> None:
    """Solve Items again until all fit, or until the turns are used up; `moves` is the bound on moves."""
    polish, most = False, len(deal.work.at) // 25 if deal.work.wide else deal.work.tuning.quick_moves // 5
    for turn in range(TURNS):
        bad = deal.misfits()
        if bad.any() or not deal.loads_fit():
            some = _sample(deal, bad, deal.work.tuning.repair_items << turn, turn)
        else:
            some, count = deal.moved()
            if polish or count <= moves or len(some) > most:
                break
            polish = True  # one network may be spent only on saving moves
        _solve_again(deal, some, turn, 0 if polish and deal.work.quick else CHOICES)


def _sample(deal: Deal, bad: Bool, size: int, turn: int) -> Int64:
    """Bad Items, some that moved, some of kinds that lose entries, and some more by lot."""
    lot, loses = np.random.default_rng(11 + turn), deal.moves.leave.sum(axis=1)[deal.kind]
    pools = np.flatnonzero(deal.given), np.flatnonzero(loses), len(deal.rows)
    some = [lot.permutation(pool)[:size] for pool in pools]
    return np.unique(np.concatenate([np.flatnonzero(bad)[:size], *some]))


def _solve_again(deal: Deal, some: Int64, turn: int, choices: int) -> None:
    """Solve the network of these Items (rows of `at`), and write the result into the deal."""
    work, kinds, found, kind = deal.work, deal.kinds, deal.work.intervals, deal.kind[some]
    was, now = work.state.at[deal.rows[some]].astype(np.int64), deal.at[some]
    fixed = deal.load - entries(now, len(deal.load))
    item, member = _choices(deal, kind, [was, now], fixed, turn, choices)
    net = Network("misfits", "moves", "draining-age", "primaries-moved", limit=work.arcs)
    ends, items = net.add_nodes(len(fixed), hub=True), net.add_nodes(len(some))
    total = int(kinds.placed_high[kind].sum())
    # Place the exact total: with every Item in its interval, one replica may still be missing.
    net.add(net.source, net.sink, 0, np.clip(total + int(fixed.sum()) - found.placed, 0, total))
    net.add(net.source, net.sink, 0, total, misfits=1)
    net.add_preferred(net.source, items, kinds.placed_low[kind], kinds.placed_high[kind], "misfits")
    pairs, pair = np.unique(item * work.areas + work.area[member], return_inverse=True)
    inside, (owner, where) = net.add_nodes(len(pairs)), np.divmod(pairs, work.areas)
    low, high = kinds.area_low[kind[owner], where], kinds.area_high[kind[owner], where]
    net.add_preferred(items[owner], inside, low, high, "misfits")
    gate = inside[pair]
    shared = work.cell[member] >= len(work.area)  # Members of merged zones: at most one entry in a zone
    code = item[shared] * (1 << 24) + work.cell[member[shared]]
    cells, first, cell = np.unique(code, return_index=True, return_inverse=True)
    gates = net.add_nodes(len(cells))
    net.add(gate[shared][first], gates, 0, 1)
    gate[shared] = gates[cell]
    held, lead = (was[item] == member[:, None]).any(axis=1), work.state.lead[deal.rows[some]][item] == member
    chosen = net.add(gate, ends[member], 0, 1, moves=~held, primaries_moved=-1 * lead)
    high = np.maximum(0, found.load_high - fixed)
    low = np.clip(found.load_low - fixed, 0, high)
    net.add_preferred(ends, net.sink, low, high, "misfits", draining_age=work.members.age_rank)
    taken = np.flatnonzero(net.solve(total).units[chosen] > 0)  # sorted by Item, like the choices
    column = rank_within(item[taken])
    deal.at = widened(deal.at, int(column.max(initial=-1)) + 1)
    deal.at[some], deal.changed[some] = -1, True
    deal.at[some[item[taken]], column] = member[taken]
    deal.load = fixed + entries(member[taken], len(fixed))


def _choices(deal: Deal, kind: Int64, parts: list[Int64], fixed: Int64, turn: int, lots: int) -> Int64:
    """Sorted pairs, a row of Items and one of Members: holders now, in the deal, and some drawn by lot."""
    work, found, lot = deal.work, deal.work.intervals, np.random.default_rng(23 + turn)
    for some, count in ((found.load_high > fixed, lots), (deal.load < found.load_low, 3)):
        there = np.flatnonzero(some)
        if len(there):
            parts.append(there[lot.integers(0, len(there), (len(kind), count))])
    table = np.concatenate(parts, axis=1)
    item, column = np.nonzero(table >= 0)
    member = table[item, column]
    valid = (deal.kinds.area_high[kind[item], work.area[member]] > 0) & (found.load_high[member] > 0)
    return np.stack(np.divmod(np.unique(item[valid] * len(fixed) + member[valid]), len(fixed)))
