"""Which of an Item's Members is slot 0, and the order of the others (level 10 of the objective)."""

import numpy as np
from ortools.graph.python import max_flow

from berth.solve.arrays import Table, entries, rank_within, sums
from berth.solve.flow import Network
from berth.solve.model import SCALE, Bool, Int32, Int64, Primaries, Problem
from berth.solve.shares import filled, held_live
from berth.solve.tuning import Tuning

SPREADS = 12  # flows over Members at most
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
    if not len(rows):
        return members
    by_key = np.argsort(problem.member_key, kind="stable")
    none, width = len(by_key), problem.held.shape[1]
    # Columns in the order of keys, empty ones last: rows of Members must not matter.
    rank = np.append(np.argsort(by_key), none)[members]
    columns = np.argsort(rank, axis=1)
    members, rank = np.take_along_axis(members, columns, axis=1), np.take_along_axis(rank, columns, axis=1)
    # The place of each in the Item's `held`, or the width for a new entry.
    held, slots = np.where(held_live(problem, rows), problem.held[rows], -2), np.full(members.shape, width)
    for column in range(width):
        slots[members == held[:, column : column + 1]] = column
    new, primary = slots == width, problem.held_primary[rows][:, None]
    current = (members == primary) & (primary >= 0) & ~new
    sticky, placed = current.any(axis=1), members[:, 0] >= 0
    choice = np.where(sticky, current.argmax(axis=1), -1)
    active = problem.primaries == Primaries.ACTIVE
    undecided = np.flatnonzero(placed if active else placed & ~sticky)
    if len(undecided):
        if not active:
            counts = counts + entries(members[sticky, choice[sticky]], none)
        undecided = undecided[np.argsort(problem.item_key[rows[undecided]], kind="stable")]
        some = members[undecided]
        tier = np.where(some < 0, 9, 2 * problem.draining[some] + new[undecided])
        allowed = tier == tier.min(axis=1, keepdims=True)
        # By rank from here on: what is alike is told apart by keys.
        choosing = _Choosing(problem.limit[by_key].astype(np.int64), counts[by_key], tuning)
        ranks_of = np.where(some < 0, -1, rank[undecided]).astype(np.int64)
        choice[undecided] = choosing.columns(ranks_of, allowed, current[undecided])
    order = np.where(members < 0, width + 2, slots) * np.int64(none + 1) + rank
    chosen = np.flatnonzero(choice >= 0)
    order[chosen, choice[chosen]] = -1
    return np.take_along_axis(members, np.argsort(order, axis=1), axis=1)


