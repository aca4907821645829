"""A long chain of random single events in a running brain, each plan come true before the next."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from benchmarks.solve.families import SIZES, Size, hold, regular, touched
from benchmarks.solve.judge import judge
from berth.solve import Solver
from berth.solve.model import Problem, Touched

KINDS = (
    "Item added",
    "Item removed",
    "Item asks for more",
    "Item asks for less",
    "Member lost",
    "Member joins",
)
ODDS = (0.25, 0.2, 0.2, 0.2, 0.08, 0.07)


@dataclass
class Churn:
    kinds: list[str]
    seconds: list[float]
    proven: int
    """Events after which the solver proved all levels."""
    holds: int
    """Judged events (every hundredth and the last) in which the plan held all that it must."""
    judged: int

    def line(self) -> str:
        """What came of it, for people."""
        times = np.array(self.seconds) * 1000
        return (
            f"churn of {len(times):,} single events: median {np.median(times):.2f} ms, "
            f"99th percentile {np.quantile(times, 0.99):.1f} ms, worst {times.max(initial=0):.1f} ms, "
            f"proven {self.proven}, judged to hold {self.holds} of {self.judged}"
        )


def _happen(problem: Problem, kind: str, rng: np.random.Generator, members: int) -> Touched | None:
    """Let one event of the kind happen; None where there is none to have."""
    if kind.startswith("Item"):
        among = np.flatnonzero(
            {
                "Item added": problem.replicas == 0,
                "Item removed": problem.replicas > 0,
                "Item asks for more": (problem.replicas > 0) & (problem.replicas < 3),
                "Item asks for less": problem.replicas > 1,
            }[kind]
        )
        if not len(among):
            return None
        row = int(rng.choice(among))
        asked = int(problem.replicas[row])
        change = {"Item added": 3, "Item removed": 0, "Item asks for more": asked + 1}
        problem.replicas[row] = change.get(kind, asked - 1)
        return touched(items=[row])
    lost = kind == "Member lost"
    among = np.flatnonzero(problem.live == lost)
    if not len(among) or (lost and len(among) <= members * 0.95):
        return None
    row = int(rng.choice(among))
    problem.live[row] = not lost
    return touched(members=[row])


def churn(size: Size = SIZES["large"], events: int = 1000) -> Churn:
    """Solve after each of `events` random single events."""
    rng = np.random.default_rng(7)
    now, solver = regular(size), Solver()
    problem = now.problem
    solver.start()
    hold(problem, solver.solve(problem).members)
    solver.solve(problem)
    out = Churn([], [], 0, 0, 0)
    while len(out.kinds) < events:
        kind = str(rng.choice(KINDS, p=ODDS))
        what = _happen(problem, kind, rng, now.members)
        if what is None:
            continue
        begun = perf_counter()
        found = solver.solve(problem, what)
        out.seconds.append(perf_counter() - begun)
        out.kinds.append(kind)
        out.proven += found.optimal
        if len(out.kinds) % 100 == 0 or len(out.kinds) == events:
            out.judged += 1
            out.holds += judge(problem, found.members).holds
        rows = np.arange(len(problem.replicas)) if found.changed is None else found.changed
        width = min(problem.held.shape[1], found.members.shape[1])
        problem.held[rows] = -1
        problem.held[rows, :width] = found.members[rows, :width]
        problem.held_primary[rows] = problem.held[rows, 0]
        solver.solve(problem, touched(items=rows))
    solver.close()
    return out
