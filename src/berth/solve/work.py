"""One solve's view of the State: zones as areas in a fixed order, kinds with their intervals.

Between the steps of a solve some Items are known to lose certain entries (those on a Member that
must end empty, say). These rows lie over the State, which itself does not change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from berth.solve.arrays import alike
from berth.solve.intervals import Demand, Intervals, Members, intervals
from berth.solve.model import Bool, Int32, Int64, Problem
from berth.solve.shares import bands
from berth.solve.state import MANY, State, names_one
from berth.solve.tuning import Tuning


@dataclass(frozen=True, slots=True)
class Kinds:
    """Items that ask for, held at first, and hold now as much in each area; arrays of shape (kinds,)."""

    asked: Int64
    right: Int64
    count: Int64
    spread: Int64
    """Shape (kinds, areas): entries that an Item holds now."""
    placed_low: Int64
    placed_high: Int64
    area_low: Int64
    area_high: Int64
    """The intervals, the last two of shape (kinds, areas)."""


class Work:
    """What the networks and the dealing of one solve share.

    `area`, shape (positions,), numbers zones, the last being all merged ones; `cell` is the same for
    two Members that no Item may have both of (a Member itself, or a merged zone). `load` is what
    each Member holds now, without the entries that are known to go.
    """

    def __init__(self, problem: Problem, state: State, tuning: Tuning, quick: bool = False) -> None:
        self.state, self.tuning, self.rule = state, tuning, problem.zones
        self.quick = quick
        """Whether to raise TooLarge rather than begin what may take long."""
        self.arcs = tuning.quick_arcs if quick else None
        self.usable = int(state.usable.sum())
        known, first, zone = np.unique(state.zone, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")  # by the key of a zone's first Member, whatever its number
        place = np.empty(len(known), np.int64)
        place[order] = np.arange(len(known))
        self.zone_names = known[order]
        active = (state.count > 0) & (state.asked > 0)
        total = int(np.minimum(state.asked, self.usable)[active] @ state.count[active])
        band = bands(problem, total)
        self.members = Members(
            limit=np.where(state.usable, state.limit, 0),
            zone=place[zone] if len(known) else np.zeros(0, np.int64),
            zones=len(known),
            draining=state.draining & state.usable,
            age_rank=np.where(state.usable, state.age_rank, 0),
            low=np.minimum(band.low, band.high)[state.row],
            high=band.high[state.row],
        )
        self._active = np.flatnonzero(active)
        self._find_intervals()
        self.load = state.load.copy()
        self.over_rows = np.zeros(0, np.int64)
        self._over_at = np.zeros((0, state.at.shape[1]), state.at.dtype)
        self._over_place = np.full(len(state.at), -1, np.int32)
        self.lay_over(self.over_rows, self._over_at)

    # ---- intervals -----------------------------------------------------------------------------

    def _find_intervals(self) -> None:
        state = self.state
        for turn in range(3):
            self._name_areas()
            spread = state.spread[self._active][:, self._columns]
            wanted = np.minimum(state.asked[self._active], self.usable)
            right = np.minimum(state.spread[self._active].sum(axis=1), wanted)
            pairs = state.asked[self._active] * 64 + right
            codes, self._coarse = np.unique(pairs, return_inverse=True)
            count = np.bincount(self._coarse, state.count[self._active], len(codes)).astype(np.int64)
            asked = codes // 64
            self.demand = Demand(asked, codes % 64, np.minimum(asked, self.usable), count)
            self.intervals = intervals(self.members, self.demand, self.rule, self.tuning)
            merged = self._small_zones()
            if merged == state.merged or turn == 2:
                break
            state.regroup(merged)
            self._active = np.flatnonzero((state.count > 0) & (state.asked > 0))
        self._spread, self._right = spread, right
        found = self.intervals
        inner = np.flatnonzero(self.area_of_zone < self.areas - bool(state.merged))
        low = np.zeros((len(found.placed_low), self.areas), np.int64)
        high = low.copy()
        low[:, self.area_of_zone[inner]] = found.zone_low[:, inner]
        high[:, self.area_of_zone[inner]] = found.zone_high[:, inner]
        if state.merged:
            high[:, -1] = found.placed_high
        self._area_low, self._area_high = low, high

    def _name_areas(self) -> None:
        """Areas in the order of zones, merged zones as the last; and where State has their columns."""
        slots, merged = self.state.slots, self.state.merged
        names = self.zone_names.tolist()
        single = [zone for zone, name in enumerate(names) if name not in merged]
        self.areas = len(single) + bool(merged)
        self.area_of_zone = np.full(len(names), len(single), np.int64)
        self.area_of_zone[single] = np.arange(len(single))
        columns = [slots.get(names[zone], 0) for zone in single]
        self._columns = np.array([*columns, slots[MANY]] if merged else columns, np.int64)
        self.area = self.area_of_zone[self.members.zone]
        own = np.arange(len(self.area))
        self.cell = np.where(np.isin(self.members.zone, single), own, len(own) + self.members.zone)

    def _small_zones(self) -> frozenset[int]:
        """Zones of which no Item may have two entries and none needs one, if there are many zones.

        For these one area is as good as many: an Item has so many of them, each in another.
        """
        names = self.zone_names
        if len(names) <= self.tuning.merge_zones:
            return frozenset()
        found = self.intervals
        some = found.placed_high > 0
        small = (found.zone_low[some] == 0).all(axis=0) & (found.zone_high[some] == 1).all(axis=0)
        top = np.zeros(len(names), np.int64)
        np.maximum.at(top, self.members.zone, found.load_high)
        small |= top == 0  # nobody may be there: such entries go whatever their area
        small_names = frozenset(names[small].tolist())
        # A regrouping costs a pass over all Items: not for a zone that could be merged, too.
        kept = self.state.merged & small_names
        return small_names if len(names) - len(kept) > self.tuning.merge_zones else kept

    # ---- rows that lie over the state ----------------------------------------------------------

    def at(self, rows: Int64) -> Int32:
        """Shape (len(rows), w): who holds these Items, without the entries that are known to go."""
        out = self.state.at[rows]
        place = self._over_place[rows]
        some = np.flatnonzero(place >= 0)
        out[some] = self._over_at[place[some]]
        return out

    def lay_over(self, rows: Int64, at: Int32) -> None:
        """From now on these Items hold this (they only lose entries); kinds and loads follow."""
        before = self.at(rows)
        self.load += self._count(at) - self._count(before)
        place = self._over_place[rows]
        old = place >= 0
        self._over_at[place[old]] = at[old]
        self._over_place[rows[~old]] = len(self.over_rows) + np.arange(int((~old).sum()))
        self.over_rows = np.concatenate([self.over_rows, rows[~old]])
        self._over_at = np.concatenate([self._over_at, at[~old]])
        self._make_kinds()

    def _count(self, at: Int32) -> Int64:
        return np.bincount(at.ravel().astype(np.int64) + 1, minlength=len(self.area) + 1)[1:]

    def _make_kinds(self) -> None:
        state, active, found = self.state, self._active, self.intervals
        where = np.full(len(state.count) + 1, -1)
        where[active] = np.arange(len(active))
        rows = self.over_rows
        base = where[state.kind[rows]]
        counted = base >= 0  # an Item that asks for nothing has no kind: whatever it holds goes
        left = state.count[active] - np.bincount(base[counted], minlength=len(active))
        counts = np.zeros((len(rows), self.areas + 1), np.int64)
        area = np.append(self.area, self.areas)
        at = self._over_at
        np.add.at(counts, (np.repeat(np.arange(len(rows)), at.shape[1]), area[at].ravel()), 1)
        keep = np.flatnonzero(left > 0)
        coarse = np.concatenate([self._coarse[keep], self._coarse[base[counted]]])
        spread = np.concatenate([self._spread[keep], counts[counted, : self.areas]])
        first, group = alike(coarse, *spread.T)
        # In an order of their own, so that neither rows nor history matter.
        order = np.lexsort([*spread[first].T[::-1], coarse[first]])
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        first, group = first[order], rank[group]
        c = coarse[first]
        weight = np.concatenate([left[keep], np.ones(int(counted.sum()), np.int64)])
        demand = self.demand
        self.kinds = Kinds(
            asked=demand.asked[c],
            right=demand.right[c],
            count=np.bincount(group, weight, len(first)).astype(np.int64),
            spread=spread[first],
            placed_low=found.placed_low[c],
            placed_high=found.placed_high[c],
            area_low=self._area_low[c],
            area_high=self._area_high[c],
        )
        self._kind_of = np.full(len(state.count) + 1, -1, np.int32)
        self._kind_of[active[keep]] = group[: len(keep)]
        self._over_kind = np.full(len(rows), -1, np.int32)
        self._over_kind[counted] = group[len(keep) :]

    def kind(self, rows: Int64 | None = None) -> Int32:
        """The kind of each of these Items (of all, without rows); -1 for one that asks for nothing."""
        kinds = self._kind_of[self.state.kind if rows is None else self.state.kind[rows]]
        if rows is None:
            kinds[self.over_rows] = self._over_kind
        elif len(self.over_rows):
            place = self._over_place[rows]
            some = place >= 0
            kinds[some] = self._over_kind[place[some]]
        return kinds

    def kinds_chosen(self, chosen: Bool) -> Int64:
        """Rows of all Items of the chosen kinds (shape (kinds,)), in the order of their keys."""
        rows = np.flatnonzero(np.append(chosen, False)[self.kind()])
        return rows[np.argsort(self.state.hash[rows], kind="stable")]

    def empty_members(self) -> None:
        """Take away what is on Members that end empty in every best plan, and surplus of a cell."""
        state = self.state
        gone = np.append((self.intervals.load_high == 0) & (self.load > 0), False)
        if gone.any():
            rows = np.flatnonzero(names_one(gone, state.at))
            at = self.at(rows)
            self.lay_over(rows, np.where(gone[at], -1, at).astype(at.dtype))
