"""Which of an Item's Members is slot 0, and the order of the others (level 10 of the objective)."""

from __future__ import annotations

import numpy as np

from berth.solve.arrays import rank_within
from berth.solve.flow import Network
from berth.solve.model import SCALE, Bool, Int32, Int64, Primaries, Problem
from berth.solve.shares import held_live
from berth.solve.tuning import Tuning

SPREADS = 12
"""Flows over Members at most."""
STEPS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 512)
"""Primaries above and below a Member's count at which the cost of one more is looked at."""


def arrange(problem: Problem, rows: Int64, members: Int32, counts: Int64, tuning: Tuning) -> Int32:
    """Order the Members of the given Items by slot; slot 0 first.

    A primary stays where its Member stays (with `Primaries.ACTIVE` it may move for balance).
    Where one must be chosen, a Member that holds the Item already goes before one that would
    still have to prepare it, and one that does not drain before either; among those the choice
    balances primaries in proportion to limits. The others that stay keep their order, new ones
    come last. `counts`, shape (m,), says how many primaries each Member has among other Items.
    """
    if not len(rows) or not len(problem.limit):
        return members
    by_key = np.argsort(problem.member_key, kind="stable")
    ranks = np.argsort(by_key)
    # Columns in the order of keys, empty ones last: rows of Members must not matter.
    rank = np.where(members >= 0, ranks[members], len(ranks))
    columns = np.argsort(rank, axis=1)
    members, rank = np.take_along_axis(members, columns, axis=1), np.take_along_axis(rank, columns, axis=1)
    slots = _slots_held(problem, rows, members)
    width = problem.held.shape[1]
    new = slots == width
    primary = problem.held_primary[rows][:, None]
    current = (members == primary) & (primary >= 0) & ~new
    sticky = current.any(axis=1)
    choice = np.where(sticky, current.argmax(axis=1), -1)
    placed = members[:, 0] >= 0
    active = problem.primaries == Primaries.ACTIVE
    undecided = np.flatnonzero(placed if active else placed & ~sticky)
    if len(undecided):
        if not active:
            decided = np.flatnonzero(sticky)
            counts = counts + np.bincount(members[decided, choice[decided]], minlength=len(counts))
        undecided = undecided[np.argsort(problem.item_key[rows[undecided]], kind="stable")]
        some = members[undecided]
        tier = np.where(some < 0, 9, 2 * problem.draining[some] + new[undecided])
        allowed = tier == tier.min(axis=1, keepdims=True)
        # By rank from here on: what is alike is told apart by keys.
        some = np.where(some < 0, -1, rank[undecided]).astype(np.int32)
        limit, counts = problem.limit[by_key], counts[by_key]
        choice[undecided] = _choose(limit, some, allowed, current[undecided], counts, tuning)
    order = np.where(members < 0, width + 2, slots) * np.int64(len(ranks) + 1) + rank
    chosen = np.flatnonzero(choice >= 0)
    order[chosen, choice[chosen]] = -1
    return np.take_along_axis(members, np.argsort(order, axis=1), axis=1)


def _slots_held(problem: Problem, rows: Int64, members: Int32) -> Int32:
    """Shape of `members`: the place of each in the Item's `held`, or its width for a new entry."""
    width = problem.held.shape[1]
    slots = np.full(members.shape, width, dtype=np.int32)
    live = held_live(problem, rows)
    for column in range(width):
        here = problem.held[rows, column][:, None]
        slots[(members == here) & live[:, column : column + 1]] = column
    return slots


def _choose(
    limit: Int32, members: Int32, allowed: Bool, current: Bool, counts: Int64, tuning: Tuning
) -> Int64:
    """The column of each row's primary: the most even primaries for the limits, then fewest changes."""
    single = allowed.sum(axis=1) == 1
    column = np.where(single, allowed.argmax(axis=1), -1).astype(np.int64)
    counts = counts + np.bincount(members[single, column[single]], minlength=len(counts))
    rest = np.flatnonzero(~single)
    some, may, now = members[rest], allowed[rest], current[rest] & allowed[rest]
    if int(may.sum()) <= tuning.primary_choices:
        column[rest] = _one_by_one(limit, some, may, now, counts)
        return column
    turn = np.arange(len(rest)) % may.sum(axis=1)
    start = (np.cumsum(may, axis=1) > turn[:, None]).argmax(axis=1)
    start = np.where(now.any(axis=1), now.argmax(axis=1), start)
    for _ in range(SPREADS):
        better = _spread(limit, some, may, start, counts, tuning)
        if (better == start).all():
            break
        start = better
    column[rest] = start
    return column