class _Choosing:
    """Chooses each row's primary: the most even primaries for the limits, then fewest changes.

    The arrays of shape (rows, v) say who holds an Item, who of them may lead it, and who does now.
    """

    def __init__(self, limit: Int64, counts: Int64, tuning: Tuning) -> None:
        self.per, self.counts, self.tuning = np.maximum(limit, 1), counts, tuning

    def columns(self, members: Table, allowed: Bool, current: Bool) -> Int64:
        """The column of each row's primary."""
        single = allowed.sum(axis=1) == 1
        column = np.where(single, allowed.argmax(axis=1), -1).astype(np.int64)
        self.counts = self.counts + entries(members[single, column[single]], len(self.per))
        members, may, now = members[~single], allowed[~single], (current & allowed)[~single]
        if not now.any() and (ideal := self._ideal(members, may)) is not None:
            column[~single] = ideal
            return column
        if int(may.sum()) <= self.tuning.primary_choices:
            column[~single] = self._one_by_one(members, may, now)
            return column
        turn = np.arange(len(members)) % may.sum(axis=1)
        start = (np.cumsum(may, axis=1) > turn[:, None]).argmax(axis=1)
        start = np.where(now.any(axis=1), now.argmax(axis=1), start)
        for _ in range(SPREADS):
            better = self._spread(members, may, start)
            if (better == start).all():
                break
            start = better
        column[~single] = start
        return column

    def _ideal(self, members: Table, allowed: Bool) -> Int64 | None:
        """The choice that fills Members as if each Item could be led by any; None where there is none.

        Nothing is more even than that, so it needs no costs: a maximal flow finds it in no time.
        """
        item, column = np.nonzero(allowed)
        used, member = np.unique(members[item, column], return_inverse=True)
        count, before = len(members), self.counts[used]
        full = filled(before, before + sums(member, len(used)), self.per[used], int(before.sum()) + count)
        net = max_flow.SimpleMaxFlow()
        owner, taker = np.arange(count) + 2, np.arange(len(used)) + count + 2
        tail = np.concatenate([np.zeros(count), item + 2, taker])
        head = np.concatenate([owner, taker[member], np.ones(len(used))])
        size = np.append(np.ones(count + len(item)), full - before)
        arcs = net.add_arcs_with_capacity(tail.astype(np.int32), head.astype(np.int32), size.astype(np.int64))
        if net.solve(0, 1) != net.OPTIMAL or net.optimal_flow() < count:
            return None
        taken = net.flows(arcs)[count : count + len(item)] > 0
        out = np.zeros(count, np.int64)
        out[item[taken]] = column[taken]
        return out

    def _one_by_one(self, members: Table, allowed: Bool, current: Bool) -> Int64:
        """A network with every Item and every Member that it may be led by."""
        item, column = np.nonzero(allowed)
        used, member = np.unique(members[item, column], return_inverse=True)
        net = Network("even", "changes")
        ends, items = net.add_nodes(len(used), hub=True), net.add_nodes(len(members))
        net.add(net.source, items, 0, 1)
        arcs = net.add(items[item], ends[member], 0, 1, changes=~current[item, column] & current.any())
        owner = np.sort(member)
        nth = self.counts[used][owner] + rank_within(owner) + 1
        net.add(ends[owner], net.sink, 0, 1, even=SCALE * nth // self.per[used][owner])
        taken, out = net.solve(len(members)).units[arcs] > 0, np.zeros(len(members), np.int64)
        out[item[taken]] = column[taken]
        return out

    def _spread(self, members: Table, allowed: Bool, column: Int64) -> Int64:
        """One flow over Members: an arc a -> b carries Items that a leads and b may lead.

        A row may stand on several arcs, so what the flow says is carried out as far as it goes, and
        the next flow begins there.
        """
        size, per, other, rows = len(self.per), self.per, allowed.copy(), np.arange(len(members))
        leader = members[rows, column]
        other[rows, column] = False
        item, place = np.nonzero(other)
        code = leader[item] * size + members[item, place]
        order = np.argsort(code, kind="stable")
        item, place = item[order], place[order]
        pairs, first, several = np.unique(code[order], return_index=True, return_counts=True)
        giver, taker = np.divmod(pairs, size)
        mine = entries(leader, size)
        have = self.counts + mine
        gain = SCALE * have[giver] // per[giver] - SCALE * (have[taker] + 1) // per[taker]
        if gain.max(initial=0) <= 0:
            return column
        if len(pairs) > self.tuning.primary_arcs:  # too many for one flow: those that help most at once
            use = np.sort(np.argsort(-gain, kind="stable")[: self.tuning.primary_arcs])
            giver, taker, several, first = giver[use], taker[use], several[use], first[use]
        used, node = np.unique(np.concatenate([giver, taker]), return_inverse=True)
        net = Network("even", "changes")
        nodes = net.add_nodes(len(used), hub=True)
        mine, before, per = mine[used], self.counts[used], per[used]
        net.add(net.source, nodes, 0, mine)
        arcs = net.add(nodes[node[: len(giver)]], nodes[node[len(giver) :]], 0, several, changes=1)
        # Units by what they cost: one by one near the present count, in bundles at their dearest farther out.
        steps = np.array([-(2**30), *(-step for step in STEPS[:0:-1]), *STEPS, 2**30])
        edge = np.maximum(0, mine[:, None] + steps)
        even = SCALE * (before[:, None] + np.minimum(edge[:, 1:], mine.sum())) // per[:, None]
        net.add(nodes[:, None], net.sink, 0, np.diff(edge, axis=1), even=even)
        flow = np.minimum(net.solve(int(mine.sum())).units[arcs], several)
        some = np.repeat(np.arange(len(flow)), flow)
        picks = first[some] + rank_within(some)
        picks, out = picks[np.unique(item[picks], return_index=True)[1]], column.copy()
        out[item[picks]] = place[picks]
        return out
