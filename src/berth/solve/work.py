"""One solve's view of the State: zones as areas in a fixed order, kinds with their intervals.

Between the steps of a solve some Items are known to lose certain entries (those on a Member that
must end empty, say). These rows lie over the State, which itself does not change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from berth.solve.arrays import alike, names_one, tally
from berth.solve.intervals import Demand, Members, intervals
from berth.solve.model import Bool, Int32, Int64, Problem
from berth.solve.shares import bands
from berth.solve.state import MANY, State
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
    each Member holds now, without the entries that are known to go. With `quick` the solve raises
    TooLargeError rather than begin what may take long.
    """

    def __init__(self, problem: Problem, state: State, tuning: Tuning, quick: bool = False) -> None:
        self.state, self.tuning, self.rule, self.quick = state, tuning, problem.zones, quick
        self.arcs = tuning.quick_arcs if quick else None
        self.usable = int(state.usable.sum())
        known, first, zone = np.unique(state.zone, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")  # by the key of a zone's first Member, whatever its number
        self.zone_names, place = known[order], np.argsort(order)
        self._active = self._find_active()
        total = np.minimum(state.asked, self.usable)[self._active] @ state.count[self._active]
        band = bands(problem, int(total))
        self.members = Members(
            limit=np.where(state.usable, state.limit, 0),
            zone=place[zone],
            zones=len(known),
            draining=state.draining & state.usable,
            age_rank=np.where(state.usable, state.age_rank, 0),
            low=band.low[state.row],
            high=band.high[state.row],
        )
        self._find_intervals()
        self.load = state.load.copy()
        self.over_rows = np.zeros(0, np.int64)
        self._over_at = state.at[:0]
        self._over_place = np.full(len(state.at), -1, np.int32)
        self.lay_over(self.over_rows, self._over_at)

    # ---- intervals -----------------------------------------------------------------------------

    def _find_active(self) -> Int64:
        return np.flatnonzero((self.state.count > 0) & (self.state.asked > 0))

    def _find_intervals(self) -> None:
        state = self.state
        for turn in range(3):
            columns = self._name_areas()
            active = self._active = self._find_active()
            self._spread = state.spread[active][:, columns]
            right = np.minimum(state.spread[active].sum(axis=1), np.minimum(state.asked[active], self.usable))
            codes, self._coarse = np.unique(state.asked[active] * 64 + right, return_inverse=True)
            asked, count = codes // 64, np.bincount(self._coarse, state.count[active], len(codes))
            self.demand = Demand(asked, codes % 64, np.minimum(asked, self.usable), count.astype(np.int64))
            self.intervals = intervals(self.members, self.demand, self.rule, self.tuning)
            merged = self._small_zones()
            if merged == state.merged or turn == 2:
                break
            state.regroup(merged)
        found = self.intervals
        single = np.flatnonzero(self.area_of_zone < self.areas - bool(state.merged))
        self._area_low = np.zeros((len(codes), self.areas), np.int64)
        self._area_high = self._area_low.copy()
        self._area_low[:, self.area_of_zone[single]] = found.zone_low[:, single]
        self._area_high[:, self.area_of_zone[single]] = found.zone_high[:, single]
        if state.merged:
            self._area_high[:, -1] = found.placed_high

    def _name_areas(self) -> Int64:
        """Number the areas in the order of zones, merged zones as the last; returns State's columns of them."""
        slots, merged, names = self.state.slots, self.state.merged, self.zone_names.tolist()
        single = [zone for zone, name in enumerate(names) if name not in merged]
        self.areas = len(single) + bool(merged)
        self.area_of_zone = np.full(len(names), len(single), np.int64)
        self.area_of_zone[single] = np.arange(len(single))
        self.area = self.area_of_zone[self.members.zone]
        own = np.arange(len(self.area))
        self.cell = np.where(np.isin(self.members.zone, single), own, len(own) + self.members.zone)
        columns = [slots[names[zone]] for zone in single] + ([slots[MANY]] if merged else [])
        return np.array(columns, np.int64)

    def _small_zones(self) -> frozenset[int]:
        """Zones of which no Item may have two entries and none needs one, if there are many zones.

        For these one area is as good as many: an Item has so many of them, each in another.
        """
        names, found = self.zone_names, self.intervals
        if len(names) <= self.tuning.merge_zones:
            return frozenset()
        some = found.placed_high > 0
        small = (found.zone_low[some] == 0).all(axis=0) & (found.zone_high[some] == 1).all(axis=0)
        top = np.zeros(len(names), np.int64)
        np.maximum.at(top, self.members.zone, found.load_high)
        small |= top == 0  # nobody may be there: such entries go whatever their area
        return frozenset(names[small].tolist())

    # ---- rows that lie over the state ----------------------------------------------------------

    def at(self, rows: Int64) -> Int32:
        """Shape (len(rows), w): who holds these Items, without the entries that are known to go."""
        out, place = self.state.at[rows], self._over_place[rows]
        out[place >= 0] = self._over_at[place[place >= 0]]
        return out

    def lay_over(self, rows: Int64, at: Int32) -> None:
        """From now on these Items hold this (they only lose entries); kinds and loads follow."""
        self.load += self._count(at) - self._count(self.at(rows))
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
        """The State's kinds without the rows that lie over it, and the kinds of these."""
        state, active, found, demand = self.state, self._active, self.intervals, self.demand
        where = np.full(len(state.count) + 1, -1)
        where[active] = np.arange(len(active))
        base = where[state.kind[self.over_rows]]
        asks = base >= 0  # the others ask for nothing
        left = state.count[active] - np.bincount(base[asks], minlength=len(active))
        keep = np.flatnonzero(left > 0)
        over = tally(self._over_at[asks], np.append(self.area, self.areas), self.areas)
        coarse = np.concatenate([self._coarse[keep], self._coarse[base[asks]]])
        spread = np.concatenate([self._spread[keep], over])
        # In an order of their own, so that neither rows nor history matter.
        first, group = alike(coarse, *spread.T, sort=True)
        c, weight = coarse[first], np.concatenate([left[keep], np.ones(len(over), np.int64)])
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
        self._over_kind = np.full(len(base), -1, np.int32)
        self._over_kind[asks] = group[len(keep) :]

    def kind(self, rows: Int64 | None = None) -> Int32:
        """The kind of each of these Items (of all, without rows); -1 for one that asks for nothing."""
        kinds = self._kind_of[self.state.kind if rows is None else self.state.kind[rows]]
        place = self._over_place if rows is None else self._over_place[rows]
        some = np.flatnonzero(place >= 0) if len(self.over_rows) else self.over_rows
        kinds[some] = self._over_kind[place[some]]
        return kinds

    def by_key(self, chosen: Bool) -> Int64:
        """Rows of the chosen Items (shape (n,)) in the order of their keys."""
        rows = np.flatnonzero(chosen)
        return rows[np.argsort(self.state.hash[rows], kind="stable")]

    def empty_members(self) -> None:
        """Take away what is on Members that end empty in every best plan."""
        gone = np.append((self.intervals.load_high == 0) & (self.load > 0), False)
        if gone.any():
            rows = np.flatnonzero(names_one(gone, self.state.at))
            at = self.at(rows)
            self.lay_over(rows, np.where(gone[at], -1, at).astype(at.dtype))
