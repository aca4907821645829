"""The peer: the same instance as one flow network, solved afresh by OR-tools.

    source ─▶ Item ─▶ Item×zone ─▶ Member ─▶ sink

One node for each Item and each Item×zone, arcs of capacity 1 from an Item×zone to Members: to all
that hold the Item (free) and to `CANDIDATES` more in the zone (one move). All pairs would be 1e8
arcs at 1000 × 100,000, which no machine at hand solves; so few candidates make the peer faster
than a plain network would be, and cost it some moves. The levels are weighed into one cost (a
shortage is not shared evenly). Where
the bands can be met they are capacities and demands, which is faster than to price them. Only
numpy builds the arcs. Timed are building the arrays, handing them over and solving, from nothing.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from ortools.graph.python import min_cost_flow

from benchmarks.solve.facts import facts
from berth.solve.model import SCALE, Int32, Int64, Problem, Zones

CANDIDATES = 4
STEPS = 80
"""Steps outside of a band that are priced one by one where bands cannot be met."""
MOST_ARCS = 4_000_000


@dataclass(frozen=True)
class PeerResult:
    """A plan of shape (n, w), or None and why there is none."""

    seconds: float
    plan: Int32 | None
    why: str = ""


def within(deadline: float, problem: Problem, levels: dict[str, int]) -> PeerResult:
    """`solve_peer` in a child process that is ended after `deadline` seconds."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=lambda: there.send(solve_peer(problem, levels)), daemon=True)
    child.start()
    there.close()
    try:
        if here.poll(deadline):
            return here.recv()  # type: ignore[no-any-return]
        return PeerResult(deadline, None, f"> {deadline:.0f} s")
    except EOFError:
        return PeerResult(0.0, None, "died")
    finally:
        child.kill()
        child.join()
        here.close()


def solve_peer(problem: Problem, levels: dict[str, int]) -> PeerResult:
    """Plan for the Problem; `levels` are the bounds of the judge, which say what must be priced."""
    rng = np.random.default_rng(3)
    begun = perf_counter()
    f = facts(problem)
    n, m, zones = len(f.rows), len(f.members), f.zones
    if n * zones * (CANDIDATES + 2) > MOST_ARCS:
        return PeerResult(0.0, None, "too large")
    cell_node, member_node, sink = n, n + n * zones, n + n * zones + m
    parts: list[Int64] = []

    def add(tail: Int64, head: object, capacity: object, cost: object) -> slice:
        begin = sum(part.shape[1] for part in parts)
        columns = np.broadcast_arrays(tail, *(np.asarray(x, dtype=np.int64) for x in (head, capacity, cost)))
        parts.append(np.stack(columns))
        return slice(begin, begin + len(tail))

    # One more pair outweighs any moves that a cycle through the Members can save, and so on.
    priced = levels["balance"] > 0
    pair_cost = 2 * m + 1
    step_cost = pair_cost * 2 * (m + 1) * 3
    single_cost = step_cost * (2 * SCALE + 8 if priced else 1)
    drain_cost = single_cost * (2 * m + 2 if levels["single-zone"] else 2)
    item = np.arange(n)
    if levels["placed"] < int(f.wanted.sum()):
        add(item, sink, f.wanted, drain_cost * 4)
    for number in range(zones):
        for step in range(1, int(f.wanted.max()) + 1):
            some = item[f.wanted >= step]
            if problem.zones == Zones.REQUIRE:
                some = some[step <= np.maximum(1, f.asked[some] - 1)]
            alone = (f.wanted[some] == step) & (step > 1) & (zones > 1)
            if not levels["single-zone"]:
                some, alone = some[~alone], False
            cost = (step - 1) * pair_cost + np.multiply(alone, single_cost)
            add(some, cell_node + some * zones + number, 1, cost)
    ways = sum(part.shape[1] for part in parts)
    who, column = np.nonzero(f.at >= 0)
    to = f.at[who, column]
    add(cell_node + who * zones + f.zone[to], member_node + to, 1, 0)
    for number in range(zones):
        there = np.flatnonzero((f.zone == number) & ~f.drains)
        if not len(there):
            continue
        count = min(CANDIDATES, len(there))
        # Spread over the zone from a random start, so that Items with like candidates are few.
        start = rng.integers(0, len(there), n)
        stride = rng.integers(1, max((len(there) - 1) // max(count, 1), 1) + 1, n)
        chosen = there[(start[:, None] + stride[:, None] * np.arange(count)) % len(there)]
        fresh = (chosen[:, :, None] != f.at[:, None, :]).all(axis=2)
        who, column = np.nonzero(fresh)
        add(cell_node + who * zones + number, member_node + chosen[who, column], 1, 1)
    last = sum(part.shape[1] for part in parts)
    drains, everyone = np.flatnonzero(f.drains), np.arange(m)
    add(member_node + drains, sink, f.limit[drains], drain_cost)
    low, high = f.low, np.where(f.drains, 0, f.high)
    above = np.where(f.drains, 0, f.limit - f.high)
    demand = np.zeros(m, dtype=np.int64) if priced else low
    if priced:
        near, far = np.minimum(low, STEPS), np.minimum(above, STEPS)
        slope = step_cost * (SCALE * (STEPS + 1) // f.limit)
        add(member_node + everyone, sink, low - near, -slope)
        add(member_node + everyone, sink, above - far, slope)
        for step in range(1, STEPS + 1):
            for reach, sign in ((near, -1), (far, 1)):
                some = everyone[reach >= step]
                add(member_node + some, sink, 1, sign * step_cost * (SCALE * step // f.limit[some]))
    add(member_node + everyone, sink, high - low, 0)

    engine = min_cost_flow.SimpleMinCostFlow()
    tail, head, capacity, cost = np.concatenate(parts, axis=1)
    engine.add_arcs_with_capacity_and_unit_cost(tail.astype(np.int32), head.astype(np.int32), capacity, cost)
    supply = np.zeros(sink + 1, dtype=np.int64)
    supply[:n] = f.wanted
    supply[member_node : member_node + m] = -demand
    supply[sink] = -int(supply.sum())
    engine.set_nodes_supplies(np.arange(sink + 1, dtype=np.int32), supply)
    status = engine.solve()
    seconds = perf_counter() - begun
    if status != engine.OPTIMAL:
        return PeerResult(seconds, None, "no flow")
    used = ways + np.flatnonzero(np.asarray(engine.flows(np.arange(ways, last, dtype=np.int32))))
    rows = f.rows[(tail[used] - cell_node) // zones]
    return PeerResult(seconds, table(rows, f.members[head[used] - member_node], problem))


def table(rows: Int64, members: Int64, problem: Problem) -> Int32:
    """Pairs (Item row, Member row) as a plan of shape (n, w), padded with -1."""
    order = np.argsort(rows, kind="stable")
    rows, members = rows[order], members[order]
    slot = np.arange(len(rows)) - np.searchsorted(rows, rows)
    out = np.full((len(problem.replicas), max(1, int(slot.max(initial=0)) + 1)), -1, dtype=np.int32)
    out[rows, slot] = members
    return out
