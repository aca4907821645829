"""The certificate of a plan: what it breaks and what it reaches, by code that no engine shares.

Everything is read from the problem and the plan alone, column by column: a plan has few slots and
many Items, and to compare two columns of small integers costs far less than to sort the rows.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from berth.solve.model import LEVELS, SCALE, Bool, Int32, Int64, Primaries, Problem, Zones

Small = npt.NDArray[np.signedinteger[Any]]
"""int16 where the Members can be numbered with it, else int32: half the size is twice the speed."""

EXAMPLES = 5  # so many Items or Members a fault names; of the others it gives the number


class Names(NamedTuple):
    """How messages call the rows of a problem."""

    item: Callable[[int], str] = str
    member: Callable[[int], str] = str


class Certificate(NamedTuple):
    """What a plan reaches, and what it breaks."""

    reached: dict[str, int]  # every name in `LEVELS`, counted afresh; all 0 where it cannot be read
    faults: tuple[str, ...]  # a sentence for each rule that is broken; empty: it holds

    @property
    def ok(self) -> bool:
        """Whether the plan may be used."""
        return not self.faults


def certify(
    problem: Problem, members: Int32, bounds: Mapping[str, int] | None = None, names: Names | None = None
) -> Certificate:
    """Check a plan against all that no plan may break, and count what it reaches.

    `members` is a plan as in `Solution.members`: int32 of shape (n, v), v at least 1. It is not
    trusted: whatever it is, what is wrong becomes a fault and never an exception. With `bounds` (as
    in `Proof`) a bound that the plan beats is a fault too, as the proof is false then. The problem
    itself is taken to be what `Problem` says.
    """
    names = names or Names()
    told, levels = partial(_told, names), dict.fromkeys(LEVELS, 0)
    fault = _unreadable(problem, members, told)
    if not fault:
        plan = _Plan(problem, members)
        # Nothing else is said of a plan with holes, nor counted.
        fault = told(plan.holes, "Item", lambda _: "has an empty slot before one with a Member", "have holes")
    if fault:
        return Certificate(levels, (fault,))
    levels.update(_reached(plan))
    faults = [*_broken(plan, names.member, told), *(() if bounds is None else _beaten(levels, bounds))]
    return Certificate(levels, tuple(fault for fault in faults if fault))


def _told(names: Names, bad: Bool, kind: str, one: Callable[[int], str], others: str) -> str:
    """A sentence with the first examples and the number of the others; empty where none is bad."""
    rows, name = np.flatnonzero(bad), names.item if kind == "Item" else names.member
    told = "; ".join(f"{kind} {name(row)} {one(row)}" for row in rows[:EXAMPLES].tolist())
    more = len(rows) - EXAMPLES
    return f"{told}; and {more} more {kind}s {others}" if more > 0 else told


def _unreadable(problem: Problem, members: Int32, told: Callable[..., str]) -> str:
    n, m = len(problem.replicas), len(problem.limit)
    if type(members) is not np.ndarray:  # a matrix or a masked array would count otherwise
        return f"the plan is no plain array but of the type {type(members).__name__}"
    if members.dtype != np.int32:
        return f"the plan is an array of {members.dtype}, not of int32"
    if members.ndim != 2 or members.shape[0] != n or not members.shape[1]:
        return f"the plan has the shape {members.shape}, not ({n}, 1 or more)"
    if members.min(initial=-1) >= -1 and members.max(initial=-1) < m:
        return ""
    odd = (members < -1) | (members >= m)
    row = np.where(odd, members, 0)[np.arange(n), odd.argmax(axis=1)]
    return told(odd.any(axis=1), "Item", lambda i: f"is on row {row[i]} of {m} Members", "are on no Member")


class _Plan:
    """A plan whose entries are Members, and what several rules and levels ask of it.

    `columns` has a row for each slot, `on` says where there is a Member, and `zones` which zone (None
    where zones do not count). `filled` counts the Items that have each slot, `empty_pairs` the pairs
    of empty slots of one Item. `whole` are the Items with two replicas or more, all in one zone, and
    `beyond` counts the entries of an Item in slots that none may have.
    """

    def __init__(self, problem: Problem, members: Int32) -> None:
        n, m = members.shape[0], len(problem.limit)
        self.problem = problem
        able = problem.live & (problem.limit > 0)
        zone = problem.zone[able]
        self.second_zone = bool((zone != zone[:1]).any())
        self.want: Small = np.minimum(problem.replicas, np.count_nonzero(able)).astype(_small(m))
        # Nothing may be in the columns beyond: however wide the plan, all else looks at these only.
        width = min(max(int(self.want.max(initial=0)), 1), members.shape[1])
        self.beyond = (members[:, width:] >= 0).sum(axis=1)
        self.columns: Small = members[:, :width].T.astype(_small(m), order="C")
        self.on: Bool = self.columns >= 0
        self.holes = (self.on[1:] & ~self.on[:-1]).any(axis=0) | ((self.beyond > 0) & ~self.on[-1])
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
    """What `values` has for each Member in `columns` of shape (v, n); `empty` for an empty slot."""
    table = np.append(empty, values).astype(_small(int(values.max(initial=0))))
    found: Small = np.empty_like(columns, dtype=table.dtype, order="C")
    # One column at a time: what fits into the cache of the processor is not fetched again.
    for column, into in zip(columns, found, strict=True):
        table.take(np.add(column, 1, dtype=np.intp), out=into, mode="clip")
    return found


def _small(largest: int) -> type[np.signedinteger[Any]]:
    return np.int16 if largest < 2**15 else np.int32


def _equal_pairs(columns: Small) -> int:
    """Pairs of equal numbers within an Item, summed; `columns` has shape (v, n)."""
    lags = range(1, len(columns))
    return sum(int(np.count_nonzero(columns[lag:] == columns[:-lag])) for lag in lags)


def _broken(plan: _Plan, member: Callable[[int], str], told: Callable[..., str]) -> Iterator[str]:
    """A sentence for each rule; empty where it is kept."""
    problem, load, want, placed = plan.problem, plan.load, plan.want, plan.placed
    asked, limit, live = problem.replicas, problem.limit, problem.live
    has = placed + plan.beyond
    yield told(has > want, "Item", lambda i: f"wants {want[i]} at most and has {has[i]}", "have too many")
    if _equal_pairs(plan.columns) > plan.empty_pairs:
        ordered = np.sort(plan.columns, axis=0)[::-1]
        bad = (ordered[1:] == ordered[:-1]) & (ordered[1:] >= 0)
        first = ordered[bad.argmax(axis=0), np.arange(len(want))].tolist()
        yield told(
            bad.any(axis=0), "Item", lambda i: f"is twice on Member {member(first[i])}", "are twice on one"
        )
    bad = (load > 0) & ~live
    yield told(
        bad, "Member", lambda j: f"is not live and has {_items(load[j])}", "are not live and have some"
    )
    bad = (load > limit) & live
    yield told(bad, "Member", lambda j: f"has {_items(load[j])} on a limit of {limit[j]}", "are above theirs")
    if problem.zones == Zones.REQUIRE:
        bad = plan.whole & (asked >= 2) & (placed >= asked)
        yield told(bad, "Item", lambda i: f"has all its {asked[i]} replicas in one zone", "have all in one")


def _items(count: Any) -> str:
    return "1 Item" if count == 1 else f"{count} Items"


def _beaten(levels: Mapping[str, int], bounds: Mapping[str, int]) -> Iterator[str]:
    """The first bound that is not met, where it is beaten: those after it say nothing."""
    odd = [name for name in LEVELS if not isinstance(bounds.get(name), int | np.integer)]
    if odd:
        yield f"the bound of {odd[0]} is {bounds.get(odd[0])!r}, no whole number"
        return
    for name in [name for name in LEVELS if bounds[name] != levels[name]][:1]:
        if (levels[name] > bounds[name]) == (name == "placed"):
            yield f"the bound of {name} is {bounds[name]}, but the plan reaches {levels[name]}"


def _reached(plan: _Plan) -> dict[str, int]:
    """The levels that have a rule."""
    problem, load, columns = plan.problem, plan.load, plan.columns
    limit = problem.limit.astype(np.int64)
    sharing, leaving = problem.live & ~problem.draining, problem.live & problem.draining
    room = int(limit[sharing].sum())
    # F = part / room, in whole numbers throughout: a float would round a band now and then.
    part = np.where(sharing, limit, 0) * min(int(plan.want.sum(dtype=np.int64)), room)
    room = max(room, 1)
    stray = part * problem.tolerance // (100 * room)
    low, high = part // room - stray, np.where(leaving, limit, -(-part // room) + stray)
    distance = np.where(problem.live, np.maximum(low - load, 0) + np.maximum(load - high, 0), 0)
    # Unit by unit, 1, 2, ... distance of each Member: the floors have no closed form.
    first = np.repeat(np.cumsum(distance) - distance, distance)
    unit = np.arange(1, len(first) + 1) - first
    rank = np.argsort(np.argsort(-problem.age[leaving], kind="stable")) + 1  # 1 for the youngest
    single = plan.whole & (plan.placed == plan.want) & plan.second_zone
    # A Member that is not live counts as absent: -2 is equal to nothing in the plan.
    rows: Int64 = np.where(problem.live, np.arange(len(problem.live)), -2)
    held = _looked_up(rows, problem.held.T, -2)
    count = (held >= 0).sum(axis=0, dtype=plan.want.dtype)
    given_up = np.maximum(np.minimum(count, plan.want) - plan.placed, 0)
    kept = sum(int(np.count_nonzero(columns == column)) for column in held)
    primary = _looked_up(rows, problem.held_primary[None], -2)
    had = (primary >= 0) & (held == primary).any(axis=0)
    # Under Active a primary may move among the holders; only one that loses the Item is taken.
    stays = columns[:1] if problem.primaries == Primaries.PROMOTION else columns
    taken = had & ~(stays == primary).any(axis=0)
    return {
        "given-up": int(given_up.sum(dtype=np.int64)),
        "placed": sum(plan.filled),
        # p(p + 1)/2 is 1 + 2 + ... + p: slot k of each Item that has it costs k + 1.
        "shortage": sum(slot * count for slot, count in enumerate(plan.filled, 1)),
        "misplaced": int(load[leaving].sum()),
        "single-zone": int(np.count_nonzero(single)),
        "balance": int((SCALE * unit // np.repeat(np.maximum(limit, 1), distance)).sum()),
        "zone-pairs": 0 if plan.zones is None else _equal_pairs(plan.zones) - plan.empty_pairs,
        "moves": sum(plan.filled) - kept,
        "draining-age": int((rank * load[leaving]).sum()),
        "primaries-moved": int(np.count_nonzero(taken)),
    }
