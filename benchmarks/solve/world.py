"""Instances and the events that happen to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from berth.solve import Problem, Solution, Touched, keys, solve

Rows = np.ndarray


def rows(*values: int) -> Rows:
    return np.array(values, dtype=np.int32)


@dataclass
class World:
    """A Problem, the last plan for it, and what was touched since."""

    problem: Problem
    solution: Solution | None = None
    items: list[Rows] = field(default_factory=list)
    members: list[Rows] = field(default_factory=list)

    def touch(self, items: Rows | None = None, members: Rows | None = None) -> None:
        if items is not None:
            self.items.append(np.asarray(items, dtype=np.int32))
        if members is not None:
            self.members.append(np.asarray(members, dtype=np.int32))

    def solve(self) -> float:
        """Solve after what was touched; returns the seconds that it took."""
        empty = [rows()]
        touched = Touched(np.concatenate(self.items or empty), np.concatenate(self.members or empty))
        begun = perf_counter()
        self.solution = solve(self.problem, self.solution, touched)
        seconds = perf_counter() - begun
        self.items, self.members = [], []
        return seconds

    def apply(self) -> None:
        """The plan comes true."""
        assert self.solution is not None
        changed = self.solution.changed
        which = np.arange(len(self.problem.replicas)) if changed is None else changed
        width = self.problem.held.shape[1]
        plan = self.solution.members[which][:, :width]
        self.problem.held[which] = -1
        self.problem.held[which, : plan.shape[1]] = plan
        self.problem.held_primary[which] = self.solution.primary[which]
        self.touch(items=which)

    def settle(self) -> None:
        """Apply the plan, let the solver see it, and let it find nothing more to do."""
        self.apply()
        self.solve()

    # ---- events -------------------------------------------------------------------------------

    def lose(self, members: Rows) -> None:
        self.problem.live[members] = False
        self.touch(members=members)

    def join(self, members: Rows) -> None:
        self.problem.live[members] = True
        self.touch(members=members)

    def ask(self, items: Rows, replicas: int | Rows) -> None:
        self.problem.replicas[items] = replicas
        self.touch(items=items)


def world(
    items: int,
    members: int,
    *,
    replicas: int = 3,
    zones: tuple[int, ...] = (3, 2),
    skew: int = 1,
    spare_items: int = 0,
    spare_members: int = 0,
    load: float = 0.67,
) -> World:
    """`items` Items on `members` Members, none placed; rows to spare are not there yet.

    `zones` are the shares of the Members in each zone; `skew` the ratio of the largest limit to
    the smallest; `load` the share of all limits that is wanted.
    """
    n, m = items + spare_items, members + spare_members
    rng = np.random.default_rng(1)
    parts = np.repeat(np.arange(len(zones)), zones)
    weight = np.ones(m) if skew == 1 else rng.integers(1, skew + 1, m).astype(float)
    wanted = items * replicas
    limit = np.ceil(weight * wanted / load / weight[:members].sum()).astype(np.int32)
    asked = np.full(n, replicas, dtype=np.int32)
    asked[items:] = 0
    live = np.ones(m, dtype=np.bool_)
    live[members:] = False
    problem = Problem(
        item_key=keys(f"item-{row}" for row in range(n)),
        replicas=asked,
        held=np.full((n, max(replicas, 1)), -1, dtype=np.int32),
        held_primary=np.full(n, -1, dtype=np.int32),
        member_key=keys(f"member-{row}" for row in range(m)),
        limit=limit,
        zone=parts[np.arange(m) % len(parts)].astype(np.int32),
        live=live,
        draining=np.zeros(m, dtype=np.bool_),
        age=np.arange(m, dtype=np.int64),
    )
    return World(problem)
