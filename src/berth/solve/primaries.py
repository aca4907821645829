"""Choose which of an Item's Members is slot 0, and order the others (level `primaries-moved`)."""

import numpy as np
from ortools.graph.python import max_flow

from berth.solve.arrays import Table, entries, rank_within, scattered, sums
from berth.solve.flow import Network
from berth.solve.model import SCALE, Bool, Int32, Int64, Primaries, Problem
from berth.solve.shares import filled, held_live
from berth.solve.tuning import Tuning

SPREADS = 12  # maximum number of flows over Members
CHOICES_PER_CUT = 1_000  # one cut is tried for so many choices; more cuts would cost more than the network
STEPS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 512)
"""Distances from a Member's number of primaries at which the cost of one more is evaluated."""


def arrange(problem: Problem, rows: Int64, members: Int32, counts: Int64, tuning: Tuning) -> Int32:
    """Order the Members of the given Items by slot; slot 0 first.

    A primary stays if its Member keeps the Item (with `Primaries.ACTIVE` it may move for balance).
    For other Items, Members that are not draining are preferred to draining ones, and then Members
    that hold the Item already to those that would still have to prepare it. Among equals the choice
    balances primaries in proportion to limits. The remaining Members keep their order, and new ones
    come last. `counts`, shape (m,), is the number of primaries that each Member has of other Items.
    """
    by_key = np.argsort(problem.member_key, kind="stable")
    none, width = len(by_key), problem.held.shape[1]
    # Sort columns by Member key, empty ones last, so that the order of Member rows does not matter.
    # Tables are stored column by column, because numpy is far quicker with few long columns.
    rank = np.asfortranarray(np.sort(np.append(np.argsort(by_key), none)[members], axis=1))
    members = np.append(by_key, -1).astype(np.int32)[rank]
    # The slot of each entry in the Item's `held`, or the width for a new entry.
    held = np.asfortranarray(np.where(held_live(problem, rows), problem.held[rows], -2))
    slots = np.full_like(members, width)
    for column in range(width):
        slots[members == held[:, column : column + 1]] = column
    new = slots == width
    current = (members == problem.held_primary[rows, None]) & ~new
    sticky, placed = current.any(axis=1), members[:, 0] >= 0
    choice = np.where(sticky, current.argmax(axis=1), -1)
    active = problem.primaries == Primaries.ACTIVE
    undecided = np.flatnonzero(placed if active else placed & ~sticky)
    if len(undecided):
        if not active:
            counts = counts + entries(members[sticky, choice[sticky]], none)
        undecided = undecided[np.argsort(problem.item_key[rows[undecided]], kind="stable")]
        some = np.asfortranarray(members[undecided])
        tier = np.where(some < 0, 9, 2 * problem.draining[some] + new[undecided])
        allowed = tier == tier.min(axis=1, keepdims=True)
        # Members are numbered by rank from here on, so that ties are broken by key.
        per = np.maximum(problem.limit[by_key].astype(np.int64), 1)
        ranks_of = np.where(some < 0, -1, rank[undecided])
        choice[undecided] = _chosen(ranks_of, allowed, current[undecided], counts[by_key], per, tuning)
    order = slots * (none + 1) + rank
    chosen = np.flatnonzero(choice >= 0)
    order[chosen, choice[chosen]] = -1
    return np.take_along_axis(members, np.argsort(order, axis=1), axis=1)


def _chosen(members: Table, allowed: Bool, current: Bool, counts: Int64, per: Int64, tuning: Tuning) -> Int64:
    """The column of each row's primary: primaries as even as possible for the limits, then fewest changes.

    Arrays of shape (rows, v) say which Members hold an Item, which of them may be its primary
    (`allowed`), and which is now (`current`). `counts` and `per`, with a value for each Member, are its
    primaries of other Items and its limit.
    """
    single = allowed.sum(axis=1) == 1
    column = np.where(single, allowed.argmax(axis=1), -1)
    counts = counts + entries(members[single, column[single]], len(per))
    members, may, now = members[~single], allowed[~single], (current & allowed)[~single]
    choices = int(may.sum())
    small = choices <= tuning.primary_choices
    cuts = choices // CHOICES_PER_CUT if small else 0
    found = None if now.any() else _even(members, may, counts, per, cuts)
    if found is None and small:
        found = _one_by_one(members, may, now, counts, per)
    if found is None:
        turn = np.arange(len(members)) % may.sum(axis=1)
        found = (np.cumsum(may, axis=1) > turn[:, None]).argmax(axis=1)
        found = np.where(now.any(axis=1), now.argmax(axis=1), found)
        for _ in range(SPREADS):
            before, found = found, _spread(members, may, found, counts, per, tuning.primary_arcs)
            if (before == found).all():
                break
    column[~single] = found
    return column


