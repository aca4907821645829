"""Where each Item should be: the placement problem as arrays, solved exactly. Knows no Kubernetes."""

from berth.solve.problem import LEVELS, Primaries, Problem, Proof, Solution, Touched, Zones

__all__ = ["LEVELS", "Primaries", "Problem", "Proof", "Solution", "Touched", "Zones"]
