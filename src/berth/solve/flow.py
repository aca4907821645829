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

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ortools.graph.python import min_cost_flow

from berth.solve.model import Int64

BUDGET = 2**60
"""Largest (weighed cost) × (nodes) that is given to OR-tools, with room to spare within 64 bits."""

Numbers = int | npt.NDArray[np.integer] | npt.NDArray[np.bool_]


class TooLargeError(RuntimeError):
    """A network would have more arcs than may be spent on it."""


class NoFlowError(RuntimeError):
    """No flow satisfies the network's bounds, or OR-tools did not find the one of least cost."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow of least cost in all levels; arrays of shape (arcs,)."""

    units: Int64
    """What flows on each arc."""
    low: Int64
    high: Int64
    """The least and the most that the arc carries in any flow as good as this one."""
    totals: Mapping[str, int]
    """Cost of this flow in each level."""


class Network:
    """Nodes and arcs that are added in bulk; then `solve`.

    `levels` names the levels of cost, most important first. Arcs are numbered as they come; with
    more than `limit` of them `solve` raises TooLargeError.
    """

    def __init__(self, *levels: str, limit: int | None = None) -> None:
        self.levels, self.limit = levels, limit
        self.nodes = self.arcs = 0
        self._hubs: list[Int64] = []
        self._parts: list[Int64] = []
        self._costs: list[tuple[int, str, Int64]] = []

    def add_nodes(self, count: int, hub: bool = False) -> Int64:
        """Number `count` new nodes. At most four arcs in a row may touch no hub: see `_span`."""
        new = np.arange(self.nodes, self.nodes + count)
        self.nodes += count
        if hub:
            self._hubs.append(new)
        return new

    def add_ends(self) -> tuple[int, int]:
        """Add a source and a sink."""
        source, sink = self.add_nodes(2, hub=True).tolist()
        return source, sink

    def add(self, tail: Numbers, head: Numbers, low: Numbers, high: Numbers, **costs: Numbers) -> Int64:
        """Add arcs (arguments are broadcast) and return their numbers. A cost is for one unit."""
        given = (tail, head, low, high, *costs.values())
        columns = [a.ravel() for a in np.broadcast_arrays(*(np.asarray(x, np.int64) for x in given))]
        first = self.arcs
        self.arcs += len(columns[0])
        self._parts.append(np.stack(columns[:4]))
        for level, cost in zip((name.replace("_", "-") for name in costs), columns[4:], strict=True):
            if level in self.levels:
                self._costs.append((first, level, cost))
        return np.arange(first, self.arcs)

    def solve(self, supply: Mapping[int, int], intervals: bool = False) -> Flow:
        """The flow of least cost, level by level; `supply` maps nodes to what enters there (minus: leaves).

        `Flow.low` and `Flow.high` are filled in where `intervals` asks for them (it costs another
        search for prices). Raises NoFlowError where the bounds cannot be met.
        """
        if self.limit is not None and self.arcs > self.limit:
            raise TooLargeError(f"a network of {self.arcs} arcs")
        tail, head, low, high = np.concatenate(self._parts, axis=1)
        costs = {name: np.zeros(self.arcs, np.int64) for name in self.levels}
        for first, name, cost in self._costs:
            costs[name][first : first + len(cost)] += cost
        left = [name for name in self.levels if costs[name].any()]
        while True:
            weights, stage = self._weigh(left, costs, tail, head)
            cost = np.zeros(self.arcs, np.int64)
            for weight, name in zip(weights, stage, strict=True):
                cost += weight * costs[name]
            units = _cheapest(self.nodes, tail, head, low, high, cost, supply)
            left = left[len(stage) :]
            if left or intervals:
                price = _prices(self.nodes, tail, head, low, high, cost, units)
                reduced = cost + price[tail] - price[head]
                low, high = np.where(reduced < 0, high, low), np.where(reduced > 0, low, high)
            if not left:
                return Flow(units, low, high, {name: int(units @ costs[name]) for name in self.levels})

    def _weigh(
        self, names: list[str], costs: Mapping[str, Int64], tail: Int64, head: Int64
    ) -> tuple[list[int], list[str]]:
        """As many of the levels as fit into one stage, and the weight of each (the last weighs 1)."""
        spans = [self._span(costs[name], tail, head) for name in names]
        tops = [int(np.abs(costs[name]).max(initial=0)) for name in names]
        weights: list[int] = []
        for count in range(1, len(names) + 1):
            # Only sums along simple cycles of the residual network are ever compared, so a level
            # must outweigh what all that follow in the stage can change along one of them.
            trial, below = [], 0
            for span in reversed(spans[:count]):
                trial.append(below + 1)
                below += span * (below + 1)
            trial.reverse()
            top = sum(w * t for w, t in zip(trial, tops, strict=False))
            if count > 1 and top * (self.nodes + 2) > BUDGET:
                break
            weights = trial
        return weights, names[: len(weights)]

    def _span(self, cost: Int64, tail: Int64, head: Int64) -> int:
        """The most that a level changes along a simple cycle of the residual network.

        A simple cycle visits a hub at most once, so it has at most two arcs there; and between two
        hubs it has at most four arcs that touch none.
        """
        hub = np.zeros(self.nodes, np.bool_)
        for nodes in self._hubs:
            hub[nodes] = True
        some = np.flatnonzero(cost)
        tail, head, size = tail[some], head[some], np.abs(cost[some])
        dearest = np.zeros(self.nodes, np.int64)
        np.maximum.at(dearest, tail, size)
        np.maximum.at(dearest, head, size)
        between = int(size[~(hub[tail] | hub[head])].max(initial=0))
        return 2 * int(dearest[hub].sum()) + 4 * int(hub.sum()) * between


