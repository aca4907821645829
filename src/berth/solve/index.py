"""What the incremental engine remembers between solves, all of it a function of the Problem alone.

Counts by Member, the Items of each Member, and the *loose* Items: those that are not held just as
an Item would best be held by itself (every replica on a Member that may keep it, in the best
spread over zones, with a primary). Everything else about the answer starts from here, so how the
Problem came to be as it is cannot show in the answer.
"""

from __future__ import annotations

from typing import TypeVar, cast

import numpy as np

from berth.solve.network import Fleet, fleet
from berth.solve.primaries import key_ranks
from berth.solve.problem import Bool, Int32, Int64, Problem, UInt64, Zones
from berth.solve.shapes import Shapes, shapes, zone_counts
from berth.solve.shares import bands, placeable

MEND = 40
"""Mending the list of one Member costs as much as reading so many entries again."""


def distinct(rows: Int64) -> Int64:
    """The rows sorted, each once. (np.unique hashes, which is slow for a million rows.)"""
    rows = np.sort(rows)
    return rows[np.r_[True, rows[1:] != rows[:-1]]] if len(rows) else rows


Array = TypeVar("Array", bound=np.ndarray)


def mix(values: UInt64 | Int64, salt: int) -> UInt64:
    """A scrambled copy (splitmix64): orders that look random and depend on keys only."""
    x = values.astype(np.uint64) + np.uint64((salt * 0x9E3779B97F4A7C15) & (2**64 - 1))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Index:
    """Counts and lists over one set of arrays, brought up to date by `refresh`."""

    def __init__(self, problem: Problem) -> None:
        """Read the whole Problem: the one pass over all Items."""
        self.version = 0
        self.rebuild(problem)

    # ---- the whole --------------------------------------------------------------------------

    def rebuild(self, problem: Problem) -> None:
        """Forget everything and read the Problem again."""
        n = len(problem.replicas)
        self.items = n
        self._held = problem.held.copy()
        self._replicas = problem.replicas.copy()
        self._primary = problem.held_primary.copy()
        self._keys = problem.item_key.copy()
        self._policy = problem.zones
        self.by_replicas = np.bincount(self._replicas, minlength=1).astype(np.int64)
        m = len(problem.limit)
        counted = np.where((self._replicas > 0)[:, None], self._held, -1)
        self.held_count = np.bincount(counted[counted >= 0], minlength=m).astype(np.int64)
        self.primary_count = self.primaries_of(np.arange(n), m)
        self._read_members(problem)
        self._lists: list[Int32] | None = None
        self._is_loose = np.zeros(n, dtype=np.bool_)
        self._marked = np.zeros(n, dtype=np.bool_)
        self.loose = np.zeros(0, dtype=np.int64)
        self._note_loose(np.arange(n))

    def _read_members(self, problem: Problem) -> None:
        able = placeable(problem)
        self._able = able
        self._zone, self._limit = problem.zone.copy(), problem.limit.copy()
        self._live, self._draining = problem.live.copy(), problem.draining.copy()
        self._member_key = problem.member_key.copy()
        self.fleet: Fleet = fleet(problem, 0)
        self.ranks = key_ranks(problem)
        self.taker = able & ~problem.draining
        takers = self.fleet.draining == 0
        self.takers = int(takers.sum())
        self.place = np.full(len(able) + 1, -1, dtype=np.int64)  # the last is what row -1 finds
        self.place[self.fleet.rows] = np.where(takers, np.arange(len(takers)), -1)
        self.zone_size = np.bincount(self.fleet.zone[takers], minlength=self.fleet.zones).astype(np.int64)
        self.zones_taken = int((self.zone_size > 0).sum())
        self.members = len(self.fleet.rows)
        most = int(min(np.flatnonzero(self.by_replicas).max(initial=0), self.members))
        if problem.zones == Zones.IGNORE:
            self.zone_size = np.array([2**31], dtype=np.int64)
        self.shapes: Shapes = shapes(self.zone_size, most)

    # ---- changes ----------------------------------------------------------------------------

    def refresh(self, problem: Problem, items: Int32 | None) -> Int64:
        """Take in what changed; returns the Item rows that were read again."""
        self.version += 1
        n, m = len(problem.replicas), len(problem.limit)
        if items is None or problem.zones != self._policy or n < self.items or m < len(self._limit):
            self.rebuild(problem)
            return np.arange(n)
        rows = distinct(np.asarray(items, dtype=np.int64))
        if n > self.items:
            rows = distinct(np.concatenate([rows, np.arange(self.items, n)]))
            self._grow(n)
        if problem.held.shape[1] != self._held.shape[1]:
            self._widen(problem.held.shape[1])
        if m > len(self._limit):
            self.held_count = np.concatenate([self.held_count, np.zeros(m - len(self._limit), np.int64)])
            self.primary_count = np.concatenate(
                [self.primary_count, np.zeros(m - len(self._limit), np.int64)]
            )
            if self._lists is not None:
                self._lists += [np.zeros(0, dtype=np.int32)] * (m - len(self._limit))
        self._recount(problem, rows)
        judged = self._members_changed(problem, rows)
        if judged is None:
            judged = np.arange(n)
        self._note_loose(judged)
        return judged

    def _grow(self, n: int) -> None:
        if n > len(self._replicas):
            room = max(2 * len(self._replicas), n)

            def longer(old: Array, fill: int) -> Array:
                missing = np.full((room - len(old), *old.shape[1:]), fill, dtype=old.dtype)
                return cast(Array, np.concatenate([old, missing]))

            self._held, self._primary = longer(self._held, -1), longer(self._primary, -1)
            self._replicas, self._keys = longer(self._replicas, 0), longer(self._keys, 0)
            self._is_loose, self._marked = longer(self._is_loose, 0), longer(self._marked, 0)
        self.by_replicas[0] += n - self.items
        self.items = n

    def _widen(self, width: int) -> None:
        new = np.full((len(self._held), width), -1, dtype=np.int32)
        common = min(width, self._held.shape[1])
        new[:, :common] = self._held[:, :common]
        self._held = new

    def _recount(self, problem: Problem, rows: Int64) -> None:
        old, new = self._held[rows], problem.held[rows]
        was, now = self._replicas[rows], problem.replicas[rows]
        m = len(problem.limit)
        most = max(int(now.max(initial=0)) + 1, len(self.by_replicas))
        self.by_replicas = (
            np.bincount(now, minlength=most)
            - np.bincount(was, minlength=most)
            + np.append(self.by_replicas, np.zeros(most - len(self.by_replicas), dtype=np.int64))
        )
        gone = old[(old >= 0) & (was > 0)[:, None]]
        come = new[(new >= 0) & (now > 0)[:, None]]
        np.subtract.at(self.held_count, gone, 1)
        np.add.at(self.held_count, come, 1)
        self.primary_count -= self.primaries_of(rows, m)
        self._held[rows], self._replicas[rows] = new, now
        self._primary[rows] = problem.held_primary[rows]
        self._keys[rows] = problem.item_key[rows]
        self.primary_count += self.primaries_of(rows, m)
        if self._lists is None:
            # Not at the first solve: it may be the only one.
            self._make_lists()
            return
        moved = (old != new).any(axis=1) | ((was > 0) != (now > 0))
        self._mend_lists(rows[moved], old[moved][(was > 0)[moved]], new[moved], (now > 0)[moved])

    def primaries_of(self, rows: Int64, m: int) -> Int64:
        """How many primaries each Member holds among these Items; shape (m,)."""
        primary = self._primary[rows]
        counted = (primary >= 0) & (self._replicas[rows] > 0)
        counted &= (self._held[rows] == primary[:, None]).any(axis=1)
        return np.bincount(primary[counted], minlength=m).astype(np.int64)

    def _members_changed(self, problem: Problem, rows: Int64) -> Int64 | None:
        """Read the Members again if they differ; the Items to judge, or None for all of them."""
        m = len(self._limit)
        changed = (
            (problem.live[:m] != self._live)
            | (problem.limit[:m] != self._limit)
            | (problem.zone[:m] != self._zone)
            | (problem.draining[:m] != self._draining)
            | (problem.member_key[:m] != self._member_key)
        )
        most = int(np.flatnonzero(self.by_replicas).max(initial=0))
        if not changed.any() and len(problem.limit) == m and min(most, self.members) < len(self.shapes.base):
            return rows
        before, zones, taker = self.shapes, self._zone, self.taker
        live_zones, capped = len(self.zone_size), self.members < most
        self._read_members(problem)
        common = min(len(before.base), len(self.shapes.base))
        same = np.array_equal(before.base[:common], self.shapes.base[:common]) and np.array_equal(
            before.extra[:common], self.shapes.extra[:common]
        )
        capped = capped or self.members < most
        if not same or capped or len(before.base) > common or live_zones != len(self.zone_size):
            return None
        turned = (self.taker[:m] != taker) | ((self._zone[:m] != zones) & taker)
        return distinct(np.concatenate([rows, self.items_of(np.flatnonzero(turned))[1]]))

    # ---- reading ------------------------------------------------------------------------------

    def held_rows(self, rows: Int64 | Int32) -> Int32:
        """Who holds these Items: Member rows, live or not, padded with -1."""
        return self._held[rows]

    def replicas_rows(self, rows: Int64 | Int32) -> Int32:
        """Replicas asked for by these Items."""
        return self._replicas[rows]

    def want_rows(self, rows: Int64 | Int32) -> Int64:
        """Replicas wanted by these Items."""
        return np.minimum(self._replicas[rows], self.members).astype(np.int64)

    def primary_rows(self, rows: Int64 | Int32) -> Int32:
        """Who holds slot 0 of these Items."""
        return self._primary[rows]

    def loose_rows(self, rows: Int64 | Int32) -> Bool:
        """Which of these Items are loose."""
        return self._is_loose[rows]

    def keys_rows(self, rows: Int64 | Int32) -> UInt64:
        """The keys of these Items."""
        return self._keys[rows]

    def live_primaries(self, live: Int64) -> int:
        """How many Items have a primary on one of these Members, whatever they want."""
        rows = np.flatnonzero(self._replicas[: self.items] == 0)
        of_none = self._primary[rows]
        there = (self._held[rows] == of_none[:, None]).any(axis=1) & (of_none >= 0)
        return int(self.primary_count[live].sum()) + int(np.isin(of_none[there], live).sum())

    @property
    def widest(self) -> int:
        """Most replicas that an Item wants."""
        return min(int(np.flatnonzero(self.by_replicas).max(initial=0)), self.members)

    # ---- which Items are loose ----------------------------------------------------------------

    def _note_loose(self, rows: Int64) -> None:
        loose = self.judge(rows)
        if len(rows) == self.items:
            self._is_loose[: self.items] = loose
            self.loose = np.flatnonzero(loose)
            return
        self._is_loose[rows] = loose
        self.loose = distinct(np.concatenate([self.loose[self._is_loose[self.loose]], rows[loose]]))

    def judge(self, rows: Int64) -> Bool:
        """Which of the rows are not held as an Item by itself would best be held."""
        held, replicas = self._held[rows], self._replicas[rows]
        where = self.place[held]
        want = np.minimum(replicas, self.members)
        good = (where >= 0).sum(axis=1) == want
        good &= (held >= 0).sum(axis=1) == want
        good &= (want == 0) | (self._primary[rows] == held[:, 0])
        if self._policy != Zones.IGNORE and self.fleet.zones > 1 and len(self.fleet.zone):
            zones = np.where(where >= 0, self.fleet.zone[where], -1)
            good &= pairs_of(zones) <= self.shapes.pairs[want]
        return np.asarray(~good, dtype=np.bool_)

    # ---- the Items of each Member ---------------------------------------------------------------

    def items_of(self, members: Int64) -> tuple[Int64, Int32]:
        """(which of `members`, Item row) of every held entry of an Item that wants replicas."""
        if self._lists is None:
            self._make_lists()
        assert self._lists is not None
        parts = [self._lists[member] for member in members.tolist()]
        sizes = [len(part) for part in parts]
        owner = np.repeat(np.arange(len(parts)), sizes)
        return owner, np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)

    def _make_lists(self) -> None:
        held = np.where((self._replicas[: self.items] > 0)[:, None], self._held[: self.items], -1)
        item, _ = np.nonzero(held >= 0)
        member = held[held >= 0]
        # Sorting 16 bits is a radix sort, ten times faster.
        small = member.astype(np.uint16) if len(self.held_count) <= 2**16 else member
        order = np.argsort(small, kind="stable")
        ends = np.cumsum(np.bincount(member, minlength=len(self.held_count)))
        self._lists = np.split(item[order].astype(np.int32), ends[:-1]) if len(ends) else []

    def _mend_lists(self, rows: Int64, old: Int32, new: Int32, counted: np.ndarray) -> None:
        assert self._lists is not None
        if not len(rows):
            return
        coming = np.where(counted[:, None], new, -1)
        item, _ = np.nonzero(coming >= 0)
        member = coming[coming >= 0]
        affected = np.flatnonzero(np.bincount(np.concatenate([old[old >= 0], member])))
        if len(affected) * MEND > int(self.held_count.sum()) or len(rows) * 8 > self.items:
            self._make_lists()
            return
        order = np.argsort(member, kind="stable")
        item, member = rows[item[order]].astype(np.int32), member[order]
        begin, end = np.searchsorted(member, affected), np.searchsorted(member, affected, side="right")
        self._marked[rows] = True
        for row, first, last in zip(affected.tolist(), begin.tolist(), end.tolist(), strict=True):
            part = self._lists[row]
            part = part[~self._marked[part]]
            self._lists[row] = np.concatenate([part, item[first:last]]) if last > first else part
        self._marked[rows] = False

    # ---- bands ----------------------------------------------------------------------------------

    def total(self) -> int:
        """The sum of replicas wanted."""
        replicas = np.arange(len(self.by_replicas))
        return int((np.minimum(replicas, self.members) * self.by_replicas).sum())

    def band(self, problem: Problem) -> tuple[Int64, Int64]:
        """(low, high) in the order of `fleet.rows`."""
        band = bands(problem, self.total())
        return band.low[self.fleet.rows], band.high[self.fleet.rows]


def pairs_of(zones: Int64) -> Int64:
    """Pairs of equal numbers in each row, negative ones apart; for rows of a few columns."""
    pairs = np.zeros(len(zones), dtype=np.int64)
    for right in range(1, zones.shape[1]):
        column = zones[:, right]
        there = column >= 0
        if not there.any():
            continue
        for left in range(right):
            pairs += there & (zones[:, left] == column)
    return pairs


def counts_by_zone(index: Index, where: Int64) -> Int64:
    """Shape (k, z): entries in each zone, for rows of places in the fleet (-1 for none)."""
    zones = np.where(where >= 0, index.fleet.zone[where], -1) if len(index.fleet.zone) else where
    return zone_counts(zones, max(index.fleet.zones, 1))
