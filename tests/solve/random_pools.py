"""Random Pools of every size and shape, with the solver's thresholds drawn, too.

A threshold that only a large fleet reaches is lowered here, so that small Pools enter every branch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from berth.solve import Primaries, Problem, Tuning, Zones


def random_pool(seed: int, items: int = 0, members: int = 0) -> Problem:
    """A Pool drawn from `seed`: mostly small, a few of some thousand Items, unless a size is given."""
    rng = np.random.default_rng(seed)
    if not members:
        most = [(12, 5), (40, 10), (40, 10), (120, 16), (300, 30), (1_500, 40)][rng.integers(0, 6)]
        if rng.random() < 0.01:
            most = (6_000, 60)
        items, members = (int(rng.integers(0, top + 1)) for top in most)
    top = int(rng.integers(0, 6 if rng.random() < 0.95 else 33))
    asks = rng.integers(0, top + 1, items) if rng.random() < 0.5 else np.full(items, top)
    per = max(1, members)
    limit = [0, 1, 2, 5, 100, 2 * items * top // per, int(1.1 * items * top / per), items * top // per + 1]
    limit = min(4096, max(0, limit[rng.integers(0, len(limit))]))
    limits = rng.integers(0, limit + 1, members) if rng.random() < 0.5 else np.full(members, limit)
    if rng.random() < 0.2:  # a few far larger ones
        limits = np.where(rng.random(members) < 0.2, np.minimum(4096, 10 * limits), limits)
    zones = int(rng.choice([1, 2, 3, 5, 12, per]))
    return Problem(
        item_key=_keys(rng, items),
        replicas=asks.astype(np.int32),
        held=(held := _held(rng, items, members, max(top, 1) + 1, top)),
        held_primary=np.where(rng.random(items) < rng.choice([0.0, 0.3]), -1, held[:, 0]).astype(np.int32),
        member_key=_keys(rng, members),
        limit=limits.astype(np.int32),
        zone=(rng.integers(0, zones, members) ** int(rng.integers(1, 3))).astype(np.int32),
        live=rng.random(members) >= rng.choice([0.0, 0.0, 0.2]),
        draining=rng.random(members) < rng.choice([0.0, 0.0, 0.3]),
        age=rng.permutation(members),
        zones=Zones(int(rng.integers(0, 3))),
        tolerance=int(rng.choice([0, 0, 10, 30, 50, 100])),
        primaries=Primaries(int(rng.integers(0, 2))),
    )


def _keys(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(1, 2**63, count, dtype=np.uint64)


def _held(rng: np.random.Generator, items: int, members: int, width: int, top: int) -> np.ndarray:
    """By lot, in turn, or packed onto the first Members; fewer or more than is asked for."""
    held = np.full((items, width), -1, np.int32, order="CF"[items % 2])  # either order of memory will do
    share, way = rng.choice([0.0, 0.5, 0.9, 1.0, 1.2]), int(rng.integers(0, 3))
    for item in range(items):
        count = min(members, width, int(rng.random() < share) + int(top * share))
        if way == 0:
            held[item, :count] = rng.permutation(members)[:count]
        elif count:
            step = item if way == 1 else item // 8
            held[item, :count] = (np.arange(count) + step) % members
    return held


def random_tuning(seed: int) -> Tuning:
    """Thresholds drawn from `seed`: as they are, or so low that small Pools pass them."""
    rng = np.random.default_rng(seed + 1_000_003)

    def one(*values: int) -> int:
        return int(rng.choice(values))

    return Tuning(
        merge_zones=one(2, 4, 16),
        reach=one(1, 2, 4),
        surplus_entries=one(0, 10, 60_000),
        shed_entries=one(0, 40, 3_000),
        repair_items=one(4, 60),
        quick_items=one(100, 12_000),  # more Items than this are sampled
        quick_own=one(0, 4, 128),
        quick_slots=one(20, 300_000),
    )


def reordered(problem: Problem, items: Any, members: Any, zone: Any) -> Problem:
    """The same problem with its rows in the order of these permutations; `zone` as it is in the new order."""
    row = np.append(np.argsort(members), -1).astype(np.int32)
    return replace(
        problem,
        item_key=problem.item_key[items],
        replicas=problem.replicas[items],
        held=row[problem.held[items]],
        held_primary=row[problem.held_primary[items]],
        member_key=problem.member_key[members],
        limit=problem.limit[members],
        zone=zone,
        live=problem.live[members],
        draining=problem.draining[members],
        age=problem.age[members],
    )
