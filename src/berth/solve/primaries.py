"""Choose which of an Item's Members is slot 0, and order the others (level `primaries-moved`)."""

import numpy as np

from berth.solve.arrays import Table, entries, first_few, ordered, rank_within, scattered, sums
from berth.solve.model import SCALE, Bool, Int32, Int64, Primaries, Problem
from berth.solve.shares import filled, held_live

ROUNDS = 64  # maximum number of times that the choice is improved
SPARE = 8  # primaries above the ideal number that a Member gives up one by one
# Costs of a path: a step, a primary that leaves its Member, and one unit of unevenness.
STEP, CHANGE, UNEVEN = 1, 1 << 20, 1 << 40


def arrange(problem: Problem, rows: Int64, members: Int32, counts: Int64) -> Int32:
    """Order the Members of the given Items by slot; slot 0 first.

    A primary stays if its Member keeps the Item (with `Primaries.ACTIVE` it may move for balance).
    For other Items, Members that are not draining are preferred to draining ones, and then Members
    that hold the Item already to those that would still have to prepare it. Among equals the choice
    balances primaries in proportion to limits. The remaining Members keep their order, and new ones
    come last. `counts`, shape (m,), is the number of primaries that each Member has of other Items.
    """
    by_key = np.argsort(problem.member_key, kind="stable")
    none, width = len(by_key), problem.held.shape[1]
    # Sort Members by their key, empty slots last, so that the order of Member rows does not matter.
    # From here on, an Item is a column, because numpy is far quicker with few long rows.
    rank = np.sort(np.append(np.argsort(by_key), none).astype(np.int32)[members], axis=1).T.copy()
    table = (row := np.append(by_key, -1).astype(np.int32))[rank]
    # The slot of each entry in the Item's `held`, or the width for a new entry.
    held = np.where(held_live(problem, rows), problem.held[rows], -2).T
    slots = np.full_like(table, width)
    for slot, holder in enumerate(held):
        slots[table == holder] = slot
    new = slots == width
    current = (table == problem.held_primary[rows]) & ~new
    sticky, placed = current.any(axis=0), table[0] >= 0
    choice = np.where(sticky, current.argmax(axis=0), -1)
    fixed = sticky & (problem.primaries != Primaries.ACTIVE)
    undecided = np.flatnonzero(placed & ~fixed)
    if len(undecided):
        counts = counts + entries(table[choice[fixed], np.flatnonzero(fixed)], none)
        undecided = undecided[ordered(problem.item_key[rows[undecided]])]
        some, now = rank.take(undecided, axis=1), current.take(undecided, axis=1)
        tier = np.append(2 * problem.draining[by_key], 9)[some] + new.take(undecided, axis=1)
        # Members are numbered by rank from here on, so that ties are broken by key.
        per = np.maximum(problem.limit[by_key].astype(np.int64), 1)
        choice[undecided] = _chosen(some, tier == tier.min(axis=0), now, counts[by_key], per)
    chosen = np.flatnonzero(choice >= 0)
    slots[choice[chosen], chosen] = -1
    # Sort slots and Members as one number: what remains of it is the rank.
    return np.asarray(row[np.sort((slots * (none + 1) + rank).T, axis=1) % (none + 1)])


def _chosen(members: Table, allowed: Bool, current: Bool, counts: Int64, per: Int64) -> Int64:
    """The slot of each Item's primary: primaries as even as possible for the limits, then fewest changes.

    Arrays of shape (v, Items) say which Members hold an Item, which of them may be its primary
    (`allowed`), and which is now (`current`). `counts` and `per`, with a value for each Member, are its
    primaries of other Items and its limit.
    """
    single = np.count_nonzero(allowed, axis=0) == 1
    one, rest = np.flatnonzero(single), np.flatnonzero(~single)
    slot = allowed.argmax(axis=0)
    counts = counts + entries(members[slot[one], one], len(per))
    table = np.where(allowed, members, len(per)).take(rest, axis=1).astype(np.int64)
    start = _start(table, (current & allowed).take(rest, axis=1), counts, per)
    slot[rest] = _improved(table, *start, counts, per)
    return np.asarray(slot)


