"""`solve`: the one entrance to the engines."""

from __future__ import annotations

from berth.solve.exact import solve_exact
from berth.solve.problem import Problem, Solution, Touched


def solve(problem: Problem, previous: Solution | None = None, touched: Touched | None = None) -> Solution:
    """Where each Item should be: least in all ten levels of the objective.

    The plan depends on the problem alone: `previous` (an answer for an earlier state of the same
    arrays) and `touched` (the rows that changed since) only save work.
    """
    del previous, touched
    return solve_exact(problem, why="the only engine")