def _even(members: Table, allowed: Bool, counts: Int64, per: Int64, cuts: int) -> Int64 | None:
    """The most even choice by maximum flows, which need no costs; None if it takes too many cuts.

    First assume that every Member could be the primary of every Item. If a flow meets these ideal
    numbers, no choice is more even. Otherwise its minimum cut separates the Items that have only
    Members in too great demand. Those Members then serve these Items only, and both sides are
    solved alone (the decomposition algorithm of Groenevelt, 1991).
    """
    out, parts, allowed = np.zeros(len(members), np.int64), [np.arange(len(members))], allowed.copy()
    for _ in range(2 * cuts + 1):
        rows = parts.pop()
        item, column = np.nonzero(allowed[rows])
        used, member = np.unique(members[rows[item], column], return_inverse=True)
        count, before = len(rows), counts[used]
        total = int(before.sum()) + count
        ideal = filled(before, before + sums(member, len(used)), per[used], total) - before
        net = max_flow.SimpleMaxFlow()
        owner, taker = np.arange(count) + 2, np.arange(len(used)) + count + 2
        tail = np.concatenate([np.zeros(count), item + 2, taker]).astype(np.int32)
        head = np.concatenate([owner, taker[member], np.ones(len(used))]).astype(np.int32)
        size = np.append(np.ones(count + len(item)), ideal).astype(np.int64)
        arcs = net.add_arcs_with_capacity(tail, head, size)
        net.solve(0, 1)
        if net.optimal_flow() == count:
            taken = net.flows(arcs)[count : count + len(item)] > 0
            out[rows[item[taken]]] = column[taken]
            if not parts:
                return out
            continue
        crowded = np.zeros(count + len(used) + 2, np.bool_)
        crowded[net.get_source_side_min_cut()] = True
        bound = crowded[owner]
        barred = crowded[taker[member]] & ~bound[item]
        allowed[rows[item[barred]], column[barred]] = False
        parts += [rows[bound], rows[~bound]]
    return None


def _one_by_one(members: Table, allowed: Bool, current: Bool, counts: Int64, per: Int64) -> Int64:
    """Solve a network with an arc for each Item and each Member that may be its primary."""
    item, column = np.nonzero(allowed)
    used, member = np.unique(members[item, column], return_inverse=True)
    net = Network("even", "changes")
    ends, items = net.add_nodes(len(used), hub=True), net.add_nodes(len(members))
    net.add(net.source, items, 0, 1)
    arcs = net.add(items[item], ends[member], 0, 1, changes=~current[item, column] & current.any())
    owner = np.sort(member)
    nth = counts[used][owner] + rank_within(owner) + 1
    net.add(ends[owner], net.sink, 0, 1, even=SCALE * nth // per[used][owner])
    taken = net.solve(len(members)).units[arcs] > 0
    return scattered(len(members), item[taken], column[taken])


def _spread(members: Table, allowed: Bool, column: Int64, counts: Int64, per: Int64, max_arcs: int) -> Int64:
    """Improve the choice by a flow over Members: arc a -> b carries Items that may move from a to b.

    An Item may be counted on several arcs, so some of the flow may not be feasible. The rest is
    carried out, and the next flow starts from the result.
    """
    size, other, rows = len(per), allowed.copy(), np.arange(len(members))
    leader = members[rows, column]
    other[rows, column] = False
    item, place = np.nonzero(other)
    code = leader[item] * size + members[item, place]
    order = np.argsort(code, kind="stable")
    item, place = item[order], place[order]
    pairs, first, several = np.unique(code[order], return_index=True, return_counts=True)
    giver, taker = np.divmod(pairs, size)
    own_count = entries(leader, size)
    have = counts + own_count
    gain = SCALE * have[giver] // per[giver] - SCALE * (have[taker] + 1) // per[taker]
    if gain.max(initial=0) <= 0:
        return column
    if len(pairs) > max_arcs:  # too many for one flow: take those with the largest gain
        use = np.sort(np.argsort(-gain, kind="stable")[:max_arcs])
        giver, taker, several, first = giver[use], taker[use], several[use], first[use]
    used, node = np.unique(np.concatenate([giver, taker]), return_inverse=True)
    net = Network("even", "changes")
    nodes = net.add_nodes(len(used), hub=True)
    own_count, before, per = own_count[used], counts[used], per[used]
    net.add(net.source, nodes, 0, own_count)
    arcs = net.add(nodes[node[: len(giver)]], nodes[node[len(giver) :]], 0, several, changes=1)
    # Single units near the current count; farther out bundles at the cost of their most expensive unit.
    steps = np.array([-(2**30), *(-step for step in STEPS[:0:-1]), *STEPS, 2**30])
    edge = np.maximum(0, own_count[:, None] + steps)
    even = SCALE * (before[:, None] + np.minimum(edge[:, 1:], own_count.sum())) // per[:, None]
    net.add(nodes[:, None], net.sink, 0, np.diff(edge, axis=1), even=even)
    flow = np.minimum(net.solve(int(own_count.sum())).units[arcs], several)
    some = np.repeat(np.arange(len(flow)), flow)
    picks = first[some] + rank_within(some)
    picks, out = picks[np.unique(item[picks], return_index=True)[1]], column.copy()
    out[item[picks]] = place[picks]
    return out
