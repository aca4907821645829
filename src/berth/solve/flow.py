"""Min-cost flow with costs in levels: an earlier level is worth more than all later ones together.

One weight per level would be the obvious way, but OR-tools multiplies costs by the number of nodes
within 64 bits. So as many levels as fit are weighed together and solved in one *stage*; then the
network is narrowed to its optimal flows, and the next levels are solved on what is left. By
complementary slackness a flow is optimal for given prices exactly when arcs of positive reduced
cost are empty and arcs of negative reduced cost full, so those arcs are fixed
(Ahuja, Magnanti, Orlin: Network Flows, 1993, section 9.4).

The same theorem makes the *intervals* that the whole solver rests on: what `Flow.low` and
`Flow.high` say of an arc holds for every optimal flow, and every flow within them is optimal.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from ortools.graph.python import min_cost_flow

from berth.solve.model import Int64

BUDGET = 2**60  # largest (weighed cost) × (nodes) given to OR-tools, with room to spare in 64 bits

Numbers = int | npt.NDArray[np.integer] | npt.NDArray[np.bool_]


class TooLargeError(RuntimeError):
    """A network would have more arcs than may be spent on it."""


class NoFlowError(RuntimeError):
    """No flow satisfies the network's bounds, or OR-tools did not find the one of least cost."""


class Flow(NamedTuple):
    """A flow of least cost in all levels; arrays of shape (arcs,)."""

    units: Int64  # what flows on each arc
    low: Int64  # the least and the most that the arc carries in any flow as good as this one
    high: Int64
    totals: Mapping[str, int]  # cost of this flow in each level


