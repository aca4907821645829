"""The exact network: Items that hold exactly the same are one kind, every Member a node of its own.

    source ──> kind ──> kind in zone a ──> Member 1 ──> sink
                   └──> kind in zone b ──> Member 2 ──>

Items of one kind are interchangeable in every level, so any way to deal a kind's entries out to
its Items is as good as another: Member after Member, round and round, puts an Item at most once on
a Member and as evenly as can be in every zone. So what the flow says can be done, and it is best.

It has kinds × Members arcs, which is why `pooled` goes first. Two forms: within the intervals of
`intervals` only the levels from `moves` on are left to decide; where pooling promised what cannot
be done, all levels are in the network, with the rising arcs of `intervals` for each kind and Member.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from berth.solve.arrays import SALT, ranks_within
from berth.solve.flow import Flow, Network, TooLarge
from berth.solve.intervals import WHOLE, units_of_load
from berth.solve.model import SCALE, SHAPE_LEVELS, Int64, Zones
from berth.solve.work import Work

LATER = ("moves", "draining-age", "primaries-moved", "even")


@dataclass(frozen=True, slots=True)
class Placement:
    """Who holds each Item that asks for something, and the bounds that prove it."""

    rows: Int64
    at: Int64
    """Shape (rows, v): positions, -1 for none."""
    bounds: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Same:
    """Items that ask for as much and hold the same; arrays of shape (kinds,)."""

    rows: Int64
    """All Items that ask for something, by kind and key."""
    start: Int64
    count: Int64
    coarse: Int64
    """Row of the kind in the demand and the intervals."""
    holds: np.ndarray
    """Shape (kinds, positions): whether they hold it."""
    lead: Int64
    """Their primary's position, -1 for none."""


def exact(work: Work, arcs: int, whole: bool) -> Placement:
    """The best placement; with `whole` in all levels, else within the intervals.

    Raises TooLarge where the network would have more than `arcs` arcs, and NoFlow where the
    intervals cannot be met.
    """
    rows = np.flatnonzero(work.state.wants > 0)
    keys = _keys(work, rows)
    size = len(np.unique(keys)) * max(1, work.usable)
    if size > arcs:
        raise TooLarge(f"an exact network of {size} arcs")
    same = _same_holdings(work, rows, keys)
    net = Network(*SHAPE_LEVELS, *LATER) if whole else Network(*LATER)
    return _Exact(work, same, net, whole).solve()


def _keys(work: Work, rows: Int64) -> np.ndarray:
    state = work.state
    key = state.wants[rows].astype(np.uint64) * SALT[0] + (state.lead[rows] + 1).astype(np.uint64) * SALT[1]
    salt = np.append(SALT[np.arange(len(work.area)) % 8000 + 64] ^ np.arange(len(work.area)).astype(np.uint64), 0)
    for column in range(state.at.shape[1]):
        key += salt.astype(np.uint64)[state.at[rows, column]]
    return key


def _same_holdings(work: Work, rows: Int64, keys: np.ndarray) -> _Same:
    state, demand = work.state, work.demand
    order = np.lexsort((state.hash[rows], keys))
    rows, keys = rows[order], keys[order]
    start = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(rows) else np.zeros(0, np.int64)
    # Kinds in the order of their first Item's key, so that rows do not matter.
    by_key = np.argsort(state.hash[rows[start]], kind="stable")
    count = np.diff(np.r_[start, len(rows)])
    first = rows[start][by_key]
    rows = rows[np.concatenate([np.arange(start[k], start[k] + count[k]) for k in by_key.tolist()] or [start])]
    count = count[by_key]
    asked = state.wants[first].astype(np.int64)
    at = state.at[first]
    right = np.minimum((at >= 0).sum(axis=1), np.minimum(asked, work.usable))
    coarse = np.searchsorted(demand.asked * 64 + demand.right, asked * 64 + right)
    holds = np.zeros((len(first), len(work.area)), np.bool_)
    kind, column = np.nonzero(at >= 0)
    holds[kind, at[kind, column]] = True
    return _Same(rows, np.cumsum(count) - count, count, coarse, holds, state.lead[first].astype(np.int64))


