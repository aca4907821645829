"""The view of the State that one solve works with: areas in a fixed order, kinds with their intervals.

During a solve, some Items are found to lose certain entries in every best plan, for example those
on a Member that must end empty. The solve then treats these entries as gone: an overlay on the rows
`over_rows`, which does not change the State.
"""

from dataclasses import dataclass

import numpy as np

from berth.solve.arrays import Table, alike, crosstab, entries, entries_on, ordered, scattered, sums, tally
from berth.solve.intervals import Demand, intervals
from berth.solve.model import Bool, Int64
from berth.solve.shares import bands
from berth.solve.state import MERGED, State

RADIX = 1 << 31  # more than the number of replicas that an Item can hold


@dataclass(frozen=True, slots=True)
class Kinds:
    """Kinds of Items: those with equal requests, equal held replicas, and equal entries in each area."""

    count: Int64  # shape (kinds,): Items of the kind
    spread: Int64  # shape (kinds, areas): entries of an Item, without those known to go
    led: Int64  # shape (kinds, areas): Items that have their primary in an area, if it is not known to go
    placed_low: Int64  # shape (kinds,): interval of the replicas of an Item
    placed_high: Int64
    area_low: Int64  # shape (kinds, areas): interval of its replicas in an area
    area_high: Int64

    def misfit(self, kind: Int64, have: Int64) -> Bool:
        """Whether Items of these kinds are outside their intervals with these entries in each area."""
        total = have.sum(axis=1)
        bad = np.asfortranarray((have < self.area_low[kind]) | (have > self.area_high[kind])).any(axis=1)
        return np.asarray(bad | (total < self.placed_low[kind]) | (total > self.placed_high[kind]))


