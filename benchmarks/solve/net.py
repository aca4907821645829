"""Min-cost flows whose levels are optimised one after the other, without weights."""

from __future__ import annotations

import numpy as np
from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

from berth.solve.model import Int64


class Net:
    """A flow network whose levels are optimised one after the other."""

    def __init__(self) -> None:
        self._parts: list[Int64] = []
        self._costs: dict[str, list[tuple[slice, Int64]]] = {}
        self._size = 0

    def add(self, tail: object, head: object, cap: object, low: object = 0, **costs: object) -> slice:
        """Add arcs (arrays or numbers, broadcast); `costs` are theirs by level. Returns where they are."""
        columns = np.broadcast_arrays(*(np.asarray(x, dtype=np.int64) for x in (tail, head, cap, low)))
        part = np.stack([column.ravel() for column in columns])
        where = slice(self._size, self._size + part.shape[1])
        self._size = where.stop
        self._parts.append(part)
        for name, cost in costs.items():
            vector = np.broadcast_to(np.asarray(cost, dtype=np.int64), (part.shape[1],))
            self._costs.setdefault(name, []).append((where, vector))
        return where

    def ready(self, supply: dict[int, int]) -> None:
        """All arcs are there; `supply` by node, the sink's negative."""
        self.tail, self.head, self.cap, self.low = np.concatenate(self._parts, axis=1)
        self.full = self.cap.copy()
        self.nodes = int(max(self.tail.max(), self.head.max())) + 1
        self.supply = np.zeros(self.nodes, dtype=np.int64)
        for node, units in supply.items():
            self.supply[node] = units

    def solve(self, name: str, *, fix: bool = True) -> int:
        """The least cost of the level; with `fix` only flows that reach it remain possible.

        Raises ArithmeticError where nothing flows at all.
        """
        cost = np.zeros(self._size, dtype=np.int64)
        for where, vector in self._costs.get(name, ()):
            cost[where] = vector
        if not cost.any():
            return 0
        supply = self.supply.copy()
        np.subtract.at(supply, self.tail, self.low)
        np.add.at(supply, self.head, self.low)
        engine = SimpleMinCostFlow()
        use = np.flatnonzero(self.cap > self.low)
        arcs = engine.add_arcs_with_capacity_and_unit_cost(
            self.tail[use].astype(np.int32),
            self.head[use].astype(np.int32),
            (self.cap - self.low)[use],
            cost[use],
        )
        engine.set_nodes_supplies(np.arange(self.nodes, dtype=np.int32), supply)
        status = engine.solve()
        if status != engine.OPTIMAL:
            raise ArithmeticError(f"no flow for {name}: {status}")
        flow = self.low.copy()
        flow[use] += np.asarray(engine.flows(arcs))
        if fix:
            price = self._prices(cost, flow)
            reduced = cost + price[self.tail] - price[self.head]
            self.cap = np.where(reduced > 0, self.low, self.cap)
            self.low = np.where(reduced < 0, self.cap, self.low)
        return int(cost @ flow)

    def _prices(self, cost: Int64, flow: Int64) -> Int64:
        """Shape (nodes,): shortest distances in what the flow leaves; there are no negative circles."""
        more, less = flow < self.cap, flow > self.low
        start = np.concatenate([self.tail[more], self.head[less]])
        end = np.concatenate([self.head[more], self.tail[less]])
        length = np.concatenate([cost[more], -cost[less]])
        order = np.argsort(end, kind="stable")
        start, end, length = start[order], end[order], length[order]
        first = np.flatnonzero(np.diff(end, prepend=-1))
        price = np.zeros(self.nodes, dtype=np.int64)
        for _ in range(self.nodes + 1):
            best = np.minimum(price[end[first]], np.minimum.reduceat(price[start] + length, first))
            if np.array_equal(best, price[end[first]]):
                return price
            price[end[first]] = best
        raise ArithmeticError("the flow is not the cheapest")
