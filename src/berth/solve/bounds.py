"""Bounds in closed form on what the fast path may need: moves, and primaries that change.

Write r_i(A) for the most entries that Item i can keep among those it has on the Members A (what
fits into a best spread over zones; the rank of a matroid). For any set S of Members

    moves ≥ wanted − Σ_S high − Σ_i r_i(not S)     nothing above a band can be kept
    moves ≥ Σ_S low − Σ_i r_i(S)                   what is missing below comes from elsewhere

Both are cuts of the network; the first with the Members above their band and the second with
those below it are the ones that bind.

Where such a bound is met, every Item keeps r_i(A) entries on A (A = not S, or S), in every placement
with so few moves. So an Item whose primary p is outside of A loses it where r_i(A + p) = r_i(A).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from berth.solve.index import Index, counts_by_zone
from berth.solve.problem import Bool, Int32, Int64, Problem, Proof, Zones
from berth.solve.shares import second_zone


def keepable(counts: Int64, base: Int64, extra: Int64) -> Int64:
    """How many of the entries counted by zone (k, z) fit into a best spread; shape (k,)."""
    within = np.minimum(counts, base[:, None]).sum(axis=1)
    above = (counts > base[:, None]).sum(axis=1)
    return np.asarray(within + np.minimum(above, extra), dtype=np.int64)


@dataclass(slots=True)
class Bounds:
    """What the bounds are made of; Members in the order of the fleet, k loose Items."""

    index: Index
    total: int
    held: Int32
    """Shape (k, w): who holds the loose Items, as Member rows."""
    want: Int64
    settled: Int64
    """Shape (m,): entries of all other Items."""
    load: Int64
    """Shape (m,): what the Members may keep in the plan at hand: it says which sets to try."""
    low: Int64
    high: Int64

    def moves(self, planned: int) -> int:
        """The best of the bounds on moves; one that meets `planned` ends the search."""
        best = 0
        for among, constant in self._cuts():
            best = max(best, constant - self._kept(among))
            if best >= planned:
                break
        return best

    def primaries(self, problem: Problem, loose: Int64, moves: int, planned: int) -> int:
        """A bound on the primaries that leave a live Member, in any placement with so few moves.

        `loose` are the rows of the loose Items; `planned` ends the search.
        """
        index = self.index
        primary = index.primary_rows(loose)
        there = (self.held == primary[:, None]).any(axis=1) & (primary >= 0)
        there &= np.append(problem.live, False)[primary]
        lost = ~np.append(index.taker, False)[primary] | (self.want == 0)
        hopeless = int((there & lost).sum())
        # Where almost everything held is a primary, moves take primaries.
        kept = self.total - moves
        best = hopeless + max(0, int(index.primary_count[index.taker].sum()) - kept)
        forced = there & lost
        for among, constant in self._cuts():
            if best >= planned:
                break
            if constant - self._kept(among) < moves:
                continue
            places = self._places(among)
            where = places[self.held]
            inside = self._ranks(where)
            own = (self.held == primary[:, None]) & (primary >= 0)[:, None]
            with_own = self._ranks(np.where(own, index.place[self.held], where))
            outside = places[primary] < 0
            forced |= there & outside & (with_own == inside)
            best = max(best, int(forced.sum()))
        return best

    def _cuts(self) -> Iterator[tuple[Bool, int]]:
        for above in (self.load > self.high, self.load >= self.high):
            yield ~above, self.total - int(self.high[above].sum())
        held = self.index.held_count[self.index.fleet.rows]
        for below in (self.load < self.low, self.load <= self.low, held <= self.low):
            yield below, int(self.low[below].sum())

    def _places(self, among: Bool) -> Int64:
        place = self.index.place.copy()
        place[self.index.fleet.rows[~among]] = -1
        return place

    def _ranks(self, where: Int64) -> Int64:
        shapes = self.index.shapes
        return keepable(counts_by_zone(self.index, where), shapes.base[self.want], shapes.extra[self.want])

    def _kept(self, among: Bool) -> int:
        return int(self._ranks(self._places(among)[self.held]).sum()) + int(self.settled[among].sum())


def primaries_lost(problem: Problem, index: Index, rows: Int64, members: Int32) -> int:
    """Live primaries of these Items that are not among their `members` (k, v)."""
    primary = index.primary_rows(rows)
    there = (primary >= 0) & np.append(problem.live, False)[primary]
    there &= (index.held_rows(rows) == primary[:, None]).any(axis=1)
    return int((there & ~(members == primary[:, None]).any(axis=1)).sum())


def proof(problem: Problem, index: Index, total: int, moves: int, lost: int) -> Proof:
    """The ten levels where all but moves and primaries are at the least that each could be alone."""
    want = np.minimum(np.arange(len(index.by_replicas)), index.members)
    many = index.by_replicas
    shortage = int((want * (want + 1) // 2 * many).sum())
    counted = problem.zones != Zones.IGNORE
    best = index.shapes.pairs
    pairs = int((best[np.minimum(want, len(best) - 1)] * many).sum())
    single = int(many[want >= 2].sum()) if counted and index.zones_taken == 1 and second_zone(problem) else 0
    levels = (total, 0, shortage, 0, single, 0, pairs * counted, moves, 0, lost)
    return Proof(reached=levels, bounds=levels)
