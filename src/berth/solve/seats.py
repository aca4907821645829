"""Seating: give Items that look for Members the places that Members have to give.

An Item never takes a Member twice, and stays within a spread over zones that can still become
the best one. Items with fewer open zones go first; places are drawn in a scrambled order of keys,
so that the Items of one Member share no fixed set of others (its loss is then borne by all).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from berth.solve.index import Index, counts_by_zone, mix
from berth.solve.problem import Bool, Int64, UInt64
from berth.solve.shapes import open_zones

PASSES = 24
FEW = 20
"""Seekers that found no place are helped together down to so many."""
STUBBORN = 300
"""So many seekers that found no place are helped one by one."""
BLOCK = 256
"""Entries of others that are looked at in one go for such a seeker."""


@dataclass(slots=True)
class Seekers:
    """k Items: where each is, and how it may still grow. Members are places in the fleet."""

    key: UInt64
    """Shape (k,)."""
    at: Int64
    """Shape (k, v): kept first, then what is seated here; -1 where nothing is."""
    kept: Int64
    """Shape (k,): how many of `at` were kept."""
    have: Int64
    """Shape (k,): how many of `at` are taken."""
    want: Int64
    """Shape (k,)."""
    counts: Int64
    """Shape (k, z): of `at` by zone."""
    base: Int64
    """Shape (k,): see shapes."""
    extra: Int64
    caps: Int64
    """Shape (k, z): at most so many in each zone, whatever the spread."""

    def open(self, rows: Int64) -> Bool:
        """Shape (len(rows), z): zones that may take one more."""
        return self.open_at(rows, self.counts[rows])

    def open_at(self, rows: Int64, counts: Int64) -> Bool:
        """The same if the counts of these rows were others."""
        return open_zones(counts, self.base[rows], self.extra[rows]) & (counts < self.caps[rows])

    def seat(self, rows: Int64, members: Int64, zone: Int64) -> None:
        """Put each of the rows (each once) on a Member."""
        self.at[rows, self.have[rows]] = members
        self.have[rows] += 1
        self.counts[rows, zone[members]] += 1


def seekers_at(
    index: Index, rows: Int64, where: Int64, want: Int64, base: Int64, extra: Int64, caps: Int64 | None = None
) -> Seekers:
    """Items (rows) that are at `where` (k, w) in the fleet, -1 for nowhere, and want `want`."""
    have = (where >= 0).sum(axis=1)
    packed = np.take_along_axis(where, np.argsort(where < 0, axis=1, kind="stable"), axis=1)
    at = np.full((len(rows), max(index.widest, where.shape[1])), -1, dtype=np.int64)
    at[:, : where.shape[1]] = packed
    counts = counts_by_zone(index, where)
    return Seekers(
        key=index.keys_rows(rows),
        at=at,
        kept=have.copy(),
        have=have,
        want=want.astype(np.int64),
        counts=counts,
        base=base,
        extra=extra,
        caps=np.full(counts.shape, 2**15, dtype=np.int64) if caps is None else caps,
    )


def seat_all(seekers: Seekers, places: Int64, zone: Int64, weight: Int64, key: UInt64) -> Int64:
    """Seat everybody; returns the rows that are still short. `places`, shape (m,), is used up in place."""
    missing = int((seekers.want - seekers.have).sum())
    if not missing:
        return np.zeros(0, dtype=np.int64)
    if missing <= 16:
        _one_by_one(seekers, places, zone, weight)
    else:
        for turn in range(32):
            short = np.flatnonzero(seekers.have < seekers.want)
            if not len(short) or not _turn(seekers, short, places, zone, key, turn):
                break
    for _ in range(PASSES):
        if len(np.flatnonzero(seekers.have < seekers.want)) <= FEW or not _swap_many(seekers, places, zone):
            break
    short = np.flatnonzero(seekers.have < seekers.want)
    if len(short) and int((seekers.want - seekers.have)[short].sum()) <= STUBBORN:
        entries = _new_entries(seekers)
        for row in short[np.argsort(seekers.key[short], kind="stable")].tolist():
            while seekers.have[row] < seekers.want[row] and _swap(seekers, row, places, zone, entries):
                pass
        short = np.flatnonzero(seekers.have < seekers.want)
    return short


def _one_by_one(seekers: Seekers, places: Int64, zone: Int64, weight: Int64) -> None:
    """Few seekers: each takes the Member with most places for its size, most constrained first."""
    while True:
        short = np.flatnonzero(seekers.have < seekers.want)
        if not len(short):
            return
        free = np.flatnonzero(places > 0)
        may = seekers.open(short)[:, zone[free]]
        for column in range(seekers.at.shape[1]):
            may &= seekers.at[short, column][:, None] != free
        options = may.sum(axis=1)
        short, may = short[options > 0], may[options > 0]
        if not len(short):
            return
        first = int(np.lexsort((seekers.key[short], options[options > 0]))[0])
        ratio = np.where(may[first], places[free] / weight[free], -1.0)
        member = free[int(ratio.argmax())]
        seekers.seat(short[first : first + 1], np.array([member]), zone)
        places[member] -= 1


def _turn(seekers: Seekers, short: Int64, places: Int64, zone: Int64, key: UInt64, turn: int) -> bool:
    """Seat each of `short` once, where possible; whether anybody was seated."""
    zones = seekers.counts.shape[1]
    freedom = seekers.open(short).sum(axis=1)
    seated = False
    for degree in np.unique(freedom).tolist():
        waiting = short[freedom == degree]
        for attempt in range(PASSES):
            if not len(waiting):
                break
            salt = turn * PASSES + attempt + 1
            by_zone = np.bincount(zone, weights=places, minlength=zones)
            odds = seekers.open(waiting) * by_zone
            reach = np.cumsum(odds, axis=1)
            chance = (mix(seekers.key[waiting], salt) >> np.uint64(11)) * (0.5**53)
            aim = (reach > (chance * reach[:, -1])[:, None]).argmax(axis=1)
            hopeful = reach[:, -1] > 0
            if not hopeful.any():
                break
            members = np.repeat(np.arange(len(places)), places)
            copy = np.arange(len(members)) - np.repeat(np.cumsum(places) - places, places)
            scrambled = mix(mix(key[members], salt) + copy.astype(np.uint64), 7)
            line = np.lexsort((scrambled, zone[members]))
            members = members[line]
            order = np.lexsort((mix(seekers.key[waiting], salt + 999), np.where(hopeful, aim, zones)))
            sizes = np.bincount(aim[hopeful], minlength=zones)
            start = np.cumsum(sizes) - sizes
            order = order[: int(sizes.sum())]
            target_zone = aim[order]
            rank = np.arange(len(order)) - start[target_zone]
            room = by_zone.astype(np.int64)
            first = np.cumsum(room) - room
            ok = rank < room[target_zone]
            who, to = waiting[order[ok]], members[(first[target_zone] + rank)[ok]]
            free = (seekers.at[who] != to[:, None]).all(axis=1)
            who, to = who[free], to[free]
            if len(who):
                seated = True
                seekers.seat(who, to, zone)
                np.subtract.at(places, to, 1)
                done = np.zeros(len(seekers.key), dtype=np.bool_)
                done[who] = True
                waiting = waiting[~done[waiting]]
    return seated


def _swap_many(seekers: Seekers, places: Int64, zone: Int64) -> bool:
    """`_swap` for many at once, zone by zone; whether anybody was helped."""
    helped = False
    waiting = np.flatnonzero(seekers.have < seekers.want)
    for needed in np.flatnonzero(seekers.open(waiting).any(axis=0)).tolist():
        for spare in np.unique(zone[places > 0]).tolist():
            short = np.flatnonzero(seekers.have < seekers.want)
            short = short[seekers.open(short)[:, needed]]
            free = np.flatnonzero((places > 0) & (zone == spare))
            if not len(short) or not len(free):
                continue
            short = short[np.argsort(seekers.key[short], kind="stable")]
            other, column = _new_entries(seekers)
            member = seekers.at[other, column]
            ok = (zone[member] == needed) & (seekers.have[other] == seekers.want[other])
            other, column, member = other[ok], column[ok], member[ok]
            counts = seekers.counts[other]
            counts[:, needed] -= 1
            ok = seekers.open_at(other, counts)[:, spare]
            # One entry of each other Item: two of them together might not fit.
            ok[1:] &= other[1:] != other[:-1]
            other, column, member = other[ok], column[ok], member[ok]
            slots = np.repeat(free, places[free])
            slots = slots[np.argsort(mix(np.arange(len(slots)), 29), kind="stable")]
            many = min(len(short), len(other), len(slots))
            who, other, column, member, slots = (
                short[:many], other[:many], column[:many], member[:many], slots[:many],
            )  # fmt: skip
            ok = (seekers.at[who] != member[:, None]).all(axis=1)
            ok &= (seekers.at[other] != slots[:, None]).all(axis=1)
            who, other, column, member, slots = who[ok], other[ok], column[ok], member[ok], slots[ok]
            if not len(who):
                continue
            helped = True
            seekers.at[other, column] = slots
            seekers.counts[other, needed] -= 1
            seekers.counts[other, spare] += 1
            np.subtract.at(places, slots, 1)
            seekers.seat(who, member, zone)
    return helped


def _new_entries(seekers: Seekers) -> tuple[Int64, Int64]:
    """(seeker, column) of all that was seated here, in the order of keys."""
    new = np.arange(seekers.at.shape[1])[None, :] >= seekers.kept[:, None]
    other, column = np.nonzero(new & (seekers.at >= 0))
    line = np.lexsort((column, seekers.key[other]))
    return other[line], column[line]


def _swap(seekers: Seekers, row: int, places: Int64, zone: Int64, entries: tuple[Int64, Int64]) -> bool:
    """Let `row` take a new entry of another seeker that can take a free place instead."""
    open_here = seekers.open(np.array([row]))[0]
    free_places = np.flatnonzero(places > 0).tolist()
    for begin in range(0, len(entries[0]), BLOCK):
        other, column = entries[0][begin : begin + BLOCK], entries[1][begin : begin + BLOCK]
        member = seekers.at[other, column]
        ok = open_here[zone[member]] & (other != row) & (member[:, None] != seekers.at[row]).all(axis=1)
        other, column, member = other[ok], column[ok], member[ok]
        counts = seekers.counts[other]
        counts[np.arange(len(other)), zone[member]] -= 1
        may = seekers.open_at(other, counts)
        for free in free_places:
            good = may[:, zone[free]] & (seekers.at[other] != free).all(axis=1)
            if good.any():
                pick = int(good.argmax())
                who, where = int(other[pick]), int(member[pick])
                seekers.at[who, column[pick]] = free
                seekers.counts[who, zone[where]] -= 1
                seekers.counts[who, zone[free]] += 1
                places[free] -= 1
                seekers.seat(np.array([row]), np.array([where]), zone)
                return True
    return False
