"""From sums to entries: which Items give one up, which get one, and on which Member.

The networks say how many entries leave and join each kind of Items in each zone. The deal turns
these numbers into entries with array operations, in turns. Where it has a choice it draws lots,
which are derived from the Items' keys or from fixed seeds, so the same input gives the same plan:

1. `leave` (in its own module): remove entries where a kind has too many in a zone.
2. `swap`: remove what is still above a Member's target; it goes to another Member of the zone.
3. `seek`: choose the zone of each missing replica (a small flow by kind).
4. `seat`: deal the vacancies of each zone by lot; Items that would get a Member twice exchange seats.

The deal need not be perfect: `repair` handles what does not fit, and the certificate recognises it.
"""

import numpy as np

from berth.solve.arrays import alike, first_few, firsts, numbered, ordered, rank_within, sums, twice, widened
from berth.solve.flow import Network
from berth.solve.model import Bool, Int64
from berth.solve.moves import Moves
from berth.solve.shares import filled
from berth.solve.work import Work

TURNS = 60  # maximum turns of `leave`, of `swap` and of exchanges; `repair` handles what remains
LOTS = 1 << 16  # an entry's lot is below this: numpy sorts 16 bits quickly


class Deal:
    """The Items that may change, and the Members that hold them.

    `rows` are rows of the Problem in the order of their keys. `at`, shape (rows, w), has the positions that
    hold each Item, and `load` the loads of all Members: those of now at first, those of the plan at the end.
    """

    def __init__(self, work: Work, moves: Moves) -> None:
        self.work, self.moves, self.kinds, self.load = work, moves, work.kinds, work.load.copy()
        self.loads = moves.loads.copy()  # shape (areas,): the planned total load of the Members of an area
        self.unfit = self.kinds.misfit(np.arange(len(self.kinds.count)), self.kinds.spread)
        self.rows = work.by_key((work.kind >= 0) & (work.wide or self._choice()))
        self.at, self.kind = work.at.take(self.rows, axis=0).astype(np.int64), work.kind[self.rows]
        # For each entry: its row and column in `at`, Member, area, kind, both as one number, whether it is
        # the primary, its place in `have`, and a lot. One index into a flat view is quicker than two.
        flat = np.flatnonzero(self.at >= 0)
        self.item, self.column = np.divmod(flat, self.at.shape[1])
        self.member = self.at.ravel()[flat]
        self.area, self.kind_of = work.area[self.member], self.kind[self.item]
        self.group = self.kind_of * work.areas + self.area
        self.leads = work.state.lead[self.rows][self.item] == self.member
        self.entry_lot = np.random.default_rng(2).integers(0, LOTS, len(self.item))
        self.have, self.spot = work.in_areas(self.at), self.area * len(self.rows) + self.item
        self.gone, self.given = np.zeros(len(self.item), np.bool_), np.zeros(len(self.rows), np.int64)
        # With merged zones a kind does not show whether an Item is twice in one, so all are checked.
        self.changed = np.isin(self.rows, work.over_rows, kind="table") | bool(work.state.merged)

    def _choice(self) -> Bool:
        """A sample of the Items of kinds that lose or get entries, and of those on overfull Members.

        If few Items of a kind change, a few percent of them are choice enough. The sample is drawn by
        the low bits of the Items' hashes, because Items are sorted by the high bits.
        """
        state, load = self.work.state, self.load
        lot = state.hash.astype(np.uint16).astype(np.int32)
        need, count = self.moves.leave.sum(axis=1) + self.moves.join.sum(axis=1), self.kinds.count
        share = np.where(need > 0, np.minimum(0.02, 200 / count) + 4 * need / count, 0.0)
        lots = np.append(65536 * np.where(self.unfit, 1.0, share), 0).astype(np.int32)
        take = lot < lots.take(self.work.kind, mode="wrap")
        excess = np.maximum(0, load - self._targets(self.moves.load_low))
        bar = np.append(np.where(excess > 0, 65536 * (10 * excess + 3) // np.maximum(load, 1), 0), 0)
        some = np.flatnonzero(lot < bar.max())
        bars = bar.astype(np.int32).take(state.at.take(some, axis=0).T, mode="wrap")
        bars[0] //= 4 if len(bars) > 1 else 1  # slot 0 is the primary, which is kept if others are enough
        take[some] |= lot[some] < bars.max(axis=0)
        take[self.work.over_rows] = True
        return take

    def misfits(self) -> Bool:
        """Shape (rows,): Items that are outside their intervals, or twice in a cell."""
        out = self.unfit[self.kind]
        some = np.flatnonzero(out | self.changed)
        at = self.at.take(some, axis=0)
        bad = self.kinds.misfit(self.kind[some], self.work.in_areas(at))
        out[some] = bad | twice(np.append(self.work.cell, -1)[at])
        return out

    def loads_fit(self) -> bool:
        """Whether each Member's load is in its interval and all replicas are placed that can be."""
        found = self.work.intervals
        fits = (self.load >= found.load_low) & (self.load <= found.load_high)
        return bool(fits.all()) and int(self.load.sum()) == found.placed

    def moved(self) -> tuple[Int64, int]:
        """The Items with entries on Members that do not hold them now, and the number of these entries."""
        some = np.flatnonzero(self.changed)
        was = self.work.state.at.take(self.rows[some], axis=0).T
        at = self.at.take(some, axis=0).T.astype(was.dtype, order="C")
        new = at >= 0
        for column in was:
            new &= at != column
        return some[new.any(axis=0)], int(np.count_nonzero(new))

    def one_each(self, pick: Int64) -> Int64:
        """At most one of these entries for each Item, preferably not its primary."""
        pick = np.append(pick[~self.leads[pick]], pick[self.leads[pick]])
        return pick[firsts(self.item[pick])]

    def take(self, pick: Int64) -> None:
        """Remove these entries."""
        self.gone[pick] = self.changed[self.item[pick]] = True
        self.load -= sums(self.member[pick], len(self.load))
        np.add.at(self.given, self.item[pick], 1)
        np.subtract.at(self.have.T.ravel(), self.spot[pick], 1)

    def _targets(self, lowest: Int64) -> Int64:
        """Loads with the areas' totals: of those with the fewest moves the most even for the limits."""
        highest = self.moves.load_high
        target, limit = np.clip(self.load, lowest, highest), np.maximum(1, self.work.members.limit)
        lacks = self.loads - sums(self.work.area, len(self.loads), target)
        for area in np.flatnonzero(lacks).tolist():
            here = np.flatnonzero(self.work.area == area)
            low, high = (target, highest) if lacks[area] > 0 else (lowest, target)
            target[here] = filled(low[here], high[here], limit[here], int(self.loads[area]))
        return target

    def swap(self) -> None:
        """After `leave`: remove entries from Members above their targets, and note the `vacant` places."""
        gives = sums(self.member[~self.gone], len(self.load))
        target = self._targets(np.maximum(self.moves.load_low, self.load - gives))
        quota, vacant = np.maximum(0, self.load - target), np.maximum(0, target - self.load)
        pool = np.flatnonzero((quota > 0)[self.member] & ~self.gone)
        # Avoid primaries, and Items that are already on several of the Members with much to receive.
        cells = self.work.cell[vacant > 0.02 * vacant.sum()]
        taker = np.append(np.isin(self.work.cell, cells), False)
        competing = np.minimum(np.asfortranarray(taker[self.at[self.item[pool]]]).sum(axis=1), 2)
        for _ in range(TURNS):
            if not quota.any():
                break
            given, lead = np.minimum(self.given[self.item[pool]], 3), self.leads[pool]
            cost = (12 * lead + 3 * given + competing) * LOTS + self.entry_lot[pool]
            pick = self.one_each(pool[first_few(self.member[pool], quota, cost)])
            self.take(pick)
            quota -= sums(self.member[pick], len(quota))
            rest = ~self.gone[pool] & (quota > 0)[self.member[pool]]
            pool, competing = pool[rest], competing[rest]
        self.vacant = np.maximum(0, target - self.load)

    def seek(self) -> tuple[Int64, Int64]:
        """Which Items get an entry in which area: (rows of `at`, areas), one element for each entry."""
        kinds, areas = self.kinds, self.work.areas
        self.at[self.item[self.gone], self.column[self.gone]] = -1
        vacant, have = sums(self.work.area, areas, self.vacant), self.have
        lacks = np.flatnonzero(have.sum(axis=1) < kinds.placed_high[self.kind])
        total = int(vacant.sum())
        first, group = alike(self.kind[lacks], *have[lacks].T)
        size, here, kind = sums(group, len(first)), have[lacks][first], self.kind[lacks][first]
        net = Network("unseated", "unfit", "uneven", limit=self.work.arcs)
        ends, groups = net.add_nodes(areas, hub=True), net.add_nodes(len(first))
        net.add(net.source, net.sink, 0, total, unseated=1)
        net.add(ends, net.sink, 0, vacant)
        has, edges = here.sum(axis=1), (kinds.placed_low[kind], kinds.placed_high[kind])
        low, high = (np.maximum(0, edge - has) * size for edge in edges)
        net.add_preferred(net.source, groups, low, high, "unfit")
        g, a = np.nonzero(kinds.area_high[kind] > here)
        edges = kinds.area_low[kind], kinds.area_high[kind]
        low, most = (np.maximum(0, edge - here)[g, a] * size[g] for edge in edges)
        # All areas alike: Items whose other replicas are all in one zone could not go there after a loss.
        even = np.clip(-(-high[g] * vacant[a] // np.maximum(1, sums(g, len(first), vacant[a])[g])), low, most)
        arcs = net.add_preferred(groups[g], ends[a], low, even, "unfit")
        rest = net.add(groups[g], ends[a], 0, most - even, uneven=1)
        flow = net.solve(total)
        # Area by area, round and round the Items of a group, so their numbers differ by at most one.
        amount = sum(flow.units[some] for some in (*arcs, rest))
        g, a = np.repeat(g, amount), np.repeat(a, amount)
        return lacks[ordered(group)[(np.cumsum(size) - size)[g] + rank_within(g) % size[g]]], a

    def seat(self, seeker: Int64, area: Int64) -> None:
        """Deal the vacancies of each area to its seekers by lot, then exchange seats that clash."""
        work, rng = self.work, np.random.default_rng(3)
        order = ordered(rng.integers(0, LOTS, len(area)), area)
        seeker, area = seeker[order], area[order]
        seats = np.repeat(np.arange(len(self.vacant)), self.vacant)
        # Spread each Member's places evenly over the list, with neighbours by lot. Dealt in a regular
        # order, Items would share all their Members, and losing one would leave no good replacements.
        spot = (rank_within(seats) + rng.random(len(seats))) / self.vacant[seats] * (1 << 24)
        seats = seats[first_few(work.area[seats], sums(area, work.areas), spot.astype(np.int64))]
        rows, seeker = numbered(seeker, len(self.rows))
        clashing = _exchange(seats, seeker, area, work.cell, self.at.take(rows, axis=0))
        seeker, seats = np.delete(seeker, clashing), np.delete(seats, clashing)
        # Write the new entries, Item by Item, into the first empty columns of its row.
        self.load += sums(seats, len(self.load))
        self.at = widened(self.at, int(self.kinds.placed_high.max(initial=0)))
        here = self.at.take(rows, axis=0)
        empty = here < 0
        empty &= np.cumsum(empty, axis=1) <= sums(seeker, len(rows))[:, None]
        here[empty] = seats[ordered(seeker)]
        self.at[rows], self.changed[rows] = here, True


def _exchange(seats: Int64, seeker: Int64, area: Int64, cell: Int64, at: Int64) -> Int64:
    """Exchange seats (in place) until no Item is twice in a cell; returns the seats that still clash.

    Seats are sorted by area. Only one seat of an Item changes at a time: if two clashing seats both
    changed, they could clash again in every turn.
    """
    # An Item is a column of these tables, because numpy is far quicker with few long rows.
    holds, size = np.append(cell, -1)[at.T], np.bincount(area)
    start = np.cumsum(size) - size
    # For each Item its seats, as indices into `seats`, to find two of them in one cell.
    order = ordered(seeker)
    nth_seat = rank_within(seeker[order])
    seats_of = np.full((int(nth_seat.max(initial=0)) + 1, len(at)), -1)
    seats_of[nth_seat, seeker[order]] = order

    def clash(places: Int64, values: Int64) -> Bool:
        spot, item = cell[values], seeker[places]
        others = seats_of.take(item, axis=1)
        other_seats = (others >= 0) & (others != places) & (cell[seats[others]] == spot)
        return np.asarray((holds.take(item, axis=1) == spot).any(axis=0) | other_seats.any(axis=0))

    rng = np.random.default_rng(1)
    cells = np.append(cell, -1)[np.append(seats, -1)[seats_of]]
    bad = np.flatnonzero(twice(np.vstack([holds, cells]).T)[seeker])
    bad = bad[clash(bad, seats[bad])]
    stuck = 0  # turns in a row without an exchange, for example if all these seats are on one Member
    for _ in range(TURNS):
        if not len(bad) or stuck > 8:
            break
        one = bad[firsts(seeker[bad])]
        two = start[area[one]] + (rng.random(len(one)) * size[area[one]]).astype(np.int64)
        changes = sums(np.append(seeker[one], seeker[two]), len(at))
        valid = (changes[seeker[one]] == 1) & (changes[seeker[two]] == 1)
        valid &= ~clash(one, seats[two]) & ~clash(two, seats[one])
        one, two = one[valid], two[valid]
        seats[one], seats[two] = seats[two], seats[one]
        stuck = 0 if len(one) else stuck + 1
        bad = bad[clash(bad, seats[bad])]
    return bad
