"""The exact engine: every Item in the network, all ten levels by OR-tools."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from berth.solve.groups import deal, identical
from berth.solve.levels import evaluate
from berth.solve.network import fleet, solve_groups
from berth.solve.primaries import arrange
from berth.solve.problem import Problem, Proof, Solution
from berth.solve.shares import held_live, wanted


def solve_exact(problem: Problem, why: str = "asked for") -> Solution:
    """Place every Item, least in all ten levels. The proof's bounds are the network's optimum."""
    begun = perf_counter()
    want = wanted(problem)
    view = fleet(problem, int(want.sum(dtype=np.int64)))
    rows = np.flatnonzero(want > 0)
    groups, inverse = identical(problem, view, rows)
    outcome = solve_groups(problem, groups, view)
    members = np.full((len(want), max(int(want.max(initial=0)), 1)), -1, dtype=np.int32)
    dealt = arrange(problem, rows, deal(problem, view, rows, inverse, outcome))
    members[rows, : dealt.shape[1]] = dealt
    primary = members[:, 0].copy()
    # Primaries that no placement can keep (of Items that want nothing, on Members with limit 0).
    live = held_live(problem)
    there = live & (problem.held == problem.held_primary[:, None])
    lost = int(there.any(axis=1).sum()) - int((groups.primary * groups.count).sum())
    bounds = (*outcome.levels[:-1], outcome.levels[-1] + lost)
    return Solution(
        members=members,
        primary=primary,
        proof=Proof(reached=evaluate(problem, members, primary), bounds=bounds),
        engine="exact",
        why=why,
        seconds=perf_counter() - begun,
    )
