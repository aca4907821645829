"""`solve`: the one entrance to the engines.

The fast path answers where every level reaches its own bound; where it does not, the relaxation
with an exact part; where these do not meet, the exact engine. Which of them answers depends on the
problem alone.
"""

from __future__ import annotations

from time import perf_counter

from berth.solve.active import share_primaries
from berth.solve.exact import place_all
from berth.solve.incremental import advance, solution, write
from berth.solve.index import Index
from berth.solve.problem import Primaries, Problem, Solution, Touched
from berth.solve.relax import relax
from berth.solve.repair import Open, Repaired, repair

ARCS = 1_500_000
"""Networks with more arcs are not given to the exact engine: they would take minutes and gigabytes."""
COLD_ARCS = 400_000
"""The same where most Items are new: these are groups of like Items, whatever their number."""


def solve(problem: Problem, previous: Solution | None = None, touched: Touched | None = None) -> Solution:
    """Where each Item should be: least in all ten levels of the objective.

    `previous` is an answer for an earlier state of the same arrays and `touched` the rows that
    changed since; they save work and change nothing: the plan depends on the problem alone, on
    keys and not on the order of rows. Arrays may have grown by rows in between. Without them, or
    with a `previous` that another solve has followed already, everything is read again.

    The `members` and `primary` of the answer are the arrays of `previous`, changed in place: who
    needs the old plan copies it. `changed` names every row that differs from it.

    Never raises for a Problem of the documented form; an answer that is not proven to be best
    (a problem beyond all engines) has `optimal` False.
    """
    begun = perf_counter()
    state, rows = advance(problem, previous, touched)
    repaired, engine, why = _answer(problem, state.index)
    if problem.primaries == Primaries.ACTIVE:
        repaired = share_primaries(problem, state.index, repaired)
    changed = write(state, rows, repaired)
    given = changed if previous is not None else None
    return solution(state, len(problem.replicas), repaired.proof, engine, why, given, begun)


def _answer(problem: Problem, index: Index) -> tuple[Repaired, str, str]:
    if _mostly_new(index):
        repaired = place_all(problem, index, COLD_ARCS)
        if repaired is not None:
            return repaired, "exact", "most Items are new: few kinds of Items, all in the network"
    try:
        repaired = repair(problem, index)
        return repaired, "incremental", f"{len(repaired.rows)} Items repaired, every bound met"
    except Open as first:
        why = str(first)
    best: Repaired | None = None
    try:
        best = relax(problem, index)
        if best.proof.optimal:
            return best, "incremental", f"relaxation met by {len(best.rows)} Items ({why})"
        why = f"{why}; the relaxation is not met"
    except Open as second:
        why = f"{why}; {second}"
    repaired = place_all(problem, index, ARCS)
    if repaired is not None:
        return repaired, "exact", why
    if best is None:
        best = relax(problem, index, coarse=True)
    return best, "incremental", f"{why}; not proven to be best: too large for the exact engine"


def _mostly_new(index: Index) -> bool:
    loose = index.loose
    new = (index.held_rows(loose) < 0).all(axis=1) & (index.want_rows(loose) > 0)
    return 2 * int(new.sum()) > index.items - int(index.by_replicas[0])
