"""Random problems and a plain, slow, independent reading of the ten levels."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
from hypothesis import strategies as st

from berth.solve import Primaries, Problem, Zones, keys


def problem_of(
    replicas: list[int],
    held: list[list[int]],
    limits: list[int],
    zones: list[int] | None = None,
    *,
    live: list[bool] | None = None,
    draining: list[bool] | None = None,
    age: list[int] | None = None,
    primary: list[int] | None = None,
    policy: Zones = Zones.SPREAD,
    tolerance: int = 0,
    primaries: Primaries = Primaries.PROMOTION,
    names: str = "i",
) -> Problem:
    """A Problem from plain lists; `held` in slot order, slot 0 first unless `primary` says otherwise."""
    n, m = len(replicas), len(limits)
    width = max([len(row) for row in held] + [max(replicas, default=0), 1])
    table = np.full((n, width), -1, dtype=np.int32)
    for row, members in enumerate(held):
        table[row, : len(members)] = members
    if primary is None:
        primary = [row[0] if row else -1 for row in held]
    return Problem(
        item_key=keys(f"{names}{row}" for row in range(n)),
        replicas=np.array(replicas, dtype=np.int32),
        held=table,
        held_primary=np.array(primary, dtype=np.int32),
        member_key=keys(f"m{row}" for row in range(m)),
        limit=np.array(limits, dtype=np.int32),
        zone=np.array(zones or [0] * m, dtype=np.int32),
        live=np.array([True] * m if live is None else live, dtype=np.bool_),
        draining=np.array([False] * m if draining is None else draining, dtype=np.bool_),
        age=np.array(range(m) if age is None else age, dtype=np.int64),
        zones=policy,
        tolerance=tolerance,
        primaries=primaries,
    )


@st.composite
def problems(draw: st.DrawFn, items: int = 30, members: int = 8, replicas: int = 5) -> Problem:
    """Anything that the types allow, at the given size."""
    n = draw(st.integers(0, items))
    m = draw(st.integers(0, members))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    most = draw(st.integers(0, replicas))
    asked = rng.integers(0, most + 1, n) if draw(st.booleans()) else np.full(n, most)
    top = draw(st.sampled_from([0, 1, 2, 5, max(2 * n * most // max(m, 1), 1), 100]))
    limits = rng.integers(0, top + 1, m)
    count_zones = draw(st.integers(1, 4))
    held_share = draw(st.sampled_from([0.0, 0.5, 0.9, 1.0, 1.2]))
    held = [
        rng.permutation(m)[: min(m, int(rng.random() < held_share) + int(most * held_share))].tolist()
        for _ in range(n)
    ]
    headless = rng.random(n) < draw(st.sampled_from([0.0, 0.3]))
    return problem_of(
        asked.tolist(),
        held,
        limits.tolist(),
        rng.integers(0, count_zones, m).tolist(),
        live=(rng.random(m) >= draw(st.sampled_from([0.0, 0.2]))).tolist(),
        draining=(rng.random(m) < draw(st.sampled_from([0.0, 0.3]))).tolist(),
        age=rng.permutation(m).tolist(),
        primary=[-1 if less or not row else row[0] for less, row in zip(headless, held, strict=True)],
        policy=draw(st.sampled_from(list(Zones))),
        tolerance=draw(st.integers(0, 30)),
        primaries=draw(st.sampled_from(list(Primaries))),
    )


def brute_force(problem: Problem) -> tuple[int, ...]:
    """The best ten levels of any placement at all, by trying each."""
    m = len(problem.limit)
    able = [j for j in range(m) if problem.live[j] and problem.limit[j] > 0]
    live = [j for j in range(m) if problem.live[j]]
    want = [min(int(r), len(able)) for r in problem.replicas]
    room = sum(int(problem.limit[j]) for j in live if not problem.draining[j])
    total = sum(want)
    zone = [int(z) for z in problem.zone]
    several = len({zone[j] for j in able}) > 1 and problem.zones != Zones.IGNORE
    drains = sorted((j for j in live if problem.draining[j]), key=lambda j: -int(problem.age[j]))
    rank = {j: place for place, j in enumerate(drains, 1)}
    low, high = {}, {}
    for j in live:
        limit = int(problem.limit[j])
        if problem.draining[j]:
            low[j], high[j] = 0, limit
        elif room:
            part = limit * min(total, room)
            slack = part * problem.tolerance // (100 * room)
            low[j], high[j] = part // room - slack, -(-part // room) + slack
        else:
            low[j] = high[j] = 0
    held = [[int(j) for j in row if j >= 0 and problem.live[j]] for row in problem.held]
    first = [int(p) if int(p) in row else None for p, row in zip(problem.held_primary, held, strict=True)]

    def choices(i: int) -> list[tuple[int, ...]]:
        found = []
        for size in range(want[i] + 1):
            for some in combinations(able, size):
                asked = int(problem.replicas[i])
                if problem.zones == Zones.REQUIRE and asked >= 2:
                    per_zone = [sum(zone[j] == z for j in some) for z in {zone[j] for j in some}]
                    if max(per_zone, default=0) > asked - 1:
                        continue
                found.append(some)
        return found

    def levels(plan: tuple[tuple[int, ...], ...]) -> tuple[int, ...] | None:
        load = dict.fromkeys(range(m), 0)
        for some in plan:
            for j in some:
                load[j] += 1
        if any(load[j] > problem.limit[j] for j in able):
            return None
        up = sum(max(0, min(len(h), w) - len(s)) for h, w, s in zip(held, want, plan, strict=True))
        single = sum(
            several and w >= 2 and len(s) == w and len({zone[j] for j in s}) == 1
            for w, s in zip(want, plan, strict=True)
        )
        balance = 0
        for j in live:
            distance = max(low[j] - load[j], 0) + max(load[j] - high[j], 0)
            balance += sum(4096 * k // int(problem.limit[j]) for k in range(1, distance + 1))
        pairs = sum(zone[a] == zone[b] for s in plan for a, b in combinations(s, 2))
        return (
            -sum(map(len, plan)),
            up,
            sum(len(s) * (len(s) + 1) // 2 for s in plan),
            sum(load[j] for j in rank),
            single,
            balance,
            pairs if problem.zones != Zones.IGNORE else 0,
            sum(j not in h for h, s in zip(held, plan, strict=True) for j in s),
            sum(rank[j] * load[j] for j in rank),
            sum(p is not None and p not in s for p, s in zip(first, plan, strict=True)),
        )

    best = min(
        found for plan in product(*map(choices, range(len(want)))) if (found := levels(plan)) is not None
    )
    return (-best[0], *best[1:])
