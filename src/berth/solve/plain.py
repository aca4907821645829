"""The last engine: keep what is held, recover what is missing first-fit, move nothing else."""

from __future__ import annotations

import numpy as np

from berth.solve.model import Bool, Int32, Int64, Problem, Zones

SHOTS = 4
"""How often Items are dealt places unseen; those that still have none look for one by themselves."""


def plain(problem: Problem) -> Int32:
    """A plan that breaks no rule, as `Solution.members`: int32 of shape (n, v), v at least 1.

    What is held stays, but for what is on Members that are dead or above their limit, more than is
    wanted, or would leave an Item wholly in one zone under `Require`. What is missing goes to the
    Members that are emptiest for their limit, draining ones last, and into a second zone where it
    can. It is not the best plan, but it is there soon, and the order of the rows changes nothing.
    """
    by_item = np.argsort(problem.item_key, kind="stable")
    by_member = np.argsort(problem.member_key, kind="stable")
    number = np.append(np.argsort(by_member, kind="stable"), -1).astype(np.int32)
    held, primary = number[problem.held[by_item]], number[problem.held_primary[by_item]]
    fleet = _Fleet(problem, by_item, by_member)
    everything = np.arange(len(by_item))
    # Slot by slot, so that no Item loses its last replica to the second one of another.
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
    """A plan that grows. Items and Members are in the order of their keys: no tie depends on a row."""

    def __init__(self, problem: Problem, by_item: Int64, by_member: Int64) -> None:
        self.limit = np.where(problem.live, problem.limit, 0)[by_member].astype(np.int64)
        self.load = np.zeros(len(by_member), dtype=np.int64)
        # Numbered anew, as they may be any; where zones count for nothing each Member is its own.
        zone = np.unique(problem.zone[by_member], return_inverse=True)[1]
        zone = np.arange(len(zone)) if problem.zones == Zones.IGNORE else zone
        self.zone = np.append(zone, -1)
        self.asked = problem.replicas[by_item]
        self.want = np.minimum(self.asked, np.count_nonzero(self.limit))
        self.require = problem.zones == Zones.REQUIRE
        self.count = np.zeros(len(by_item), dtype=np.int64)
        self.plan: Int32 = np.full((len(by_item), max(int(self.want.max(initial=0)), 1)), -1, dtype=np.int32)

    def only_zone(self, items: Int64) -> Int64:
        """The zone that each Item is wholly in; -1 where it is in none or in several."""
        row = self.plan[items]
        zones = self.zone[row]
        return np.where(((zones == zones[:, :1]) | (row < 0)).all(axis=1), zones[:, 0], -1)

    def barred(self, items: Int64) -> Bool:
        """Whether Require wants the next replica of each Item out of the zone that all others are in."""
        return (self.count[items] + 1 >= self.asked[items]) & self.require

    def put(self, items: Int64, members: Int32) -> None:
        """Put each Item on the Member beside it (-1: on none), the first ones first, as the rules allow."""
        good = (members >= 0) & (self.count[items] < self.want[items])
        good &= ~(self.plan[items] == members[:, None]).any(axis=1)
        good &= ~(self.barred(items) & (self.only_zone(items) == self.zone[members]))
        items, members = items[good], members[good]
        order = np.argsort(members, kind="stable")
        ahead = np.arange(len(order)) - np.searchsorted(members[order], members[order])
        order = order[ahead < (self.limit - self.load)[members[order]]]
        items, members = items[order], members[order]
        self.plan[items, self.count[items]] = members
        self.count[items] += 1
        self.load += np.bincount(members, minlength=len(self.load))

    def short(self, size: int) -> Int64:
        """The Items that have `size` replicas and want more."""
        return np.flatnonzero((self.count == size) & (self.want > size))

    def recover(self, size: int, limit: Int64) -> None:
        """Give one more replica to the Items that have `size`, as far as these limits go."""
        for shot in range(SHOTS):
            items = self.short(size)
            if not len(items):
                return
            seats = self.seats(limit, len(items), shot)
            items = items[: len(seats)]
            room = self.zone[:-1][self.load < limit]
            near = (self.only_zone(items) == self.zone[seats]) & (room != room[:1]).any()
            self.put(items[~near], seats[~near])
        self.seek(self.short(size), size, limit)

    def seek(self, items: Int64, size: int, limit: Int64) -> None:
        """Give one more replica to some Items one by one: each the emptiest that it may have."""
        only, barred, zones = self.only_zone(items), self.barred(items), self.zone[:-1]
        share = np.where(self.load < limit, (self.load + 1) / np.maximum(limit, 1), np.inf)
        room = share < np.inf
        # Most that are left find nothing: only such Members have room that they have or may not have.
        own = np.append(room, False)[self.plan[items]].sum(axis=1)
        same = np.bincount(zones[room], minlength=len(limit))[only]
        some = np.where(barred & (only >= 0), same, own) < room.sum()
        for item, zone, never in np.column_stack((items, only, barred))[some].tolist():
            cost = share.copy()
            cost[self.plan[item, :size]] = np.inf
            if zone >= 0:
                cost[zones == zone] += np.inf if never else 2.0
            best = int(cost.argmin())
            if cost[best] < np.inf:
                self.plan[item, size] = best
                self.count[item] += 1
                self.load[best] += 1
                full = self.load[best] >= limit[best]
                share[best] = np.inf if full else (self.load[best] + 1) / limit[best]

    def seats(self, limit: Int64, number: int, seed: int) -> Int32:
        """The Members of the next `number` places, the emptiest, mixed; fewer where there are no more."""
        low, high = 0.0, 1.0
        for _ in range(50):
            level = (low + high) / 2
            enough = np.maximum(np.floor(limit * level) - self.load, 0).sum() >= number
            low, high = (low, level) if enough else (level, high)
        room = np.maximum(np.floor(limit * high) - self.load, 0).astype(np.int64)
        # Dealt in order, most Items would get the very Member that they have already.
        seats = np.repeat(np.arange(len(limit), dtype=np.int32), room)
        return np.random.default_rng(seed).permutation(seats)[:number]
