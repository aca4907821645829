"""Which of an Item's Members is slot 0, and the order of the others."""

from __future__ import annotations

import numpy as np

from berth.solve.flow import Network, solve_levels
from berth.solve.problem import Bool, Int32, Int64, Primaries, Problem
from berth.solve.shares import SCALE, held_live

EXACT_CHOICES = 2_000
"""Up to so many (Item, Member) choices the flow engine decides; above, rounds of improvement."""
ROUNDS = 60


def key_ranks(problem: Problem) -> Int64:
    """Shape (m,): the place of each Member among all by key."""
    ranks = np.empty(len(problem.member_key), dtype=np.int64)
    ranks[np.argsort(problem.member_key, kind="stable")] = np.arange(len(ranks))
    return ranks


def arrange(
    problem: Problem,
    rows: Int64,
    members: Int32,
    counts: Int64 | None = None,
    ranks: Int64 | None = None,
    hint: Int32 | None = None,
) -> Int32:
    """Order the Members of the given Items by slot; slot 0 first.

    A primary stays where its Member stays (with `Primaries.ACTIVE` it may move for balance).
    Where one must be chosen, a Member that holds the Item already goes before one that would
    still have to prepare it, and one that does not drain before either; among those the choice
    balances primaries in proportion to limits. The others that stay keep their order, new ones
    come last. `counts`, shape (m,), says how many primaries each Member has among other Items;
    `ranks` is `key_ranks(problem)` where it is known, and `hint`, shape (len(rows),), a first guess.
    """
    if not len(rows) or not len(problem.limit):
        return members
    if ranks is None:
        ranks = key_ranks(problem)
    if counts is None:
        counts = np.zeros(len(problem.limit), dtype=np.int64)
    # Columns in the order of keys, empty ones last: rows of Members must not matter.
    rank = np.where(members >= 0, ranks[members], len(ranks))
    columns = np.argsort(rank, axis=1)
    members, rank = np.take_along_axis(members, columns, axis=1), np.take_along_axis(rank, columns, axis=1)
    slots = slots_held(problem, rows, members)
    width = problem.held.shape[1]
    new = slots == width
    primary = problem.held_primary[rows][:, None]
    is_current = (members == primary) & (primary >= 0) & ~new
    sticky = is_current.any(axis=1)
    choice = np.where(sticky, is_current.argmax(axis=1), -1)
    placed = members[:, 0] >= 0
    active = problem.primaries == Primaries.ACTIVE
    open_rows = np.flatnonzero(placed if active else placed & ~sticky)
    if len(open_rows):
        settled = np.flatnonzero(sticky) if not active else open_rows[:0]
        counts = counts + np.bincount(members[settled, choice[settled]], minlength=len(counts))
        open_rows = open_rows[np.argsort(problem.item_key[rows[open_rows]], kind="stable")]
        some = members[open_rows]
        tier = np.where(some < 0, 9, 2 * problem.draining[some] + new[open_rows])
        allowed = tier == tier.min(axis=1, keepdims=True)
        guess = None if hint is None else some == hint[open_rows][:, None]
        choice[open_rows] = choose(problem, some, allowed, is_current[open_rows], counts, ranks, guess)
    order = np.where(members < 0, width + 2, slots) * np.int64(len(ranks) + 1) + rank
    chosen = np.flatnonzero(choice >= 0)
    order[chosen, choice[chosen]] = -1
    return np.take_along_axis(members, np.argsort(order, axis=1), axis=1)


def slots_held(problem: Problem, rows: Int64, members: Int32) -> Int32:
    """Shape of `members`: the place of each in the Item's `held`, or its width for a new entry."""
    width = problem.held.shape[1]
    slots = np.full(members.shape, width, dtype=np.int32)
    live = held_live(problem, rows)
    for column in range(width):
        here = problem.held[rows, column][:, None]
        slots[(members == here) & live[:, column : column + 1]] = column
    return slots


