"""The last engine: keep what is held, recover what is missing first-fit, move nothing else."""

from __future__ import annotations

import numpy as np

from berth.solve.model import Bool, Int32, Int64, Problem, Zones

SHOTS = 4
"""How often Items are dealt places unseen; those that still have none look for one by themselves."""


def plain(problem: Problem) -> Int32:
    """A plan that breaks no rule, as `Solution.members`: int32 of shape (n, v), v at least 1.

    What is held stays, but for what is on Members that are dead or above their limit, more than is
    wanted, or wholly in one zone under `Require`. What is missing goes to the Members that are
    emptiest for their limit, draining ones last, and into a second zone where it can. It is not the
    best plan, but it is there soon whatever the problem, and the order of the rows changes nothing.
    """
    fleet = _Fleet(problem)
    fleet.shed()
    fleet.recover()
    plan = np.empty_like(fleet.plan)
    plan[fleet.by_item] = np.append(fleet.by_member, -1)[fleet.plan]
    return plan


class _Fleet:
    """Items and Members in the order of their keys, so that no tie depends on a row."""

    def __init__(self, problem: Problem) -> None:
        self.by_item = np.argsort(problem.item_key, kind="stable")
        self.by_member = by_member = np.argsort(problem.member_key, kind="stable")
        number = np.append(np.argsort(by_member, kind="stable"), -1).astype(np.int32)
        self.limit = np.where(problem.live, problem.limit, 0)[by_member].astype(np.int64)
        self.draining = problem.draining[by_member]
        # Zones by a number below that of the Members, and one place more for the -1 of an empty slot.
        self.zone = np.append(np.unique(problem.zone[by_member], return_inverse=True)[1], -1)
        self.zones = problem.zones
        self.asked = problem.replicas[self.by_item]
        self.want = np.minimum(self.asked, np.count_nonzero(self.limit))
        self.primary = number[problem.held_primary][self.by_item]
        self.plan = number[problem.held][self.by_item]
        self.plan[np.append(self.limit, 0)[self.plan] == 0] = -1
        self.load = np.bincount(self.plan[self.plan >= 0], minlength=len(number) - 1)

    def shed(self) -> None:
        """Empty what cannot stay, and close the gaps, the primary first."""
        plan, width = self.plan, self.plan.shape[1]
        count = (plan >= 0).sum(axis=1)
        for _ in range(width):
            rows = np.flatnonzero((count > self.want) | self.barred(plan, count))
            if not len(rows):
                break
            some, full = plan[rows], np.append(self.load > self.limit, False)
            zones = self.zone[some]
            crowded = sum((zones == zones[:, [slot]]).astype(np.int8) for slot in range(width))
            # Rather where somebody has to go anyway, of a zone that has more of it, and no primary.
            score = (
                4 * np.append(self.draining, False)[some]
                + 2 * (crowded > 1)
                + (some != self.primary[rows, None])
            )
            score = np.where(some < 0, -1, score + 8 * full[some])
            self.empty(rows * width + score.argmax(axis=1), count)
        for member in np.flatnonzero(self.load > self.limit):
            cells = np.flatnonzero(plan == member)
            rows = cells // width
            # Of the Items with most replicas, so that no Item loses its last one before others do.
            order = np.lexsort((rows, self.primary[rows] == member, -count[rows]))
            self.empty(cells[order[: self.load[member] - self.limit[member]]], count)
        order = np.argsort(np.where(plan < 0, 2, plan != self.primary[:, None]), axis=1, kind="stable")
        self.plan = np.take_along_axis(plan, order, axis=1)

    def empty(self, cells: Int64, count: Int64) -> None:
        """Empty cells of the plan, by their place in the flat array; at most one of each Item."""
        flat = self.plan.reshape(-1)
        self.load -= np.bincount(flat[cells], minlength=len(self.load))
        flat[cells] = -1
        count[cells // self.plan.shape[1]] -= 1

    def alone(self, plan: Int32) -> Int32:
        """The one zone that each row of a plan is in; -1 for none, for several, and under Ignore."""
        if self.zones == Zones.IGNORE:
            return np.full(len(plan), -1)
        zones = self.zone[plan]
        one = zones.max(axis=1, initial=-1)
        return np.where(((zones == one[:, None]) | (plan < 0)).all(axis=1), one, -1)

    def barred(self, plan: Int32, count: Int64) -> Bool:
        """Which rows are complete and in one zone, which Require forbids."""
        if self.zones != Zones.REQUIRE:
            return np.zeros(len(plan), dtype=np.bool_)
        return (count >= np.maximum(self.asked, 2)) & (self.alone(plan) >= 0)

    def recover(self) -> None:
        """Fill what is missing: the first replica of every Item before any second."""
        width = max(int(self.want.max(initial=0)), 1)
        empty = np.full((len(self.plan), width), -1, dtype=np.int32)
        self.plan = np.concatenate((self.plan, empty), axis=1)[:, :width]
        for draining in (False, True):
            limit = np.where(self.draining == draining, self.limit, 0)
            for size in range(width):
                short = (self.want > size) & (self.plan[:, size] < 0)
                if size:
                    short &= self.plan[:, size - 1] >= 0
                self.place(np.flatnonzero(short), size, limit)

    def place(self, items: Int64, size: int, limit: Int64) -> None:
        """Give a place to each of some Items, which have `size` already, as far as limits go."""
        for shot in range(SHOTS):
            seats = self.seats(limit, len(items), shot)
            dealt, row = items[: len(seats)], self.plan[items[: len(seats)], :size]
            clash = (row == seats[:, None]).any(axis=1) | (self.alone(row) == self.zone[seats])
            self.plan[dealt[~clash], size] = seats[~clash]
            self.load += np.bincount(seats[~clash], minlength=len(limit))
            items = np.concatenate((dealt[clash], items[len(seats) :]))
            if not len(items):
                return
        share = np.where(self.load < limit, (self.load + 1) / np.maximum(limit, 1), np.inf)
        row = self.plan[items, :size]
        one = self.alone(row)
        hard = (one >= 0) & (self.asked[items] <= size + 1) & (self.zones == Zones.REQUIRE)
        # Most that are left find nothing: no Member has room but those that they have or may not have.
        room = share < np.inf
        own = np.where(
            hard, np.bincount(self.zone[:-1][room], minlength=len(room) + 1)[one], room[row].sum(axis=1)
        )
        some = np.flatnonzero(own < room.sum())
        for item, zone, never in zip(
            items[some].tolist(), one[some].tolist(), hard[some].tolist(), strict=True
        ):
            cost = share.copy()
            cost[self.plan[item, :size]] = np.inf
            if zone >= 0:
                cost[self.zone[:-1] == zone] += np.inf if never else 2.0
            best = int(cost.argmin())
            if cost[best] < np.inf:
                self.plan[item, size] = best
                self.load[best] += 1
                share[best] = (self.load[best] + 1) / limit[best] if self.load[best] < limit[best] else np.inf

    def seats(self, limit: Int64, number: int, seed: int) -> Int64:
        """The Members of the next `number` places, the emptiest, mixed; fewer where there are no more."""
        low, high = 0.0, 1.0
        for _ in range(50):
            level = (low + high) / 2
            enough = np.maximum(np.floor(limit * level) - self.load, 0).sum() >= number
            low, high = (low, level) if enough else (level, high)
        room = np.maximum(np.floor(limit * high) - self.load, 0).astype(np.int64)
        # Dealt in order, Items that follow each other would share all their Members.
        seats = np.repeat(np.arange(len(limit)), room)
        return np.random.default_rng(seed).permutation(seats)[:number]
