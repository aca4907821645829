"""The certificate of a plan: what it breaks and what it reaches, by code that no engine shares.

Everything is read from the problem and the plan alone, column by column: a plan has few slots and
many Items, and to compare two columns of small integers costs far less than to sort the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from berth.solve.model import LEVELS, SCALE, Bool, Int32, Int64, Primaries, Problem, Zones

Small = npt.NDArray[np.signedinteger[Any]]
"""int16 where the Members can be numbered with it, else int32: half the size is twice the speed."""

EXAMPLES = 5
"""How many Items or Members a fault names; of the others it gives the number."""


@dataclass(frozen=True, slots=True)
class Names:
    """How messages call the rows of a problem."""

    item: Callable[[int], str] = str
    member: Callable[[int], str] = str


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a plan reaches and what it breaks."""

    reached: dict[str, int]
    """Every name in `LEVELS`, counted afresh; all 0 for a plan that cannot be read at all."""
    faults: tuple[str, ...]
    """What the plan breaks, a sentence for each rule; empty: it holds."""

    @property
    def ok(self) -> bool:
        """Whether the plan may be used."""
        return not self.faults


def certify(
    problem: Problem,
    members: Int32,
    bounds: Mapping[str, int] | None = None,
    names: Names | None = None,
) -> Certificate:
    """Check a plan against all that no plan may break, and count what it reaches.

    `members` is a plan as in `Solution.members`: int32 of shape (n, v), v at least 1. It is not
    trusted: whatever it is, what is wrong becomes a fault and never an exception. With `bounds` (as
    in `Proof`) a bound that the plan beats is a fault too, as the proof is false then. The problem
    itself is taken to be what `Problem` says.
    """
    names, levels = names or Names(), dict.fromkeys(LEVELS, 0)
    plan = _read(problem, members, names)
    if isinstance(plan, str):
        return Certificate(levels, (plan,))
    levels.update(_shape(plan), **_changes(plan))
    faults = [fault for fault in _broken(plan, names) if fault]
    if bounds is not None:
        faults += _beaten(levels, bounds)
    return Certificate(levels, tuple(faults))


class _Plan:
    """A plan whose entries are Members, and what several rules and levels ask of it."""

    def __init__(self, problem: Problem, members: Int32) -> None:
        n, m = members.shape[0], len(problem.limit)
        self.problem, self.members = problem, members
        able = problem.live & (problem.limit > 0)
        zone = problem.zone[able]
        self.second_zone = bool((zone != zone[:1]).any())
        self.want: Small = np.minimum(problem.replicas, np.count_nonzero(able)).astype(_small(m))
        # Nothing may be in the columns beyond: however wide the plan, all else looks at these only.
        width = min(max(int(self.want.max(initial=0)), 1), members.shape[1])
        self.surplus: Bool = np.zeros(n, dtype=np.bool_)
        if members[:, width:].max(initial=-1) >= 0:
            self.surplus |= (members[:, width:] >= 0).any(axis=1)
        self.columns: Small = members[:, :width].T.astype(_small(m), order="C")
        self.on: Bool = self.columns >= 0
        self.placed: Small = self.on.sum(axis=0, dtype=_small(m))
        self.filled = [int(np.count_nonzero(column)) for column in self.on]
        """How many Items have each slot."""
        self.empty_pairs = sum((width - 1 - slot) * (n - count) for slot, count in enumerate(self.filled))
        """Pairs of empty slots of one Item."""
        self.whole: Bool = np.zeros(n, dtype=np.bool_)
        """Items that have two replicas or more, all in one zone; none where zones do not count."""
        self.zones: Small | None = None
        """As `columns`, of zones; None where they do not count."""
        if problem.zones != Zones.IGNORE:
            self.zones = zones = _looked_up(problem.zone, self.columns, -1)
            self.whole = ~((zones[1:] != zones[0]) & self.on[1:]).any(axis=0) & (self.placed >= 2)
        self.load: Int64 = np.zeros(m, dtype=np.int64)
        for column in self.columns:
            self.load += np.bincount(np.add(column, 1, dtype=np.intp), minlength=m + 1)[1:]


def _read(problem: Problem, members: Int32, names: Names) -> _Plan | str:
    """The plan, or why it cannot be read; nothing else is said of such a plan."""
    n, m = len(problem.replicas), len(problem.limit)
    if type(members) is not np.ndarray:  # a matrix or a masked array would count otherwise
        return f"the plan is no plain array but of the type {type(members).__name__}"
    if members.dtype != np.int32:
        return f"the plan is an array of {members.dtype}, not of int32"
    if members.ndim != 2 or members.shape[0] != n or not members.shape[1]:
        return f"the plan has the shape {members.shape}, not ({n}, 1 or more)"
    if members.min(initial=-1) < -1 or members.max(initial=-1) >= m:
        odd = (members < -1) | (members >= m)
        return _told(
            np.any(odd, axis=1),
            lambda row: f"Item {names.item(row)} is on row {members[row][odd[row]][0]} of {m} Members",
            "Items are on rows that no Member has",
        )
    plan = _Plan(problem, members)
    hole = np.any(plan.on[1:] & ~plan.on[:-1], axis=0) | (plan.surplus & ~plan.on[-1])
    told = _told(
        hole,
        lambda row: f"Item {names.item(row)} has an empty slot before one with a Member",
        "Items have such a hole",
    )
    return told or plan


