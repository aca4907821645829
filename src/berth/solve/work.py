"""One solve's view of the State: zones as areas in a fixed order, kinds with their intervals.

Between the steps of a solve some Items are known to lose certain entries (those on a Member that
must end empty, say). These rows lie over the State, which itself does not change.
"""

from dataclasses import dataclass

import numpy as np

from berth.solve.arrays import Table, alike, entries, rows_with, sums, tally
from berth.solve.intervals import Demand, Members, intervals
from berth.solve.model import Bool, Int64, Problem
from berth.solve.shares import bands
from berth.solve.state import MANY, State
from berth.solve.tuning import Tuning

RADIX = 1 << 31
"""More than an Item may hold: what it asks for and what it holds as one number."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """Items that ask for, held at first, and hold now as much in each area.

    `count` and the interval of replicas placed have shape (kinds,); `spread`, the entries that an
    Item holds now in each area, and the interval of what it may have there (kinds, areas).
    """

    count: Int64
    spread: Int64
    placed_low: Int64
    placed_high: Int64
    area_low: Int64
    area_high: Int64


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
        asked, held = self._asked_and_held()
        self._codes, code = np.unique(self._code(asked, held), return_inverse=True)
        asked, right = np.divmod(self._codes, RADIX)
        count = sums(code, len(asked), state.count[self._active])
        self.demand = Demand(asked, right, np.minimum(asked, self.usable), count)
        self.intervals = intervals(self.members, self.demand, self.rule, tuning)
        merged = self._small_zones()
        if merged != state.merged:
            state.regroup(merged)
        self._number_areas()
        self.load = state.load.copy()
        self.over_rows = np.zeros(0, np.int64)
        self._over_at = state.at[:0]
        self._over_place = np.full(len(state.at), -1, np.int32)
        self.lay_over(self.over_rows, self._over_at)

    # ---- what is asked for -----------------------------------------------------------------------

    def _asked_and_held(self) -> tuple[Int64, Int64]:
        """Of each of the State's kinds that have Items and ask for something."""
        state = self.state
        self._active = np.flatnonzero((state.count > 0) & (state.asked > 0))
        return state.asked[self._active], state.spread[self._active].sum(axis=1)

    def _code(self, asked: Int64, held: Int64) -> Int64:
        return asked * RADIX + np.minimum(held, np.minimum(asked, self.usable))

    def demand_row(self, asked: Int64, held: Int64) -> Int64:
        """The row of the demand, and of the intervals, for Items that ask for and hold so many."""
        return np.searchsorted(self._codes, self._code(asked, held))

    # ---- areas -----------------------------------------------------------------------------------

    def _small_zones(self) -> frozenset[int]:
        """Zones of which no Item may have two entries and none needs one, if there are many zones.

        For these one area is as good as many: an Item has so many of them, each in another.
        """
        names, found = self._zone_names, self.intervals
        if len(names) <= self.tuning.merge_zones:
            return frozenset()
        some = found.placed_high > 0
        small = (found.zone_low[some] == 0).all(axis=0) & (found.zone_high[some] == 1).all(axis=0)
        top = np.zeros(len(names), np.int64)
        np.maximum.at(top, self.members.zone, found.load_high)
        small |= top == 0  # nobody may be there: such entries go whatever their area
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
        place = np.full(len(names), len(single))
        place[single] = np.arange(len(single))
        self.area, own = place[zone], np.arange(len(zone))
        self.cell = np.where(self.area < len(single), own, len(own) + zone)
        self._coarse = self.demand_row(*self._asked_and_held())
        self._spread = state.spread[self._active][:, np.array(columns, np.int64)]

    # ---- rows that lie over the State ------------------------------------------------------------

    def at(self, rows: Int64) -> Table:
        """Shape (len(rows), w): who holds these Items, without the entries that are known to go."""
        out, place = self.state.at[rows], self._over_place[rows]
        out[place >= 0] = self._over_at[place[place >= 0]]
        return out

    def lay_over(self, rows: Int64, at: Table) -> None:
        """From now on these Items hold this (they only lose entries); kinds and loads follow."""
        self.load += entries(at, len(self.load)) - entries(self.at(rows), len(self.load))
        place = self._over_place[rows]
        old = place >= 0
        self._over_at[place[old]] = at[old]
        self._over_place[rows[~old]] = len(self.over_rows) + np.arange(int((~old).sum()))
        self.over_rows = np.concatenate([self.over_rows, rows[~old]])
        self._over_at = np.concatenate([self._over_at, at[~old]])
        self._make_kinds()

    def _make_kinds(self) -> None:
        """The State's kinds without the rows that lie over it, and the kinds of these."""
        state, active, found = self.state, self._active, self.intervals
        where = np.full(len(state.count) + 1, -1)
        where[active] = np.arange(len(active))
        base = where[state.kind[self.over_rows]]
        asks = base >= 0  # the others ask for nothing
        left = state.count[active] - sums(base[asks], len(active))
        keep = np.flatnonzero(left > 0)
        over = tally(self._over_at[asks], np.append(self.area, self.areas), self.areas)
        coarse = np.concatenate([self._coarse[keep], self._coarse[base[asks]]])
        spread = np.concatenate([self._spread[keep], over])
        # In an order of their own, so that neither rows nor history matter.
        first, group = alike(coarse, *spread.T, sort=True)
        c, weight = coarse[first], np.append(left[keep], np.ones(len(over), np.int64))
        self.kinds = Kinds(
            count=sums(group, len(first), weight),
            spread=spread[first],
            placed_low=found.placed_low[c],
            placed_high=found.placed_high[c],
            area_low=self._area_low[c],
            area_high=self._area_high[c],
        )
        kind_of = np.full(len(state.count) + 1, -1, np.int32)
        kind_of[active[keep]] = group[: len(keep)]
        self.kind = kind_of[state.kind]
        """Shape (n,): the kind of each Item; -1 for one that asks for nothing."""
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
            rows = np.flatnonzero(rows_with(gone, self.state.at))
            at = self.at(rows)
            self.lay_over(rows, np.where(gone[at], -1, at).astype(at.dtype))
