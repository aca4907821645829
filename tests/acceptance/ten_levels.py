"""The ten levels of section 4 of the design, by trying every placement: written from the text alone.

Enumerates all choices of Members for all Items, so only for tiny pools (up to about a million placements).
"""

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np


@dataclass(frozen=True)
class TinyMember:
    name: str
    limit: int
    zone: str = ""
    live: bool = True
    draining: bool = False
    created: str = "2024-01-01T00:00:00Z"


@dataclass(frozen=True)
class TinyItem:
    name: str
    replicas: int


@dataclass(frozen=True)
class Tiny:
    """`held`: entries as (item, member, slot, epoch); members may be unknown."""

    pool: str
    items: list[TinyItem]
    members: list[TinyMember]
    held: list[tuple[str, str, int, int]] = field(default_factory=list)
    zones: str = "Spread"
    tolerance: int = 0
    primaries: str = "Promotion"


def primary_of(tiny: Tiny, item: str) -> str | None:
    """Return the holder of slot 0: of several claims the highest epoch counts."""
    claims = [(epoch, member) for i, member, slot, epoch in tiny.held if i == item and slot == 0]
    return max(claims)[1] if claims else None


def step_cost(limit: int, distance: int) -> int:
    return sum(4096 * k // limit for k in range(1, distance + 1)) if limit else 0


class Levels:
    """Levels 1 to 10 of any placement of one tiny pool, smaller is better."""

    def __init__(self, tiny: Tiny) -> None:
        self.tiny = tiny
        self.open = [m for m in tiny.members if m.live and m.limit > 0]
        self.names = [m.name for m in self.open]
        self.live = {m.name for m in tiny.members if m.live}
        self.want = [min(i.replicas, len(self.open)) for i in tiny.items]
        zones = sorted({m.zone for m in self.open})
        self.zone = np.array([zones.index(m.zone) for m in self.open], dtype=int)
        self.zone_count = len(zones)
        total_limit = sum(m.limit for m in self.open if not m.draining)
        wanted = sum(self.want)
        self.costs = []
        for m in self.open:
            if m.draining:
                low, high = 0, m.limit
            else:
                share = m.limit * min(wanted, total_limit)
                floor, ceil = share // total_limit, -(-share // total_limit)
                slack = share * tiny.tolerance // (100 * total_limit)
                low, high = floor - slack, ceil + slack
            self.costs.append(
                np.array([step_cost(m.limit, max(low - x, x - high, 0)) for x in range(m.limit + 1)])
            )
        drained = sorted(
            (m for m in tiny.members if m.live and m.draining), key=lambda m: (m.created, m.name)
        )
        rank = {m.name: len(drained) - n for n, m in enumerate(drained)}  # oldest has the highest
        self.rank = np.array([rank.get(m.name, 0) for m in self.open], dtype=int)
        holds = {(i, m) for i, m, _, _ in tiny.held}
        self.holds = np.array([[(i.name, n) in holds for n in self.names] for i in tiny.items], dtype=bool)
        self.holds = self.holds.reshape(len(tiny.items), len(self.names))
        self.held_live = [sum((i.name, n) in holds for n in self.live) for i in tiny.items]
        self.primary = [primary_of(tiny, i.name) for i in tiny.items]

    def allowed(self, k: int) -> list[tuple[bool, ...]]:
        """Every set of Members that Item `k` may be given, as rows of flags."""
        item, rows = self.tiny.items[k], []
        for size in range(self.want[k] + 1):
            for chosen in combinations(range(len(self.open)), size):
                if self.tiny.zones == "Require" and item.replicas >= 2:
                    per_zone = (
                        np.bincount(self.zone[list(chosen)], minlength=1) if chosen else np.zeros(1, int)
                    )
                    if per_zone.max() > item.replicas - 1:
                        continue
                rows.append(tuple(m in chosen for m in range(len(self.open))))
        return rows

    def of(self, x: np.ndarray) -> np.ndarray:
        """Levels of placements `x`, bool[placement, item, member]; int[placement, 10]."""
        n = x.shape[0]
        placed = x.sum(axis=2)
        load = x.sum(axis=1)
        want, held = np.array(self.want, int), np.array(self.held_live, int)
        zones = (
            np.stack([x[:, :, self.zone == z].sum(axis=2) for z in range(self.zone_count)], axis=2)
            if (self.zone_count)
            else np.zeros((n, x.shape[1], 1), int)
        )
        out = np.zeros((n, 10), dtype=np.int64)
        out[:, 0] = -placed.sum(axis=1)
        out[:, 1] = np.maximum(np.minimum(held, want) - placed, 0).sum(axis=1)
        out[:, 2] = (placed * (placed + 1) // 2).sum(axis=1)
        draining = np.array([m.draining for m in self.open], dtype=bool)
        out[:, 3] = load[:, draining].sum(axis=1)
        if self.tiny.zones != "Ignore":
            if self.zone_count >= 2:
                out[:, 4] = ((placed == want) & (want >= 2) & (zones.max(axis=2) == placed)).sum(axis=1)
            out[:, 6] = (zones * (zones - 1) // 2).sum(axis=(1, 2))
        for m, cost in enumerate(self.costs):
            out[:, 5] += cost[load[:, m]]
        out[:, 7] = (x & ~self.holds).sum(axis=(1, 2))
        out[:, 8] = (load * self.rank).sum(axis=1)
        for k, name in enumerate(self.primary):
            if name in self.live:
                out[:, 9] += ~x[:, k, self.names.index(name)] if name in self.names else 1
        return out

    def best(self) -> list[int]:
        """The least levels that any placement reaches."""
        if not self.want:
            return [0] * 10
        sets = [self.allowed(k) for k in range(len(self.want))]
        rows = [np.array(s, dtype=bool).reshape(len(s), len(self.open)) for s in sets]
        grid = np.meshgrid(*[np.arange(len(r)) for r in rows], indexing="ij")
        x = np.stack([r[g.ravel()] for r, g in zip(rows, grid, strict=True)], axis=1)
        limits = np.array([m.limit for m in self.open], int)
        x = x[(x.sum(axis=1) <= limits).all(axis=1)]
        levels = self.of(x)
        best = []
        for level in range(10):
            least = levels[:, level].min()
            best.append(int(least))
            levels = levels[levels[:, level] == least]
        return best

    def given(self, members: dict[str, list[str]]) -> list[int]:
        """Levels of one placement, by Item its Members."""
        x = np.zeros((1, len(self.tiny.items), len(self.open)), dtype=bool)
        for k, item in enumerate(self.tiny.items):
            for name in members[item.name]:
                x[0, k, self.names.index(name)] = True
        return [int(v) for v in self.of(x)[0]]
