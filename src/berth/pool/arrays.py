"""Names as rows, the arrays of the placement problem behind them, and which rows have changed."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from berth.pool.member import MemberState
from berth.solve import Problem, Solution, keys
from berth.solve.model import Int32, Int64


class Rows:
    """Names to rows. A row keeps its number; that of a forgotten name is given to a later one."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}
        self.names: list[str | None] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self.names)

    def name(self, row: int) -> str:
        """The name in a row that is in use."""
        name = self.names[row]
        assert name is not None
        return name

    def add(self, name: str) -> int:
        """A row for a new name."""
        if self._free:
            row = self._free.pop()
            self.names[row] = name
        else:
            row = len(self.names)
            self.names.append(name)
        self.of[name] = row
        return row

    def forget(self, name: str) -> None:
        """Give up the row of `name`."""
        row = self.of.pop(name)
        self.names[row] = None
        self._free.append(row)


@dataclass(slots=True)
class Changed:
    """Rows to process again. The ledger adds to them; Target, Brain and Statuses each take theirs."""

    problem: bool = True  # whether the target must be solved again
    solve_items: set[int] = field(default_factory=set)
    solve_members: set[int] = field(default_factory=set)
    converge: set[int] = field(default_factory=set)  # Items whose next step may have changed
    assignments: set[int] = field(default_factory=set)  # Members whose Assignment object needs work
    item_status: set[int] = field(default_factory=set)
    member_status: set[int] = field(default_factory=set)


ITEM_COLUMNS = {"item_key": 0, "replicas": 0, "held": -1, "held_primary": -1, "tidy": True}
MEMBER_COLUMNS = {"member_key": 0, "limit": 0, "zone": 0, "live": False, "draining": False, "age": 0}
"""The columns and the value of each in a new row."""


class Arrays:
    """The arrays of a Problem with room to grow; `problem` hands out views of the rows in use.

    Growing by doubling keeps the cost of a new Item independent of how many there are.
    """

    def __init__(self) -> None:
        self.items = self.members = 0  # rows in use
        self.item_key = np.zeros(16, np.uint64)
        self.replicas = np.zeros(16, np.int32)
        self.held = np.full((16, 2), -1, np.int32, order="F")  # the solver reads it column by column
        self.held_primary = np.full(16, -1, np.int32)
        self.tidy = np.ones(16, np.bool_)  # the slots held are 0, 1, 2, ... without a gap, or there are none
        self.member_key = np.zeros(16, np.uint64)
        self.limit = np.zeros(16, np.int32)
        self.zone = np.zeros(16, np.int32)
        self.live = np.zeros(16, np.bool_)
        self.draining = np.zeros(16, np.bool_)
        self.age = np.zeros(16, np.int64)

    def add_item(self, row: int, name: str) -> None:
        """Make `row` the (empty) row of the Item `name`."""
        self._reset(row, ITEM_COLUMNS)
        self.items = max(self.items, row + 1)
        self.item_key[row] = keys([name])[0]

    def add_member(self, row: int, name: str) -> None:
        """Make `row` the row of the Member `name`, not live yet."""
        self._reset(row, MEMBER_COLUMNS)
        self.members = max(self.members, row + 1)
        self.member_key[row] = keys([name])[0]

    def _reset(self, row: int, columns: dict[str, int]) -> None:
        for column, value in columns.items():
            array: np.ndarray = getattr(self, column)
            if row >= len(array):
                bigger = np.full((2 * len(array), *array.shape[1:]), value, array.dtype, order="F")
                bigger[: len(array)] = array
                setattr(self, column, bigger)
                array = bigger
            array[row] = value

    def set_held(self, row: int, members: list[int], primary: int, tidy: bool) -> None:
        """Set who holds the Item, in slot order, and whether their slots are without a gap."""
        if len(members) > self.held.shape[1]:
            width = max(len(members), 2 * self.held.shape[1])
            wider = np.full((len(self.held), width), -1, np.int32, order="F")
            wider[:, : self.held.shape[1]] = self.held
            self.held = wider
        self.held[row] = members + [-1] * (self.held.shape[1] - len(members))
        self.held_primary[row] = primary
        self.tidy[row] = tidy

    def held_by(self, row: int) -> list[int]:
        """Member rows that hold the Item, in slot order."""
        return [m for m in self.held[row].tolist() if m >= 0]

    def problem(self) -> Problem:
        """The arrays as a Problem, not copied."""
        items = {column: getattr(self, column)[: self.items] for column in ITEM_COLUMNS if column != "tidy"}
        members = {column: getattr(self, column)[: self.members] for column in MEMBER_COLUMNS}
        return Problem(**items, **members)


def as_rows(rows: set[int]) -> Int32:
    """A set of rows as a sorted array."""
    return np.array(sorted(rows), dtype=np.int32)


def known_rows(items: Iterable[int], solution: Solution) -> Int64:
    """Those of the Item rows that the solution has: later ones are of Items that came after it."""
    return np.array([row for row in items if row < len(solution.members)], dtype=np.int64)


def rank_ages(members: Iterable[MemberState], ages: np.ndarray) -> set[int]:
    """Write each Member's rank by age into its row of `ages`; the rows for which that changes a plan.

    Of those that drain the oldest is emptied first. Creation times are whole seconds; of equal ones the first
    by name counts as the older.
    """
    by_age = sorted(members, key=lambda m: ((m.info and m.info.metadata.creation_timestamp) or "", m.name))
    changed = set()
    for rank, member in enumerate(by_age):
        if ages[member.row] != rank:
            ages[member.row] = rank
            if member.info and member.info.spec.draining:
                changed.add(member.row)
    return changed