def choose(
    problem: Problem,
    members: Int32,
    allowed: Bool,
    current: Bool,
    counts: Int64,
    ranks: Int64,
    guess: Bool | None = None,
) -> Int64:
    """The column of each row's primary: the most even primaries for the limits, then fewest changes."""
    single = allowed.sum(axis=1) == 1
    column = np.where(single, allowed.argmax(axis=1), -1).astype(np.int64)
    counts = counts + np.bincount(members[single, column[single]], minlength=len(counts))
    rest = np.flatnonzero(~single)
    if len(rest):
        some, may, now = members[rest], allowed[rest], current[rest]
        if int(may.sum()) <= EXACT_CHOICES:
            column[rest] = _exact(problem, some, may, now, counts, ranks)
        else:
            start = now if guess is None else np.where(now.any(axis=1, keepdims=True), now, guess[rest])
            column[rest] = _improve(problem, some, may, start & may, counts)
    return column


def _exact(
    problem: Problem, members: Int32, allowed: Bool, current: Bool, counts: Int64, ranks: Int64
) -> Int64:
    item, column = np.nonzero(allowed)
    member = ranks[members[item, column]]
    order = np.lexsort((member, item))
    item, column, member = item[order], column[order], member[order]
    used, node = np.unique(member, return_inverse=True)
    choices = np.bincount(node)
    owner = np.repeat(np.arange(len(used)), choices)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(choices) - choices, choices) + 1
    row = np.empty(len(used), dtype=np.int64)
    row[node] = members[item, column]
    fill = counts[row][owner] + step
    rising = SCALE * fill // np.maximum(problem.limit[row][owner], 1).astype(np.int64)
    items = len(members)
    zeros = np.zeros(items + len(item), dtype=np.int64)
    moved = (~current[item, column]).astype(np.int64)
    first = 2 + items
    network = Network(
        nodes=2 + items + len(used),
        tail=np.concatenate([np.zeros(items, dtype=np.int64), 2 + item, first + owner]),
        head=np.concatenate([2 + np.arange(items), first + node, np.ones(len(owner), dtype=np.int64)]),
        capacity=np.ones(items + len(item) + len(owner), dtype=np.int64),
        costs=[
            np.concatenate([zeros, rising]),
            np.concatenate([np.zeros(items, dtype=np.int64), moved, np.zeros(len(owner), dtype=np.int64)]),
        ],
        spans=[2 * int(rising.max(initial=0)), 2 * len(used)],
        source=0,
        sink=1,
        amount=items,
    )
    taken = solve_levels(network)[items : items + len(item)] > 0
    out = np.zeros(items, dtype=np.int64)
    out[item[taken]] = column[taken]
    return out


def _improve(problem: Problem, members: Int32, allowed: Bool, current: Bool, counts: Int64) -> Int64:
    """Start with an even spread of columns, then shift primaries from full to empty Members."""
    items = np.arange(len(members))
    turn = items % allowed.sum(axis=1)
    column = (np.cumsum(allowed, axis=1) > turn[:, None]).argmax(axis=1)
    column = np.where(current.any(axis=1), current.argmax(axis=1), column)
    limit = np.maximum(problem.limit, 1).astype(np.float64)
    safe = np.where(allowed, members, 0)
    target = limit / limit[np.unique(members[allowed])].sum() * (counts.sum() + len(items))
    for _ in range(ROUNDS):
        have = counts + np.bincount(members[items, column], minlength=len(counts))
        price = np.where(allowed, ((have + 1) / limit)[safe], np.inf)
        price[items, column] = np.inf
        best = price.argmin(axis=1)
        gain = (have / limit)[members[items, column]] - price[items, best]
        movers = np.flatnonzero(gain > 1e-12)
        if not len(movers):
            break
        give = np.maximum(have - target, 1.0)[members[movers, column[movers]]]
        movers = movers[_rank(members[movers, column[movers]], gain[movers]) < give]
        take = np.maximum(target - have, 1.0)[members[movers, best[movers]]]
        movers = movers[_rank(members[movers, best[movers]], gain[movers]) < take]
        column[movers] = best[movers]
    return np.asarray(column, dtype=np.int64)


def _rank(owner: Int32, gain: np.ndarray) -> Int64:
    """The place of each among those of the same owner, largest gain first."""
    order = np.lexsort((-gain, owner))
    start = np.flatnonzero(np.r_[True, owner[order][1:] != owner[order][:-1]])
    rank = np.empty(len(owner), dtype=np.int64)
    rank[order] = np.arange(len(owner)) - np.repeat(start, np.diff(np.r_[start, len(owner)]))
    return rank
