"""The last engine: keep what is held, place missing replicas first-fit, move nothing else."""

import numpy as np

from berth.solve.arrays import first_few, sums
from berth.solve.model import Bool, Int32, Int64, Problem, Zones
from berth.solve.shares import filled

ROUNDS = 4  # rounds in which places are dealt in bulk; then Items without one are placed one by one


def plain(problem: Problem) -> Int32:
    """A plan that breaks no rule, as `Solution.members`: int32 of shape (n, v), v at least 1.

    Held entries stay, except those on Members that are not live or above their limit, those beyond the wanted
    number, and those that would leave an Item wholly in one zone under `Require`. Missing replicas go to the
    Members that are emptiest for their limit, draining ones last, and into a second zone if possible. The
    plan is not optimal, but it takes little time, and it does not depend on the order of rows.
    """
    by_item = np.argsort(problem.item_key, kind="stable")
    by_member = np.argsort(problem.member_key, kind="stable")
    number = np.append(np.argsort(by_member), -1).astype(np.int32)
    held, primary = number[problem.held[by_item]], number[problem.held_primary[by_item]]
    fleet, everything = _Fleet(problem, by_item, by_member), np.arange(len(by_item))
    # Slot by slot, so that no Item loses its last replica to the second replica of another Item.
    fleet.put(everything, np.where((held == primary[:, None]).any(axis=1), primary, -1))
    for column in held.T:
        fleet.put(everything, column)
    for draining in (False, True):
        limit = np.where(problem.draining[by_member] == draining, fleet.limit, 0)
        for size in range(fleet.plan.shape[1]):
            fleet.recover(size, limit)
    plan = np.empty_like(fleet.plan)
    plan[by_item] = np.append(by_member, -1)[fleet.plan]
    return plan


class _Fleet:
    """A plan that grows. Items and Members are sorted by key, so that no tie depends on a row."""

    def __init__(self, problem: Problem, by_item: Int64, by_member: Int64) -> None:
        self.limit = np.where(problem.live, problem.limit, 0)[by_member].astype(np.int64)
        self.load = np.zeros(len(by_member), np.int64)
        # Renumbered from 0, because zone numbers are arbitrary. If zones are ignored, each Member is a zone.
        zone = np.unique(problem.zone[by_member], return_inverse=True)[1]
        self.zone = np.append(np.arange(len(zone)) if problem.zones == Zones.IGNORE else zone, -1)
        self.asked = problem.replicas[by_item]
        self.want = np.minimum(self.asked, np.count_nonzero(self.limit))
        self.require, self.count = problem.zones == Zones.REQUIRE, np.zeros(len(by_item), np.int64)
        self.plan: Int32 = np.full((len(by_item), max(int(self.want.max(initial=0)), 1)), -1, np.int32)

    def put(self, items: Int64, members: Int32) -> None:
        """Put each Item on the Member at the same index (-1: none), in order, if the rules allow it."""
        good = (members >= 0) & (self.count[items] < self.want[items])
        good &= ~(self.plan[items] == members[:, None]).any(axis=1)
        good &= ~(self.barred(items) & (self.only_zone(items) == self.zone[members]))
        items, members = items[good], members[good]
        some = first_few(members, self.limit - self.load)
        items, members = items[some], members[some]
        self.plan[items, self.count[items]] = members
        self.count[items] += 1
        self.load += sums(members, len(self.load))

    def only_zone(self, items: Int64) -> Int64:
        """The zone that contains all replicas of each Item; -1 if it has none, or is in several."""
        zones = self.zone[row := self.plan[items]]
        return np.where(((zones == zones[:, :1]) | (row < 0)).all(axis=1), zones[:, 0], -1)

    def barred(self, items: Int64) -> Bool:
        """Whether `Require` bars the next replica of each Item from the zone that contains all others."""
        return (self.count[items] + 1 >= self.asked[items]) & self.require

    def recover(self, size: int, limit: Int64) -> None:
        """Give one more replica to the Items that have `size` and want more, within these limits."""
        zones = self.zone[:-1]
        for number in range(ROUNDS + 1):
            items = np.flatnonzero((self.count == size) & (self.want > size))
            room = self.load < limit
            if not len(items) or not room.any():
                return
            if number == ROUNDS:
                break
            # The next places on the emptiest Members, shuffled: dealt in order, most Items would get a
            # Member that they have already.
            top = np.maximum(self.load, limit)
            total = min(int(self.load.sum()) + len(items), int(top.sum()))
            more = filled(self.load, top, np.maximum(limit, 1), total) - self.load
            places = np.random.default_rng(number).permutation(np.repeat(np.arange(len(limit)), more))
            items = items[: len(places)]
            near = (self.only_zone(items) == zones[places]) & (zones[room] != zones[room][:1]).any()
            self.put(items[~near], places[~near].astype(np.int32))
        # One by one, each to the emptiest Member that it may have. Items that already have all Members
        # with room, or are barred from them, are skipped: often these are most of the rest.
        only, barred = self.only_zone(items), self.barred(items)
        own, same = np.append(room, False)[self.plan[items]].sum(axis=1), sums(zones[room], len(limit))[only]
        some = np.where(barred & (only >= 0), same, own) < room.sum()
        for item, zone, never in np.column_stack((items, only, barred))[some].tolist():
            cost = np.where(self.load < limit, (self.load + 1) / np.maximum(limit, 1), np.inf)
            cost[self.plan[item, :size]] = np.inf
            cost[zones == zone] += np.inf if never else 2.0
            best = cost.argmin()
            if cost[best] < np.inf:
                self.plan[item, size] = best
                self.count[item] += 1
                self.load[best] += 1
