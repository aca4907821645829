"""Answer a Problem: the pooled method, then the exact network if the pooled plan is not proven optimal.

Small networks decide how many entries go where, and array operations carry it out (`_pooled` has the
steps). The certificate computes the value of each level: the plan is optimal if each meets its bound.
"""

from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from berth.solve.arrays import entries, widened
from berth.solve.certify import certify
from berth.solve.deal import Deal
from berth.solve.exact import Placement, exact
from berth.solve.flow import NoFlowError, TooLargeError
from berth.solve.leave import leave
from berth.solve.model import LEVELS, Int32, Primaries, Problem, Proof, Solution, minor
from berth.solve.moves import drop_surplus, least_moves
from berth.solve.primaries import arrange
from berth.solve.repair import repair
from berth.solve.state import State
from berth.solve.tuning import DEFAULT, Tuning
from berth.solve.work import Work


def thorough(problem: Problem, tuning: Tuning = DEFAULT) -> Solution:
    """The best plan that the engines can find, without a budget of time (that is the concern of `Solver`)."""
    return answer(State(problem, tuning), quick=False)


def certified(problem: Problem, members: Int32, bounds: Mapping[str, int], engine: str, why: str) -> Solution:
    """A plan with its certificate. Neither the plan nor the bounds need to be trusted."""
    found = certify(problem, members, bounds)
    bounds = bounds if found.faults else {name: int(bounds[name]) for name in LEVELS}
    return Solution(members, Proof(found.reached, bounds), engine, why, faults=found.faults)


def answer(state: State, *, quick: bool) -> Solution:
    """The best plan that the engines can find; with `quick`, TooLargeError if it may take long."""
    tuning, found, level, why = state.tuning, None, LEVELS[0], "no plan meets the pooled bounds"
    with suppress(NoFlowError):
        found = _finish(state, _pooled(Work(state, quick)), "pooled", "")
        if found.proof.first_open is None:
            return found
        level = found.proof.first_open
        why = f"the pooled plan does not meet the bound of {level}"
        if minor(level) and len(state.at) > tuning.quick_items:
            return found
    # A plan that is nearly optimal is worth a small network, but not a large one.
    limit = tuning.quick_exact_arcs if quick or minor(level) else tuning.exact_arcs
    if found is not None and level == "moves":
        limit = min(limit, tuning.close_exact_arcs)
    work = Work(state, quick)
    try:
        try:
            placement = exact(work, limit, whole=False)
        except NoFlowError:  # no plan lies in the intervals: solve the network with all levels
            placement = exact(work, limit, whole=True)
    except TooLargeError:
        if found is None or (quick and not minor(level)):
            raise
        return found
    return _finish(state, placement, "exact", why)


def _pooled(work: Work) -> Placement:
    """The pooled plan for the Items of the deal; all others stay."""
    tuning = work.tuning
    needed = work.intervals.placed - int(np.minimum(work.load, work.intervals.load_high).sum())
    surplus = int(work.kinds.count @ np.maximum(0, work.kinds.spread - work.kinds.area_high).sum(axis=1))
    _limit(work, "moves", max(needed, surplus), tuning.quick_moves)
    known, moves = drop_surplus(work), least_moves(work)
    bounds = work.intervals.bounds | (known or moves.bounds)
    _limit(work, "moves", bounds["moves"], tuning.quick_moves)
    deal = Deal(work, moves)
    _limit(work, "Items", len(deal.rows), tuning.quick_items)
    leave(deal)
    deal.swap()
    deal.seat(*deal.seek())
    repair(deal, moves.bounds["moves"])
    return Placement(deal.rows[deal.changed], deal.at[deal.changed], bounds)


def _limit(work: Work, what: str, count: int, limit: int) -> None:
    if not work.wide and count > limit:
        raise TooLargeError(f"the plan has {count} {what}, the limit is {limit}")


def _finish(state: State, placement: Placement, engine: str, why: str) -> Solution:
    """The certified plan of a placement, in the Problem's rows and in slot order."""
    problem, width = state.problem, max(1, state.stays.shape[1], placement.at.shape[1])
    then = widened(placement.at, width)
    changed = np.asfortranarray(then != widened(state.at.take(placement.rows, axis=0), width)).any(axis=1)
    rows, out = placement.rows[changed], widened(state.stays, width).copy("K")
    out[rows] = np.append(state.row, -1)[then[changed]]
    # Items that did not change keep their slots.
    open_ = (out[:, 0] >= 0) & ((state.lead < 0) | (problem.primaries == Primaries.ACTIVE))
    open_[rows] = True
    some = np.flatnonzero(open_)
    counts = state.firsts - entries(state.stays[some, 0], len(problem.limit))
    out[some] = arrange(problem, some, out[some], counts)
    return certified(problem, out, placement.bounds, engine, why)
