"""What is kept of a Pool between two solves, so that a small event costs little.

Members become *positions*: the live ones in the order of their keys, so that rows mean nothing.
Items become *kinds*: all that ask for as many replicas and hold as many in each zone are one kind,
and the networks see kinds only. Everything here follows from the Problem; `update` brings it up
to date row by row, and a State built anew is the same.
"""

from __future__ import annotations

import numpy as np

from berth.solve.arrays import SALT, mixed, names_one, tally
from berth.solve.model import Int32, Int64, Problem, Touched
from berth.solve.shares import age_ranks
from berth.solve.tuning import Tuning

MANY = -1
"""The area of all zones that are too many and too small to be looked at one by one."""


class State:
    """Who holds what, by position, and the kinds of Items that there are.

    `at` has shape (n, w): positions that hold the Item, -1 for none or not live, in slot order;
    `lead`, shape (n,), the position of its primary or -1; `hash`, shape (n,), a number by which
    Items are sorted and drawn. `kind`, shape (n,), numbers kinds; `count`, `asked` and `spread`
    describe each: how many Items, replicas asked for, and entries in each area (a zone, or MANY).
    `load`, `limit`, ... have one value for each position. `stays`, shape (n, w), has the Members'
    rows in the Problem if nothing moves, the primary first, and `headless` who has no primary.
    """

    def __init__(self, problem: Problem, tuning: Tuning) -> None:
        self._tuning = tuning
        self._build(problem)

    # ---- Members -----------------------------------------------------------------------------

    def _read_members(self, problem: Problem) -> None:
        rows = np.flatnonzero(problem.live)
        self.row = rows[np.argsort(problem.member_key[rows], kind="stable")].astype(np.int32)
        """Shape (positions,): the Problem's row of each position."""
        self.key = problem.member_key[self.row]
        self.position = np.full(len(problem.live) + 1, -1, np.int32)
        self.position[self.row] = np.arange(len(self.row))
        self.limit = problem.limit[self.row].astype(np.int64)
        self.zone = problem.zone[self.row].astype(np.int64)
        self.draining = problem.draining[self.row]
        self.age_rank = age_ranks(problem)[self.row]
        self.usable = self.limit > 0

    def _has_many_zones(self) -> bool:
        return len(np.unique(self.zone)) > self._tuning.merge_zones

    def _columns(self) -> Int64:
        """Shape (positions + 1,): the column of `spread` of each position; the last is for nobody."""
        names = np.where(np.isin(self.zone, list(self.merged)), MANY, self.zone)
        known, inverse = np.unique(names, return_inverse=True)
        for name in known.tolist():
            self.slots.setdefault(name, len(self.slots))
        columns = np.array([self.slots[name] for name in known.tolist()], np.int64)
        return np.append(columns[inverse], len(self.slots))

    # ---- Items -------------------------------------------------------------------------------

    def _build(self, problem: Problem) -> None:
        self._read_members(problem)
        self.merged = frozenset(self.zone.tolist() if self._has_many_zones() else ())
        """Zones that are part of the area MANY."""
        n, width = problem.held.shape
        self.at = np.full((n, width), -1, np.int16 if len(problem.live) < 32_000 else np.int32)
        self.lead = np.full(n, -1, self.at.dtype)
        self.wants = np.zeros(n, np.int16)
        self.hash = np.zeros(n, np.uint64)
        self.stays = np.full((n, width), -1, np.int32)
        self.headless = np.zeros(n, np.bool_)
        self.load = np.zeros(len(self.row), np.int64)
        self._reset_kinds()
        self._read(problem, np.arange(n))

    def _reset_kinds(self) -> None:
        self.slots: dict[int, int] = {}
        self._table: dict[int, int] = {}
        self.kind = np.full(len(self.at), -1, np.int32)
        self.count, self.asked = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.spread = np.zeros((0, 0), np.int64)

    def regroup(self, merged: frozenset[int]) -> None:
        """Make the kinds anew, with these zones in the area MANY."""
        self.merged = merged
        self._reset_kinds()
        self._sort_into_kinds(np.arange(len(self.at)))

    def update(self, problem: Problem, touched: Touched) -> None:
        """Bring the state up to date with the rows that changed."""
        n, width = problem.held.shape
        stale = len(self._table) > 1000 + 4 * int((self.count > 0).sum())
        outgrown = self.at.dtype == np.int16 and len(problem.live) >= 32_000
        if n < len(self.at) or width != self.at.shape[1] or stale or outgrown:
            self._build(problem)
            return
        more = n - len(self.at)
        if more:
            for name, empty in (("at", -1), ("lead", -1), ("wants", 0), ("hash", 0), ("kind", -1),
                                ("stays", -1), ("headless", False)):  # fmt: skip
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.full((more, *old.shape[1:]), empty, old.dtype)]))
        rows = np.unique(touched.items).astype(np.int64)
        if len(touched.members):
            rows = np.union1d(rows, self._move_positions(problem))
        if 2 * len(rows) > n:
            self._build(problem)
        else:
            self._read(problem, rows)

    def _move_positions(self, problem: Problem) -> Int64:
        """Take over Members that came, went or changed; returns the Items that are to be read."""
        before, keys, zones, loads = self.row, self.key, self.zone, self.load
        self._read_members(problem)
        if self._has_many_zones() != bool(self.merged):
            return np.arange(len(self.at))
        same = np.isin(before, self.row)
        now = self.position[before[same]]
        same[same] &= (self.key[now] == keys[same]) & (self.zone[now] == zones[same])
        now = self.position[before[same]]
        new = np.zeros(len(problem.live) + 1, np.bool_)
        new[self.row] = True
        new[before[same]] = False
        lost = names_one(np.append(~same, False), self.at)
        gained = names_one(new, problem.held)[: len(lost)]
        shift = np.full(len(before) + 1, -1, self.at.dtype)
        shift[:-1][same] = now
        if not np.array_equal(shift, np.append(np.arange(len(self.row)), -1)):
            self.at, self.lead = shift[self.at], shift[self.lead]
        self.load = np.zeros(len(self.row), np.int64)
        self.load[now] = loads[same]
        return np.flatnonzero(lost | gained)

    def _read(self, problem: Problem, rows: Int64) -> None:
        """Read what these Items hold and ask for."""
        every: slice | Int64 = slice(None) if len(rows) == len(self.at) else rows
        held, leads, wants = problem.held[every], problem.held_primary[every], problem.replicas[every]
        place = self.position.astype(self.at.dtype)
        at, lead = place[held], place[leads]
        lead[(held != leads[:, None]).all(axis=1)] = -1
        at[wants <= 0] = -1  # what it holds goes whatever else happens
        self.load += self._loads(at) - self._loads(self.at[every])
        self.hash[every] = mixed(problem.item_key[every])
        self.at[every], self.lead[every], self.wants[every] = at, lead, wants
        self._sort_into_kinds(rows)
        stays = np.where(at >= 0, held, -1)
        some = (at >= 0).any(axis=1)
        gaps = ((stays[:, 1:] >= 0) & (stays[:, :-1] < 0)).any(axis=1)
        mixed_up = np.flatnonzero(some & (gaps | (at[:, 0] != lead)))
        if len(mixed_up):
            here = at[mixed_up]
            order = np.where(here >= 0, np.arange(at.shape[1]), at.shape[1])
            order[(here == lead[mixed_up][:, None]) & (here >= 0)] = -1
            order = np.argsort(order, axis=1, kind="stable")
            stays[mixed_up] = np.take_along_axis(stays[mixed_up], order, axis=1)
        self.stays[every], self.headless[every] = stays, some & (lead < 0)

    def _loads(self, at: Int32) -> Int64:
        # Shifted by one, so that -1 needs no mask: a mask of 300,000 entries costs more than the count.
        return np.bincount(at.ravel() + 1, minlength=len(self.row) + 1)[1:].astype(np.int64)

    def _sort_into_kinds(self, rows: Int64) -> None:
        columns = self._columns()
        areas = len(self.slots)
        factor = np.append(SALT[100 + np.arange(areas)], np.uint64(0))[columns]
        every: slice | Int64 = slice(None) if len(rows) == len(self.at) else rows
        at, wants, old = self.at[every], self.wants[every], self.kind[every]
        key = wants.astype(np.uint64) * SALT[0]
        for column in range(at.shape[1]):
            key += factor[at[:, column]]
        keys, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        known = len(self._table)
        numbers = np.array([self._table.setdefault(k, len(self._table)) for k in keys.tolist()], np.int32)
        new = first[numbers >= known]
        new = new[np.argsort(numbers[numbers >= known], kind="stable")]
        wider = np.zeros((len(self.spread), areas - self.spread.shape[1]), np.int64)
        self.spread = np.concatenate(
            [np.concatenate([self.spread, wider], axis=1), tally(at[new], columns, areas)]
        )
        self.asked = np.concatenate([self.asked, wants[new].astype(np.int64)])
        self.count = np.concatenate([self.count, np.zeros(len(new), np.int64)])
        self.count += np.bincount(numbers[inverse], minlength=len(self.count))
        self.count -= np.bincount(old[old >= 0], minlength=len(self.count))
        self.kind[every] = numbers[inverse]
