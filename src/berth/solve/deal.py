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

from berth.solve.arrays import SALT, alike, names_one, rank_within, tally
from berth.solve.flow import Network
from berth.solve.model import SCALE, Bool, Int64
from berth.solve.moves import Moves
from berth.solve.work import Work

TURNS = 14
"""Turns of leaving by lot and of swapping; what is left after them is left over."""
TRIES = 60
"""Turns of exchanges between seats."""


class Deal:
    """The Items that may change, and who holds them in the end.

    `rows` are rows of the Problem in the order of their keys; `at`, shape (rows, w), the positions
    that hold each (at first as now, in the end as planned); `load` that of all Members. With
    `wide` all Items may change.
    """

    def __init__(self, work: Work, moves: Moves, wide: bool) -> None:
        self.work, self.moves, self.kinds, found = work, moves, work.kinds, work.intervals
        self.load = work.load.copy()
        # What a draining Member keeps is settled by its age; the others may end anywhere within.
        draining = work.members.draining
        self.low = np.where(draining, moves.draining_load, found.load_low)
        self.high = np.where(draining, moves.draining_load, found.load_high)
        every = work.kind()
        self.rows = work.by_key(every >= 0 if wide else self._choice(every) & (every >= 0))
        self.at = work.at(self.rows).astype(np.int64)
        self.kind = every[self.rows].astype(np.int64)
        self.lot = (work.state.hash[self.rows] >> np.uint64(16)).astype(np.int64) & 0xFFFFF
        # Entries: local row, column, Member, its area, whether the primary is there, a lot.
        self.item, self.column = np.nonzero(self.at >= 0)
        self.member = self.at[self.item, self.column]
        self.area = work.area[self.member]
        self.leads = work.state.lead[self.rows][self.item] == self.member
        self.entry_lot = (self.lot[self.item] * 31 + self.member * 40503) & 0xFFFFF
        self.gone = np.zeros(len(self.item), np.bool_)
        self.given = np.zeros(len(self.rows), np.int64)
        self.left_over = np.zeros(len(self.rows), np.bool_)
        self._column_of = np.append(work.area, work.areas)

    def run(self) -> None:
        """Deal everything out."""
        self._leave()
        self._swap()
        self._seat(*self._seek())

    def _choice(self, every: Int64) -> Bool:
        """Items of kinds that lose or get something, and some on Members that have too much.

        A few per hundred are enough where only few change; they are drawn by lot, from the low bits
        of their keys, as they are sorted by the high ones.
        """
        kinds, state, load = self.kinds, self.work.state, self.load
        lot = (state.hash & np.uint64(0xFFFF)).astype(np.int32)
        need = self.moves.leave.sum(axis=1) + self.moves.join.sum(axis=1)
        has = kinds.spread.sum(axis=1)
        forced = ((kinds.spread > kinds.area_high) | (kinds.spread < kinds.area_low)).any(axis=1)
        forced |= (has < kinds.placed_low) | (has > kinds.placed_high)
        share = np.where(need > 0, 0.02 + 8 * need / np.maximum(1, kinds.count), 0.0)
        bar = np.ceil(np.where(forced, 1.0, np.minimum(1.0, share)) * 65536).astype(np.int32)
        take = lot < np.append(bar, 0)[every]
        excess = np.maximum(0, load - self._targets())
        if excess.any():
            part = float(((4 * excess + 10) / np.maximum(1, load))[excess > 0].max())
            some = np.flatnonzero(lot < 65536 * part) if part < 0.5 else np.arange(len(lot))
            take[some[names_one(np.append(excess > 0, False), state.at[some])]] = True
        take[self.work.over_rows] = True
        return take

    # ---- what is asked of the result -----------------------------------------------------------

    def misfits(self) -> Bool:
        """Shape (rows,): Items that have not got what their intervals ask for, or are twice in a cell."""
        kinds, kind = self.kinds, self.kind
        have = tally(self.at, self._column_of, self.work.areas)
        total = have.sum(axis=1)
        out = (total < kinds.placed_low[kind]) | (total > kinds.placed_high[kind])
        out |= ((have < kinds.area_low[kind]) | (have > kinds.area_high[kind])).any(axis=1)
        cell = np.sort(np.append(self.work.cell, -1)[self.at], axis=1)
        out |= ((cell[:, 1:] == cell[:, :-1]) & (cell[:, 1:] >= 0)).any(axis=1)
        return np.asarray(out)

    def loads_fit(self) -> bool:
        """Whether each Member's load, and with them the number of replicas placed, is as it must be."""
        found = self.work.intervals
        fits = (self.load >= found.load_low) & (self.load <= found.load_high)
        return bool(fits.all()) and int(self.load.sum()) == found.placed

    def moved(self) -> int:
        """Entries on Members that do not hold the Item now."""
        new = self.at >= 0
        for column in self.work.state.at[self.rows].T:
            new &= self.at != column[:, None]
        return int(new.sum())

    # ---- 1 leave -------------------------------------------------------------------------------

    def _leave(self) -> None:
        left = self.moves.leave.copy()
        self.have = tally(self.at, self._column_of, self.work.areas)
        size = np.maximum(1, self.kinds.count)
        each = -(-left.sum(axis=1) // size)
        self.scarce = 4 * left.sum(axis=1) > size
        few = self.work.tuning.leave_items // 4
        if int(left.sum()) > few:
            # Most by lot; the rest, by a flow, still has a choice that makes all fit.
            part = left - -(-left * few // int(left.sum()))
            left += self._leave_by_lot(part, each) - part
        if left.any():
            self._leave_by_flow(left, each)
            left = self._leave_by_lot(left, each)
        for short in np.flatnonzero(left.sum(axis=1)).tolist():
            some = np.flatnonzero(self.kind == short)[: 4 * int(left[short].sum())]
            self.left_over[some] = True

    def _leave_by_lot(self, left: Int64, each: Int64) -> Int64:
        """Entries of each kind in each area go, at most `each` of an Item; what of it could not."""
        kinds, areas, left, kind = self.kinds, self.work.areas, left.copy(), self.kind[self.item]
        for turn in range(TURNS):
            pool = np.flatnonzero(
                ~self.gone
                & (left[kind, self.area] > 0)
                & (self.given[self.item] < np.minimum(each, turn + 1)[kind])
                & (self.have[self.item, self.area] > kinds.area_low[kind, self.area])
            )
            if not len(pool):
                if turn >= each.max(initial=0):
                    break
                continue
            item, area, group = self.item[pool], self.area[pool], kind[pool] * areas + self.area[pool]
            total = self.have.sum(axis=1)[item]
            must = self.have[item, area] > kinds.area_high[kind[pool], area]
            must |= total > kinds.placed_high[kind[pool]]
            may = total > kinds.placed_low[kind[pool]]
            # Kinds of which nearly every Item has to give one go first: they have the least choice.
            share = left.ravel() / np.maximum(1, np.bincount(group, minlength=left.size))
            ample = (4 * (1 - np.minimum(1, share))).astype(np.int64)[group]
            dear = (
                32 * np.minimum(self.given[item], 9) + 16 * ~may - 400 * must + 2 * ample + self.leads[pool]
            )
            quota = self._quotas(np.bincount(self.member[pool], minlength=len(self.load)), left.sum(axis=0))
            # First so many of each Member, of these so many of each kind, of these one of each Item.
            for owner, most in ((self.member, quota), (kind * areas + self.area, left.ravel())):
                order = np.lexsort((self.entry_lot[pool], dear, owner[pool]))
                whose = owner[pool[order]]
                order = order[rank_within(whose) < most[whose]]
                pool, dear = pool[order], dear[order]
            self._take_leaving(self._one_each(pool), left)
        return left

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
            for tier in (surely, maybe, have):
                rest = int(amount[area] - quota[here].sum())
                quota[here] += _cut(np.minimum(tier[here], have[here] - quota[here]), rest)
        return quota

    def _one_each(self, pick: Int64) -> Int64:
        """At most one entry of an Item in a turn, the first in order."""
        return pick[np.sort(np.unique(self.item[pick], return_index=True)[1])]

    def _take(self, pick: Int64) -> None:
        self.gone[pick] = True
        np.add.at(self.given, self.item[pick], 1)
        self.load -= np.bincount(self.member[pick], minlength=len(self.load))

    def _take_leaving(self, pick: Int64, left: Int64) -> None:
        self._take(pick)
        np.subtract.at(left, (self.kind[self.item[pick]], self.area[pick]), 1)
        np.subtract.at(self.have, (self.item[pick], self.area[pick]), 1)

    def _leave_by_flow(self, left: Int64, each: Int64) -> None:
        """Which entries leave, by a flow that sees each Item; `left` is what remains.

            source ──> kind ──> Item ──> Item in zone a ──> Member ──> zone a ──> sink

        A Member gives what is above its interval's lower end at no cost, more of it at some. Of
        kinds with a choice a few Items for each that must give are enough.
        """
        kinds, areas, tuning = self.kinds, self.work.areas, self.work.tuning
        needs = left.sum(axis=1)
        # Rather those on Members that have too much, or at least something to spare.
        may, good = self.given < each[self.kind], np.zeros(len(self.rows), np.int64)
        use = np.flatnonzero(left[self.kind[self.item], self.area] > 0)
        fill = np.where(self.load > self.high, 2, 1 * (self.load > self.low))
        np.maximum.at(good, self.item[use], fill[self.member[use]])
        order = np.lexsort((self.lot, -good, ~may, self.kind))
        rank = np.empty(len(order), np.int64)
        rank[order] = rank_within(self.kind[order])
        chosen, scarce = needs > 0, self.scarce[self.kind]
        for some in (
            scarce | (rank < (6 * needs + 20)[self.kind]),
            rank < (3 * needs + 20)[self.kind],
            scarce,
        ):
            rows = np.flatnonzero(may & chosen[self.kind] & some)
            if len(rows) <= tuning.leave_items:
                break
        else:
            return
        chosen = np.bincount(self.kind[rows], minlength=len(needs)) > 0
        local = np.full(len(self.rows), -1)
        local[rows] = np.arange(len(rows))
        kind, free = self.kind[self.item], self.have - kinds.area_low[self.kind]
        some = np.flatnonzero((local[self.item] >= 0) & ~self.gone & (left[kind, self.area] > 0))
        some = some[free[self.item[some], self.area[some]] > 0]
        pairs, pair = np.unique(self.item[some] * areas + self.area[some], return_inverse=True)
        item, area = pairs // areas, pairs % areas
        wanted = np.where(chosen[:, None], left, 0)
        total = int(wanted.sum())
        net = Network("left", "strain", "primaries", limit=self.work.arcs)
        source, sink = net.add_ends()
        members, zones = net.add_nodes(len(self.load), hub=True), net.add_nodes(areas, hub=True)
        groups, items = net.add_nodes(len(left), hub=True), net.add_nodes(len(rows))
        inside = net.add_nodes(len(pairs))
        net.add(source, sink, 0, total, left=1)
        net.add(source, groups, 0, wanted.sum(axis=1))
        net.add(groups[self.kind[rows]], items, 0, np.maximum(0, each[self.kind[rows]] - self.given[rows]))
        free = free[item, area]
        must = np.clip(self.have[item, area] - kinds.area_high[self.kind[item], area], 0, free)
        net.add(items[local[item]], inside, 0, must, strain=-3)
        net.add(items[local[item]], inside, 0, free - must)
        arcs = net.add(inside[pair], members[self.member[some]], 0, 1, primaries=self.leads[some])
        spare, surely = np.maximum(0, self.load - self.low), np.maximum(0, self.load - self.high)
        for amount, strain in ((surely, -1), (spare - surely, 0), (total, 1)):
            net.add(members, zones[self.work.area], 0, amount, strain=strain)
        net.add(zones, sink, 0, wanted.sum(axis=0))
        flow = net.solve({source: total, sink: -total})
        self._take_leaving(some[flow.units[arcs] > 0], left)
        # The sums of kinds and of areas are met, but not that of each kind in each area: it need not be.
        if flow.totals["left"]:
            np.maximum(left, 0, out=left)
        else:
            left[chosen] = 0

    # ---- 2 swap --------------------------------------------------------------------------------

    def _targets(self) -> Int64:
        """Loads that the areas' sums allow, at the least cost in level 11 of those with fewest moves."""
        target, limit = np.clip(self.load, self.low, self.high), np.maximum(1, self.work.members.limit)
        for area, total in enumerate(self.moves.loads.tolist()):
            here = np.flatnonzero(self.work.area == area)
            lacks = total - int(target[here].sum())
            low, high = (target, self.high) if lacks > 0 else (self.low, target)
            if lacks:
                target[here] = _fill(low[here], high[here], limit[here], total)
        return target

    def _swap(self) -> None:
        target = self._targets()
        quota = np.maximum(0, self.load - target)
        vacant = np.maximum(0, target - self.load)
        pool = np.flatnonzero((quota > 0)[self.member] & ~self.gone)
        # Rather not a primary, nor an Item that is on many of the few Members that receive; and where
        # these are very few, rather a primary than an Item of which another entry moves there.
        taker = np.append(vacant > 0.02 * vacant.sum(), False)
        met = np.minimum(taker[self.at[self.item[pool]]].sum(axis=1), 2)
        few = int(vacant.max(initial=0)) > 0.1 * vacant.sum()
        for turn in range(TURNS):
            if not quota.any():
                break
            given = np.minimum(self.given[self.item[pool]], 3)
            lead = self.leads[pool]
            first, second = (given, lead) if few else (lead, given)
            pick = pool[np.lexsort((self.entry_lot[pool], met, second, first, self.member[pool]))]
            pick = pick[rank_within(self.member[pick]) < quota[self.member[pick]]]
            if turn < TURNS - 1:
                pick = self._one_each(pick)
            self._take(pick)
            quota -= np.bincount(self.member[pick], minlength=len(quota))
            rest = ~self.gone[pool] & (quota > 0)[self.member[pool]]
            pool, met = pool[rest], met[rest]
        self.vacant = np.maximum(0, target - self.load)

    # ---- 3 seek --------------------------------------------------------------------------------

    def _seek(self) -> tuple[Int64, Int64]:
        """Which Items get an entry in which area: (local rows, areas), one for each entry."""
        kinds, areas = self.kinds, self.work.areas
        self.at[self.item[self.gone], self.column[self.gone]] = -1
        vacant = np.bincount(self.work.area, self.vacant, areas).astype(np.int64)
        have = tally(self.at, self._column_of, areas)
        lacks = np.flatnonzero(have.sum(axis=1) < kinds.placed_high[self.kind])
        total = int(vacant.sum())
        if not total or not len(lacks):
            return lacks[:0], lacks[:0]
        first, group = alike(self.kind[lacks], *have[lacks].T, sort=True)
        size = np.bincount(group)
        here, kind = have[lacks][first], self.kind[lacks][first]
        net = Network("unseated", "unfit", limit=self.work.arcs)
        source, sink = net.add_ends()
        ends, groups = net.add_nodes(areas, hub=True), net.add_nodes(len(first))
        net.add(source, sink, 0, total, unseated=1)
        net.add(ends, sink, 0, vacant)
        must, may = (
            np.maximum(0, bound[kind] - here.sum(axis=1)) * size
            for bound in (kinds.placed_low, kinds.placed_high)
        )
        net.add(source, groups, 0, must, unfit=-1)
        net.add(source, groups, 0, may - must)
        g, a = np.nonzero(kinds.area_high[kind] > here)
        least = np.maximum(0, kinds.area_low[kind[g], a] - here[g, a]) * size[g]
        needed = net.add(groups[g], ends[a], 0, least, unfit=-1)
        other = net.add(groups[g], ends[a], 0, (kinds.area_high[kind[g], a] - here[g, a]) * size[g] - least)
        flow = net.solve({source: total, sink: -total})
        # Area after area round the Items of a group: each gets as many as the others, or one more.
        amount = flow.units[needed] + flow.units[other]
        g, a = np.repeat(g, amount), np.repeat(a, amount)
        start = np.cumsum(size) - size
        return lacks[np.argsort(group, kind="stable")[start[g] + rank_within(g) % size[g]]], a

    # ---- 4 seat --------------------------------------------------------------------------------

    def _seat(self, seeker: Int64, area: Int64) -> None:
        """Deal the vacancies of each area to its seekers by lot, then let those exchange that clash."""
        work = self.work
        lot = (self.lot[seeker].astype(np.uint64) * SALT[7] + area.astype(np.uint64) * SALT[8]) * SALT[9]
        order = np.lexsort((seeker, lot >> np.uint64(24), area))
        seeker, area = seeker[order], area[order]
        seats = np.repeat(np.arange(len(self.vacant)), self.vacant)
        # Each Member's places evenly over the list, its neighbours by lot: if lists were dealt in
        # turn, Items would share all their Members, and one lost could not be made up for.
        spot = (rank_within(seats) + np.random.default_rng(3).random(len(seats))) / self.vacant[seats]
        seats = seats[np.lexsort((seats, spot, work.area[seats]))]
        sought, there = (np.bincount(x, minlength=work.areas) for x in (area, work.area[seats]))
        both = np.minimum(sought, there)
        use = rank_within(area) < both[area]
        self.left_over[seeker[~use]] = True
        seeker, area = seeker[use], area[use]
        seats = seats[rank_within(work.area[seats]) < both[work.area[seats]]]
        clashing = _exchange(seats, seeker, area, work.cell, self.at)
        self.left_over[seeker[clashing]] = True
        seeker, seats = np.delete(seeker, clashing), np.delete(seats, clashing)
        # Write the new entries into the gaps of each Item's row.
        self.load += np.bincount(seats, minlength=len(self.load))
        order = np.argsort(seeker, kind="stable")
        seeker, seats = seeker[order], seats[order]
        wider = max(0, int(self.kinds.placed_high.max(initial=0)) - self.at.shape[1])
        self.at = np.concatenate([self.at, np.full((len(self.at), wider), -1)], axis=1)
        changed, place = np.unique(seeker, return_inverse=True)
        gaps = np.argsort(self.at[changed] >= 0, axis=1, kind="stable")  # empty columns first
        self.at[seeker, gaps[place, rank_within(seeker)]] = seats


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
    level = np.flatnonzero(cap >= max(low, 1))
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
        below, above = (middle, above) if int(up_to(middle).sum()) <= total else (below, middle)
    out = up_to(below) if below >= 0 else low.copy()
    for _ in range(SCALE):  # a turn for each unit of equal cost that fits on one Member: one, as a rule
        more = np.flatnonzero(up_to(above) > out)[: max(0, total - int(out.sum()))]
        if not len(more):
            break
        out[more] += 1
    return out


def _exchange(seats: Int64, seeker: Int64, area: Int64, cell: Int64, at: Int64) -> Int64:
    """Exchange seats (in place) until no Item is twice in a cell; which seats clash in the end.

    Seats are grouped by area. One seat of an Item changes at a time: if both did, they could
    clash for ever.
    """
    holds = np.append(cell, -1)[at[seeker]]
    size = np.bincount(area)
    start = np.cumsum(size) - size
    # Seats of one Item, as places in the list, to see whether two of them are in one cell.
    order = np.argsort(seeker, kind="stable")
    mine = rank_within(seeker[order])
    fellow = np.full((len(at), int(mine.max(initial=0)) + 1), -1)
    fellow[seeker[order], mine] = order

    def clash(places: Int64, values: Int64) -> Bool:
        spot, others = cell[values][:, None], fellow[seeker[places]]
        out = (holds[places] == spot).any(axis=1)
        if others.shape[1] > 1:
            used = (others >= 0) & (others != places[:, None])
            out |= (used & (cell[seats[np.maximum(others, 0)]] == spot)).any(axis=1)
        return np.asarray(out)

    rng = np.random.default_rng(1)
    bad = np.flatnonzero(clash(np.arange(len(seats)), seats))
    for _ in range(TRIES):
        if not len(bad):
            break
        one = bad[np.unique(seeker[bad], return_index=True)[1]]
        two = start[area[one]] + (rng.random(len(one)) * size[area[one]]).astype(np.int64)
        busy = np.bincount(np.concatenate([seeker[one], seeker[two]]), minlength=len(fellow))
        fine = (busy[seeker[one]] == 1) & (busy[seeker[two]] == 1)
        one, two = one[fine], two[fine]
        fine = ~clash(one, seats[two]) & ~clash(two, seats[one])
        one, two = one[fine], two[fine]
        seats[one], seats[two] = seats[two], seats[one]
        bad = bad[clash(bad, seats[bad])]
    for place in bad[:50].tolist():  # one by one it did not work: many partners at once
        group = area[place]
        others = start[group] + rng.permutation(size[group])[:4_000]
        others = others[seeker[others] != seeker[place]]
        here = np.full(len(others), place)
        fine = ~clash(here, seats[others]) & ~clash(others, seats[here])
        if fine.any():
            other = others[fine.argmax()]
            seats[place], seats[other] = seats[other], seats[place]
    bad = bad[clash(bad, seats[bad])]
    # Of two seats of an Item in one cell only one has to go; both where it holds one there already.
    own = (holds[bad] == cell[seats[bad]][:, None]).any(axis=1)
    pair = seeker[bad] * (int(cell.max(initial=0)) + 1) + cell[seats[bad]]
    spare = np.ones(len(bad), np.bool_)
    spare[np.unique(pair, return_index=True)[1]] = False
    return bad[own | spare]