class _Exact:
    def __init__(self, work: Work, same: _Same, net: Network, whole: bool) -> None:
        self.work, self.same, self.net, self.whole = work, same, net, whole

    def solve(self) -> Placement:
        work, same, net, found = self.work, self.same, self.net, self.work.intervals
        members, kinds, zones = work.members, len(same.count), work.members.zones
        source, sink = (int(net.add_nodes(1, hub=True)[0]) for _ in range(2))
        ends = net.add_nodes(len(members.limit), hub=True)
        nodes, inside = net.add_nodes(kinds), net.add_nodes(kinds * zones).reshape(kinds, zones)
        if self.whole:
            open_members, open_zones = members.limit > 0, np.ones((kinds, zones), np.bool_)
            total = self._add_demand(source, sink, nodes, inside)
            self._add_loads(ends, sink)
        else:
            count, coarse = same.count, same.coarse
            open_members, open_zones = found.load_high > 0, (found.zone_high > 0)[coarse]
            net.add(source, nodes, found.placed_low[coarse] * count, found.placed_high[coarse] * count)
            low, high = found.zone_low[coarse], found.zone_high[coarse]
            net.add(nodes[:, None], inside, low * count[:, None], high * count[:, None])
            total = found.placed
            net.add(ends, sink, found.load_low, found.load_low, draining_age=members.age_rank)
            span = found.load_high - found.load_low
            self._add_units(ends, sink, found.load_low, span)
        kind, member = np.nonzero(open_zones[:, members.zone] & open_members)
        arcs = net.add(
            inside[kind, members.zone[member]],
            ends[member],
            0,
            same.count[kind],
            moves=~same.holds[kind, member],
            primaries_moved=-1 * (same.lead[kind] == member),
        )
        flow = net.solve({source: total, sink: -total})
        return self._deal(flow, kind, member, flow.units[arcs])

    def _add_demand(self, source: int, sink: int, nodes: Int64, inside: Int64) -> int:
        """The rising arcs of replicas and of replicas in one zone, as in `intervals`."""
        work, same, net = self.work, self.same, self.net
        asked, right, wanted = (
            a[same.coarse] for a in (work.demand.asked, work.demand.right, work.demand.wanted)
        )
        count, in_zone = same.count, work.members.in_zone
        together = work.rule != Zones.IGNORE
        apart = together and int((in_zone > 0).sum()) > 1
        total = int(wanted @ count)
        net.add(source, sink, 0, total, placed=1)
        for nth in range(1, int(wanted.max(initial=0)) + 1):
            some = np.flatnonzero(wanted >= nth)
            net.add(source, nodes[some], 0, count[some], given_up=-1 * (nth <= right[some]), shortage=nth)
            fits = wanted >= nth
            if work.rule == Zones.REQUIRE:
                fits &= nth <= np.maximum(1, asked - 1)
            kind, zone = np.nonzero(fits[:, None] & (in_zone >= nth))
            last = (wanted[kind] == nth) & (nth > 1) & apart
            net.add(
                nodes[kind], inside[kind, zone], 0, count[kind],
                single_zone=last, zone_pairs=(nth - 1) * together,
            )  # fmt: skip
        return total

    def _add_loads(self, ends: Int64, sink: int) -> None:
        """The rising arcs of each Member's load; not beyond the number of Items."""
        members, net = self.work.members, self.net
        units = units_of_load(members, min(WHOLE, len(self.same.rows)), single=True)
        self.empty = units.empty
        net.add(
            ends[units.of], sink, 0, units.size,
            balance=units.cost, misplaced=units.draining, draining_age=members.age_rank[units.of],
        )  # fmt: skip

    def _add_units(self, ends: Int64, sink: int, low: Int64, span: Int64) -> None:
        members, net = self.work.members, self.net
        plain = np.where(members.draining | (int(span.sum()) > self.work.tuning.even_units), span, 0)
        net.add(ends, sink, 0, plain, draining_age=members.age_rank)
        unit = np.repeat(np.arange(len(span)), span - plain)
        nth = low[unit] + ranks_within(unit) + 1
        net.add(ends[unit], sink, 0, 1, even=SCALE * nth // np.maximum(1, members.limit[unit]))

    def _deal(self, flow: Flow, kind: Int64, member: Int64, units: Int64) -> Placement:
        work, same = self.work, self.same
        order = np.lexsort((member, work.members.zone[member], kind))
        order = order[units[order] > 0]
        kind, member = np.repeat(kind[order], units[order]), np.repeat(member[order], units[order])
        item = same.start[kind] + ranks_within(kind) % np.maximum(1, same.count[kind])
        order = np.argsort(item, kind="stable")
        item, member = item[order], member[order]
        column = ranks_within(item)
        at = np.full((len(same.rows), max(1, int(column.max(initial=0)) + 1)), -1)
        at[item, column] = member
        state = work.state
        leads = int((state.lead >= 0).sum())
        bounds = {
            "moves": flow.totals["moves"],
            "draining-age": flow.totals["draining-age"],
            "primaries-moved": leads + flow.totals["primaries-moved"],
        }
        if self.whole:
            shape = {name: flow.totals[name] for name in SHAPE_LEVELS}
            shape["given-up"] += int(work.demand.right @ work.demand.count)
            shape["placed"] = int(work.demand.wanted @ work.demand.count) - shape["placed"]
            shape["balance"] += self.empty
            return Placement(same.rows, at, shape | bounds)
        return Placement(same.rows, at, work.intervals.bounds | bounds)