class Work:
    """What the networks and the dealing of one solve share.

    `area`, shape (positions,), is the number of each Member's area: its zone, or the last area for
    all merged zones. An Item may have at most one entry in a `cell`, which is a Member, or a merged
    zone. `at` and `load` are those of the State without the entries known to go. `kind`, shape (n,),
    is the kind of each Item, -1 if it requests no replica. With `quick`, a solve that would exceed the
    budgets of the caller's process raises TooLargeError. If `wide`, all Items may change; if not, a sample.
    """

    def __init__(self, state: State, quick: bool) -> None:
        problem, tuning = state.problem, state.tuning
        self.state, self.tuning, self.rule, self.quick = state, tuning, problem.zones, quick
        self.arcs, self.usable = tuning.quick_arcs if quick else None, int((state.members.limit > 0).sum())
        low, high = bands(problem, int(np.minimum(state.asked, self.usable) @ state.count))
        self.members = state.members._replace(low=low[state.row], high=high[state.row])
        self.codes, code = np.unique(self._active_codes(), return_inverse=True)
        asked, right = np.divmod(self.codes, RADIX)
        count, wanted = sums(code, len(asked), state.count[self._active]), np.minimum(asked, self.usable)
        self.demand = Demand(asked, right, wanted, count, int(wanted @ count))
        self.wide = not quick or int(count.sum()) <= tuning.quick_items
        self.intervals, state.reach = intervals(self.members, self.demand, self.rule, state.reach)
        merged = self._small_zones()
        if merged != state.merged:
            state.regroup(merged)
        self._number_areas()
        self.at, self.load, self.over_rows = state.at, state.load.copy(), np.zeros(0, np.int64)
        # Entries on Members that end empty in every best plan are known to go.
        gone = np.append((self.intervals.load_high == 0) & (self.load > 0), False)
        rows = np.unique(entries_on(gone, self.at)[0])
        self.lay_over(rows, np.where(gone[self.at[rows]], -1, self.at[rows]))

    def _active_codes(self) -> Int64:
        """The codes of the State's kinds that have Items and request replicas; `_active` lists them."""
        state = self.state
        self._active = np.flatnonzero((state.count > 0) & (state.asked > 0))
        return self.code(state.asked[self._active], state.spread[self._active].sum(axis=1))

    def code(self, asked: Int64, held: Int64) -> Int64:
        """Requested and held replicas as one number; `codes` has the code of each row of the demand."""
        return asked * RADIX + np.minimum(held, np.minimum(asked, self.usable))

    def _small_zones(self) -> frozenset[int]:
        """If there are many zones: those in which an Item needs no entry and may have at most one.

        Such zones are interchangeable to an Item: what matters is the number of its entries in them,
        each in a different one. So one area can stand for all of them.
        """
        names, found = self.state.zone_names, self.intervals
        if len(names) <= self.tuning.merge_zones:
            return frozenset()
        some = found.placed_high > 0
        small = (found.zone_low[some] == 0).all(axis=0) & (found.zone_high[some] == 1).all(axis=0)
        small |= sums(self.members.zone, len(names), found.load_high > 0) == 0  # the zone ends empty anyway
        return frozenset(names[small].tolist())

    def _number_areas(self) -> None:
        """Number areas in the order of zones, merged zones last; reorder columns and intervals likewise."""
        state, found, zone, names = self.state, self.intervals, self.members.zone, self.state.zone_names
        single = np.flatnonzero(~np.isin(names, list(state.merged)))
        columns = [state.slots[name] for name in names[single].tolist()]
        low, high, placed = found.zone_low[:, single], found.zone_high[:, single], found.placed_high[:, None]
        if state.merged:
            columns.append(state.slots[MERGED])
            low, high = np.hstack([low, np.zeros_like(placed)]), np.hstack([high, placed])
        self.areas, self._area_low, self._area_high = len(columns), low, high
        place = scattered(len(names), single, np.arange(len(single)), empty=len(single))
        self.area, own = place[zone], np.arange(len(zone))
        self.cell = np.where(self.area < len(single), own, len(own) + zone)
        self._demand_row = np.searchsorted(self.codes, self._active_codes())
        self._spread = state.spread[self._active][:, np.array(columns, np.int64)]
        self._led_in = scattered(len(state.slots) + 1, columns, own[: self.areas])[state.led_in[self._active]]

    def lay_over(self, rows: Int64, at: Table) -> None:
        """Set what these Items hold for the rest of the solve (they only lose entries)."""
        self.load += entries(at, len(self.load)) - entries(self.at[rows], len(self.load))
        self.at = self.at.copy() if len(rows) else self.at  # usually it is the State's
        self.at[rows] = at
        self.over_rows = np.union1d(self.over_rows, rows)
        self._make_kinds()

    def _make_kinds(self) -> None:
        """The State's kinds without the rows of the overlay, and the kinds of those rows."""
        state, active, found = self.state, self._active, self.intervals
        base = scattered(len(state.count), active, np.arange(len(active)))[state.kind[self.over_rows]]
        left = state.count[active] - sums(base, len(active))
        keep, over = np.flatnonzero(left > 0), self.in_areas(self.at[self.over_rows])
        demand_row = self._demand_row[np.concatenate([keep, base])]
        spread, lead = np.concatenate([self._spread[keep], over]), state.lead[self.over_rows]
        gone = (self.at[self.over_rows] != lead[:, None]).all(axis=1)
        led_in = np.append(self._led_in[keep], np.where(gone, -1, np.append(self.area, -1)[lead]))
        # Sorted by their columns, so that neither the order of rows nor history matters.
        first, group = alike(demand_row, *spread.T)
        c, weight = demand_row[first], np.append(left[keep], np.ones(len(over), np.int64))
        self.kinds = Kinds(
            sums(group, len(first), weight), spread[first],
            crosstab(group, led_in + 1, len(first), self.areas + 1, weight)[:, 1:],
            found.placed_low[c], found.placed_high[c], self._area_low[c], self._area_high[c],
        )  # fmt: skip
        kinds = scattered(len(state.count), active[keep], group[: len(keep)])
        self.kind = kinds.take(state.kind, mode="wrap")
        self.kind[self.over_rows] = group[len(keep) :]

    def in_areas(self, at: Table) -> Int64:
        """Shape (len(at), areas): entries of each Item in each area."""
        return tally(at, np.append(self.area, self.areas), self.areas)

    def by_key(self, chosen: Bool) -> Int64:
        """Rows of the chosen Items (shape (n,)) in the order of their keys."""
        rows = np.flatnonzero(chosen)
        return rows[ordered(self.state.hash[rows])]
