"""The certificate of a plan: the rules that it breaks and the levels that it reaches.

It shares no code with the engines, and reads only the problem and the plan. It works column by
column: a plan has few slots and many Items, and comparing two columns of small integers costs far
less than sorting rows.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from berth.solve.model import LEVELS, SCALE, Bool, Int32, Int64, Primaries, Problem, Zones

Small = npt.NDArray[np.signedinteger[Any]]
"""int16 if it can number the Members, otherwise int32: half the size is twice the speed."""

EXAMPLES = 5  # how many Items or Members a fault names; it counts the others


class Names(NamedTuple):
    """The names of a problem's rows in messages."""

    item: Callable[[int], str] = str
    member: Callable[[int], str] = str


class Certificate(NamedTuple):
    """The levels that a plan reaches, and the rules that it breaks."""

    reached: dict[str, int]  # the value of each name in `LEVELS`; all 0 if the plan cannot be read
    faults: tuple[str, ...]  # a sentence for each broken rule; empty if the plan is valid

    @property
    def ok(self) -> bool:
        """Whether the plan may be used."""
        return not self.faults


def certify(
    problem: Problem, members: Int32, bounds: Mapping[str, int] | None = None, names: Names | None = None
) -> Certificate:
    """Check a plan against the rules that no plan may break, and compute the levels that it reaches.

    `members` is a plan as in `Solution.members`: int32 of shape (n, v), v at least 1. It is not
    trusted: whatever is wrong with it becomes a fault, never an exception. With `bounds` (as in
    `Proof`), a bound that the plan beats is also a fault, because it shows that the proof is false.
    The problem itself must have the form that `Problem` describes.
    """
    names = names or Names()
    describe, levels = partial(_describe, names), dict.fromkeys(LEVELS, 0)
    fault = _unreadable(problem, members, describe)
    if not fault:
        plan = _Plan(problem, members)
        # The other rules and the levels assume that a plan has no gaps.
        fault = describe(
            plan.gaps, "Item", lambda _: "has an empty slot before a filled one", "have such gaps"
        )
    if fault:
        return Certificate(levels, (fault,))
    levels.update(_reached(plan))
    faults = [*_broken(plan, names.member, describe), *(() if bounds is None else _beaten(levels, bounds))]
    return Certificate(levels, tuple(fault for fault in faults if fault))


def _describe(names: Names, bad: Bool, kind: str, one: Callable[[int], str], others: str) -> str:
    """A sentence with the first examples and the number of the others; empty if none is bad."""
    rows, name = np.flatnonzero(bad), names.item if kind == "Item" else names.member
    examples = "; ".join(f"{kind} {name(row)} {one(row)}" for row in rows[:EXAMPLES].tolist())
    more = len(rows) - EXAMPLES
    return f"{examples}; and {more} more {kind}s {others}" if more > 0 else examples


def _unreadable(problem: Problem, members: Int32, describe: Callable[..., str]) -> str:
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
    row = np.where(odd, members, 0)[np.arange(n), odd.argmax(axis=1)]
    return describe(
        odd.any(axis=1), "Item",
        lambda i: f"is on Member row {row[i]}, which does not exist", "are on rows that do not exist",
    )  # fmt: skip


class _Plan:
    """A plan of valid Member rows, and the values that several rules and levels use.

    `columns` has a row for each slot, `on` says whether it holds a Member, and `zones` has its zone
    (None if zones are ignored). `filled` is the number of Items that have each slot, `empty_pairs`
    the number of pairs of empty slots of one Item. `whole` marks Items with two or more replicas, all
    in one zone. `beyond` is the number of an Item's entries in slots that no Item may have.
    """

    def __init__(self, problem: Problem, members: Int32) -> None:
        n, m = members.shape[0], len(problem.limit)
        self.problem = problem
        able = problem.live & (problem.limit > 0)
        zone = problem.zone[able]
        self.second_zone = bool((zone != zone[:1]).any())
        self.want: Small = np.minimum(problem.replicas, np.count_nonzero(able)).astype(_small(m))
        # Columns beyond the maximum wanted must be empty, so the rest of the code ignores them.
        width = min(max(int(self.want.max(initial=0)), 1), members.shape[1])
        self.beyond: Small = (members[:, width:] >= 0).sum(axis=1, dtype=_small(m))
        self.columns: Small = members[:, :width].T.astype(_small(m), order="C")
        self.on: Bool = self.columns >= 0
        self.gaps = (self.on[1:] & ~self.on[:-1]).any(axis=0) | ((self.beyond > 0) & ~self.on[-1])
        self.placed: Small = self.on.sum(axis=0, dtype=_small(m))
        self.filled = [int(np.count_nonzero(column)) for column in self.on]
        self.empty_pairs = sum((width - 1 - slot) * (n - some) for slot, some in enumerate(self.filled))
        self.whole: Bool = np.zeros(n, np.bool_)
        self.zones: Small | None = None
        if problem.zones != Zones.IGNORE:
            self.zones = zones = _looked_up(problem.zone, self.columns, -1)
            self.whole = ~((zones[1:] != zones[0]) & self.on[1:]).any(axis=0) & (self.placed >= 2)
        self.load: Int64 = np.zeros(m, np.int64)
        for column in self.columns:
            self.load += np.bincount(np.add(column, 1, dtype=np.intp), minlength=m + 1)[1:]


def _looked_up(values: Int32 | Int64, columns: Small | Int32, empty: int) -> Small:
    """The element of `values` for each Member in `columns`, shape (v, n); `empty` for an empty slot."""
    table = np.append(empty, values).astype(_small(int(values.max(initial=0))))
    found: Small = np.empty_like(columns, dtype=table.dtype, order="C")
    # One column at a time fits into the processor's cache.
    for column, into in zip(columns, found, strict=True):
        table.take(np.add(column, 1, dtype=np.intp), out=into, mode="clip")
    return found


