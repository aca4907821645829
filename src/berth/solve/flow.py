"""Min-cost flow with costs in levels: an earlier level is worth more than all later ones together.

One weight per level would be the obvious way, but OR-tools multiplies costs by the number of nodes
within 64 bits. So as many levels as fit are weighed together and solved; then the network is
narrowed to the face of its optimal flows, and the next levels are solved on that face. By
complementary slackness a flow is optimal for a price vector exactly when arcs of positive
reduced cost are empty and arcs of negative reduced cost full, so those arcs are fixed
(Ahuja, Magnanti, Orlin: Network Flows, 1993, section 9.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ortools.graph.python import min_cost_flow

from berth.solve.problem import Int64

BUDGET = 2**61
"""Largest (weighed cost) × (nodes) that is given to OR-tools, with a bit to spare within 64."""


class FlowError(RuntimeError):
    """The flow engine gave no optimal flow; says the status that it gave."""


@dataclass(slots=True)
class Network:
    """Arcs as arrays of shape (a,); `costs` has one row of shape (a,) per level.

    The network must let all supply through (give it an overflow arc). `spans[k]` bounds how much
    level k may change along one simple cycle of the residual network.
    """

    nodes: int
    tail: Int64
    head: Int64
    capacity: Int64
    costs: Sequence[Int64]
    spans: Sequence[int]
    source: int
    sink: int
    amount: int


def solve_levels(network: Network) -> Int64:
    """The flow on each arc, shape (a,), that is least in all levels, in lexicographic order.

    Raises FlowError when OR-tools finds no flow, which means that the network was built wrong.
    """
    flow = np.zeros(len(network.tail), dtype=np.int64)
    free = network.capacity > 0
    supply = np.zeros(network.nodes, dtype=np.int64)
    supply[network.source] += network.amount
    supply[network.sink] -= network.amount
    level = 0
    while level < len(network.costs):
        cost, after = weigh(network, level)
        rows = np.flatnonzero(free)
        part, cost = network.capacity[rows], cost[rows]
        tail, head = network.tail[rows], network.head[rows]
        if not cost.any() and level and after == len(network.costs):
            break
        got = solve_once(network.nodes, tail, head, part, cost, supply)
        flow[rows] = got
        level = after
        if level == len(network.costs):
            break
        reduced = cost + prices(network.nodes, tail, head, part, cost, got, tail, head)
        full = rows[reduced < 0]
        np.subtract.at(supply, network.tail[full], network.capacity[full])
        np.add.at(supply, network.head[full], network.capacity[full])
        free[rows[reduced != 0]] = False
    return flow


def weigh(network: Network, level: int) -> tuple[Int64, int]:
    """One cost for `level` and as many levels after it as fit; and the first level that did not.

    Only sums along simple cycles of the residual network are ever compared, so a level needs to
    weigh one more than the span of all that follow it in the same solve.
    """
    end = level + 1
    while end < len(network.costs):
        weights = weights_of(network.spans[level : end + 1])
        top = sum(
            w * int(np.abs(c).max(initial=0))
            for w, c in zip(weights, network.costs[level : end + 1], strict=True)
        )
        if top * (network.nodes + 2) > BUDGET:
            break
        end += 1
    cost = np.zeros(len(network.tail), dtype=np.int64)
    for weight, part in zip(weights_of(network.spans[level:end]), network.costs[level:end], strict=True):
        if weight and part.any():
            cost += weight * part
    return cost, end


def weights_of(spans: Sequence[int]) -> list[int]:
    """The weight of each level, the last first 1, each more than all that follows can outweigh."""
    weights: list[int] = []
    below = 0
    for span in reversed(spans):
        weights.append(below + 1)
        below += span * (below + 1)
    return weights[::-1]


def solve_once(nodes: int, tail: Int64, head: Int64, capacity: Int64, cost: Int64, supply: Int64) -> Int64:
    """The flow of least cost on each arc, by OR-tools. Raises FlowError when there is none."""
    engine = min_cost_flow.SimpleMinCostFlow()
    if len(tail):
        engine.add_arcs_with_capacity_and_unit_cost(
            tail.astype(np.int32), head.astype(np.int32), capacity, cost
        )
    engine.set_nodes_supplies(np.arange(nodes, dtype=np.int32), supply)
    status = engine.solve()
    if status != engine.OPTIMAL:
        raise FlowError(f"the flow engine answered {status} on {nodes} nodes and {len(tail)} arcs")
    if not len(tail):
        return np.zeros(0, dtype=np.int64)
    return np.asarray(engine.flows(np.arange(len(tail), dtype=np.int32)), dtype=np.int64)


def prices(
    nodes: int,
    tail: Int64,
    head: Int64,
    capacity: Int64,
    cost: Int64,
    flow: Int64,
    of_tail: Int64,
    of_head: Int64,
) -> Int64:
    """price[of_tail] − price[of_head], with prices that prove `flow` optimal (Bellman-Ford).

    All nodes start at 0, as if joined to a root, so nodes that nothing reaches have prices too.
    """
    forward, backward = flow < capacity, flow > 0
    start = np.concatenate([tail[forward], head[backward]])
    end = np.concatenate([head[forward], tail[backward]])
    length = np.concatenate([cost[forward], -cost[backward]])
    order = np.argsort(end, kind="stable")
    start, end, length = start[order], end[order], length[order]
    distance = np.zeros(nodes, dtype=np.int64)
    if len(end):
        first = np.flatnonzero(np.r_[True, end[1:] != end[:-1]])
        targets = end[first]
        for _ in range(nodes + 1):
            best = np.minimum.reduceat(distance[start] + length, first)
            if not (best < distance[targets]).any():
                break
            distance[targets] = np.minimum(distance[targets], best)
        else:
            raise FlowError("a residual network with a negative cycle: the flow was not optimal")
    return distance[of_tail] - distance[of_head]
