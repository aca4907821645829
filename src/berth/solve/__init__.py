"""Where each Item should be: the placement problem as arrays, solved exactly. Knows no Kubernetes."""

import numpy.ma  # noqa: F401 - np.unique loads it when first called: 40 ms of the first plan

from berth.solve.engine import solve
from berth.solve.keys import keys
from berth.solve.levels import evaluate, violations
from berth.solve.problem import LEVELS, Primaries, Problem, Proof, Solution, Touched, Zones
from berth.solve.reasons import Reason, reasons
from berth.solve.shares import Bands, bands, placeable, wanted

__all__ = [
    "LEVELS",
    "Bands",
    "Primaries",
    "Problem",
    "Proof",
    "Reason",
    "Solution",
    "Touched",
    "Zones",
    "bands",
    "evaluate",
    "keys",
    "placeable",
    "reasons",
    "solve",
    "violations",
    "wanted",
]
