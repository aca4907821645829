"""One answer to a Problem: the pooled way, and the exact network where that is not the best.

    intervals ──> what must go is gone ──> least moves ──> deal ──> repair ──> certificate ──> exact
     (levels         (certain in            (bound on      (by     (what does    (is each       (where
      1 to 7)         every plan)            8 to 10)      lot)     not fit)     bound met?)     not)

Small networks decide, arrays carry it out. Whether the plan is the best shows when the certificate
has counted it: each level against its bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from berth.solve.certify import Certificate, certify
from berth.solve.deal import Deal
from berth.solve.exact import Placement, exact
from berth.solve.flow import NoFlowError, TooLargeError
from berth.solve.model import LEVELS, Int32, Primaries, Problem, minor
from berth.solve.moves import drop_surplus, least_moves
from berth.solve.primaries import arrange
from berth.solve.repair import repair
from berth.solve.state import State
from berth.solve.tuning import DEFAULT, Tuning
from berth.solve.work import Work


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine says, with its own certificate; another process's is certified again."""

    members: Int32
    bounds: dict[str, int]
    engine: str
    why: str
    certificate: Certificate

    @property
    def first_open(self) -> str | None:
        """The first level that is not proven to be the best."""
        reached = self.certificate.reached
        return next((name for name in LEVELS if reached[name] != self.bounds[name]), None)


def thorough(problem: Problem, tuning: Tuning = DEFAULT) -> Answer:
    """The best answer that can be had, whatever it takes (see `apart`)."""
    return answer(problem, State(problem, tuning), tuning, quick=False)


def answer(problem: Problem, state: State, tuning: Tuning, *, quick: bool) -> Answer:
    """The best answer that can be had; with `quick` TooLargeError is raised where it may take long."""
    found: Answer | None = None
    limit = tuning.quick_exact_arcs if quick else tuning.exact_arcs
    try:
        found = _finish(problem, state, _pooled(Work(problem, state, tuning, quick)), tuning, "pooled", "")
        level = found.first_open
        if level is None:
            return found
        why = f"the pooled plan leaves {level} open"
        if minor(level):  # nearly the best: worth a small network, not a large one
            limit = tuning.quick_exact_arcs
    except NoFlowError:
        level, why = LEVELS[0], "no plan can lie in the intervals"
    for whole in (False, True):
        try:
            placement = exact(Work(problem, state, tuning, quick), limit, whole)
        except NoFlowError:
            continue  # the intervals promise what no plan can keep: all levels have to be in the network
        except TooLargeError:
            if found is None or (quick and not minor(level)):
                raise
            return found
        best = _finish(problem, state, placement, tuning, "exact", why)
        if whole or best.first_open is None:
            return best
    raise NoFlowError("the exact network has no flow")


def _pooled(work: Work) -> Placement:
    """The plan for the Items that the dealing looked at; the others stay."""
    tuning = work.tuning
    work.empty_members()
    known = drop_surplus(work)
    moves = least_moves(work)
    bounds = work.intervals.bounds | (known or moves.bounds)
    if work.quick and bounds["moves"] > tuning.quick_moves:
        raise TooLargeError(f"{bounds['moves']} moves")
    for wide in (False, True):  # few Items may not be enough choice: then all are looked at
        deal = Deal(work, moves, wide)
        if work.quick and len(deal.rows) > tuning.quick_items:
            raise TooLargeError(f"{len(deal.rows)} Items")
        deal.run()
        repair(deal, moves.bounds["moves"])
        fits = deal.loads_fit() and not deal.misfits().any()
        if (fits and deal.moved() <= moves.bounds["moves"]) or 2 * len(deal.rows) > len(work.state.at):
            break
    return Placement(deal.rows, deal.at, bounds)


def _finish(
    problem: Problem, state: State, placement: Placement, tuning: Tuning, engine: str, why: str
) -> Answer:
    """The placement in the Problem's rows and in slot order, with primaries, and certified."""
    rows, at = placement.rows, placement.at
    width = max(1, state.stays.shape[1], at.shape[1])
    now = np.full((len(rows), width), -1)
    now[:, : state.at.shape[1]] = state.at[rows]
    then = np.full((len(rows), width), -1)
    then[:, : at.shape[1]] = at
    changed = (then != now).any(axis=1)
    out = np.full((len(problem.replicas), width), -1, np.int32)
    out[:, : state.stays.shape[1]] = state.stays[: len(out)]
    out[rows[changed]] = np.append(state.row, -1)[then[changed]]
    again = state.headless | (out[:, 0] >= 0 if problem.primaries == Primaries.ACTIVE else False)
    again[rows[changed]] = True
    others = out[~again, 0]
    counts = np.bincount(others[others >= 0], minlength=len(problem.limit)).astype(np.int64)
    some = np.flatnonzero(again)
    out[some] = arrange(problem, some, out[some], counts, tuning)
    return Answer(out, placement.bounds, engine, why, certify(problem, out, placement.bounds))
