"""The solver's benchmark: seconds, moves and proofs, each against OR-tools in the same run."""
