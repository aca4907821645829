"""The churn trace: random single events in a row, each planned, applied and seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.solve.cases import sized
from benchmarks.solve.peer import solve_peer
from benchmarks.solve.world import World, rows
from berth.solve import evaluate

KINDS = (
    "Item added",
    "Item removed",
    "Item asks for more",
    "Item asks for less",
    "Member lost",
    "Member back",
)
ODDS = (0.30, 0.25, 0.15, 0.15, 0.08, 0.07)


@dataclass
class Churn:
    kinds: list[str]
    seconds: np.ndarray
    proven: int
    fast: int
    """Answered by the fast path alone."""
    checked: bool
    peer_seconds: float | None

    def of(self, kinds: tuple[str, ...] = KINDS) -> np.ndarray:
        return self.seconds[[kind in kinds for kind in self.kinds]]

    def record(self) -> dict[str, object]:
        single = self.of(KINDS[:4])
        return {
            "events": len(self.kinds),
            "median": float(np.median(self.seconds)),
            "p99": float(np.quantile(self.seconds, 0.99)),
            "item_median": float(np.median(single)),
            "item_p99": float(np.quantile(single, 0.99)),
            "proven": self.proven,
            "fast": self.fast,
            "checked": self.checked,
            "peer_seconds": self.peer_seconds,
        }


def happen(now: World, kind: str, rng: np.random.Generator, members: int) -> bool:
    """Let one event of the kind happen; False where there is none to have."""
    problem = now.problem
    if kind.startswith("Item"):
        wanted = {
            "Item added": problem.replicas == 0,
            "Item removed": problem.replicas > 0,
            "Item asks for more": (problem.replicas > 0) & (problem.replicas < 3),
            "Item asks for less": problem.replicas > 1,
        }[kind]
        among = np.flatnonzero(wanted)
        if not len(among):
            return False
        row = int(rng.choice(among))
        asked = int(problem.replicas[row])
        now.ask(
            rows(row), {"Item added": 3, "Item removed": 0}.get(kind, asked + (1 if "more" in kind else -1))
        )
        return True
    lost = kind == "Member lost"
    among = np.flatnonzero(problem.live == lost)
    if not len(among) or (lost and len(among) <= members * 0.95):
        return False
    row = rows(int(rng.choice(among)))
    now.lose(row) if lost else now.join(row)
    return True


def churn(items: int = 100_000, members: int = 1000, events: int = 1000, *, peer: bool = True) -> Churn:
    """Solve after each of `events` random single events; the peer solves the last instance, cold."""
    rng = np.random.default_rng(7)
    now = sized(items, members)
    now.solve()
    now.settle()
    now.apply()
    kinds, seconds, proven, fast = [], [], 0, 0
    while len(kinds) < events:
        kind = str(rng.choice(KINDS, p=ODDS))
        if not happen(now, kind, rng, members):
            continue
        seconds.append(now.solve())
        kinds.append(kind)
        assert now.solution is not None
        proven += now.solution.optimal
        fast += "every bound met" in now.solution.why
        now.apply()
    assert now.solution is not None
    # The plan has come true: nothing moves and no primary changes, all else is as it was proven.
    now.solve()
    reached = evaluate(now.problem, now.solution.members, now.solution.primary)
    checked = reached == now.solution.proof.reached and reached[7] == 0
    other = solve_peer(now.problem).seconds if peer else None
    return Churn(kinds, np.array(seconds), proven, fast, checked, other)
