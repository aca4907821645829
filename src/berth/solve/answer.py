"""One answer to a Problem: the pooled way, and the exact network where that is not the best.

    intervals ──> what must go is gone ──> least moves ──> deal ──> repair ──> certificate ──> exact
     (levels         (certain in            (bound on      (by     (what does    (is each       (where
      1 to 7)         every plan)            8 to 10)      lot)     not fit)     bound met?)     not)

Small networks decide, arrays carry it out. Whether the plan is the best shows when the certificate
has counted it: each level against its bound.
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
    """The best answer that can be had, whatever it takes (see `apart`)."""
    return answer(State(problem, tuning), quick=False)


def certified(problem: Problem, members: Int32, bounds: Mapping[str, int], engine: str, why: str) -> Solution:
    """A plan with what the certificate says of it; nothing of it has to be trusted."""
    found = certify(problem, members, bounds)
    if not found.faults:
        bounds = {name: int(bounds[name]) for name in LEVELS}
    return Solution(members, Proof(found.reached, bounds), engine, why, faults=found.faults)


def answer(state: State, *, quick: bool) -> Solution:
    """The best answer that can be had; with `quick` TooLargeError is raised where it may take long."""
    tuning, found, level, why = state.tuning, None, LEVELS[0], "no plan can lie in the intervals"
    with suppress(NoFlowError):
        found = _finish(state, _pooled(Work(state, quick)), "pooled", "")
        if found.proof.first_open is None:
            return found
        level = found.proof.first_open
        why = f"the pooled plan leaves {level} open"
        if minor(level) and len(state.at) > tuning.quick_items:
            return found
    # Where it is nearly the best: worth a small network, not a large one.
    limit = tuning.quick_exact_arcs if quick or minor(level) else tuning.exact_arcs
    if found is not None and level == "moves":
        limit = min(limit, tuning.close_exact_arcs)
    for whole in (False, True):
        try:
            placement = exact(Work(state, quick), limit, whole)
        except NoFlowError:
            continue  # the intervals promise what no plan can keep: all levels have to be in the network
        except TooLargeError:
            if found is None or (quick and not minor(level)):
                raise
            return found
        best = _finish(state, placement, "exact", why)
        if whole or best.proof.first_open is None:
            return best
    raise NoFlowError("the exact network has no flow")


def _pooled(work: Work) -> Placement:
    """The plan for the Items that the dealing looked at; the others stay."""
    tuning = work.tuning
    work.empty_members()
    known, moves = drop_surplus(work), least_moves(work)
    bounds = work.intervals.bounds | (known or moves.bounds)
    if work.quick and bounds["moves"] > tuning.quick_moves:
        raise TooLargeError(f"{bounds['moves']} moves")
    deals: list[tuple[int, Deal]] = []
    for wide in (False, True):  # few Items may not be enough choice: then all are looked at
        deal = Deal(work, moves, wide)
        if work.quick and len(deal.rows) > tuning.quick_items:
            raise TooLargeError(f"{len(deal.rows)} Items")
        leave(deal)
        deal.run()
        deals.append((repair(deal, moves.bounds["moves"]), deal))
        if not deals[-1][0] or 2 * len(deal.rows) > len(work.state.at):
            break
    deal = min(deals, key=lambda one: one[0])[1]
    return Placement(deal.rows, deal.at, bounds)


def _finish(state: State, placement: Placement, engine: str, why: str) -> Solution:
    """The placement in the Problem's rows and in slot order, with primaries, and certified."""
    problem, width = state.problem, max(1, state.stays.shape[1], placement.at.shape[1])
    then = widened(placement.at, width)
    changed = (then != widened(state.at[placement.rows], width)).any(axis=1)
    rows, out = placement.rows[changed], widened(state.stays, width).copy()
    out[rows] = np.append(state.row, -1)[then[changed]]
    # Where nothing changed the slots stay, too.
    open_ = state.headless | ((problem.primaries == Primaries.ACTIVE) & (out[:, 0] >= 0))
    open_[rows] = True
    some = np.flatnonzero(open_)
    counts = entries(out[:, 0], len(problem.limit)) - entries(out[some, 0], len(problem.limit))
    out[some] = arrange(problem, some, out[some], counts, state.tuning)
    return certified(problem, out, placement.bounds, engine, why)