def _cheapest(
    nodes: int, tail: Int64, head: Int64, low: Int64, high: Int64, cost: Int64, supply: Mapping[int, int]
) -> Int64:
    need = np.zeros(nodes, np.int64)
    for node, amount in supply.items():
        need[node] += amount
    np.subtract.at(need, tail, low)
    np.add.at(need, head, low)
    use = np.flatnonzero(high > low)
    engine, units = min_cost_flow.SimpleMinCostFlow(), low.copy()
    if len(use):
        arcs = engine.add_arcs_with_capacity_and_unit_cost(
            tail[use].astype(np.int32), head[use].astype(np.int32), (high - low)[use], cost[use]
        )
    engine.set_nodes_supplies(np.arange(nodes, dtype=np.int32), need)
    if (low > high).any() or engine.solve() != engine.OPTIMAL:
        raise NoFlowError(f"no flow on {nodes} nodes and {len(use)} arcs")
    if len(use):
        units[use] += np.asarray(engine.flows(arcs), np.int64)
    return units


def _prices(
    nodes: int, tail: Int64, head: Int64, low: Int64, high: Int64, cost: Int64, units: Int64
) -> Int64:
    """Prices that prove `units` to be of least cost (Bellman-Ford, all arcs in each turn).

    All nodes start at 0, as if joined to a root, so nodes that nothing reaches have prices too.
    """
    more, less = units < high, units > low
    start, end = np.concatenate([tail[more], head[less]]), np.concatenate([head[more], tail[less]])
    length = np.concatenate([cost[more], -cost[less]])
    price = np.zeros(nodes, np.int64)
    if not len(end):
        return price
    order = np.argsort(end, kind="stable")
    start, end, length = start[order], end[order], length[order]
    first = np.flatnonzero(np.r_[True, end[1:] != end[:-1]])
    to = end[first]
    for _ in range(nodes + 1):
        best = np.minimum(price[to], np.minimum.reduceat(price[start] + length, first))
        if (best == price[to]).all():
            return price
        price[to] = best
    raise NoFlowError("the flow that OR-tools found is not of least cost")
