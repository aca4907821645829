"""Rows that grow: names to rows, and the arrays of the placement problem behind them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from berth.pool.member import MemberState
from berth.solve import Problem, keys
from berth.solve.model import Int32


class Rows:
    """Names to rows. A row keeps its number; that of a forgotten name is given to a later one."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}
        self.names: list[str | None] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str) -> tuple[int, bool]:
        """The row of `name`, and whether it is new."""
        row = self.of.get(name)
        if row is not None:
            return row, False
        if self._free:
            row = self._free.pop()
            self.names[row] = name
        else:
            row = len(self.names)
            self.names.append(name)
        self.of[name] = row
        return row, True

    def forget(self, name: str) -> None:
        """Give up the row of `name`."""
        row = self.of.pop(name)
        self.names[row] = None
        self._free.append(row)


def _grown(array: np.ndarray, rows: int, fill: int) -> np.ndarray:
    shape = (rows, *array.shape[1:])
    bigger = np.full(shape, fill, dtype=array.dtype)
    bigger[: len(array)] = array
    return bigger


class Arrays:
    """The arrays of a Problem with room to grow; `problem` hands out views of the rows in use.

    Growing by doubling keeps the cost of a new Item independent of how many there are.
    """

    def __init__(self) -> None:
        self.items = self.members = 0
        self._item_key = np.zeros(16, np.uint64)
        self.replicas = np.zeros(16, np.int32)
        self.held = np.full((16, 2), -1, np.int32)
        self.held_primary = np.full(16, -1, np.int32)
        self.tidy = np.ones(16, np.bool_)
        """Whether the slots held are 0, 1, 2, ... without a gap; true where nothing is held."""
        self._member_key = np.zeros(16, np.uint64)
        self.limit = np.zeros(16, np.int32)
        self.zone = np.zeros(16, np.int32)
        self.live = np.zeros(16, np.bool_)
        self.draining = np.zeros(16, np.bool_)
        self.age = np.zeros(16, np.int64)

    def add_item(self, row: int, name: str) -> None:
        """Make `row` the (empty) row of the Item `name`."""
        if row >= len(self.replicas):
            rows = 2 * len(self.replicas)
            self._item_key = _grown(self._item_key, rows, 0)
            self.replicas = _grown(self.replicas, rows, 0)
            self.held = _grown(self.held, rows, -1)
            self.held_primary = _grown(self.held_primary, rows, -1)
            self.tidy = _grown(self.tidy, rows, 1)
        self.items = max(self.items, row + 1)
        self._item_key[row] = keys([name])[0]
        self.replicas[row] = 0
        self.held[row] = -1
        self.held_primary[row] = -1
        self.tidy[row] = True

    def add_member(self, row: int, name: str) -> None:
        """Make `row` the row of the Member `name`, not live yet."""
        if row >= len(self.limit):
            rows = 2 * len(self.limit)
            self._member_key = _grown(self._member_key, rows, 0)
            self.limit = _grown(self.limit, rows, 0)
            self.zone = _grown(self.zone, rows, 0)
            self.live = _grown(self.live, rows, 0)
            self.draining = _grown(self.draining, rows, 0)
            self.age = _grown(self.age, rows, 0)
        self.members = max(self.members, row + 1)
        self._member_key[row] = keys([name])[0]
        self.limit[row] = self.zone[row] = self.age[row] = 0
        self.live[row] = self.draining[row] = False

    def set_held(self, row: int, members: list[int], primary: int, tidy: bool) -> None:
        """Set who holds the Item, in slot order, and whether their slots are without a gap."""
        if len(members) > self.held.shape[1]:
            wider = np.full((len(self.held), max(len(members), 2 * self.held.shape[1])), -1, np.int32)
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
        n, m = self.items, self.members
        return Problem(
            item_key=self._item_key[:n],
            replicas=self.replicas[:n],
            held=self.held[:n],
            held_primary=self.held_primary[:n],
            member_key=self._member_key[:m],
            limit=self.limit[:m],
            zone=self.zone[:m],
            live=self.live[:m],
            draining=self.draining[:m],
            age=self.age[:m],
        )


def as_rows(rows: set[int]) -> Int32:
    """A set of rows as a sorted array."""
    return np.array(sorted(rows), dtype=np.int32)


def rank_ages(members: Iterable[MemberState], ages: np.ndarray) -> set[int]:
    """Write each Member's rank by age into its row of `ages`; the rows for which that changes a plan.

    Of those that drain the oldest is emptied first.

    Creation times are whole seconds; of equals the first by name is the older.
    """

    def created(member: MemberState) -> tuple[str, str]:
        return (member.info.created if member.info else "", member.name)

    changed = set()
    for rank, member in enumerate(sorted(members, key=created)):
        if ages[member.row] != rank:
            ages[member.row] = rank
            if member.info and member.info.draining:
                changed.add(member.row)
    return changed
