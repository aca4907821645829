"""One answer to a Problem: the pooled way, and the exact network where that is not the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from berth.solve.certify import certify
from berth.solve.exact import Placement, exact
from berth.solve.flow import NoFlow, TooLarge
from berth.solve.model import LEVELS, Int32, Primaries, Problem
from berth.solve.pooled import pooled
from berth.solve.primaries import arrange
from berth.solve.state import State
from berth.solve.tuning import DEFAULT, Tuning
from berth.solve.work import Work


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine says. Nobody believes it before it is certified."""

    members: Int32
    bounds: dict[str, int]
    engine: str
    why: str


def thorough(problem: Problem, tuning: Tuning = DEFAULT) -> Answer:
    """The best answer that can be had, whatever it takes (see `apart`)."""
    return answer(problem, State(problem, tuning), tuning, quick=False)


def answer(problem: Problem, state: State, tuning: Tuning, *, quick: bool) -> Answer:
    """The best answer that can be had; with `quick` TooLarge is raised where it may take long."""
    found: Answer | None = None
    limit = tuning.quick_exact_arcs if quick else tuning.exact_arcs
    try:
        placement = pooled(Work(problem, state, tuning, quick))
        found = _finish(problem, state, placement, tuning, "pooled", "every interval met")
        level = _first_open(problem, found)
        if level is None:
            return found
        why = f"the pooled plan leaves {level} open"
        if LEVELS.index(level) > LEVELS.index("moves"):
            # Nearly the best: worth a small network, not a large one.
            limit = tuning.quick_exact_arcs
    except NoFlow:
        why = "no plan can lie in the intervals"
    for whole in (False, True):
        try:
            placement = exact(Work(problem, state, tuning, quick), limit, whole)
        except NoFlow:
            why = "no plan can lie in the intervals"
            continue
        except TooLarge as large:
            if found is None or quick and LEVELS.index(level or "moves") <= LEVELS.index("moves"):
                raise
            return Answer(found.members, found.bounds, found.engine, f"{why}; {large} is too large")
        best = _finish(problem, state, placement, tuning, "exact", why)
        if whole or _first_open(problem, best) is None:
            return best
    raise NoFlow("the exact network has no flow")


def _first_open(problem: Problem, found: Answer) -> str | None:
    """The first level that the answer does not prove to be the best."""
    reached = certify(problem, found.members).reached
    return next((name for name in LEVELS if reached[name] != found.bounds[name]), None)


def _finish(
    problem: Problem, state: State, placement: Placement, tuning: Tuning, engine: str, why: str
) -> Answer:
    """The placement in the Problem's rows and in slot order, with primaries."""
    rows, at = placement.rows, placement.at
    now = state.at[rows]
    shared = min(now.shape[1], at.shape[1])
    changed = (at[:, :shared] != now[:, :shared]).any(axis=1)
    changed |= (at[:, shared:] >= 0).any(axis=1) | (now[:, shared:] >= 0).any(axis=1)
    out = np.full((len(problem.replicas), max(state.stays.shape[1], at.shape[1])), -1, np.int32)
    out[:, : state.stays.shape[1]] = state.stays[: len(out)]
    rows = rows[changed]
    out[rows] = -1
    row_of = np.append(state.row, -1).astype(np.int32)
    out[rows[:, None], np.arange(at.shape[1])] = row_of[at[changed]]
    again = state.headless.copy()
    again[rows] = True
    if problem.primaries == Primaries.ACTIVE:
        again |= out[:, 0] >= 0
    others = out[~again, 0]
    counts = np.bincount(others[others >= 0], minlength=len(problem.limit)).astype(np.int64)
    some = np.flatnonzero(again)
    out[some] = arrange(problem, some, out[some], counts, tuning)
    return Answer(out, placement.bounds, engine, why)