def _start(table: Int64, now: Bool, counts: Int64, per: Int64) -> tuple[Int64, Int64]:
    """A nearly even choice, and what it costs (shape of `table`) to choose another Member than now.

    Primaries stay, unless their Member has far too many: along paths it would give them up one by one.
    """
    height, size = table.shape
    column, rows = np.where(now.any(axis=0), now.argmax(axis=0), -1), np.arange(size)
    if now.any():
        leader = np.where(column < 0, -1, table[column, rows])
        order = np.argsort(leader, kind="stable")
        keeps = SPARE - counts + filled(counts, counts + size, per, int(counts.sum()) + size)
        column[order[rank_within(leader[order]) >= keeps[leader[order]]]] = -1
    away, rest = CHANGE * ((column >= 0) & ~now), np.flatnonzero(column < 0)
    # Part by part, each Item goes where the load is lowest if those after it are shared by their Members.
    load, weight = np.append(counts, 0.0), np.append(1 / per, np.inf)
    load += sums(table[column, rows][column >= 0], len(load))
    load += sums(table[:, rest].ravel(), len(load)) / height
    while len(rest):
        count = max(32, len(rest) // 16)
        some, rest = rest[:count], rest[count:]
        part = table.take(some, axis=1)
        load -= np.bincount(part.ravel(), minlength=len(load)) / height
        column[some] = pick = ((load + 1) * weight)[part].argmin(axis=0)
        load += np.bincount(part[pick, np.arange(len(some))], minlength=len(load))
    return column, away


def _improved(table: Int64, column: Int64, away: Int64, counts: Int64, per: Int64) -> Int64:
    """The choice improved along paths: each Member on a path passes one primary to the next.

    Paths lead to where another primary costs least, with few changes. If no path pays, no choice is
    better: along shortest paths, no cycle that would save changes ever comes into being.
    """
    size, rows = len(per), np.arange(table.shape[1])
    everyone, once = np.arange(size), np.ones(size, np.int64)
    for _ in range(ROUNDS):
        leader = table[column, rows]
        have, own = counts + sums(leader, size), away[column, rows] - STEP
        last, more = (UNEVEN * (SCALE * units // per) for units in (have, have + 1))
        reach = np.append(more, 1 << 62)  # the cost of the best path from each Member
        for _ in range(size):  # Bellman-Ford
            best = (reach.take(table) + away).min(axis=0) - own
            nearer = np.flatnonzero(best < reach[leader])
            if not len(nearer):
                break
            np.minimum.at(reach, leader[nearer], best[nearer])
        gain = last - reach[:size]
        source = np.flatnonzero(gain > 0)
        if not len(source):
            break
        # The Item that each Member passes on, where to, and the last Member before the end of its path.
        passes = np.flatnonzero(best <= reach[leader])
        via = scattered(size, leader[passes], passes)
        hop = (reach[table[:, via]] + away[:, via]).argmin(axis=0)
        to = np.where(via < 0, everyone, table[hop, via])
        branch = np.where(via[to] < 0, everyone, to)
        for _ in range(size.bit_length()):
            branch = branch[branch]
        # Paths with different last Members have only their ends in common, which take all that pay.
        source = source[first_few(branch[source], once, -gain[source])]
        source = source[np.lexsort((-gain[source], to[branch[source]]))]
        end = to[branch[source]]
        later = UNEVEN * (SCALE * (have[end] + 1 + rank_within(end)) // per[end]) - more[end]
        at = source[gain[source] > later]
        while len(at):  # costs fall along a path, so it ends
            column[via[at]] = hop[at]
            at = (after := to[at])[via[after] >= 0]
    return column
