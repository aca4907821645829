"""Placements to start from: the solver's own, and some that no solver would make."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush

import numpy as np

from berth.solve.model import Int32, Int64, Problem

ASTRAY = 0.01
"""Part of the entries that are elsewhere in the start `astray`."""


def held_by(problem: Problem, start: str, own: Callable[[Problem], Int32], *, greedy: bool = False) -> Int32:
    """Member rows of each Item, shape (n, w), padded with -1, all within limits.

    `greedy` puts another planner's placement in the place of the solver's own. Raises KeyError for
    a start that is not known.
    """
    if start in ("own", "astray"):
        plan = emptiest(problem) if greedy else own(problem)
        return plan if start == "own" else astray(problem, plan)
    return {"random": at_random, "first-fit": first_fit, "empty": nowhere}[start](problem)


def nowhere(problem: Problem) -> Int32:
    """Nothing is held."""
    return np.full_like(problem.held, -1)


def at_random(problem: Problem, seed: int = 1) -> Int32:
    """Each Item on different live Members, drawn; what would be above a limit is not held."""
    rng = np.random.default_rng(seed)
    live = np.flatnonzero(problem.live & (problem.limit > 0))
    n, width = len(problem.replicas), min(problem.held.shape[1], len(live))
    order = np.empty((n, width), dtype=np.int64)
    for begin in range(0, n, 4096):  # in blocks: n x m of them at once would be a gigabyte
        draw = rng.random((min(4096, n - begin), len(live)), dtype=np.float32)
        some = np.argpartition(draw, width - 1, axis=1)[:, :width]
        order[begin : begin + len(draw)] = np.take_along_axis(
            some, np.argsort(np.take_along_axis(draw, some, axis=1), axis=1), axis=1
        )
    held = np.full((n, problem.held.shape[1]), -1, dtype=np.int64)
    held[:, :width] = live[order]
    held[np.arange(held.shape[1]) >= problem.replicas[:, None]] = -1
    load = np.zeros(len(problem.limit), dtype=np.int64)
    for slot in range(width):
        rows = np.flatnonzero(held[:, slot] >= 0)
        rows = rows[np.argsort(held[rows, slot], kind="stable")]
        on = held[rows, slot]
        place = np.arange(len(rows)) - np.searchsorted(on, on) + load[on]
        held[rows[place >= problem.limit[on]], slot] = -1
        load += np.bincount(held[held[:, slot] >= 0, slot], minlength=len(load))
    return packed(held)


def first_fit(problem: Problem) -> Int32:
    """Item by Item on the first Members that have room, in the order of rows."""
    room = problem.limit.astype(np.int64) * problem.live
    open_ = np.flatnonzero(room > 0).tolist()
    out = np.full(problem.held.shape, -1, dtype=np.int32)
    row, n = 0, len(problem.replicas)
    changes = np.append(np.flatnonzero(np.diff(problem.replicas)) + 1, n)
    while row < n and open_:
        width = min(int(problem.replicas[row]), len(open_))
        end = int(changes[np.searchsorted(changes, row, side="right")])
        if not width:
            row = end
            continue
        there = open_[:width]
        count = min(end - row, int(room[there].min()))  # so many alike until one of them is full
        out[row : row + count, :width] = there
        room[there] -= count
        open_ = [member for member in there if room[member]] + open_[width:]
        row += count
    return out


def emptiest(problem: Problem) -> Int32:
    """Item by Item on the Members that are emptiest for their limit, in two zones where it can."""
    limit, zone = problem.limit.tolist(), problem.zone.tolist()
    heap = [(0.0, row) for row in np.flatnonzero(problem.live & (problem.limit > 0)).tolist()]
    heapify(heap)
    load = [0] * len(limit)
    out = np.full(problem.held.shape, -1, dtype=np.int32)
    for item, count in enumerate(problem.replicas.tolist()):
        taken: list[int] = []
        passed: list[tuple[float, int]] = []
        while heap and len(taken) < count:
            fill, row = heappop(heap)
            alone = len(taken) == count - 1 > 0 and {zone[other] for other in taken} == {zone[row]}
            if alone and len(passed) < 8:
                passed.append((fill, row))
                continue
            taken.append(row)
        for row in taken:
            load[row] += 1
            if load[row] < limit[row]:
                heappush(heap, (load[row] / limit[row], row))
        for entry in passed:
            heappush(heap, entry)
        out[item, : len(taken)] = taken
    return out


def astray(problem: Problem, plan: Int32, share: float = ASTRAY, seed: int = 2) -> Int32:
    """The plan with some of its entries on Members drawn at random, within limits."""
    rng = np.random.default_rng(seed)
    out = np.full(problem.held.shape, -1, dtype=np.int32)
    width = min(out.shape[1], plan.shape[1])
    out[:, :width] = plan[:, :width]
    room = problem.limit.astype(np.int64) - np.bincount(out[out >= 0], minlength=len(problem.limit))
    live = np.flatnonzero(problem.live & (problem.limit > 0))
    rows, slots = np.nonzero(out >= 0)
    which = rng.permutation(len(rows))[: max(1, round(share * len(rows)))] if len(rows) else rows
    for row, slot in zip(rows[which].tolist(), slots[which].tolist(), strict=True):
        for to in rng.choice(live, 8).tolist():
            if room[to] > 0 and not (out[row] == to).any():
                room[out[row, slot]] += 1
                room[to] -= 1
                out[row, slot] = to
                break
    return out


def packed(held: Int64) -> Int32:
    """The same rows with -1 at their end only."""
    order = np.argsort(held < 0, axis=1, kind="stable")
    return np.take_along_axis(held, order, axis=1).astype(np.int32)
