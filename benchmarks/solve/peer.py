"""The peer: the same instance as one flow network, solved afresh by OR-tools.

    source ─▶ Item ─▶ Item×zone ─▶ Member ─▶ sink

One node for each Item and each Item×zone, arcs of capacity 1 from an Item×zone to Members: to all
that hold the Item (free) and to `CANDIDATES` more in the zone (one move). All pairs would be 1e8
arcs at 1000 × 100,000, which no machine at hand solves; so few candidates make the peer faster
than a plain network would be. The same number of them is enough for the optimum here (the bench
compares the moves). Bands are arc capacities and demands where they can all be met, which is
faster than to price them; else each Item outside of a band costs what level 6 says. Zones are
priced by pairs (level 7); placing everything is a demand. Only numpy builds the arcs. Timed are
building the arrays, handing them over and solving, from nothing, as Gazette's solver does.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from ortools.graph.python import min_cost_flow

from berth.solve import Problem, bands, placeable, wanted

CANDIDATES = 4
STEPS = 80
"""Steps outside of a band that are priced one by one where bands cannot be met."""


@dataclass(frozen=True)
class PeerResult:
    seconds: float
    moves: int | None
    """None where it found no flow."""
    balance: int
    pairs: int
    arcs: int


def solve_peer(problem: Problem, *, priced_bands: bool = False) -> PeerResult:
    """Place everything on the fewest moves; zones Spread, no Item short, nothing draining."""
    rng = np.random.default_rng(3)
    begun = perf_counter()
    able = np.flatnonzero(placeable(problem))
    rows = np.flatnonzero(wanted(problem) > 0)
    want = wanted(problem)[rows].astype(np.int64)
    n, m = len(rows), len(able)
    place = np.full(len(problem.limit) + 1, -1, dtype=np.int64)
    place[able] = np.arange(m)
    _, zone = np.unique(problem.zone[able], return_inverse=True)
    zones = int(zone.max()) + 1
    item_node, cell_node, member_node, sink = 0, n, n + n * zones, n + n * zones + m
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []

    def add(tail: np.ndarray, head: np.ndarray, capacity: object, cost: object) -> slice:
        begin = sum(len(part[0]) for part in parts)
        parts.append(
            (
                tail.astype(np.int32),
                head.astype(np.int32),
                np.broadcast_to(np.asarray(capacity, dtype=np.int64), tail.shape),
                np.broadcast_to(np.asarray(cost, dtype=np.int64), tail.shape),
            )
        )
        return slice(begin, begin + len(tail))

    # One more pair outweighs any moves that a cycle through the Members can save, and so on.
    pair_cost = 2 * m + 1
    step_cost = pair_cost * 2 * (m + 1) * 3 if priced_bands else 0
    item = np.arange(n)
    for number in range(zones):
        for step in range(1, int(want.max()) + 1):
            # Not all of an Item's replicas in one zone (level 5).
            some = item[(want > step) | ((want == step) & ((want == 1) | (zones == 1)))]
            add(item_node + some, cell_node + some * zones + number, 1, (step - 1) * pair_cost)
    held = place[problem.held[rows]]
    who, column = np.nonzero(held >= 0)
    stays = add(cell_node + who * zones + zone[held[who, column]], member_node + held[who, column], 1, 0)
    for number in range(zones):
        there = np.flatnonzero(zone == number)
        count = min(CANDIDATES, len(there))
        # Spread over the zone from a random start, so that Items with like candidates are few.
        start = rng.integers(0, len(there), n)
        stride = rng.integers(1, max((len(there) - 1) // max(count, 1), 1) + 1, n)
        chosen = there[(start[:, None] + stride[:, None] * np.arange(count)) % len(there)]
        fresh = (chosen[:, :, None] != held[:, None, :]).all(axis=2)
        who, column = np.nonzero(fresh)
        add(cell_node + who * zones + number, member_node + chosen[who, column], 1, 1)
    band = bands(problem)
    low, high = band.low[able], band.high[able]
    limit = problem.limit[able].astype(np.int64)
    demand = np.zeros(m, dtype=np.int64) if priced_bands else low
    everyone = np.arange(m)
    outside = []
    if priced_bands:
        near = np.minimum(low, STEPS)
        slope = step_cost * (4096 * (STEPS + 1) // limit)
        add(member_node + everyone, np.full(m, sink), low - near, -slope)
        for step in range(STEPS, 0, -1):
            some = everyone[near >= step]
            cost = 4096 * step // limit[some]
            outside.append(
                (add(member_node + some, np.full(len(some), sink), 1, -step_cost * cost), cost, True)
            )
        for step in range(1, STEPS + 1):
            some = everyone[limit - high >= step]
            cost = 4096 * step // limit[some]
            outside.append(
                (add(member_node + some, np.full(len(some), sink), 1, step_cost * cost), cost, False)
            )
    add(member_node + everyone, np.full(m, sink), high - low, 0)

    engine = min_cost_flow.SimpleMinCostFlow()
    engine.add_arcs_with_capacity_and_unit_cost(
        *(np.concatenate(column) for column in zip(*parts, strict=True))
    )
    supply = np.zeros(sink + 1, dtype=np.int64)
    supply[item_node : item_node + n] = want
    supply[member_node : member_node + m] = -demand
    supply[sink] = -(int(want.sum()) - int(demand.sum()))
    engine.set_nodes_supplies(np.arange(sink + 1, dtype=np.int32), supply)
    status = engine.solve()
    seconds = perf_counter() - begun
    arcs = engine.num_arcs()
    if status != engine.OPTIMAL:
        return PeerResult(seconds, None, 0, 0, arcs)
    flows = np.asarray(engine.flows(np.arange(arcs, dtype=np.int32)))
    moves = int(want.sum()) - int(flows[stays].sum())
    balance = 0
    for where, cost, below in outside:
        used = flows[where]
        balance += int((cost * (1 - used if below else used)).sum())
    cells = flows[: stays.start]
    costs = np.concatenate([part[3] for part in parts])[: stays.start]
    return PeerResult(seconds, moves, balance, int((cells * (costs // pair_cost)).sum()), arcs)