class Network:
    """A source, a sink, and nodes and arcs that are added in bulk; then `solve`.

    `levels` names the levels of cost, most important first; `limit` is the most arcs there may be.
    """

    def __init__(self, *levels: str, limit: int | None = None) -> None:
        self.levels, self.limit = levels, limit
        self.nodes = self.arcs = 0
        self._hubs: list[Int64] = []
        self._parts: list[Int64] = []
        self._costs: list[tuple[int, str, Int64]] = []
        self.source, self.sink = self.add_nodes(2, hub=True).tolist()

    def add_nodes(self, count: int, hub: bool = False) -> Int64:
        """Number `count` new nodes. At most four arcs in a row may touch no hub: see `_span`."""
        new = np.arange(self.nodes, self.nodes + count)
        self.nodes += count
        if hub:
            self._hubs.append(new)
        return new

    def add(self, tail: Numbers, head: Numbers, low: Numbers, high: Numbers, **costs: Numbers) -> Int64:
        """Add arcs (arguments are broadcast) and return their numbers. A cost is for one unit."""
        given = [np.asarray(x) for x in (tail, head, low, high, *costs.values())]
        columns = np.empty((len(given), *np.broadcast(*given).shape), np.int64)
        for number, values in enumerate(given):
            columns[number] = values
        columns = columns.reshape(len(given), -1)
        new = np.arange(self.arcs, self.arcs + columns.shape[1])
        self._parts.append(columns[:4])
        names = [name.replace("_", "-") for name in costs]
        self._costs += [(self.arcs, *cost) for cost in zip(names, columns[4:], strict=True)]
        self.arcs += len(new)
        return new

    def add_preferred(
        self, tail: Numbers, head: Numbers, low: Int64, high: Int64, level: str, by: int = 1, **costs: Numbers
    ) -> tuple[Int64, Int64]:
        """Two arcs each: in `level` the units up to `low` gain something, those from there to `high` not."""
        preferred = self.add(tail, head, 0, low, **{level: -by}, **costs)
        return preferred, self.add(tail, head, 0, high - low, **costs)

    def solve(self, total: int, intervals: bool = False) -> Flow:
        """The flow of least cost, level by level, of `total` units from the source to the sink.

        `Flow.low` and `Flow.high` are right where `intervals` asks for them: it costs another search
        for prices. Raises NoFlowError where the bounds cannot be met, or TooLargeError.
        """
        if self.limit is not None and self.arcs > self.limit:
            raise TooLargeError(f"a network of {self.arcs} arcs")
        tail, head, low, high = arcs = np.concatenate(self._parts, axis=1)
        costs = {name: np.zeros(self.arcs, np.int64) for name in self.levels}
        for first, name, part in self._costs:
            if name in costs:
                costs[name][first : first + len(part)] += part
        left = [name for name in self.levels if costs[name].any()]
        while True:
            weights = self._weigh([costs[name] for name in left], arcs)
            cost = sum((w * costs[name] for w, name in zip(weights, left, strict=False)), 0 * tail)
            units, left = self._cheapest(arcs, cost, total), left[len(weights) :]
            if left or intervals:
                price = self._prices(arcs, cost, units)
                reduced = cost + price[tail] - price[head]
                low, high = np.where(reduced < 0, high, low), np.where(reduced > 0, low, high)
                arcs = np.stack([tail, head, low, high])
            if not left:
                return Flow(units, low, high, {name: int(units @ costs[name]) for name in self.levels})

    def _weigh(self, costs: list[Int64], arcs: Int64) -> list[int]:
        """The weights of as many of the levels as fit into one stage (the last weighs 1)."""
        spans = [self._span(cost, arcs) for cost in costs]
        tops = [int(np.abs(cost).max(initial=0)) for cost in costs]
        weights: list[int] = []
        for count in range(len(costs), 0, -1):
            # Only sums along simple cycles of the residual network are ever compared, so a level
            # must outweigh what all that follow in the stage can change along one of them.
            weights, below = [], 0
            for span in reversed(spans[:count]):
                weights.insert(0, below + 1)
                below += span * (below + 1)
            top = sum(weight * top for weight, top in zip(weights, tops, strict=False))
            if count == 1 or top * (self.nodes + 2) <= BUDGET:
                break
        return weights

    def _span(self, cost: Int64, arcs: Int64) -> int:
        """The most that a level changes along a simple cycle of the residual network.

        A simple cycle visits a hub at most once, so it has at most two arcs there; and between two
        hubs it has at most four arcs that touch none.
        """
        hub = np.zeros(self.nodes, np.bool_)
        hub[np.concatenate(self._hubs)] = True
        some = np.flatnonzero(cost)
        tail, head, size = arcs[0, some], arcs[1, some], np.abs(cost[some])
        dearest = np.zeros(self.nodes, np.int64)
        np.maximum.at(dearest, np.append(tail, head), np.append(size, size))
        between = int(size[~(hub[tail] | hub[head])].max(initial=0))
        return 2 * int(dearest[hub].sum()) + 4 * int(hub.sum()) * between

    def _cheapest(self, arcs: Int64, cost: Int64, total: int) -> Int64:
        """Units of each arc in a flow of least cost, by OR-tools."""
        tail, head, low, high = arcs
        need = np.zeros(self.nodes, np.int64)
        need[self.source], need[self.sink] = total, -total
        np.subtract.at(need, tail, low)
        np.add.at(need, head, low)
        use = np.flatnonzero(high > low)
        ends = tail[use].astype(np.int32), head[use].astype(np.int32)
        engine, units = min_cost_flow.SimpleMinCostFlow(), low.copy()
        added = engine.add_arcs_with_capacity_and_unit_cost(*ends, (high - low)[use], cost[use])
        engine.set_nodes_supplies(np.arange(self.nodes, dtype=np.int32), need)
        if (low > high).any() or engine.solve() != engine.OPTIMAL:
            raise NoFlowError(f"no flow on {self.nodes} nodes and {len(use)} arcs")
        units[use] += np.asarray(engine.flows(added), np.int64)
        return np.asarray(units)

    def _prices(self, arcs: Int64, cost: Int64, units: Int64) -> Int64:
        """Prices that prove `units` to be of least cost (Bellman-Ford, all arcs in each turn).

        All nodes start at 0, as if joined to a root, so nodes that nothing reaches have prices too.
        """
        tail, head, low, high = arcs
        more, less, price = units < high, units > low, np.zeros(self.nodes, np.int64)
        start, end = np.append(tail[more], head[less]), np.append(head[more], tail[less])
        length, order = np.append(cost[more], -cost[less]), np.argsort(end, kind="stable")
        if not len(end):
            return price
        start, end, length = start[order], end[order], length[order]
        first = np.flatnonzero(np.r_[True, end[1:] != end[:-1]])
        to = end[first]
        for _ in range(self.nodes + 1):
            best = np.minimum(price[to], np.minimum.reduceat(price[start] + length, first))
            if (best == price[to]).all():
                return price
            price[to] = best
        raise NoFlowError("the flow that OR-tools found is not of least cost")
