"""Min-cost flow with costs in levels: one unit of an earlier level outweighs all later levels.

A single weighted cost over all levels would overflow: OR-tools multiplies costs by the number of
nodes, in 64 bits. So a *stage* combines as many levels as fit into one cost. After it the network
is restricted to the optimal flows of that stage, and the next stage solves the remaining levels.

Prices (node potentials) make the restriction possible. With optimal prices, the reduced cost of an arc is
cost + price[tail] - price[head]. By complementary slackness a flow is optimal exactly if it leaves every arc
of positive reduced cost empty and fills every arc of negative reduced cost (Ahuja, Magnanti, Orlin: Network
Flows, 1993, section 9.4). So these arcs are fixed, and arcs of reduced cost 0 stay free.

The *intervals* that the whole solver is built on follow from the same theorem: every optimal flow
lies between `Flow.low` and `Flow.high`, and every feasible flow between them is optimal.
"""

from collections.abc import Mapping
from math import prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from ortools.graph.python import max_flow, min_cost_flow

from berth.solve.model import Bool, Int64

BUDGET = 2**60  # maximum (weighted cost) × (nodes) given to OR-tools, well within 64 bits

Numbers = int | npt.NDArray[np.integer] | npt.NDArray[np.bool_]


class TooLargeError(RuntimeError):
    """A network or a plan exceeds the budget of the solve; the message says by what."""


class NoFlowError(RuntimeError):
    """No flow satisfies the network's bounds, or OR-tools failed to find a flow of minimum cost."""


class Flow(NamedTuple):
    """A flow of minimum cost in all levels; arrays of shape (arcs,)."""

    units: Int64  # the flow on each arc
    low: Int64  # the flow on each arc lies in [low, high] in every optimal flow
    high: Int64
    totals: Mapping[str, int]  # the cost in each level


