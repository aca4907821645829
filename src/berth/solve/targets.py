"""How many Items each Member should have, given what it may keep: water filling, closed form."""

from __future__ import annotations

import numpy as np

from berth.solve.problem import Int64

FEW = 48
"""Up to so many units are placed one at a time; above, by bisection on the level of the water."""


def water(load: Int64, ceiling: Int64, weight: Int64, units: int) -> Int64:
    """Add `units` to `load`, each where (load + 1) / weight is least, never above `ceiling`.

    Shapes (m,). Ties go to the first row. The sum of the room must be `units` at least.
    """
    load = load.copy()
    if units <= FEW:
        level = np.where(load < ceiling, (load + 1) / weight, np.inf)
        for _ in range(units):
            row = int(level.argmin())
            load[row] += 1
            level[row] = (load[row] + 1) / weight[row] if load[row] < ceiling[row] else np.inf
        return load

    def filled(level: float) -> Int64:
        rows = np.floor(level * weight).astype(np.int64)
        return np.asarray(np.clip(rows, load, np.maximum(ceiling, load)), dtype=np.int64)

    low, high = 0.0, float((np.maximum(ceiling, load) / weight).max()) + 1.0
    for _ in range(64):
        middle = (low + high) / 2
        if int((filled(middle) - load).sum()) <= units:
            low = middle
        else:
            high = middle
    out = filled(low)
    rest = units - int((out - load).sum())
    if rest:
        level = np.where(out < ceiling, (out + 1) / weight, np.inf)
        out[np.argsort(level, kind="stable")[:rest]] += 1
    return out


def drain(load: Int64, floor: Int64, weight: Int64, units: int) -> Int64:
    """Take `units` from `load`, each where load / weight is greatest, never below `floor`."""
    top = int(load.max(initial=0)) + 1
    # The same water from above: what is missing below `top·weight` is filled.
    if units <= FEW:
        load = load.copy()
        level = np.where(load > floor, load / weight, -np.inf)
        for _ in range(units):
            row = int(level.argmax())
            load[row] -= 1
            level[row] = load[row] / weight[row] if load[row] > floor[row] else -np.inf
        return load

    def lowered(level: float) -> Int64:
        rows = np.ceil(level * weight).astype(np.int64)
        return np.asarray(np.clip(rows, np.minimum(floor, load), load), dtype=np.int64)

    low, high = 0.0, float(top)
    for _ in range(64):
        middle = (low + high) / 2
        if int((load - lowered(middle)).sum()) <= units:
            high = middle
        else:
            low = middle
    out = lowered(high)
    rest = units - int((load - out).sum())
    if rest:
        level = np.where(out > floor, out / weight, -np.inf)
        out[np.argsort(-level, kind="stable")[:rest]] -= 1
    return out


def target_loads(kept: Int64, low: Int64, high: Int64, weight: Int64, total: int) -> Int64:
    """The load of each Member, within its band, summing to `total`, that needs the fewest additions.

    `kept` is what each may keep at most. Needs sum(low) ≤ total ≤ sum(high).
    """
    base = np.clip(kept, low, high)
    rest = total - int(base.sum())
    if rest >= 0:
        return water(base, high, weight, rest)
    return drain(base, low, weight, -rest)
