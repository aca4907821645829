"""The certificate of a plan: the rules that it breaks and the levels that it reaches.

It shares no code with the engines, and reads only the problem and the plan. It works column by column: a plan
has few slots and many Items, and comparing two columns of small integers costs far less than sorting rows.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from berth.solve.model import LEVELS, SCALE, Bool, Int32, Primaries, Problem, Zones

Small = npt.NDArray[np.signedinteger[Any]]
"""The smallest type that can number the Members, zones or slots: half the size is twice the speed."""

EXAMPLES = 5  # how many Items or Members a fault names; it counts the others


class Certificate(NamedTuple):
    """The levels that a plan reaches, and the rules that it breaks."""

    reached: dict[str, int]  # the value of each name in `LEVELS`; all 0 if the plan cannot be read
    faults: tuple[str, ...]  # a sentence for each broken rule; empty if the plan may be used


def certify(problem: Problem, members: Int32, bounds: Mapping[str, int] | None = None) -> Certificate:
    """Check a plan against the rules that no plan may break, and compute the levels that it reaches.

    `members` is a plan as in `Solution.members`: int32 of shape (n, v), v at least 1. It is not
    trusted: whatever is wrong with it becomes a fault, never an exception. With `bounds` (as in
    `Proof`), a bound that the plan beats is also a fault, because it shows that the proof is false.
    The problem itself must have the form that `Problem` describes.
    """
    levels, fault = dict.fromkeys(LEVELS, 0), _unreadable(problem, members)
    if not fault:
        plan = _Columns(problem, members)
        # The other rules and the levels assume that a plan has no gaps.
        fault = _fault("Item", plan.gaps, lambda _: "has an empty slot before a filled one")
    if fault:
        return Certificate(levels, (fault,))
    levels |= _reached(plan)
    faults = [*_broken(plan), "" if bounds is None else _beaten(levels, bounds)]
    return Certificate(levels, tuple(fault for fault in faults if fault))


def _fault(kind: str, bad: Bool, what: Callable[[int], str]) -> str:
    """A sentence with the first bad rows and the number of the others; empty if none is bad."""
    rows = np.flatnonzero(bad).tolist()
    parts = [f"{kind} {row} {what(row)}" for row in rows[:EXAMPLES]]
    if len(rows) > EXAMPLES:
        parts.append(f"and {len(rows) - EXAMPLES} more {kind}s")
    return "; ".join(parts)


def _unreadable(problem: Problem, members: Int32) -> str:
    """Why the plan cannot be read as Member rows; empty if it can."""
    n, m = len(problem.replicas), len(problem.limit)
    if type(members) is not np.ndarray:  # subclasses such as np.matrix count differently
        return f"the plan must be a numpy.ndarray, not {type(members).__name__}"
    if members.dtype != np.int32:
        return f"the plan must have dtype int32, not {members.dtype}"
    if members.ndim != 2 or members.shape[0] != n or not members.shape[1]:
        return f"the plan must have shape ({n}, 1 or more), not {members.shape}"
    if members.min(initial=-1) >= -1 and members.max(initial=-1) < m:
        return ""
    odd = (members < -1) | (members >= m)
    first = members[np.arange(n), odd.argmax(axis=1)]
    return _fault("Item", np.any(odd, axis=1), lambda i: f"is on Member row {first[i]}, which does not exist")


class _Columns:
    """A plan of valid Member rows column by column, and the values that several rules and levels use.

    `columns` has a row for each slot: its Members numbered from 1, and 0 if it is empty. `on` says whether
    it holds a Member, and `zones` has its zone (None if zones are ignored). `filled` is the number of Items
    that have each slot, `empty_pairs` the number of pairs of empty slots of one Item. `whole` marks Items
    with two or more replicas, all in one zone. `beyond` counts an Item's entries in slots that none may have.
    """

    def __init__(self, problem: Problem, members: Int32) -> None:
        n, m = len(members), len(problem.limit)
        self.problem, able = problem, problem.live & (problem.limit > 0)
        zones = problem.zone[able]
        self.second_zone = bool((zones != zones[:1]).any())
        want = np.minimum(problem.replicas, np.count_nonzero(able))
        most = max(int(want.max(initial=0)), 1)
        small = _small(max(most, members.shape[1]))
        self.want: Small = want.astype(small)
        # Columns beyond the maximum wanted must be empty, so the rest of the code ignores them.
        width = min(most, members.shape[1])
        self.beyond: Small = (members[:, width:] >= 0).sum(axis=1, dtype=small)
        self.columns: Small = members[:, :width].T.astype(_small(m), order="C")
        self.columns += 1
        self.on: Bool = self.columns > 0
        self.gaps = (self.on[1:] > self.on[:-1]).any(axis=0) | ((self.beyond > 0) & ~self.on[-1])
        self.placed: Small = self.on.sum(axis=0, dtype=small)
        self.filled = [int(np.count_nonzero(column)) for column in self.on]
        self.empty_pairs = sum((width - 1 - slot) * (n - some) for slot, some in enumerate(self.filled))
        self.load, self.whole = np.zeros(m + 1, np.int64), np.zeros(n, np.bool_)
        self.zones: Small | None = None
        if problem.zones != Zones.IGNORE:
            zone = np.append(-1, problem.zone).astype(_small(int(problem.zone.max(initial=0))))
            self.zones = np.empty_like(self.columns, zone.dtype)
        # One column at a time fits into the processor's cache, and reusing `row` saves as much again.
        row = np.empty(n, np.intp)
        for slot, column in enumerate(self.columns):
            row[:] = column
            # Runs of equal numbers are slow to count, so mostly empty columns are packed.
            some = row if 2 * self.filled[slot] >= n else row[np.flatnonzero(self.on[slot])]
            self.load += np.bincount(some, minlength=m + 1)
            if self.zones is not None:
                zone.take(row, out=self.zones[slot], mode="clip")
        self.load = self.load[1:]  # without the empty slots
        if self.zones is not None:
            several = ((self.zones[1:] != self.zones[0]) & self.on[1:]).any(axis=0)
            self.whole = ~several & (self.placed >= 2)


def _small(largest: int) -> type[np.signedinteger[Any]]:
    return np.int8 if largest < 2**7 else np.int16 if largest < 2**15 else np.int32


def _equal_pairs(columns: Small) -> int:
    """The total number of pairs of equal numbers within an Item; `columns` has shape (v, n)."""
    lags = range(1, len(columns))
    return sum(int(np.count_nonzero(columns[lag:] == columns[:-lag])) for lag in lags)


def _broken(plan: _Columns) -> Iterator[str]:
    """A sentence for each rule, which is empty if the plan keeps it."""
    problem, load, want, has = plan.problem, plan.load, plan.want, plan.placed + plan.beyond
    asked, limit, live = problem.replicas, problem.limit, problem.live
    yield _fault("Item", has > want, lambda i: f"has {_count(has[i], 'replica')} but wants at most {want[i]}")
    if _equal_pairs(plan.columns) > plan.empty_pairs:
        ordered = np.sort(plan.columns, axis=0)
        same = (ordered[1:] == ordered[:-1]) & (ordered[1:] > 0)
        first = ordered[same.argmax(axis=0), np.arange(len(want))] - 1
        yield _fault("Item", same.any(axis=0), lambda i: f"is placed twice on Member {first[i]}")
    dead = (load > 0) & ~live
    yield _fault("Member", dead, lambda j: f"is not live but has {_count(load[j], 'Item')}")
    over = (load > limit) & live
    yield _fault("Member", over, lambda j: f"has {_count(load[j], 'Item')}, above its limit of {limit[j]}")
    if problem.zones == Zones.REQUIRE:
        whole = plan.whole & (asked >= 2) & (plan.placed >= asked)
        yield _fault("Item", whole, lambda i: f"has all {asked[i]} replicas in one zone")


def _count(count: Any, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _beaten(levels: Mapping[str, int], bounds: Mapping[str, int]) -> str:
    """Why the proof is false: the plan beats the first bound that it does not meet; empty if it does not."""
    odd = next((name for name in LEVELS if not isinstance(bounds.get(name), int | np.integer)), None)
    if odd is not None:
        return f"the bound of {odd} must be an integer, not {bounds.get(odd)!r}"
    name = next((name for name in LEVELS if bounds[name] != levels[name]), None)
    if name is None or (levels[name] > bounds[name]) != (name == "placed"):
        return ""
    return f"the bound of {name} is {bounds[name]}, but the plan beats it with {levels[name]}"


def _reached(plan: _Columns) -> dict[str, int]:
    """The values of the levels that have a rule."""
    problem, load, columns, want, placed = plan.problem, plan.load, plan.columns, plan.want, plan.placed
    limit = problem.limit.astype(np.int64)
    sharing, leaving = problem.live & ~problem.draining, problem.live & problem.draining
    room = int(limit[sharing].sum())
    # The fair share is part / room, computed in integers: floats would occasionally round a band wrongly.
    part = np.where(sharing, limit, 0) * min(int(want.sum(dtype=np.int64)), room)
    room = max(room, 1)
    stray = part * problem.tolerance // (100 * room)
    low, high = part // room - stray, np.where(leaving, limit, -(-part // room) + stray)
    distance = np.where(problem.live, np.maximum(low - load, 0) + np.maximum(load - high, 0), 0)
    # Number the units 1, 2, ... distance of each Member: the sum of the floors has no closed form.
    first = np.repeat(np.cumsum(distance) - distance, distance)
    unit = np.arange(1, len(first) + 1) - first
    rank = np.argsort(np.argsort(-problem.age[leaving], kind="stable")) + 1  # 1 for the youngest

    # A Member that is not live is treated as absent: an entry on it is neither held nor kept.
    held, primary, live = problem.held, problem.held_primary, np.append(problem.live, False)  # live[-1]: none
    on = live[columns - 1] if load[~problem.live].any() else plan.on
    held_columns: Small = held.T.astype(columns.dtype, order="C")
    held_columns += 1
    # Most Items have the same Members in the same slots, so few have to be compared slot with slot.
    width = min(len(columns), len(held_columns))
    other = np.flatnonzero((columns[:width] != held_columns[:width]).any(axis=0))
    kept = int(np.count_nonzero(on[:width])) - int(np.count_nonzero(on[:width, other]))
    theirs, there = columns[:, other], on[:, other]
    kept += sum(int(np.count_nonzero((theirs == column) & there)) for column in held_columns[:, other])
    # Usually few Items are short or lose their primary, and only of these the live holders matter.
    short = np.flatnonzero(placed < want)
    had = live[held[short]].sum(axis=1)
    given_up = np.maximum(np.minimum(had, want[short]) - placed[short], 0)
    # With ACTIVE a primary may move among the holders, so it counts only if its Member loses the Item.
    stays = columns[:1] if problem.primaries == Primaries.PROMOTION else columns
    lost = np.flatnonzero(~(stays == (primary + 1).astype(columns.dtype)).any(axis=0))
    taken = live[primary[lost]] & (held[lost] == primary[lost, None]).any(axis=1)
    return {
        "given-up": int(given_up.sum()),
        "placed": sum(plan.filled),
        # An Item with p replicas costs p(p + 1)/2 = 1 + 2 + ... + p, so slot k costs k + 1.
        "shortage": sum(slot * count for slot, count in enumerate(plan.filled, 1)),
        "misplaced": int(load[leaving].sum()),
        "single-zone": int(np.count_nonzero(plan.whole & (placed == want))) if plan.second_zone else 0,
        "balance": int((SCALE * unit // np.repeat(np.maximum(limit, 1), distance)).sum()),
        "zone-pairs": 0 if plan.zones is None else _equal_pairs(plan.zones) - plan.empty_pairs,
        "moves": sum(plan.filled) - kept,
        "draining-age": int((rank * load[leaving]).sum()),
        "primaries-moved": int(np.count_nonzero(taken)),
    }
