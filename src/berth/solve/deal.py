"""From sums to entries: which Items give one up, which get one, and on which Member.

The networks say how many entries leave and join each kind of Items in each zone. Here they are
dealt out by arrays, a turn at a time and by lot (from the Items' keys, never from chance):

1. `leave`: entries go where a kind has too many in a zone, from the fullest Members first.
2. `swap`: what is still above a Member's target goes to another Member of its zone.
3. `seek`: each Item that lacks a replica is given the zone of the new one (a tiny flow by kind).
4. `seat`: within a zone the vacancies are dealt by lot; who would be twice on a Member exchanges
   with another.

Nothing here has to be perfect: what does not fit is left over for `repair`, and what is not the
best is noticed, as the certificate counts the plan afresh.
"""

from __future__ import annotations

import numpy as np

from berth.solve.arrays import SALT, alike, ranks_within
from berth.solve.flow import Network
from berth.solve.model import SCALE, Int64
from berth.solve.moves import Moves
from berth.solve.state import names_one
from berth.solve.work import Work

TURNS = 14
"""Turns of `leave` and `swap`; what is left after them is left over."""
TRIES = 60
"""Turns of exchanges in `seat`."""


class Deal:
    """The Items that may change, and who holds them in the end.

    `rows` are rows of the Problem in the order of their keys; `at`, shape (rows, w), the positions
    that hold each (at first as now, in the end as planned); `load` that of all Members.
    """

    def __init__(self, work: Work, moves: Moves, wide: bool) -> None:
        self.work, self.moves, self.kinds = work, moves, work.kinds
        found = work.intervals
        draining = work.members.draining
        self.load = work.load.copy()
        # What a draining Member keeps is settled by its age; the others may end anywhere within.
        self.low = np.where(draining, moves.draining_load, found.load_low)
        self.high = np.where(draining, moves.draining_load, found.load_high)
        self.rows = self._choose_rows(wide)
        self.at = work.at(self.rows).astype(np.int64)
        self.kind = work.kind(self.rows).astype(np.int64)
        known = self.kind >= 0
        self.rows, self.at, self.kind = self.rows[known], self.at[known], self.kind[known]
        self.lot = (work.state.hash[self.rows] >> np.uint64(16)).astype(np.int64) & 0xFFFFF
        self.item, self.column = np.nonzero(self.at >= 0)
        self.member = self.at[self.item, self.column]
        self.area = work.area[self.member]
        self.gone = np.zeros(len(self.item), np.bool_)
        self.given = np.zeros(len(self.rows), np.int64)
        self.left_over = np.zeros(len(self.rows), np.bool_)
        lead = work.state.lead[self.rows]
        self.leads = lead[self.item] == self.member
        self.entry_lot = (self.lot[self.item] * 31 + self.member * 40503) & 0xFFFFF

    def run(self) -> None:
        """Deal everything out."""
        self._leave()
        self._swap()
        self._seat(*self._seek())

    # ---- which Items are looked at -------------------------------------------------------------

    def _choose_rows(self, wide: bool) -> Int64:
        """Items of kinds that lose or get something, and some on Members that have too much.

        A few per hundred are enough where only few change; they are drawn by lot.
        """
        work, kinds, state = self.work, self.kinds, self.work.state
        every = work.kind()
        if wide:
            rows = np.flatnonzero(every >= 0)
            return rows[np.argsort(state.hash[rows], kind="stable")]
        need = self.moves.leave.sum(axis=1) + self.moves.join.sum(axis=1)
        has = kinds.spread.sum(axis=1)
        forced = (kinds.spread > kinds.area_high).any(axis=1) | (kinds.spread < kinds.area_low).any(axis=1)
        forced |= (has < kinds.placed_low) | (has > kinds.placed_high)
        share = np.where(need > 0, 0.02 + 8 * need / np.maximum(1, kinds.count), 0.0)
        bar = np.append(np.where(forced, 65536, np.minimum(65536, np.ceil(share * 65536))), 0).astype(np.int32)
        take = state.lot < bar[every]
        excess = np.maximum(0, self.load - self._targets(self.load))
        over = excess > 0
        if over.any():
            part = float(((4 * excess[over] + 10) / np.maximum(1, self.load[over])).max())
            some = np.flatnonzero(state.lot < 65536 * part) if part < 0.5 else np.arange(len(take))
            take[some[names_one(np.append(over, False), state.at[some])]] = True
        take[work.over_rows] = True
        rows = np.flatnonzero(take & (every >= 0))
        return rows[np.argsort(state.hash[rows], kind="stable")]

    def misfits(self) -> np.ndarray:
        """Shape (rows,): Items that have not got what their intervals ask for, or are twice in a cell."""
        kinds, work = self.kinds, self.work
        area = np.append(work.area, work.areas)[self.at]
        have = np.zeros((len(self.rows), work.areas + 1), np.int64)
        np.add.at(have, (np.repeat(np.arange(len(area)), area.shape[1]), area.ravel()), 1)
        have = have[:, : work.areas]
        total = have.sum(axis=1)
        out = (total < kinds.placed_low[self.kind]) | (total > kinds.placed_high[self.kind])
        out |= (have < kinds.area_low[self.kind]).any(axis=1) | (have > kinds.area_high[self.kind]).any(axis=1)
        cell = np.sort(np.append(work.cell, -1)[self.at], axis=1)
        out |= ((cell[:, 1:] == cell[:, :-1]) & (cell[:, 1:] >= 0)).any(axis=1)
        return out

    def loads_fit(self) -> bool:
        """Whether each Member's load, and with them the number of replicas placed, is as it must be."""
        found = self.work.intervals
        fits = (self.load >= found.load_low) & (self.load <= found.load_high)
        return bool(fits.all()) and int(self.load.sum()) == found.placed

    def moved(self) -> int:
        """Entries on Members that do not hold the Item now."""
        was, new = self.work.state.at[self.rows], self.at >= 0
        for column in range(was.shape[1]):
            new &= self.at != was[:, column : column + 1]
        return int(new.sum())

    # ---- 1 leave -------------------------------------------------------------------------------

    def _leave(self) -> None:
        kinds, areas = self.kinds, self.work.areas
        left = self.moves.leave.copy()
        self.have = np.zeros((len(self.rows), areas), np.int64)
        np.add.at(self.have, (self.item, self.area), 1)
        size = np.maximum(1, kinds.count)
        each = -(-left.sum(axis=1) // size)
        self.scarce = 4 * left.sum(axis=1) > size
        total = int(left.sum())
        if total > self.work.tuning.leave_lots:
            # Three quarters by lot; the rest, by a flow, still has a choice that makes all fit.
            part = left * 3 // 4
            left += self._leave_by_lot(part, each) - left * 3 // 4
        if total:
            self._leave_by_flow(left, each)
        left = self._leave_by_lot(left, each)
        # What could not leave: let `repair` look at some of these kinds' Items.
        for short in np.flatnonzero(left.sum(axis=1)).tolist():
            some = np.flatnonzero(self.kind == short)[: 4 * int(left[short].sum())]
            self.left_over[some] = True

    def _leave_by_lot(self, left: Int64, each: Int64) -> Int64:
        """Entries of each kind in each area go, at most `each` of an Item; what of it could not."""
        kinds, areas = self.kinds, self.work.areas
        left, kind = left.copy(), self.kind[self.item]
        for turn in range(TURNS):
            if not left.any():
                break
            pool = np.flatnonzero(
                ~self.gone
                & (left[kind, self.area] > 0)
                & (self.given[self.item] < np.minimum(each, turn + 1)[kind])
                & (self.have[self.item, self.area] > kinds.area_low[kind, self.area])
            )
            if not len(pool):
                if turn >= each.max():
                    break
                continue
            item, total = self.item[pool], self.have.sum(axis=1)[self.item[pool]]
            must = self.have[item, self.area[pool]] > kinds.area_high[kind[pool], self.area[pool]]
            must |= total > kinds.placed_high[kind[pool]]
            may = total > kinds.placed_low[kind[pool]]
            # Kinds of which nearly every Item has to give one go first: they have the least choice.
            group = kind[pool] * areas + self.area[pool]
            share = left.ravel() / np.maximum(1, np.bincount(group, minlength=left.size))
            ample = (4 * (1 - np.minimum(1, share))).astype(np.int64)[group]
            dear = 32 * np.minimum(self.given[item], 9) + 16 * ~may - 400 * must + 2 * ample + self.leads[pool]
            quota = self._quotas(np.bincount(self.member[pool], minlength=len(self.load)), left.sum(axis=0))
            order = np.lexsort((self.entry_lot[pool], dear, self.member[pool]))
            pick = pool[order]
            pick = pick[ranks_within(self.member[pick]) < quota[self.member[pick]]]
            group = kind[pick] * areas + self.area[pick]
            dear = dear[np.searchsorted(pool, pick)]
            order = np.lexsort((self.entry_lot[pick], dear, group))
            pick, group = pick[order], group[order]
            pick = self._one_each(pick[ranks_within(group) < left.ravel()[group]])
            self._leave_with(pick, left)
        return left

    def _leave_with(self, pick: Int64, left: Int64) -> None:
        self._take(pick)
        np.subtract.at(left, (self.kind[self.item[pick]], self.area[pick]), 1)
        np.subtract.at(self.have, (self.item[pick], self.area[pick]), 1)

    def _leave_by_flow(self, left: Int64, each: Int64) -> None:
        """Where a good part of some kinds must give one up: which entries, by a flow that sees each Item.

            source ──> kind ──> Item ──> Item in zone a ──> Member ──> zone a ──> sink

        A Member gives what is above its interval's lower end at no cost, more of it at some. Of
        kinds with a choice a few Items for each that must give are enough.
        """
        kinds, areas = self.kinds, self.work.areas
        needs = left.sum(axis=1)
        if not needs.any():
            return
        order = np.lexsort((self.lot, self.kind))
        rank = np.empty(len(order), np.int64)
        rank[order] = ranks_within(self.kind[order])
        chosen = needs > 0
        for factor in (6, 3):
            some = rank < (factor * needs + 20)[self.kind]
            rows = np.flatnonzero(chosen[self.kind] & (self.scarce[self.kind] & (factor > 3) | some))
            if len(rows) <= self.work.tuning.leave_items:
                break
        if len(rows) > self.work.tuning.leave_items:
            chosen = self.scarce
            rows = np.flatnonzero(chosen[self.kind])
        if not len(rows) or len(rows) > self.work.tuning.leave_items:
            return
        local = np.full(len(self.rows), -1)
        local[rows] = np.arange(len(rows))
        kind = self.kind[self.item]
        some = np.flatnonzero((local[self.item] >= 0) & ~self.gone & (left[kind, self.area] > 0))
        free = self.have[self.item[some], self.area[some]] - kinds.area_low[kind[some], self.area[some]]
        some = some[free > 0]
        item, member, area = local[self.item[some]], self.member[some], self.area[some]
        wanted = np.where(chosen[:, None], left, 0)
        total = int(wanted.sum())
        net = Network("left", "strain", "primaries", limit=self.work.arcs)
        source, sink = (int(net.add_nodes(1, hub=True)[0]) for _ in range(2))
        members, zones = net.add_nodes(len(self.load), hub=True), net.add_nodes(areas, hub=True)
        groups, items = net.add_nodes(len(left), hub=True), net.add_nodes(len(rows))
        net.add(source, sink, 0, total, left=1)
        net.add(source, groups, 0, wanted.sum(axis=1))
        net.add(groups[self.kind[rows]], items, 0, np.maximum(0, each[self.kind[rows]] - self.given[rows]))
        pairs, first, pair = np.unique(item * areas + area, return_index=True, return_inverse=True)
        inside = net.add_nodes(len(pairs))
        free = self.have[rows[item[first]], area[first]] - kinds.area_low[self.kind[rows[item[first]]], area[first]]
        must = self.have[rows[item[first]], area[first]] - kinds.area_high[self.kind[rows[item[first]]], area[first]]
        must = np.clip(must, 0, free)
        net.add(items[item[first]], inside, 0, must, strain=-3)
        net.add(items[item[first]], inside, 0, free - must)
        arcs = net.add(inside[pair], members[member], 0, 1, primaries=self.leads[some])
        spare = np.maximum(0, self.load - self.low)
        surely = np.maximum(0, self.load - self.high)
        owner = np.arange(len(members))
        net.add(members, zones[self.work.area[owner]], 0, surely, strain=-1)
        net.add(members, zones[self.work.area[owner]], 0, spare - surely)
        net.add(members, zones[self.work.area[owner]], 0, total, strain=2)
        net.add(zones, sink, 0, wanted.sum(axis=0))
        flow = net.solve({source: total, sink: -total})
        self._leave_with(some[flow.units[arcs] > 0], left)
        # The sums of kinds and of areas are met, but not that of each kind in each area: it need not be.
        left[chosen] = 0
        if flow.totals["left"]:
            self.left_over[rows] = True

    def _quotas(self, have: Int64, amount: Int64) -> Int64:
        """How many of the candidates (`have` for each Member) go, `amount` in each area.

        What is above a Member's interval first, then what is above its lower end, then anything;
        within these from the fullest.
        """
        surely = np.maximum(0, self.load - self.high)
        maybe = np.maximum(0, np.minimum(self.load, self.high) - self.low)
        quota = np.zeros(len(have), np.int64)
        for area in range(self.work.areas):
            here = np.flatnonzero((self.work.area == area) & (have > 0))
            rest = int(amount[area])
            for tier in (surely, maybe, have):
                cap = np.minimum(tier[here], have[here] - quota[here])
                took = _cut(cap, rest)
                quota[here] += took
                rest -= int(took.sum())
        return quota

    def _one_each(self, pick: Int64) -> Int64:
        """At most one entry of an Item in a turn, the first in order."""
        _, first = np.unique(self.item[pick], return_index=True)
        return pick[np.sort(first)]

    def _take(self, pick: Int64) -> None:
        self.gone[pick] = True
        self.given[self.item[pick]] += 1
        self.load -= np.bincount(self.member[pick], minlength=len(self.load))

    # ---- 2 swap --------------------------------------------------------------------------------

    def _targets(self, load: Int64) -> Int64:
        """Loads that the areas' sums allow, at the least cost in level 11 of those with fewest moves."""
        work = self.work
        target = np.clip(load, self.low, self.high)
        limit = np.maximum(1, work.members.limit)
        for area in range(work.areas):
            here = np.flatnonzero(work.area == area)
            lacks = int(self.moves.loads[area] - target[here].sum())
            if not lacks:
                continue
            low, high = (target[here], self.high[here]) if lacks > 0 else (self.low[here], target[here])
            target[here] = _fill(low, high, limit[here], int(self.moves.loads[area]))
        return target

    def _swap(self) -> None:
        target = self._targets(self.load)
        self.vacant = np.maximum(0, target - self.load)
        quota = np.maximum(0, self.load - target)
        if quota.any():
            pool = np.flatnonzero((quota > 0)[self.member] & ~self.gone)
            # Rather not a primary, nor an Item that is on many of the few Members that receive.
            taker = np.append(self.vacant > 0.02 * self.vacant.sum(), False)
            met = np.minimum(taker[self.at[self.item[pool]]].sum(axis=1), 2)
            dear = met
            for turn in range(TURNS):
                given = np.minimum(self.given[self.item[pool]], 3)
                order = np.lexsort((self.entry_lot[pool], dear, given, self.leads[pool], self.member[pool]))
                pick = pool[order]
                pick = pick[ranks_within(self.member[pick]) < quota[self.member[pick]]]
                if turn < TURNS - 1:
                    pick = self._one_each(pick)
                self._take(pick)
                quota -= np.bincount(self.member[pick], minlength=len(quota))
                if not quota.any():
                    break
                rest = ~self.gone[pool] & (quota > 0)[self.member[pool]]
                pool, dear = pool[rest], dear[rest]
        self.vacant = np.maximum(0, target - self.load)
        self.target = target

    # ---- 3 seek --------------------------------------------------------------------------------

    def _seek(self) -> tuple[Int64, Int64]:
        """Which Items get an entry in which area: (local rows, areas), one for each entry."""
        work, kinds = self.work, self.kinds
        self.was = self.at.copy()
        self.at[self.item[self.gone], self.column[self.gone]] = -1
        vacant = np.bincount(work.area, self.vacant, work.areas).astype(np.int64)
        total = int(vacant.sum())
        area = np.append(work.area, work.areas)[self.at]
        have = np.zeros((len(self.rows), work.areas + 1), np.int64)
        np.add.at(have, (np.repeat(np.arange(len(area)), area.shape[1]), area.ravel()), 1)
        have = have[:, : work.areas]
        lacks = np.flatnonzero(have.sum(axis=1) < kinds.placed_high[self.kind])
        nobody = np.zeros(0, np.int64)
        if not total or not len(lacks):
            return nobody, nobody
        first, group = alike(self.kind[lacks], *have[lacks].T)
        order = np.lexsort([*have[lacks][first].T[::-1], self.kind[lacks][first]])
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        first, group = first[order], rank[group]
        size = np.bincount(group, minlength=len(first))
        here, kind = have[lacks][first], self.kind[lacks][first]
        net = Network("unseated", "unfit", limit=self.work.arcs)
        source, sink = (int(net.add_nodes(1, hub=True)[0]) for _ in range(2))
        ends, groups = net.add_nodes(work.areas, hub=True), net.add_nodes(len(first))
        net.add(source, sink, 0, total, unseated=1)
        net.add(ends, sink, 0, vacant)
        must = np.maximum(0, kinds.placed_low[kind] - here.sum(axis=1)) * size
        may = np.maximum(0, kinds.placed_high[kind] - here.sum(axis=1)) * size
        net.add(source, groups, 0, must, unfit=-1)
        net.add(source, groups, 0, may - must)
        g, a = np.nonzero(kinds.area_high[kind] > here)
        least = np.maximum(0, kinds.area_low[kind[g], a] - here[g, a]) * size[g]
        top = (kinds.area_high[kind[g], a] - here[g, a]) * size[g]
        needed = net.add(groups[g], ends[a], 0, least, unfit=-1)
        wanted = net.add(groups[g], ends[a], 0, top - least)
        flow = net.solve({source: total, sink: -total})
        amount = np.zeros((len(first), work.areas), np.int64)
        amount[g, a] = flow.units[needed] + flow.units[wanted]
        members = np.argsort(group, kind="stable")
        start = np.cumsum(size) - size
        seekers, areas = [nobody], [nobody]
        for one in range(len(first)):
            ends_in = np.repeat(np.arange(work.areas), amount[one])
            seekers.append(lacks[members[start[one] + np.arange(len(ends_in)) % size[one]]])
            areas.append(ends_in)
        return np.concatenate(seekers), np.concatenate(areas)

    # ---- 4 seat --------------------------------------------------------------------------------

    def _seat(self, seeker: Int64, area: Int64) -> None:
        """Deal the vacancies of each area to its seekers by lot, then let those exchange that clash."""
        work = self.work
        lot = (self.lot[seeker].astype(np.uint64) * SALT[7] + area.astype(np.uint64) * SALT[8]) * SALT[9]
        order = np.lexsort((seeker, lot >> np.uint64(24), area))
        seeker, area = seeker[order], area[order]
        seats = np.repeat(np.arange(len(self.vacant)), self.vacant)
        turn = ranks_within(seats)
        # Each Member's places evenly over the list, its neighbours by lot: if lists were dealt in
        # turn, Items would share all their Members, and one lost could not be made up for.
        spot = (turn + np.random.default_rng(3).random(len(seats))) / np.maximum(1, self.vacant)[seats]
        seats = seats[np.lexsort((seats, spot, work.area[seats]))]
        sought, there = (np.bincount(x, minlength=work.areas) for x in (area, work.area[seats]))
        if (sought != there).any():
            both = np.minimum(sought, there)
            use = ranks_within(area) < both[area]
            self.left_over[seeker[~use]] = True
            seeker, area = seeker[use], area[use]
            seats = seats[ranks_within(work.area[seats]) < both[work.area[seats]]]
        clashes = _exchange(seats, seeker, area, work.cell, self.at)
        self.left_over[seeker[clashes]] = True
        keep = np.ones(len(seats), np.bool_)
        keep[clashes] = False
        self._sit(seeker[keep], seats[keep])

    def _sit(self, seeker: Int64, seat: Int64) -> None:
        """Write the new entries into the gaps of each Item's row."""
        order = np.argsort(seeker, kind="stable")
        seeker, seat = seeker[order], seat[order]
        self.load += np.bincount(seat, minlength=len(self.load))
        changed = np.unique(seeker)
        wide = int(self.kinds.placed_high.max(initial=0))
        if self.at.shape[1] < wide:
            more = np.full((len(self.at), wide - self.at.shape[1]), -1, np.int64)
            self.at = np.concatenate([self.at, more], axis=1)
        some = self.at[changed]
        gaps = np.argsort(some >= 0, axis=1, kind="stable")  # empty columns first
        place = np.searchsorted(changed, seeker)
        some[place, gaps[place, ranks_within(seeker)]] = seat
        self.at[changed] = some


def _cut(cap: Int64, amount: int) -> Int64:
    """Take `amount` from these, the largest first until they are alike; at most all of them."""
    if amount >= int(cap.sum()):
        return cap
    low, high = 0, int(cap.max())
    while low < high:  # the least height at which no more than `amount` stick out
        middle = (low + high) // 2
        if int(np.maximum(0, cap - middle).sum()) <= amount:
            high = middle
        else:
            low = middle + 1
    took = np.maximum(0, cap - low)
    level = np.flatnonzero(cap >= low) if low else np.zeros(0, np.int64)
    lot = (level * 2654435761) & 0xFFFF
    took[level[np.argsort(lot, kind="stable")][: amount - int(took.sum())]] += 1
    return took


def _fill(low: Int64, high: Int64, limit: Int64, total: int) -> Int64:
    """Loads between `low` and `high` with this sum, least in Σ floor(SCALE·k/limit); ties by position."""

    def up_to(cost: int) -> Int64:
        return np.clip(((cost + 1) * limit - 1) // SCALE, low, high)

    below, above = -1, SCALE + 1
    while above - below > 1:
        middle = (below + above) // 2
        if int(up_to(middle).sum()) <= total:
            below = middle
        else:
            above = middle
    out = up_to(below) if below >= 0 else low.copy()
    rest = total - int(out.sum())
    while rest > 0:  # at most once for each unit of equal cost that fits on one Member
        more = np.flatnonzero((out < high) & (up_to(above) > out))[:rest]
        if not len(more):
            break
        out[more] += 1
        rest -= len(more)
    return out


def _exchange(seats: Int64, seeker: Int64, area: Int64, cell: Int64, at: Int64) -> Int64:
    """Exchange seats (in place) until no Item is twice in a cell; which seats clash in the end.

    Seats are grouped by area. One seat of an Item changes at a time: if both did, they could
    clash for ever.
    """
    count = len(seats)
    if not count:
        return np.zeros(0, np.int64)
    holds = np.append(cell, -1)[at[seeker]]
    size = np.bincount(area)
    start = np.cumsum(size) - size
    # Seats of one Item, as places in the list, to see whether two of them are in one cell.
    order = np.argsort(seeker, kind="stable")
    mine = ranks_within(seeker[order])
    several = int(mine.max()) + 1
    fellow = np.full((int(seeker.max()) + 1, several), -1)
    fellow[seeker[order], mine] = order

    def clash(places: Int64, values: Int64) -> np.ndarray:
        spot = cell[values]
        out = (holds[places] == spot[:, None]).any(axis=1)
        if several > 1:
            others = fellow[seeker[places]]
            used = (others >= 0) & (others != places[:, None])
            out |= (used & (cell[seats[np.maximum(others, 0)]] == spot[:, None])).any(axis=1)
        return out

    rng = np.random.default_rng(1)
    bad = np.flatnonzero(clash(np.arange(count), seats))
    for _ in range(TRIES):
        if not len(bad):
            break
        _, alone = np.unique(seeker[bad], return_index=True)
        one = bad[alone]
        group = area[one]
        two = start[group] + (rng.random(len(one)) * size[group]).astype(np.int64)
        busy = np.bincount(np.concatenate([seeker[one], seeker[two]]), minlength=len(fellow))
        fine = (busy[seeker[one]] == 1) & (busy[seeker[two]] == 1)
        one, two = one[fine], two[fine]
        first, second = seats[one].copy(), seats[two].copy()
        fine = ~clash(one, second) & ~clash(two, first)
        seats[one[fine]], seats[two[fine]] = second[fine], first[fine]
        bad = bad[clash(bad, seats[bad])]
    for place in bad[:50].tolist():  # one by one it did not work: many partners at once
        group = area[place]
        others = start[group] + rng.permutation(size[group])[:4_000]
        others = others[seeker[others] != seeker[place]]
        here = np.full(len(others), place)
        fine = ~clash(here, seats[others]) & ~clash(others, np.full(len(others), seats[place]))
        if fine.any():
            other = others[fine.argmax()]
            seats[place], seats[other] = seats[other], seats[place]
    # Of two seats of an Item in one cell only the later one clashes: the other may stay.
    bad = bad[clash(bad, seats[bad])]
    own = (holds[bad] == cell[seats[bad]][:, None]).any(axis=1)
    pair = seeker[bad] * (int(cell.max()) + 1) + cell[seats[bad]]
    _, first = np.unique(pair, return_index=True)
    spare = np.zeros(len(bad), np.bool_)
    spare[first] = True
    return bad[own | ~spare]
