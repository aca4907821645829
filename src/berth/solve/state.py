"""What is kept of a Pool between two solves, so that a small event costs little.

Members become *positions*: the live ones in the order of their keys, so that rows mean nothing.
Items become *kinds*: all that ask for as many replicas and hold as many in each zone are one kind,
and the networks see kinds only. Everything here follows from the Problem; `update` brings it up
to date row by row, and a State built anew is the same.
"""

from __future__ import annotations

import numpy as np

from berth.solve.arrays import SALT
from berth.solve.model import Bool, Int32, Int64, Problem, Touched, UInt64
from berth.solve.shares import age_ranks
from berth.solve.tuning import Tuning

MANY = -1
"""The area of all zones that are too many and too small to be looked at one by one."""


class State:
    """Who holds what, by position, and the kinds of Items that there are.

    `at` has shape (n, w): positions that hold the Item, -1 for none or not live, in slot order;
    `lead`, shape (n,), the position of its primary or -1. `kind`, shape (n,), numbers kinds;
    `count`, `asked` and `spread` describe each: how many Items, replicas asked for, and entries in
    each area (a zone, or MANY). `load`, `limit`, ... have one value for each position.
    """

    def __init__(self, problem: Problem, tuning: Tuning) -> None:
        self._tuning = tuning
        self.merged: frozenset[int] = frozenset()
        """Zones that are part of the area MANY."""
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

    def _zones_in_use(self) -> Int64:
        return np.unique(self.zone)

    @property
    def area_slot(self) -> Int64:
        """Shape (positions + 1,): the column of `spread` of each position; the last is for nobody."""
        slots = self.slots
        if self.merged:
            inside = np.isin(self.zone, list(self.merged))
            names = np.where(inside, MANY, self.zone)
        else:
            names = self.zone
        known, inverse = np.unique(names, return_inverse=True)
        for name in known.tolist():
            if name not in slots:
                slots[name] = len(slots)
        numbers = np.array([slots[name] for name in known.tolist()], np.int64)
        return np.append(numbers[inverse] if len(known) else np.zeros(0, np.int64), len(slots))

    # ---- Items -------------------------------------------------------------------------------

    def _build(self, problem: Problem) -> None:
        self._read_members(problem)
        zones = self._zones_in_use()
        if len(zones) > self._tuning.merge_zones:
            self.merged = frozenset(zones.tolist()) if not self.merged else self.merged
        else:
            self.merged = frozenset()
        n, width = problem.held.shape
        self.at = np.full((n, width), -1, np.int16 if len(problem.live) < 32_000 else np.int32)
        self.lead = np.full(n, -1, self.at.dtype)
        self.wants = np.zeros(n, np.int16)
        self.hash = scatter(problem.item_key)
        self.lot = draw_lots(self.hash)
        """Shape (n,): a number drawn for each Item by its key, to sample a share of them."""
        self.stays = np.full((n, max(width, 1)), -1, np.int32)
        """Shape (n, w): Member rows of the Problem that hold the Item, its primary first, without gaps."""
        self.headless = np.zeros(n, np.bool_)
        """Shape (n,): held, but by no primary."""
        self.load = np.zeros(len(self.row), np.int64)
        self._reset_kinds()
        self._read(problem, np.arange(n), fresh=True)

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
        grown = n < len(self.at) or width != self.at.shape[1]
        stale = len(self._table) > 1000 + 4 * int((self.count > 0).sum())
        wide = self.at.dtype == np.int16 and len(problem.live) >= 32_000
        if grown or stale or wide:
            self._build(problem)
            return
        if n > len(self.at):
            self._grow(problem, n)
        rows = np.unique(touched.items).astype(np.int64)
        if len(touched.members):
            rows = self._move_positions(problem, rows)
            if rows is None:
                self._build(problem)
                return
        self._read(problem, rows)

    def _grow(self, problem: Problem, n: int) -> None:
        more = n - len(self.at)
        self.at = np.concatenate([self.at, np.full((more, self.at.shape[1]), -1, self.at.dtype)])
        self.lead = np.concatenate([self.lead, np.full(more, -1, self.lead.dtype)])
        self.wants = np.concatenate([self.wants, np.zeros(more, np.int16)])
        self.kind = np.concatenate([self.kind, np.full(more, -1, np.int32)])
        self.stays = np.concatenate([self.stays, np.full((more, self.stays.shape[1]), -1, np.int32)])
        self.headless = np.concatenate([self.headless, np.zeros(more, np.bool_)])
        fresh = scatter(problem.item_key[n - more :])
        self.hash = np.concatenate([self.hash, fresh])
        self.lot = np.concatenate([self.lot, draw_lots(fresh)])

    def _move_positions(self, problem: Problem, rows: Int64) -> Int64 | None:
        """Take over Members that came, went or changed; which Items are to be read. None: read all."""
        before, keys, zones, old_load = self.row, self.key, self.zone, self.load
        self._read_members(problem)
        in_use = self._zones_in_use()
        if (len(in_use) > self._tuning.merge_zones) != bool(self.merged):
            return None
        same = np.isin(before, self.row)
        now = self.position[before[same]]
        same[same] &= (self.key[now] == keys[same]) & (self.zone[now] == zones[same])
        now = self.position[before[same]]
        came = np.ones(len(self.row), np.bool_)
        came[now] = False
        out = np.append(~same, False)
        if out.any():
            rows = np.union1d(rows, np.flatnonzero(names_one(out, self.at)))
        if came.any():
            here = np.zeros(len(problem.live) + 1, np.bool_)
            here[self.row[came]] = True
            rows = np.union1d(rows, np.flatnonzero(names_one(here, problem.held)))
        if 2 * len(rows) > len(self.at):
            return None
        shift = np.full(len(before) + 1, -1, self.at.dtype)
        shift[:-1][same] = now
        if len(before) != len(self.row) or not np.array_equal(shift[:-1], np.arange(len(before))):
            self.at, self.lead = shift[self.at], shift[self.lead]
        self.load = np.zeros(len(self.row), np.int64)
        self.load[now] = old_load[same]
        return rows

    def _read(self, problem: Problem, rows: Int64, fresh: bool = False) -> None:
        """Read what these Items hold and ask for."""
        every = fresh and len(rows) == len(self.at)
        held = problem.held if every else problem.held[rows]
        leads = problem.held_primary if every else problem.held_primary[rows]
        at = self.position.astype(self.at.dtype)[held]
        at[problem.replicas[rows] <= 0] = -1  # what it holds goes whatever else happens
        if not fresh:
            self.load -= self._loads(self.at[rows])
            self.hash[rows] = scatter(problem.item_key[rows])
            self.lot[rows] = draw_lots(self.hash[rows])
        self.load += self._loads(at)
        lead = self.position.astype(self.at.dtype)[leads]
        lead[(held != leads[:, None]).all(axis=1)] = -1
        if every:
            self.at, self.lead, self.wants = at, lead, problem.replicas.astype(np.int16)
        else:
            self.at[rows], self.lead[rows], self.wants[rows] = at, lead, problem.replicas[rows]
        self._sort_into_kinds(rows)
        self._arrange(problem, rows, held, at, lead)

    def _arrange(self, problem: Problem, rows: Int64, held: Int32, at: Int32, lead: Int32) -> None:
        """Who stays if nothing moves, in slot order."""
        wants = problem.replicas[rows] > 0
        stays = np.where((at >= 0) & wants[:, None], held, -1)
        some = wants & (at >= 0).any(axis=1)
        gaps = ((stays[:, 1:] >= 0) & (stays[:, :-1] < 0)).any(axis=1)
        bad = np.flatnonzero(some & (gaps | (at[:, 0] != lead)))
        if len(bad):
            order = np.where(stays[bad] >= 0, np.arange(at.shape[1]), at.shape[1])
            order = np.where((at[bad] == lead[bad][:, None]) & (at[bad] >= 0), -1, order)
            stays[bad] = np.take_along_axis(stays[bad], np.argsort(order, axis=1, kind="stable"), axis=1)
        self.stays[rows, : stays.shape[1]] = stays
        self.headless[rows] = some & (lead < 0)

    def _loads(self, at: Int32) -> Int64:
        # Shifted by one, so that -1 needs no mask: a mask of 300,000 entries costs more than the count.
        counts = np.bincount(at.ravel() + 1, minlength=len(self.row) + 1)
        return counts[1:].astype(np.int64)

    def _sort_into_kinds(self, rows: Int64) -> None:
        slot = self.area_slot
        areas = len(self.slots)
        factor = np.append(SALT[100 + np.arange(areas)], np.uint64(0))[slot]
        every = len(rows) == len(self.at)
        at = self.at if every else self.at[rows]
        wants = self.wants if every else self.wants[rows]
        key = wants.astype(np.uint64) * SALT[0]
        for column in range(at.shape[1]):
            key += factor[at[:, column]]
        keys, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        numbers, new = np.empty(len(keys), np.int32), []
        for place, value in enumerate(keys.tolist()):
            number = self._table.get(value)
            if number is None:
                number = self._table[value] = len(self._table)
                new.append(first[place])
            numbers[place] = number
        if areas > self.spread.shape[1]:
            more = np.zeros((len(self.spread), areas - self.spread.shape[1]), np.int64)
            self.spread = np.concatenate([self.spread, more], axis=1)
        if new:
            counts = np.zeros((len(new), areas + 1), np.int64)
            some = at[new]
            np.add.at(counts, (np.repeat(np.arange(len(new)), some.shape[1]), slot[some].ravel()), 1)
            self.spread = np.concatenate([self.spread, counts[:, :areas]])
            self.asked = np.concatenate([self.asked, wants[new].astype(np.int64)])
            self.count = np.concatenate([self.count, np.zeros(len(new), np.int64)])
        old = self.kind if every else self.kind[rows]
        kinds = len(self.count)
        self.count += np.bincount(numbers[inverse], minlength=kinds)
        self.count -= np.bincount(old[old >= 0], minlength=kinds)
        self.kind[rows] = numbers[inverse]


def names_one(chosen: Bool, table: Int32) -> Bool:
    """Which rows of the table name a chosen one; -1 names the last of `chosen`."""
    out = chosen[table[:, 0]] if table.shape[1] else np.zeros(len(table), np.bool_)
    for column in range(1, table.shape[1]):
        out |= chosen[table[:, column]]
    return out


def scatter(keys: UInt64) -> UInt64:
    """Mix the bits of keys (splitmix64): what looks alike in names must not in lots."""
    x = keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(29)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    return np.asarray(x ^ (x >> np.uint64(32)), np.uint64)


def draw_lots(mixed: UInt64) -> np.ndarray:
    """A number from 0 to 65,535 for each; from the low bits, as Items are sorted by the high ones."""
    return (mixed & np.uint64(0xFFFF)).astype(np.uint16)
