"""One solve's view of the State: zones as areas in a fixed order, kinds with their intervals.

Between the steps of a solve some Items are known to lose certain entries (those on a Member that
must end empty, say). These `over_rows` are looked at apart; the State itself does not change.
"""

from dataclasses import dataclass

import numpy as np

from berth.solve.arrays import Table, alike, entries, rows_with, scattered, sums, tally
from berth.solve.intervals import Demand, Members, intervals
from berth.solve.model import Bool, Int64
from berth.solve.shares import bands
from berth.solve.state import MANY, State

RADIX = 1 << 31  # more than an Item may hold


@dataclass(frozen=True, slots=True)
class Kinds:
    """Items that ask for, held at first, and hold now as much in each area."""

    count: Int64  # shape (kinds,)
    spread: Int64  # shape (kinds, areas): entries that an Item holds now
    placed_low: Int64  # the intervals: shape (kinds,)
    placed_high: Int64
    area_low: Int64  # and (kinds, areas)
    area_high: Int64


class Work:
    """What the networks and the dealing of one solve share.

    `area`, shape (positions,), numbers zones, the last being all merged ones; `cell` is the same for
    two Members that no Item may have both of (a Member itself, or a merged zone). `at` and `load`
    are as in the State, but for the entries that are known to go; `kind`, shape (n,), numbers kinds,
    -1 for who asks for nothing. With `quick` the solve raises TooLargeError rather than take long.
    """

    def __init__(self, state: State, quick: bool) -> None:
        problem, tuning = state.problem, state.tuning
        self.state, self.tuning, self.rule, self.quick = state, tuning, problem.zones, quick
        self.arcs, self.usable = tuning.quick_arcs if quick else None, int(state.usable.sum())
        known, first, zone = np.unique(state.zone, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")  # by the key of a zone's first Member, whatever its number
        self._zone_names = known[order]
        wanted = np.minimum(state.asked, self.usable)
        band = bands(problem, int(wanted @ state.count))
        self.members = Members(
            limit=np.where(state.usable, state.limit, 0),
            zone=np.argsort(order)[zone],
            zones=len(known),
            draining=state.draining & state.usable,
            age_rank=np.where(state.usable, state.age_rank, 0),
            low=band.low[state.row],
            high=band.high[state.row],
        )
        self.codes, code = np.unique(self._active_codes(), return_inverse=True)
        asked, right = np.divmod(self.codes, RADIX)
        count = sums(code, len(asked), state.count[self._active])
        self.demand = Demand(asked, right, np.minimum(asked, self.usable), count)
        self.intervals, state.reach = intervals(self.members, self.demand, self.rule, state.reach)
        merged = self._small_zones()
        if merged != state.merged:
            state.regroup(merged)
        self._number_areas()
        self.at, self.load, self.over_rows = state.at.copy(), state.load.copy(), np.zeros(0, np.int64)
        self._make_kinds()

    def _active_codes(self) -> Int64:
        """The codes of the State's kinds that have Items and ask for something."""
        state = self.state
        self._active = np.flatnonzero((state.count > 0) & (state.asked > 0))
        return self.code(state.asked[self._active], state.spread[self._active].sum(axis=1))

    def code(self, asked: Int64, held: Int64) -> Int64:
        """What Items ask for and hold as one number; `codes` has that of each row of the demand."""
        return asked * RADIX + np.minimum(held, np.minimum(asked, self.usable))

    def _small_zones(self) -> frozenset[int]:
        """Zones of which no Item may have two entries and none needs one, if there are many zones.

        For these one area is as good as many: an Item has so many of them, each in another.
        """
        names, found = self._zone_names, self.intervals
        if len(names) <= self.tuning.merge_zones:
            return frozenset()
        some = found.placed_high > 0
        small = (found.zone_low[some] == 0).all(axis=0) & (found.zone_high[some] == 1).all(axis=0)
        small |= sums(self.members.zone, len(names), found.load_high > 0) == 0  # all there go anyway
        return frozenset(names[small].tolist())

    def _number_areas(self) -> None:
        """In the order of zones, merged zones as the last; the State's columns and the intervals likewise."""
        state, found, zone, names = self.state, self.intervals, self.members.zone, self._zone_names
        single = np.flatnonzero(~np.isin(names, list(state.merged)))
        columns = [state.slots[name] for name in names[single].tolist()]
        low, high = found.zone_low[:, single], found.zone_high[:, single]
        if state.merged:
            columns.append(state.slots[MANY])
            low = np.column_stack([low, np.zeros(len(low), np.int64)])
            high = np.column_stack([high, found.placed_high])
        self.areas, self._area_low, self._area_high = len(columns), low, high
        place = scattered(len(names), single, np.arange(len(single)), empty=len(single))
        self.area, own = place[zone], np.arange(len(zone))
        self.cell = np.where(self.area < len(single), own, len(own) + zone)
        self._coarse = np.searchsorted(self.codes, self._active_codes())
        self._spread = state.spread[self._active][:, np.array(columns, np.int64)]

    def lay_over(self, rows: Int64, at: Table) -> None:
        """From now on these Items hold this (they only lose entries); kinds and loads follow."""
        self.load += entries(at, len(self.load)) - entries(self.at[rows], len(self.load))
        self.at[rows] = at
        self.over_rows = np.union1d(self.over_rows, rows)
        self._make_kinds()

    def _make_kinds(self) -> None:
        """The State's kinds without the rows that lie over it, and the kinds of these."""
        state, active, found = self.state, self._active, self.intervals
        base = scattered(len(state.count) + 1, active, np.arange(len(active)))[state.kind[self.over_rows]]
        asks = base >= 0  # the others ask for nothing
        left = state.count[active] - sums(base[asks], len(active))
        keep = np.flatnonzero(left > 0)
        over = tally(self.at[self.over_rows[asks]], np.append(self.area, self.areas), self.areas)
        coarse = np.concatenate([self._coarse[keep], self._coarse[base[asks]]])
        spread = np.concatenate([self._spread[keep], over])
        # In an order of their own, so that neither rows nor history matter.
        first, group = alike(coarse, *spread.T, sort=True)
        c, weight = coarse[first], np.append(left[keep], np.ones(len(over), np.int64))
        self.kinds = Kinds(
            sums(group, len(first), weight), spread[first],
            found.placed_low[c], found.placed_high[c], self._area_low[c], self._area_high[c],
        )  # fmt: skip
        kinds = scattered(len(state.count) + 1, active[keep], group[: len(keep)])
        self.kind = kinds.astype(np.int32)[state.kind]
        self.kind[self.over_rows[asks]] = group[len(keep) :]
        self.kind[self.over_rows[~asks]] = -1

    def by_key(self, chosen: Bool) -> Int64:
        """Rows of the chosen Items (shape (n,)) in the order of their keys."""
        rows = np.flatnonzero(chosen)
        return rows[np.argsort(self.state.hash[rows], kind="stable")]

    def empty_members(self) -> None:
        """Take away what is on Members that end empty in every best plan."""
        gone = np.append((self.intervals.load_high == 0) & (self.load > 0), False)
        if gone.any():
            rows = np.flatnonzero(rows_with(gone, self.at))
            at = self.at[rows]
            self.lay_over(rows, np.where(gone[at], -1, at).astype(at.dtype))
