"""Which of an Item's Members is slot 0, and the order of the others (level 10 of the objective)."""

from __future__ import annotations

import numpy as np

from berth.solve.arrays import ranks_within
from berth.solve.flow import Network
from berth.solve.model import SCALE, Bool, Int32, Int64, Primaries, Problem
from berth.solve.shares import held_live
from berth.solve.tuning import Tuning

ROUNDS = 40
"""Turns of the auction."""
SPREADS = 6
"""Flows over Members after it."""
NEAR = 6
"""Primaries above and below a Member's count that have arcs of their own in such a flow."""


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
    ranks = np.empty(len(problem.member_key), np.int64)
    ranks[np.argsort(problem.member_key, kind="stable")] = np.arange(len(ranks))
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
        choice[undecided] = _choose(problem.limit, some, allowed, current[undecided], counts, tuning)
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
    if not len(rest):
        return column
    some, may, now = members[rest], allowed[rest], current[rest] & allowed[rest]
    if int(may.sum()) <= tuning.primary_choices:
        column[rest] = _one_by_one(limit, some, may, now, counts)
        return column
    started = _start(some, may, now, counts, limit)
    for _ in range(SPREADS):
        better = _spread(limit, some, may, started, counts, tuning)
        if (better == started).all():
            break
        started = better
    column[rest] = started
    return column


def _one_by_one(limit: Int32, members: Int32, allowed: Bool, current: Bool, counts: Int64) -> Int64:
    """A network with every Item and every Member that it may be led by."""
    item, column = np.nonzero(allowed)
    used, member = np.unique(members[item, column], return_inverse=True)
    net = Network("even", "changes")
    source, sink = (int(net.add_nodes(1, hub=True)[0]) for _ in range(2))
    ends, items = net.add_nodes(len(used), hub=True), net.add_nodes(len(members))
    net.add(source, items, 0, 1)
    arcs = net.add(items[item], ends[member], 0, 1, changes=~current[item, column])
    owner = np.sort(member)
    nth = counts[used][owner] + ranks_within(owner) + 1
    net.add(ends[owner], sink, 0, 1, even=SCALE * nth // np.maximum(limit[used][owner], 1))
    taken = net.solve({source: len(members), sink: -len(members)}).units[arcs] > 0
    out = np.zeros(len(members), np.int64)
    out[item[taken]] = column[taken]
    return out


def _start(members: Int32, allowed: Bool, current: Bool, counts: Int64, limit: Int32) -> Int64:
    """An auction: begin with any choice, then shift primaries from full to empty Members."""
    items = np.arange(len(members))
    turn = items % allowed.sum(axis=1)
    column = (np.cumsum(allowed, axis=1) > turn[:, None]).argmax(axis=1)
    column = np.where(current.any(axis=1), current.argmax(axis=1), column)
    if current.any():
        return np.asarray(column, np.int64)  # fewest changes matter: `_spread` begins with what is
    per = np.maximum(limit, 1).astype(np.float64)
    safe = np.where(allowed, members, 0)
    target = per / per[np.unique(members[allowed])].sum() * (counts.sum() + len(items))
    for _ in range(ROUNDS):
        have = counts + np.bincount(members[items, column], minlength=len(counts))
        price = np.where(allowed, ((have + 1) / per)[safe], np.inf)
        price[items, column] = np.inf
        best = price.argmin(axis=1)
        gain = (have / per)[members[items, column]] - price[items, best]
        movers = np.flatnonzero(gain > 1e-12)
        if not len(movers):
            break
        give = np.maximum(have - target, 1.0)[members[movers, column[movers]]]
        movers = movers[_rank(members[movers, column[movers]], gain[movers]) < give]
        take = np.maximum(target - have, 1.0)[members[movers, best[movers]]]
        movers = movers[_rank(members[movers, best[movers]], gain[movers]) < take]
        column[movers] = best[movers]
    return np.asarray(column, np.int64)


def _rank(owner: Int32, gain: np.ndarray) -> Int64:
    """The place of each among those of the same owner, largest gain first."""
    order = np.lexsort((-gain, owner))
    rank = np.empty(len(owner), np.int64)
    rank[order] = ranks_within(owner[order].astype(np.int64))
    return rank


def _spread(
    limit: Int32, members: Int32, allowed: Bool, column: Int64, counts: Int64, tuning: Tuning
) -> Int64:
    """One flow over Members: an arc a -> b carries Items that a leads and b may lead.

    A row may stand on several arcs, so what the flow says is carried out as far as it goes, and
    the next flow begins there.
    """
    items = np.arange(len(members))
    leader = members[items, column]
    count = np.bincount(leader, minlength=len(counts)).astype(np.int64)
    other = allowed.copy()
    other[items, column] = False
    item, place = np.nonzero(other)
    code = leader[item].astype(np.int64) * len(counts) + members[item, place]
    order = np.argsort(code, kind="stable")
    item, place, code = item[order], place[order], code[order]
    pairs, first, size = np.unique(code, return_index=True, return_counts=True)
    giver, taker = pairs // len(counts), pairs % len(counts)
    per = np.maximum(limit, 1).astype(np.int64)
    have = counts + count
    useful = SCALE * have[giver] // per[giver] > SCALE * (have[taker] + 1) // per[taker]
    if not useful.any():
        return column
    use = np.ones(len(pairs), np.bool_)
    if len(pairs) > tuning.primary_arcs:  # too many for one flow: those that help at once
        use = useful
        use[np.flatnonzero(use)[tuning.primary_arcs :]] = False
    giver, taker, size, first = giver[use], taker[use], size[use], first[use]
    used, node = np.unique(np.concatenate([giver, taker]), return_inverse=True)
    net = Network("even", "changes")
    source, sink = (int(net.add_nodes(1, hub=True)[0]) for _ in range(2))
    nodes = net.add_nodes(len(used), hub=True)
    net.add(source, nodes, 0, count[used])
    arcs = net.add(nodes[node[: len(giver)]], nodes[node[len(giver) :]], 0, size, changes=1)
    mine, before = count[used], counts[used]
    low = np.maximum(0, mine - NEAR)
    net.add(nodes, sink, 0, low, even=SCALE * (before + low) // per[used])
    nth = low[:, None] + np.arange(1, 2 * NEAR + 1)
    net.add(nodes[:, None], sink, 0, 1, even=SCALE * (before[:, None] + nth) // per[used][:, None])
    net.add(nodes, sink, 0, len(items), even=SCALE * (before + low + 2 * NEAR + 1) // per[used])
    total = int(mine.sum())
    flow = net.solve({source: total, sink: -total}).units[arcs]
    out = column.copy()
    some = np.flatnonzero(flow)
    picks = np.concatenate([first[k] + np.arange(min(flow[k], size[k])) for k in some.tolist()] or [some])
    _, once = np.unique(item[picks], return_index=True)
    picks = picks[once]
    out[item[picks]] = place[picks]
    return out
