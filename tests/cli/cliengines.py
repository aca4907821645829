"""Engines for the solver's other process, and what they do wrong."""

import os
import time
from dataclasses import replace
from typing import Any

import numpy as np

from berth.child_process import ChildProcess
from berth.solve import Problem, Solution, Solver, Tuning
from berth.solve.answer import thorough

EVERYTHING = Tuning(quick_moves=-1, quick_items=-1, quick_arcs=-1, seconds=1.0)
"""Nothing is quick, so that the other process is asked."""


def solver(name: str, tuning: Tuning = EVERYTHING, **options: Any) -> Solver:
    """A solver that asks the engine of this name."""
    return Solver(tuning, process=ChildProcess(f"cliengines:{name}", tuning, memory=tuning.memory), **options)


def slow(problem: Problem, tuning: Tuning) -> Solution:
    time.sleep(0.5)
    return thorough(problem, tuning)


def hangs(problem: Problem, tuning: Tuning) -> None:
    time.sleep(600)


def dies(problem: Problem, tuning: Tuning) -> None:
    os.kill(os.getpid(), 9)


def rubbish(problem: Problem, tuning: Tuning) -> Any:
    return "rubbish"


def crowds(problem: Problem, tuning: Tuning) -> Solution:
    """Places everything on the first Member, however little it may hold."""
    found = thorough(problem, tuning)
    members = np.full_like(found.members, -1)
    members[:, 0] = 0
    return replace(found, members=members)
