"""The exact engine: every Item in the network, all ten levels by OR-tools."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter

import numpy as np

from berth.solve.groups import deal, identical, rotate
from berth.solve.incremental import begin, solution, write
from berth.solve.index import Index
from berth.solve.levels import evaluate
from berth.solve.network import solve_groups
from berth.solve.primaries import arrange, slots_held
from berth.solve.problem import Problem, Proof, Solution
from berth.solve.repair import Repaired
from berth.solve.scatter import scatter


def place_all(problem: Problem, index: Index, arcs: int) -> Repaired | None:
    """Place every Item, least in all ten levels; None where the network has more than `arcs` arcs.

    The proof's bounds are the network's optimum, which the placement meets.
    """
    low, high = index.band(problem)
    fleet = replace(index.fleet, low=low, high=high)
    rows = np.flatnonzero(index.want_rows(np.arange(index.items)) > 0)
    groups, inverse = identical(problem, fleet, rows)
    if len(groups.size) * len(fleet.rows) > arcs:
        return None
    outcome = solve_groups(problem, groups, fleet)
    dealt = deal(problem, fleet, rows, inverse, outcome)
    dealt = rotate(dealt, np.lexsort((problem.item_key[rows], inverse)))
    if len(fleet.rows):
        new = (slots_held(problem, rows, dealt) == problem.held.shape[1]) & (dealt >= 0)
        dealt = scatter(dealt, new, problem.zone, problem.item_key[rows])
    dealt = arrange(problem, rows, dealt, ranks=index.ranks, hint=dealt[:, 0])
    members = np.full((index.items, max(dealt.shape[1], 1)), -1, dtype=np.int32)
    members[rows, : dealt.shape[1]] = dealt
    # Primaries that no placement can keep (of Items that want nothing, on Members with limit 0).
    lost = index.live_primaries(np.flatnonzero(problem.live)) - int((groups.primary * groups.count).sum())
    bounds = (*outcome.levels[:-1], outcome.levels[-1] + lost)
    reached = evaluate(problem, members, members[:, 0])
    return Repaired(np.arange(index.items), members, Proof(reached, bounds))


def solve_exact(problem: Problem, why: str = "asked for") -> Solution:
    """The answer of the exact engine alone, whatever the size."""
    begun = perf_counter()
    state = begin(problem)
    repaired = place_all(problem, state.index, 2**62)
    assert repaired is not None
    write(state, state.deviating, repaired)
    return solution(state, len(problem.replicas), repaired.proof, "exact", why, None, begun)
