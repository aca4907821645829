"""What follows from the Problem alone, before anything is placed: who can hold, fair shares, bands."""

from dataclasses import dataclass

import numpy as np

from berth.solve.model import SCALE, Bool, Int32, Int64, Problem


def placeable(problem: Problem) -> Bool:
    """Shape (m,): Members that may hold something: live, with a limit above 0."""
    return problem.live & (problem.limit > 0)


def wanted(problem: Problem) -> Int32:
    """Shape (n,): replicas that an Item wants: those asked for, at most one on each placeable Member."""
    return np.minimum(problem.replicas, np.int32(placeable(problem).sum()))


@dataclass(frozen=True, slots=True)
class Bands:
    """Fair share (a fraction, for people) and band of each Member, in Items; 0 for those not live."""

    share: np.ndarray
    low: Int64
    high: Int64


def bands(problem: Problem, total: int | None = None) -> Bands:
    """Fair share F = limit × min(wanted, L) / L and band [floor(F) − s, ceil(F) + s].

    s is floor(F × tolerance), L the sum of the limits of live Members that do not drain. A
    draining Member's band is [0, limit]. `total` is the sum of `wanted` where it is known.
    All of it in whole numbers: a float would round a band now and then.
    """
    limit, sharing = problem.limit.astype(np.int64), problem.live & ~problem.draining
    room = int(limit[sharing].sum())
    if total is None:
        total = int(wanted(problem).sum(dtype=np.int64))
    part, per = np.where(sharing, limit, 0) * min(total, room), max(room, 1)
    slack = part * problem.tolerance // (100 * per)
    high = np.minimum(-(-part // per) + slack, limit)
    high = np.where(problem.live & problem.draining, limit, np.where(sharing, high, 0))
    return Bands(share=part / per, low=part // per - slack, high=high)


def age_ranks(problem: Problem) -> Int64:
    """Shape (m,): 1 for the youngest live Member that drains, counting up to the oldest; others 0."""
    ranks = np.zeros(len(problem.limit), dtype=np.int64)
    rows = np.flatnonzero(problem.live & problem.draining)
    # Equal ages should not be; the key then keeps the answer independent of the rows.
    ranks[rows[np.lexsort((problem.member_key[rows], -problem.age[rows]))]] = np.arange(1, len(rows) + 1)
    return ranks


def held_live(problem: Problem, rows: Int32 | Int64) -> Bool:
    """Shape (len(rows), w): which of the `held` entries of these Items are on live Members."""
    held = problem.held[rows]
    return np.asarray((held >= 0) & np.append(problem.live, False)[held])


def filled(low: Int64, high: Int64, limit: Int64, total: int) -> Int64:
    """Loads between `low` and `high` with this sum, least in Σ floor(SCALE·k/limit); ties by position."""

    def up_to(cost: int) -> Int64:
        return np.clip(((cost + 1) * limit - 1) // SCALE, low, high)

    below, above = -1, SCALE + 1
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if int(up_to(middle).sum()) <= total else (below, middle)
    out, top = up_to(below) if below >= 0 else low.copy(), up_to(above)
    # The next units all cost the same. A turn fills a Member or deals what is left: one, as a rule.
    for _ in range(len(limit) + 2):
        rest = total - int(out.sum())
        more = np.flatnonzero(top > out)[: max(0, rest)]
        if not len(more):
            break
        out[more] += min(rest // len(more), int((top - out)[more].min()))
    return out
