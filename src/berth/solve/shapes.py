"""How an Item that wants w replicas spreads over zones at its best, Item by Item.

With s_z Members in zone z the fewest pairs come from filling zones evenly: each zone up to `base`
(or s_z where that is less), and `extra` of the larger zones with one more. A part of a placement
can still become such a spread exactly when no zone is above base + 1 and at most `extra` zones
are above base.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from berth.solve.problem import Bool, Int64


@dataclass(frozen=True, slots=True)
class Shapes:
    """The best spread for each number of replicas wanted; arrays of shape (largest wanted + 1,)."""

    base: Int64
    extra: Int64
    pairs: Int64
    """Pairs of replicas in one zone in the best spread."""
    top: Int64
    """Most replicas in one zone in the best spread."""


def shapes(zone_size: Int64, most: int) -> Shapes:
    """The spreads for 0..most replicas over zones of the given sizes; shape (z,)."""
    base = np.zeros(most + 1, dtype=np.int64)
    extra = np.zeros(most + 1, dtype=np.int64)
    pairs = np.zeros(most + 1, dtype=np.int64)
    level = used = below = 0
    for want in range(most + 1):
        while True:
            larger = int((zone_size > level).sum())
            if want - used < larger or larger == 0:
                break
            below += larger * level
            used += larger
            level += 1
        base[want], extra[want] = level, want - used
        pairs[want] = below + (want - used) * level
    return Shapes(base=base, extra=extra, pairs=pairs, top=base + (extra > 0))


def open_zones(counts: Int64, base: Int64, extra: Int64) -> Bool:
    """Shape (k, z): zones that may take one more replica of each Item."""
    at_base = counts == base[:, None]
    spare = (counts > base[:, None]).sum(axis=1) < extra
    return np.asarray((counts < base[:, None]) | (at_base & spare[:, None]), dtype=np.bool_)


def zone_counts(zones: Int64, size: int) -> Int64:
    """Shape (k, size): how often each zone is in a row of `zones` (k, v); negative ones are skipped."""
    rows, _ = np.nonzero(zones >= 0)
    flat = rows * size + zones[zones >= 0]
    return np.bincount(flat, minlength=len(zones) * size).reshape(len(zones), size).astype(np.int64)