class Network:
    """A source, a sink, and nodes and arcs that are added in bulk before `solve`.

    `levels` names the levels of cost, most important first; `limit` is the maximum number of arcs.
    Costs in other levels are ignored.
    """

    def __init__(self, *levels: str, limit: int | None = None) -> None:
        self.levels, self.limit = levels, limit
        self.nodes = self.arcs = 0
        self._hubs: list[Bool] = []
        self._parts: list[Int64] = []  # tail, head, low, high and the cost in each level
        self.source, self.sink = self.add_nodes(2, hub=True).tolist()

    def add_nodes(self, count: int, hub: bool = False) -> Int64:
        """Add nodes, return their numbers. A path has at most four arcs without a hub: see `_span`."""
        new = np.arange(self.nodes, self.nodes + count)
        self.nodes += count
        self._hubs.append(np.full(count, hub))
        return new

    def add(self, tail: Numbers, head: Numbers, low: Numbers, high: Numbers, **costs: Numbers) -> Int64:
        """Add arcs (arguments are broadcast) and return their numbers. A cost applies to each unit."""
        shape = np.broadcast(tail, head, low, high, *costs.values()).shape
        part = np.zeros((4 + len(self.levels), *shape), np.int64)
        part[0], part[1], part[2], part[3] = tail, head, low, high
        for name, values in costs.items():
            if (level := name.replace("_", "-")) in self.levels:
                part[4 + self.levels.index(level)] = values
        self._parts.append(part.reshape(len(part), -1))
        new = np.arange(self.arcs, self.arcs + self._parts[-1].shape[1])
        self.arcs += len(new)
        return new

    def add_preferred(
        self, tail: Numbers, head: Numbers, low: Int64, high: Int64, level: str, **costs: Numbers
    ) -> tuple[Int64, Int64]:
        """Add two arcs for each row: units up to `low` cost -1 in `level`, those up to `high` nothing."""
        preferred = self.add(tail, head, 0, low, **{level: -1}, **costs)
        return preferred, self.add(tail, head, 0, high - low, **costs)

    def maximum(self) -> Int64:
        """The units on each arc in a maximum flow, whatever it costs; all lower bounds must be 0."""
        tail, head, _, high = np.concatenate(self._parts, axis=1)[:4]
        engine = max_flow.SimpleMaxFlow()
        arcs = engine.add_arcs_with_capacity(tail.astype(np.int32), head.astype(np.int32), high)
        engine.solve(self.source, self.sink)
        return np.asarray(engine.flows(arcs), np.int64)

    def solve(self, total: int, intervals: bool = False) -> Flow:
        """The flow of minimum cost, level by level, of `total` units from the source to the sink.

        `Flow.low` and `Flow.high` are valid only with `intervals`, as they need one more search for
        prices. Raises NoFlowError if the bounds cannot be met, TooLargeError above `limit` arcs.
        """
        if self.limit is not None and self.arcs > self.limit:
            raise TooLargeError(f"a network has {self.arcs} arcs, the limit is {self.limit}")
        table = np.concatenate(self._parts, axis=1)
        tail, head, low, high = arcs = table[:4]
        costs = dict(zip(self.levels, table[4:], strict=True))
        left = [name for name in self.levels if costs[name].any()]
        while True:
            weights = self._weigh([costs[name] for name in left], arcs)
            cost = sum((w * costs[name] for w, name in zip(weights, left, strict=False)), 0 * tail)
            units, left = self._minimum(arcs, cost, total), left[len(weights) :]
            if left or intervals:
                price = self._prices(arcs, cost, units)
                reduced = cost + price[tail] - price[head]
                low, high = np.where(reduced < 0, high, low), np.where(reduced > 0, low, high)
                arcs = np.stack([tail, head, low, high])
            if not left:
                return Flow(units, low, high, {name: int(units @ costs[name]) for name in self.levels})

    def _weigh(self, costs: list[Int64], arcs: Int64) -> list[int]:
        """The weights of the levels in the next stage, which takes as many as fit; the last weight is 1."""
        sizes, hub = [np.abs(cost) for cost in costs], np.concatenate(self._hubs)
        spans = [0, *(self._span(size, arcs, hub) for size in sizes[1:])]  # none outweighs the first
        tops = [int(size.max(initial=0)) for size in sizes]
        weights: list[int] = []
        for count in range(len(costs), 0, -1):
            # A flow is optimal if no simple cycle of the residual network lowers the cost, so a level
            # only has to outweigh what the later levels of the stage can change along one such cycle.
            # With weights that are products, this is at most the product of all their 1 + span, minus 1.
            weights = [prod(1 + span for span in spans[level + 1 : count]) for level in range(count)]
            top = sum(weight * top for weight, top in zip(weights, tops, strict=False))
            if top * (self.nodes + 2) <= BUDGET:
                break
        return weights

    def _span(self, size: Int64, arcs: Int64, hub: Bool) -> int:
        """The maximum change of a level along a simple cycle of the residual network.

        A simple cycle visits a hub at most once, so it has at most two arcs at that hub; and between
        two hubs it has at most four arcs that touch no hub.
        """
        dearest = np.zeros(self.nodes, np.int64)
        for end in arcs[:2]:
            np.maximum.at(dearest, end, size)
        between = int(size.max(initial=0, where=~(hub[arcs[0]] | hub[arcs[1]])))
        return 2 * int(dearest[hub].sum()) + 4 * int(np.count_nonzero(hub)) * between

    def _minimum(self, arcs: Int64, cost: Int64, total: int) -> Int64:
        """The units on each arc in a flow of minimum cost, by OR-tools."""
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
            raise NoFlowError(f"a network of {self.nodes} nodes and {len(use)} arcs has no feasible flow")
        units[use] += np.asarray(engine.flows(added), np.int64)
        return np.asarray(units)

    def _prices(self, arcs: Int64, cost: Int64, units: Int64) -> Int64:
        """Prices that prove `units` to be of minimum cost (Bellman-Ford on the residual network).

        All nodes start at price 0, as if a root were joined to each, so unreachable nodes get prices, too.
        """
        tail, head, low, high = arcs
        more, less, price = units < high, units > low, np.zeros(self.nodes, np.int64)
        start, end = np.append(tail[more], head[less]), np.append(head[more], tail[less])
        length, order = np.append(cost[more], -cost[less]), np.argsort(end, kind="stable")
        if not len(end):
            return price
        start, end, length = start[order], end[order], length[order]
        first = np.flatnonzero(np.append(True, end[1:] != end[:-1]))
        to = end[first]
        for _ in range(self.nodes + 1):
            best = np.minimum(price[to], np.minimum.reduceat(price[start] + length, first))
            if (best == price[to]).all():
                return price
            price[to] = best
        raise NoFlowError("the flow that OR-tools found does not have minimum cost")
