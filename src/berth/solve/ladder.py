"""The arcs from Members to the sink: what each load costs, in few steps that are exact where it counts.

One arc for each step outside of a band would be hundreds of thousands. Instead some distances are
marked: near ones, powers of two, and those around a guess. Between two marks the true costs, which
rise from `first` to `last`, are replaced by as many of `first` and then of `last` as make the same
sum. The sums up to any distance are then never above the true ones (the replaced sequence
majorizes the true one) and equal at the marks. So an optimum whose distances are all marked is a
true one; if it is not, they become the next guess.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from berth.solve.problem import Bool, Int64
from berth.solve.shares import SCALE

WINDOW = 6
"""So many distances either side of a guess are marked (and a quarter of the distance itself)."""
PIECES = 8
"""Within the band so many pieces are told apart, for the tie-break."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Arcs Member → sink, each for `size` loads from `start` on; all arrays of shape (a,)."""

    owner: Int64
    start: Int64
    size: Int64
    cost: Int64
    """Level 6, each unit; negative below the band."""
    ground: int
    """What a fleet that holds nothing costs on level 6."""
    below: Marks
    above: Marks

    def exact(self, below: Int64, above: Int64) -> Bool:
        """Shape (m,): whether the Members' distances from their bands are marked."""
        return self.below.has(below) & self.above.has(above)


@dataclass(frozen=True, slots=True)
class Marks:
    """Marked distances, sorted by (owner, distance)."""

    code: Int64

    def has(self, distance: Int64) -> Bool:
        """Shape (m,): whether each Member's distance is marked."""
        wanted = np.arange(len(distance)) * SPAN + distance
        if not len(self.code):
            return np.asarray(distance == 0, dtype=np.bool_)
        at = np.minimum(np.searchsorted(self.code, wanted), len(self.code) - 1)
        return np.asarray(self.code[at] == wanted, dtype=np.bool_)


SPAN = 2**40


def ladder(limit: Int64, low: Int64, high: Int64, top: Int64, guess: Int64 | None) -> Ladder:
    """The arcs of Members with these bands for loads up to `top`, sharp around the loads guessed.

    All of shape (m,).
    """
    zero = np.zeros(len(limit), dtype=np.int64)
    guess = low if guess is None else np.clip(guess, 0, top)
    below = _marks(low, np.maximum(low - guess, 0))
    above = _marks(top - high, np.maximum(guess - high, 0))
    sums = _Sums(limit, np.maximum(low, top - high))
    owner_b, near_b, size_b, cost_b = _steps(below, sums)
    owner_a, near_a, size_a, cost_a = _steps(above, sums)
    width = high - low
    piece = np.maximum(-(-width // PIECES), 1)
    count = -(-width // piece)
    inside = np.repeat(np.arange(len(limit)), count)
    offset = (np.arange(len(inside)) - np.repeat(np.cumsum(count) - count, count)) * piece[inside]
    return Ladder(
        owner=np.concatenate([owner_b, inside, owner_a]),
        start=np.concatenate([low[owner_b] - near_b - size_b, low[inside] + offset, high[owner_a] + near_a]),
        size=np.concatenate([size_b, np.minimum(piece[inside], width[inside] - offset), size_a]),
        cost=np.concatenate([-cost_b, zero[inside], cost_a]),
        ground=int((size_b * cost_b).sum()),
        below=below,
        above=above,
    )


def _marks(farthest: Int64, guess: Int64) -> Marks:
    members = np.arange(len(farthest))
    top = int(farthest.max(initial=0))
    fixed = np.array([0, *(2**power for power in range(top.bit_length()))], dtype=np.int64)
    reach = np.where(guess > 0, WINDOW + guess // 4, 0)
    count = 2 * reach + 1
    around = np.repeat(guess - reach, count) + (
        np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    )
    owner = np.concatenate([np.repeat(members, len(fixed)), np.repeat(members, count), members])
    distance = np.concatenate([np.tile(fixed, len(members)), around, farthest])
    inside = (distance >= 0) & (distance <= farthest[owner])
    code = np.sort(owner[inside] * SPAN + distance[inside])
    return Marks(code[np.r_[True, code[1:] != code[:-1]]] if len(code) else code)


class _Sums:
    """floor(SCALE·1/limit) + … + floor(SCALE·d/limit), by table for each limit that occurs."""

    def __init__(self, limit: Int64, farthest: Int64) -> None:
        self.limit = limit
        kinds, self.kind = np.unique(limit, return_inverse=True)
        longest = np.zeros(len(kinds), dtype=np.int64)
        np.maximum.at(longest, self.kind, farthest)
        self.start = np.cumsum(longest + 1) - (longest + 1)
        tables = [
            np.cumsum(SCALE * np.arange(size + 1) // kind)
            for kind, size in zip(kinds.tolist(), longest.tolist(), strict=True)
        ]
        self.table = np.concatenate(tables) if tables else np.zeros(0, dtype=np.int64)

    def __call__(self, owner: Int64, distance: Int64) -> Int64:
        return np.asarray(self.table[self.start[self.kind[owner]] + distance], dtype=np.int64)


def _steps(marks: Marks, sums: _Sums) -> tuple[Int64, Int64, Int64, Int64]:
    """(owner, distance it starts at, size, cost of each unit) of the steps between the marks."""
    owner, mark = np.divmod(marks.code, SPAN)
    same = np.flatnonzero(owner[1:] == owner[:-1])
    owner, begin, end = owner[same], mark[same], mark[same + 1]
    length = end - begin
    total = sums(owner, end) - sums(owner, begin)
    first = SCALE * (begin + 1) // sums.limit[owner]
    last = SCALE * end // sums.limit[owner]
    dear = np.where(last > first, (total - length * first) // np.maximum(last - first, 1), 0)
    rest = total - length * first - dear * (last - first)
    middle = (rest > 0).astype(np.int64)
    cheap = length - dear - middle
    parts = [
        (owner, begin, cheap, first),
        (owner, begin + cheap, middle, first + rest),
        (owner, begin + cheap + middle, dear, last),
    ]
    owner, near, size, cost = (np.concatenate(column) for column in zip(*parts, strict=True))
    used = size > 0
    return owner[used], near[used], size[used], cost[used]