def _told(bad: Bool, one: Callable[[int], str], others: str) -> str:
    """A sentence with the first examples and the number of the others; empty where none is bad."""
    rows = np.flatnonzero(bad)
    told = "; ".join(one(row) for row in rows[:EXAMPLES].tolist())
    more = len(rows) - EXAMPLES
    return f"{told}; and {more} more {others}" if more > 0 else told


def _looked_up(values: Int32 | Int64, columns: Small | Int32, empty: int) -> Small:
    """What `values` has for each Member in `columns` of shape (v, n); `empty` for an empty slot."""
    table = np.append(empty, values).astype(_small(int(values.max(initial=0))))
    found: Small = np.empty_like(columns, dtype=table.dtype, order="C")
    # One column at a time: what fits into the cache of the processor is not fetched again.
    for column, into in zip(columns, found, strict=True):
        table.take(np.add(column, 1, dtype=np.intp), out=into, mode="clip")
    return found


def _small(most: int) -> type[np.signedinteger[Any]]:
    return np.int16 if most < 2**15 else np.int32


def _equal_pairs(columns: Small) -> int:
    """Pairs of equal numbers within an Item, summed; `columns` has shape (v, n)."""
    lags = range(1, len(columns))
    return sum(int(np.count_nonzero(columns[lag:] == columns[:-lag])) for lag in lags)


def _broken(plan: _Plan, names: Names) -> Iterator[str]:
    """A sentence for each rule; empty where it is kept."""
    problem, members, load, asked = plan.problem, plan.members, plan.load, plan.problem.replicas
    item, member = names.item, names.member
    yield _told(
        plan.surplus | (plan.placed > plan.want),
        lambda row: f"Item {item(row)} wants {plan.want[row]} at most and has {(members[row] >= 0).sum()}",
        "Items have too many",
    )
    if _equal_pairs(plan.columns) > plan.empty_pairs:
        ordered = np.sort(plan.columns, axis=0)[::-1]
        twice = (ordered[1:] == ordered[:-1]) & (ordered[1:] >= 0)
        yield _told(
            twice.any(axis=0),
            lambda row: (
                f"Item {item(row)} is twice on Member {member(int(ordered[1:, row][twice[:, row]][0]))}"
            ),
            "Items are twice on a Member",
        )
    yield _told(
        (load > 0) & ~problem.live,
        lambda row: f"Member {member(row)} is not live and has {_items(load[row])}",
        "Members that are not live have some",
    )
    yield _told(
        (load > problem.limit) & problem.live,
        lambda row: f"Member {member(row)} has {_items(load[row])} on a limit of {problem.limit[row]}",
        "Members are above theirs",
    )
    if problem.zones == Zones.REQUIRE:
        yield _told(
            plan.whole & (asked >= 2) & (plan.placed >= asked),
            lambda row: f"Item {item(row)} has all its {asked[row]} replicas in one zone",
            "Items are wholly in one zone, which Require forbids",
        )


def _items(number: int) -> str:
    return f"{number} Item" if number == 1 else f"{number} Items"


def _beaten(levels: Mapping[str, int], bounds: Mapping[str, int]) -> Iterator[str]:
    """The first bound that is not met, where it is beaten: those after it say nothing."""
    for name in LEVELS:
        bound, reached = bounds.get(name), levels[name]
        if not isinstance(bound, int | np.integer):
            yield f"the bound of {name} is {bound!r}, no whole number"
            return
        if bound != reached:
            if (reached > bound) == (name == "placed"):
                yield f"the bound of {name} is {bound}, but the plan reaches {reached}"
            return


def _shape(plan: _Plan) -> dict[str, int]:
    """The levels that look at loads and zones only."""
    problem, load = plan.problem, plan.load
    limit = problem.limit.astype(np.int64)
    sharing, leaving = problem.live & ~problem.draining, problem.live & problem.draining
    room = int(limit[sharing].sum())
    # F = part / room, in whole numbers throughout: a float would round a band now and then.
    part = np.where(sharing, limit, 0) * min(int(plan.want.sum(dtype=np.int64)), room)
    room = max(room, 1)
    stray = part * problem.tolerance // (100 * room)
    low = part // room - stray
    high = np.where(leaving, limit, -(-part // room) + stray)
    distance = np.where(problem.live, np.maximum(low - load, 0) + np.maximum(load - high, 0), 0)
    # Unit by unit, 1, 2, ... distance of each Member: the floors have no closed form.
    first = np.repeat(np.cumsum(distance) - distance, distance)
    unit = np.arange(1, len(first) + 1) - first
    youngest_first = np.argsort(-problem.age[leaving], kind="stable")
    rank = np.empty(len(youngest_first), dtype=np.int64)
    rank[youngest_first] = np.arange(1, len(rank) + 1)
    single = plan.whole & (plan.placed == plan.want) & plan.second_zone
    return {
        "misplaced": int(load[leaving].sum()),
        "single-zone": int(np.count_nonzero(single)),
        "balance": int((SCALE * unit // np.repeat(np.maximum(limit, 1), distance)).sum()),
        "zone-pairs": 0 if plan.zones is None else _equal_pairs(plan.zones) - plan.empty_pairs,
        "draining-age": int((rank * load[leaving]).sum()),
    }


def _changes(plan: _Plan) -> dict[str, int]:
    """The levels that look at Items one by one, and at what live Members hold now."""
    problem, columns = plan.problem, plan.columns
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
        "moves": sum(plan.filled) - kept,
        "primaries-moved": int(np.count_nonzero(taken)),
    }
