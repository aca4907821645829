"""The placement problem as arrays, and its exact solution. This package does not know Kubernetes."""

import numpy.ma  # noqa: F401 - np.unique imports it on its first call, which would delay the first plan by 40 ms

from berth.solve.arrays import keys
from berth.solve.engine import Pending, Solver, solve
from berth.solve.model import LEVELS, Primaries, Problem, Proof, Solution, Touched, Zones
from berth.solve.shares import bands, held_live, placeable, wanted
from berth.solve.tuning import Tuning

__all__ = [
    "LEVELS", "Pending", "Primaries", "Problem", "Proof", "Solution", "Solver", "Touched", "Tuning",
    "Zones", "bands", "held_live", "keys", "placeable", "solve", "wanted",
]  # fmt: skip