def _small(largest: int) -> type[np.signedinteger[Any]]:
    return np.int16 if largest < 2**15 else np.int32


def _equal_pairs(columns: Small) -> int:
    """The total number of pairs of equal numbers within an Item; `columns` has shape (v, n)."""
    lags = range(1, len(columns))
    return sum(int(np.count_nonzero(columns[lag:] == columns[:-lag])) for lag in lags)


def _broken(plan: _Plan, member: Callable[[int], str], describe: Callable[..., str]) -> Iterator[str]:
    """A sentence for each rule, which is empty if the plan keeps it."""
    problem, load, want, placed = plan.problem, plan.load, plan.want, plan.placed
    asked, limit, live = problem.replicas, problem.limit, problem.live
    has = placed + plan.beyond
    yield describe(
        has > want, "Item",
        lambda i: f"has {_counted(has[i], 'replica')} but wants at most {want[i]}", "have too many replicas",
    )  # fmt: skip
    if _equal_pairs(plan.columns) > plan.empty_pairs:
        ordered = np.sort(plan.columns, axis=0)[::-1]
        bad = (ordered[1:] == ordered[:-1]) & (ordered[1:] >= 0)
        first = ordered[bad.argmax(axis=0), np.arange(len(want))].tolist()
        yield describe(
            bad.any(axis=0), "Item",
            lambda i: f"is placed twice on Member {member(first[i])}", "are placed twice on a Member",
        )  # fmt: skip
    yield describe(
        (load > 0) & ~live, "Member",
        lambda j: f"is not live but has {_counted(load[j], 'Item')}", "are not live but have Items",
    )  # fmt: skip
    yield describe(
        (load > limit) & live, "Member",
        lambda j: f"has {_counted(load[j], 'Item')}, above its limit of {limit[j]}", "are above their limits",
    )  # fmt: skip
    if problem.zones == Zones.REQUIRE:
        yield describe(
            plan.whole & (asked >= 2) & (placed >= asked), "Item",
            lambda i: f"has all {asked[i]} replicas in one zone", "have all replicas in one zone",
        )  # fmt: skip


def _counted(count: Any, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _beaten(levels: Mapping[str, int], bounds: Mapping[str, int]) -> Iterator[str]:
    """The first bound that is not met, if the plan beats it: later bounds then prove nothing."""
    odd = [name for name in LEVELS if not isinstance(bounds.get(name), int | np.integer)]
    if odd:
        yield f"the bound of {odd[0]} must be an integer, not {bounds.get(odd[0])!r}"
        return
    for name in [name for name in LEVELS if bounds[name] != levels[name]][:1]:
        if (levels[name] > bounds[name]) == (name == "placed"):
            yield f"the bound of {name} is {bounds[name]}, but the plan beats it with {levels[name]}"


def _reached(plan: _Plan) -> dict[str, int]:
    """The values of the levels that have a rule."""
    problem, load, columns = plan.problem, plan.load, plan.columns
    limit = problem.limit.astype(np.int64)
    sharing, leaving = problem.live & ~problem.draining, problem.live & problem.draining
    room = int(limit[sharing].sum())
    # The fair share is part / room, computed in integers: floats would occasionally round a band wrongly.
    part = np.where(sharing, limit, 0) * min(int(plan.want.sum(dtype=np.int64)), room)
    room = max(room, 1)
    stray = part * problem.tolerance // (100 * room)
    low, high = part // room - stray, np.where(leaving, limit, -(-part // room) + stray)
    distance = np.where(problem.live, np.maximum(low - load, 0) + np.maximum(load - high, 0), 0)
    # Number the units 1, 2, ... distance of each Member: the sum of the floors has no closed form.
    first = np.repeat(np.cumsum(distance) - distance, distance)
    unit = np.arange(1, len(first) + 1) - first
    rank = np.argsort(np.argsort(-problem.age[leaving], kind="stable")) + 1  # 1 for the youngest
    single = plan.whole & (plan.placed == plan.want) & plan.second_zone
    # A Member that is not live is treated as absent: -2 equals nothing in the plan.
    rows: Int64 = np.where(problem.live, np.arange(len(problem.live)), -2)
    held = _looked_up(rows, problem.held.T, -2)
    count = (held >= 0).sum(axis=0, dtype=plan.want.dtype)
    given_up = np.maximum(np.minimum(count, plan.want) - plan.placed, 0)
    kept = sum(int(np.count_nonzero(columns == column)) for column in held)
    primary = _looked_up(rows, problem.held_primary[None], -2)
    had = (primary >= 0) & (held == primary).any(axis=0)
    # With ACTIVE a primary may move among the holders, so it counts only if its Member loses the Item.
    stays = columns[:1] if problem.primaries == Primaries.PROMOTION else columns
    taken = had & ~(stays == primary).any(axis=0)
    return {
        "given-up": int(given_up.sum(dtype=np.int64)),
        "placed": sum(plan.filled),
        # An Item with p replicas costs p(p + 1)/2 = 1 + 2 + ... + p, so slot k costs k + 1.
        "shortage": sum(slot * count for slot, count in enumerate(plan.filled, 1)),
        "misplaced": int(load[leaving].sum()),
        "single-zone": int(np.count_nonzero(single)),
        "balance": int((SCALE * unit // np.repeat(np.maximum(limit, 1), distance)).sum()),
        "zone-pairs": 0 if plan.zones is None else _equal_pairs(plan.zones) - plan.empty_pairs,
        "moves": sum(plan.filled) - kept,
        "draining-age": int((rank * load[leaving]).sum()),
        "primaries-moved": int(np.count_nonzero(taken)),
    }
