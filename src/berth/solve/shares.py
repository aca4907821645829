"""Properties of a Problem that no plan changes: placeable Members, fair shares, bands."""

import numpy as np

from berth.solve.model import SCALE, Bool, Int32, Int64, Problem


def placeable(problem: Problem) -> Bool:
    """Shape (m,): Members that may hold Items: live, with a limit above 0."""
    return problem.live & (problem.limit > 0)


def wanted(problem: Problem) -> Int32:
    """Shape (n,): replicas wanted: those requested, but at most one on each placeable Member."""
    return np.minimum(problem.replicas, np.int32(placeable(problem).sum()))


def bands(problem: Problem, total: int | None = None) -> tuple[Int64, Int64]:
    """The ends of the band [floor(F) − s, ceil(F) + s] around each fair share F = limit × min(wanted, L) / L.

    In Items, two arrays of shape (m,), 0 if the Member is not live.
    s is floor(F × tolerance), and L the sum of the limits of live Members that are not draining. A
    draining Member's band is [0, limit]. `total` is the sum of `wanted`, if the caller knows it.
    The arithmetic uses integers only, because floats would occasionally round a band wrongly.
    """
    limit, sharing = problem.limit.astype(np.int64), problem.live & ~problem.draining
    room = int(limit[sharing].sum())
    if total is None:
        total = int(wanted(problem).sum(dtype=np.int64))
    part, per = np.where(sharing, limit, 0) * min(total, room), max(room, 1)
    slack = part * problem.tolerance // (100 * per)
    high = np.minimum(-(-part // per) + slack, limit)
    return part // per - slack, np.where(problem.live & problem.draining, limit, high)


def held_live(problem: Problem, rows: Int32 | Int64) -> Bool:
    """Shape (len(rows), w): which `held` entries of these Items are on live Members."""
    return np.asarray(np.append(problem.live, False)[problem.held[rows]])  # the last element is for -1


def filled(low: Int64, high: Int64, limit: Int64, total: int) -> Int64:
    """Loads from `low` to `high` with this sum and the minimum Σ floor(SCALE·k/limit); ties by position."""

    def up_to(cost: int) -> Int64:
        return np.minimum(np.maximum(((cost + 1) * limit - 1) // SCALE, low), high)

    below = int((SCALE * (low + 1) // limit).min(initial=SCALE, where=high > low)) - 1
    above = min(SCALE, int((SCALE * high // limit).max(initial=0, where=high > low))) + 1
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if int(up_to(middle).sum()) <= total else (below, middle)
    out, top = up_to(below), up_to(above)
    # The next units all cost the same. A turn fills a Member or uses up the rest; usually one is enough.
    for _ in range(len(limit) + 2):
        rest = total - int(out.sum())
        more = np.flatnonzero(top > out)[: max(0, rest)]
        if not len(more):
            break
        out[more] += min(rest // len(more), int((top - out)[more].min()))
    return out
