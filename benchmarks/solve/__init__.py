"""The solver on hard fleets: time, moves and proofs, judged, beside OR-tools and Gazette in the same run."""