def _one_by_one(limit: Int32, members: Int32, allowed: Bool, current: Bool, counts: Int64) -> Int64:
    """A network with every Item and every Member that it may be led by."""
    item, column = np.nonzero(allowed)
    used, member = np.unique(members[item, column], return_inverse=True)
    net = Network("even", "changes")
    source, sink = net.add_ends()
    ends, items = net.add_nodes(len(used), hub=True), net.add_nodes(len(members))
    net.add(source, items, 0, 1)
    arcs = net.add(items[item], ends[member], 0, 1, changes=~current[item, column])
    owner = np.sort(member)
    nth = counts[used][owner] + rank_within(owner) + 1
    net.add(ends[owner], sink, 0, 1, even=SCALE * nth // np.maximum(limit[used][owner], 1))
    taken = net.solve({source: len(members), sink: -len(members)}).units[arcs] > 0
    out = np.zeros(len(members), np.int64)
    out[item[taken]] = column[taken]
    return out


def _spread(
    limit: Int32, members: Int32, allowed: Bool, column: Int64, counts: Int64, tuning: Tuning
) -> Int64:
    """One flow over Members: an arc a -> b carries Items that a leads and b may lead.

    A row may stand on several arcs, so what the flow says is carried out as far as it goes, and
    the next flow begins there.
    """
    leader = members[np.arange(len(members)), column].astype(np.int64)
    mine, per = np.bincount(leader, minlength=len(counts)), np.maximum(limit, 1).astype(np.int64)
    other = allowed.copy()
    other[np.arange(len(members)), column] = False
    item, place = np.nonzero(other)
    code = leader[item] * len(counts) + members[item, place]
    order = np.argsort(code, kind="stable")
    item, place = item[order], place[order]
    pairs, first, size = np.unique(code[order], return_index=True, return_counts=True)
    giver, taker = np.divmod(pairs, len(counts))
    have = counts + mine
    gain = SCALE * have[giver] // per[giver] - SCALE * (have[taker] + 1) // per[taker]
    if gain.max(initial=0) <= 0:
        return column
    if len(pairs) > tuning.primary_arcs:  # too many for one flow: those that help most at once
        use = np.sort(np.argsort(-gain, kind="stable")[: tuning.primary_arcs])
        giver, taker, size, first = giver[use], taker[use], size[use], first[use]
    used, node = np.unique(np.concatenate([giver, taker]), return_inverse=True)
    net = Network("even", "changes")
    source, sink = net.add_ends()
    nodes = net.add_nodes(len(used), hub=True)
    mine, before, per = mine[used], counts[used], per[used]
    net.add(source, nodes, 0, mine)
    arcs = net.add(nodes[node[: len(giver)]], nodes[node[len(giver) :]], 0, size, changes=1)
    # Units by what they cost: one by one near the present count, in bundles at their dearest farther out.
    edge = np.maximum(
        0, mine[:, None] + np.array([-(2**30), *(-step for step in STEPS[:0:-1]), *STEPS, 2**30])
    )
    even = SCALE * (before[:, None] + np.minimum(edge[:, 1:], mine.sum())) // per[:, None]
    net.add(nodes[:, None], sink, 0, np.diff(edge, axis=1), even=even)
    total = int(mine.sum())
    flow = net.solve({source: total, sink: -total}).units[arcs]
    some = np.repeat(np.arange(len(flow)), np.minimum(flow, size))
    picks = first[some] + rank_within(some)
    picks = picks[np.unique(item[picks], return_index=True)[1]]
    out = column.copy()
    out[item[picks]] = place[picks]
    return out
