"""What the solver keeps of a Pool between two solves, so that a small event costs little.

Live Members get *positions* in the order of their keys, so the order of rows does not matter. Items
are grouped into *kinds*: Items of one kind request the same number of replicas and hold the same
number in each zone, and most networks work on kinds only. The State is derived from the Problem
alone. `update` applies changed rows; the result equals a State built from scratch, except for the
numbering of kinds and columns, which `work` therefore sorts.
"""

import numpy as np

from berth.solve.arrays import SALT, Table, entries, entries_on, mapped, mixed, scattered, sums, tally
from berth.solve.intervals import Members
from berth.solve.model import Int64, Problem, Touched
from berth.solve.tuning import Tuning

MERGED = -1  # the area that stands for all merged zones: many small ones
ROWS = {"at": -1, "lead": -1, "wants": 0, "hash": 0, "kind": -1, "stays": -1}
"""The arrays with a row for each Item, and the value in rows that have not been read yet."""


class State:
    """Who holds what, by position, and the kinds of Items.

    Members: `row` maps positions to rows of the Problem and `position` maps back; `key`, `zone`, `load`
    and `members` have one value for each position (the bands of `members` are not known yet).
    `zone_names` has the zone of each number in `members`, and `merged` the zones in the area MERGED.

    Items: `at`, shape (n, w), has the positions that hold each Item in slot order, -1 for an empty
    slot or a Member that is not live; `lead`, shape (n,), the position of its primary or -1; `hash`,
    shape (n,), a number to sort and draw Items by. `stays`, shape (n, w), has the Item's plan if
    nothing moves, as rows of the Problem, the primary first; `firsts`, shape (m,), counts these.

    Kinds: `kind`, shape (n,), has the kind of each Item; `count`, `asked`, `spread` and `led_in` have the
    number of Items of each kind, the replicas that one requests, its entries in each area (a zone, or
    MERGED), and the column of `spread` with its primary, or -1.
    """

    def __init__(self, problem: Problem, tuning: Tuning) -> None:
        self.tuning, self.reach = tuning, tuning.reach
        self._build(problem)

    def _read_members(self, problem: Problem) -> None:
        rows = np.flatnonzero(problem.live)
        self.row = rows[np.argsort(problem.member_key[rows], kind="stable")].astype(np.int32)
        self.key, self.position = problem.member_key[self.row], np.full(len(problem.live) + 1, -1, np.int32)
        self.position[self.row] = np.arange(len(self.row))
        self.zone, limit = problem.zone[self.row].astype(np.int64), problem.limit[self.row].astype(np.int64)
        names, first, zone = np.unique(self.zone, return_index=True, return_inverse=True)
        # Zones are ordered by the key of their first Member, so that their numbers do not matter.
        order, usable, unset = np.argsort(first, kind="stable"), limit > 0, np.zeros_like(limit)
        draining, age_rank = problem.draining[self.row], np.zeros_like(limit)
        youngest_first = np.argsort(-problem.age[self.row][draining], kind="stable")
        age_rank[np.flatnonzero(draining)[youngest_first]] = np.arange(1, len(youngest_first) + 1)
        self.zone_names, zone = names[order], np.argsort(order)[zone]
        self.members = Members(limit, zone, len(names), draining & usable, age_rank * usable, unset, unset)

    def _columns(self) -> Int64:
        """Shape (positions + 1,): the column of `spread` of each position; the last is for position -1."""
        names = np.where(np.isin(self.zone_names, list(self.merged)), MERGED, self.zone_names)
        columns = [self.slots.setdefault(name, len(self.slots)) for name in names.tolist()]
        return np.append(np.array(columns, np.int64)[self.members.zone], len(self.slots))

    def _build(self, problem: Problem) -> None:
        self.problem, self.firsts = problem, np.zeros(len(problem.live), np.int64)
        self._read_members(problem)
        many = self.members.zones > self.tuning.merge_zones
        self.merged: frozenset[int] = frozenset(self.zone_names.tolist() if many else ())
        n, width = problem.held.shape
        self.at: Table = np.zeros((0, width), np.int16 if len(problem.live) < 32_000 else np.int32)
        self.lead, self.stays = np.zeros(0, self.at.dtype), np.zeros((0, width), np.int32)
        self.wants, self.hash = np.zeros(0, np.int32), np.zeros(0, np.uint64)
        self.load = np.zeros(len(self.row), np.int64)
        self._reset_kinds()
        self._grow(n)
        self._read(slice(None))  # a slice copies nothing

    def _grow(self, more: int) -> None:
        for name, empty in ROWS.items():
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.full((more, *old.shape[1:]), empty, old.dtype)]))
        self.stays = np.asfortranarray(self.stays)  # plans are copied from it, and compared column by column

    def _reset_kinds(self) -> None:
        self.slots: dict[int, int] = {}
        self._table: dict[int, int] = {}
        self.kind = np.full(len(self.at), -1, np.int32)
        self.count, self.asked = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.spread, self.led_in = np.zeros((0, 0), np.int64), np.zeros(0, np.int64)

    def regroup(self, merged: frozenset[int]) -> None:
        """Rebuild the kinds with these zones in the area MERGED."""
        self.merged = merged
        self._reset_kinds()
        self._sort_into_kinds(slice(None))

    def update(self, problem: Problem, touched: Touched) -> None:
        """Apply the rows of the Problem that changed."""
        self.problem, (n, width) = problem, problem.held.shape
        stale = len(self._table) > 1000 + 4 * int((self.count > 0).sum())
        outgrown = self.at.dtype == np.int16 and len(problem.live) >= 32_000
        if n < len(self.at) or width != self.at.shape[1] or stale or outgrown:
            self._build(problem)
            return
        if n > len(self.at):
            self._grow(n - len(self.at))
        self.firsts.resize(len(problem.live), refcheck=False)  # new Members get 0
        rows = np.unique(touched.items).astype(np.int64)
        if len(touched.members):
            rows = np.union1d(rows, self._move_positions(problem))
        self._read(rows)

    def _move_positions(self, problem: Problem) -> Int64:
        """Apply Members that came, went or changed; returns the Items that have to be read again."""
        before, keys, zones, loads = self.row, self.key, self.zone, self.load
        self._read_members(problem)
        same = np.flatnonzero(
            problem.live[before] & (problem.member_key[before] == keys) & (problem.zone[before] == zones)
        )
        now, new = self.position[before[same]], np.append(problem.live, False)
        shift = scattered(len(before), same, now)
        lost, new[before[same]] = np.append(shift < 0, False), False
        # An Item that requests nothing may have a primary, but no entry in `at`.
        where = (lost, self.at), (lost, self.lead[:, None]), (new, problem.held)
        changed = np.unique(np.concatenate([entries_on(*pair)[0] for pair in where]))
        self.at, self.lead = mapped(self.at, shift), mapped(self.lead, shift)
        self.load = scattered(len(self.row), now, loads[same], empty=0)
        return changed

    def _read(self, rows: slice | Int64) -> None:
        """Read what these Items hold and request."""
        problem = self.problem
        # Column by column, because numpy compares and reduces long columns far quicker than short rows.
        held = np.asfortranarray(problem.held[rows])
        leads, wants = problem.held_primary[rows], problem.replicas[rows]
        place = self.position.astype(self.at.dtype)
        at, lead = place[held], place[leads]
        lead[(held != leads[:, None]).all(axis=1)] = -1
        at[wants <= 0] = -1  # its entries go in every plan
        self.load += entries(at, len(self.row)) - entries(self.at[rows], len(self.row))
        self.hash[rows] = mixed(problem.item_key[rows])
        self.at[rows], self.lead[rows], self.wants[rows] = at, lead, wants
        self._sort_into_kinds(rows)
        stays, gaps = np.where(at >= 0, held, -1), ((at[:, 1:] >= 0) & (at[:, :-1] < 0)).any(axis=1)
        mixed_up = np.flatnonzero(gaps | (at[:, 0] != lead))
        here = at[mixed_up]  # the primary comes first, empty slots last
        order = np.where(here < 0, 1, -1 * (here == lead[mixed_up, None])).argsort(axis=1, kind="stable")
        stays[mixed_up] = np.take_along_axis(stays[mixed_up], order, axis=1)
        self.firsts += entries(stays[:, 0], m := len(self.firsts)) - entries(self.stays[rows, 0], m)
        self.stays[rows] = stays

    def _sort_into_kinds(self, rows: slice | Int64) -> None:
        columns = self._columns()
        areas, known = len(self.slots), len(self._table)
        factor = np.append(SALT[(100 + np.arange(areas)) % len(SALT)], np.uint64(0))[columns]
        at, lead, wants, old = self.at[rows], self.lead[rows], self.wants[rows], self.kind[rows]
        key = wants.astype(np.uint64) * SALT[0] + factor[lead] * SALT[1]
        for column in at.T:
            key += factor[column]
        found, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        numbers = np.array([self._table.setdefault(k, len(self._table)) for k in found.tolist()], np.int32)
        new = first[numbers >= known]  # in the order of their new numbers
        wider = np.zeros((known, areas - self.spread.shape[1]), np.int64)
        self.spread = np.vstack([np.hstack([self.spread, wider]), tally(at[new], columns, areas)])
        self.asked = np.append(self.asked, wants[new])
        self.led_in = np.append(self.led_in, np.where(lead[new] < 0, -1, columns[lead[new]]))
        self.count = np.append(self.count, np.zeros(len(new), np.int64))
        self.count += sums(kind := numbers[inverse], len(self._table)) - sums(old[old >= 0], len(self._table))
        self.kind[rows] = kind
