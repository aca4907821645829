"""Items that the objective cannot tell apart, and dealing what a group gets to its Items."""

from __future__ import annotations

import numpy as np

from berth.solve.network import Fleet, Groups, Outcome, member_order
from berth.solve.problem import Int32, Int64, Problem
from berth.solve.shares import held_live, wanted


def identical(problem: Problem, fleet: Fleet, rows: Int64) -> tuple[Groups, Int64]:
    """Groups of Items (of the given rows) that ask for the same and are held alike.

    Returns the groups and, of shape (len(rows),), the group of each row. The groups come in an
    order that depends on keys only.
    """
    place = member_order(problem, fleet.rows)
    live = held_live(problem, rows)
    held = np.where(live, place[problem.held[rows]], -1) if len(place) else np.full(live.shape, -1)
    primary = np.where(held == place_of(place, problem.held_primary[rows])[:, None], held, -1)
    want = wanted(problem)[rows].astype(np.int64)
    keep = np.minimum(live.sum(axis=1), want)
    first = primary.max(axis=1, initial=-1)
    table = np.column_stack([problem.replicas[rows], keep, first, np.sort(held, axis=1)[:, ::-1]])
    table, begin, inverse, size = np.unique(
        table.astype(np.int32), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    table = table.astype(np.int64)
    group, column = np.nonzero(table[:, 3:] >= 0)
    member = table[group, 3 + column]
    return Groups(
        size=size.astype(np.int64),
        replicas=table[:, 0],
        wanted=want[begin],
        keep=table[:, 1],
        group=group.astype(np.int64),
        member=member,
        count=size[group].astype(np.int64),
        primary=(member == table[group, 2]).astype(np.int64),
    ), inverse.ravel().astype(np.int64)


def place_of(place: Int32, rows: Int32) -> Int32:
    """`place[rows]` with -1 for the rows that are -1; none is found where the places are empty."""
    if not len(place):
        return np.full(len(rows), -2, dtype=np.int32)
    return np.where(rows >= 0, place[rows], -2).astype(np.int32)


def deal(problem: Problem, fleet: Fleet, rows: Int64, inverse: Int64, outcome: Outcome) -> Int32:
    """Hand the entries of each group to its Items; shape (len(rows), v), Member rows, padded with -1.

    The entries of a group lie in one line, zone by zone and Member by Member, and are dealt round
    and round to the group's Items. A Member has at most as many entries as there are Items, so it
    meets none twice; a zone's entries lie together, so Items differ by at most one in it, as they
    do in total: exactly what the network's convex costs paid for.
    """
    size = np.bincount(inverse, minlength=int(inverse.max(initial=-1)) + 1)
    order = np.lexsort((problem.item_key[rows], inverse))
    start = np.cumsum(size) - size
    line = np.lexsort((outcome.member, fleet.zone[outcome.member], outcome.group))
    group = np.repeat(outcome.group[line], outcome.count[line])
    member = np.repeat(outcome.member[line], outcome.count[line])
    total = np.bincount(group, minlength=len(size))
    place = np.arange(len(group)) - np.repeat(np.cumsum(total) - total, total)
    lap, at = np.divmod(place, size[group]) if len(group) else (place, place)
    members = np.full((len(rows), max(int(lap.max(initial=-1)) + 1, 1)), -1, dtype=np.int32)
    members[order[start[group] + at], lap] = fleet.rows[member]
    return members


def rotate(members: Int32, order: Int64) -> Int32:
    """Turn the columns of each row by one more than those of the row before it in `order`.

    A Member's entries lie in one column of neighbouring rows; turned, each column has its share
    of every Member, so the first one is an even choice of primaries.
    """
    have = (members >= 0).sum(axis=1)
    shift = np.empty(len(members), dtype=np.int64)
    shift[order] = np.arange(len(order))
    columns = np.arange(members.shape[1])[None, :]
    safe = np.maximum(have, 1)[:, None]
    source = np.where(columns < safe, (columns + shift[:, None]) % safe, columns)
    return np.take_along_axis(members, source, axis=1)
