"""An independent judge of plans: checks the rules, counts the levels afresh, says how good they can be.

It shares nothing with the engines; `bounds.py` says how the bounds are found.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.solve.bounds import MOST_CELLS, SHAPE, Bound, bound, least_moves
from benchmarks.solve.facts import facts
from berth.solve.model import LEVELS, SCALE, Int32, Int64, Primaries, Problem, Zones

SHAPELESS = "the plan's shape is not the Problem's"
MOST_UNITS = 600_000
"""Sum of limits up to which a missed pooled bound is looked at with a node for each Member."""


@dataclass(frozen=True)
class Verdict:
    """What the judge says of a plan."""

    broken: list[str]
    """Hard rules that it breaks."""
    reached: dict[str, int]
    """All levels by name."""
    bounds: dict[str, int]
    """The levels up to `zone-pairs`: no plan is better, in their order."""
    exact: bool
    """The bounds are the optimum itself, not only a bound."""
    least_moves: int | None
    """No plan that reaches `bounds` has fewer moves; None where this plan does not reach them."""

    @property
    def missed(self) -> str | None:
        """The first level that is not at its bound."""
        return next((name for name in SHAPE if self.reached[name] != self.bounds[name]), None)

    @property
    def over(self) -> int | None:
        """Moves above the bound."""
        return None if self.least_moves is None else self.reached["moves"] - self.least_moves

    @property
    def close(self) -> bool:
        """Moves are within 0.5%, or one, of the bound."""
        return self.over is not None and self.over <= max(1, 0.005 * (self.least_moves or 0))

    @property
    def holds(self) -> bool:
        """All that a plan must hold: rules, levels, moves."""
        return not self.broken and self.missed is None and self.close


def judge(problem: Problem, plan: Int32, best: Bound | None = None) -> Verdict:
    """Judge a plan of shape (n, v), padded with -1; `best` is the pooled bound where it is known.

    Raises ValueError for a plan of other Items or Members, as its levels cannot be counted.
    """
    wrong = broken(problem, plan)
    if SHAPELESS in wrong:
        raise ValueError(SHAPELESS)
    reached = count(problem, plan)
    best = best or bound(problem)
    exact = False
    if any(reached[name] != best.levels[name] for name in SHAPE):
        # The pooled bound need not be attainable; the one by Member is.
        if int(problem.limit[problem.live].sum()) <= MOST_UNITS:
            best, exact = bound(problem, exact=True), True
        if any(reached[name] != best.levels[name] for name in SHAPE):
            return Verdict(wrong, reached, best.levels, exact, None)
    out = Verdict(wrong, reached, best.levels, exact, 0)
    for detail in range(3):
        # More effort where the plan would be said to have too many moves.
        found = least_moves(problem, best, detail, MOST_CELLS if out.close else 10 * MOST_CELLS)
        out = replace(out, least_moves=max(out.least_moves or 0, found or 0))
        if out.over == 0:
            break
    return out


def count(problem: Problem, plan: Int32) -> dict[str, int]:
    """The levels that a plan reaches, by name; `plan` has shape (n, v), padded with -1."""
    on = plan >= 0
    placed = on.sum(axis=1)
    f = facts(problem)
    load = np.bincount(plan[on], minlength=len(problem.limit))
    here = load[f.members]
    away = np.maximum(f.low - here, 0) + np.maximum(here - f.high, 0)
    balance = sum(
        int((SCALE * np.arange(1, far + 1) // limit).sum())
        for far, limit in zip(away.tolist(), f.limit.tolist(), strict=True)
        if far
    )
    single = pairs = 0
    if problem.zones != Zones.IGNORE and len(f.rows):
        per_zone = zone_counts(np.where(on, problem.zone[plan], -1)[f.rows])
        pairs = int((per_zone * (per_zone - 1) // 2).sum())
        alone = (per_zone.max(axis=1, initial=0) == f.wanted) & (f.wanted >= 2)
        single = int(alone.sum()) if f.zones > 1 else 0
    live = (problem.held >= 0) & np.append(problem.live, False)[problem.held]
    stays = live & (problem.held[:, :, None] == plan[:, None, :]).any(axis=2)
    first = live & (problem.held == problem.held_primary[:, None])
    kept = (first & stays).any(axis=1)
    if problem.primaries == Primaries.PROMOTION and plan.shape[1]:
        kept &= plan[:, 0] == problem.held_primary
    ranks = np.zeros(len(problem.limit), dtype=np.int64)
    drainers = np.flatnonzero(problem.live & problem.draining)
    ranks[drainers[np.argsort(-problem.age[drainers], kind="stable")]] = np.arange(1, len(drainers) + 1)
    out = dict.fromkeys(LEVELS, 0)
    out["given-up"] = int(np.maximum(0, f.right - placed[f.rows]).sum())
    out["placed"] = int(placed.sum())
    out["shortage"] = int((placed * (placed + 1) // 2).sum())
    out["misplaced"] = int(load[problem.draining].sum())
    out["single-zone"], out["balance"], out["zone-pairs"] = single, balance, pairs
    out["moves"] = int(placed.sum() - stays.sum())
    out["draining-age"] = int((load * ranks).sum())
    out["primaries-moved"] = int((first.any(axis=1) & ~kept).sum())
    return out


def zone_counts(zones: Int64) -> Int64:
    """Shape (k, z): how often each zone is in a row of `zones` (k, v); -1 counts for nothing."""
    size = int(zones.max(initial=0)) + 1
    row, column = np.nonzero(zones >= 0)
    flat = np.bincount(row * size + zones[row, column], minlength=len(zones) * size)
    return flat.reshape(len(zones), size)


def broken(problem: Problem, plan: Int32) -> list[str]:
    """The hard rules that a plan breaks, for people; empty where it breaks none."""
    out = []
    on = plan >= 0
    if len(plan) != len(problem.replicas) or plan.max(initial=-1) >= len(problem.limit):
        return [SHAPELESS]
    able = problem.live & (problem.limit > 0)
    if not able[plan[on]].all():
        out.append("an entry is on a Member that is not live or has limit 0")
    above = np.bincount(plan[on], minlength=len(problem.limit)) - problem.limit
    if (above[able] > 0).any():
        out.append(f"{int((above[able] > 0).sum())} Members are above their limit, by {int(above.max())}")
    ordered = np.sort(plan, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        out.append("an Item is twice on a Member")
    if (on.sum(axis=1) > np.minimum(problem.replicas, able.sum())).any():
        out.append("an Item has more than it wants")
    if (on[:, 1:] & ~on[:, :-1]).any():
        out.append("padding is not at the end of a row")
    if problem.zones == Zones.REQUIRE and len(plan):
        most = zone_counts(np.where(on, problem.zone[plan], -1)).max(axis=1, initial=0)
        if ((problem.replicas >= 2) & (most >= problem.replicas)).any():
            out.append("an Item is wholly in one zone where Require forbids it")
    return out
