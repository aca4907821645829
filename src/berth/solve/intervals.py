"""Levels 1 to 7 as one small flow, and from its prices the intervals that every best plan lies in.

         replicas             in one zone              load
       1st 2nd 3rd            1st 2nd 3rd          below | band | above
            ┌──────> kind A ──┬──────────> zone a ────────────────> ┐
    source ─┤                 └─────────┐                           ├─> sink
            ├──────> kind B ──┬─────────┴> zone b ────────────────> │
            │                 └──────────> zone c ────────────────> ┘
            └──────────────── not placed ─────────────────────────> ┘

A *kind* here is all Items that ask for as many replicas and hold as many. Every arrow is a bundle
of arcs whose cost rises: the second replica of an Item in a zone costs a zone pair, the last one
may cost an Item in a single zone, each unit of load outside of the band what the level `balance`
asks. Costs that rise are convex, so a flow fills the cheap arcs first and the sum is right. The
Members of a zone are pooled: their units of equal cost are one arc.

That is a few hundred arcs for any number of Items. What it gives is more than a bound: by
complementary slackness the arcs that are full, or empty, in one best flow are so in all of them.
Read Item by Item and Member by Member this says how many replicas an Item gets, how many of them
in each zone, and what load a Member may have. A placement is best in all these levels *exactly
if* each Item, zone and load lies in its interval, and as many replicas are placed as can be: the
whole proof is one pass over the arrays.

Pooling forgets that an Item is at most once on a Member. Where that matters no placement may
reach the intervals; then they are a bound that is not met, and `exact` has to answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from berth.solve.arrays import alike
from berth.solve.flow import Network
from berth.solve.model import SCALE, SHAPE_LEVELS, Bool, Int64, Zones
from berth.solve.tuning import Tuning


@dataclass(frozen=True, slots=True)
class Members:
    """The live Members, by position; arrays of shape (positions,)."""

    limit: Int64
    """0 where nothing may be placed."""
    zone: Int64
    """0 to zones-1, in the order of each zone's first position."""
    zones: int
    draining: Bool
    age_rank: Int64
    """1 for the youngest that drains, rising to the oldest; 0 for the others."""
    low: Int64
    high: Int64
    """The band."""

    @property
    def in_zone(self) -> Int64:
        """Shape (zones,): Members of each zone that may hold something."""
        return np.bincount(self.zone[self.limit > 0], minlength=self.zones)


@dataclass(frozen=True, slots=True)
class Demand:
    """Kinds of Items by what they ask for and hold; arrays of shape (kinds,), sorted by both."""

    asked: Int64
    right: Int64
    """Entries on live Members, at most as many as wanted: what is given up if fewer are placed."""
    wanted: Int64
    count: Int64

    @property
    def total(self) -> int:
        """Replicas wanted by all Items together."""
        return int(self.wanted @ self.count)


@dataclass(frozen=True, slots=True)
class Intervals:
    """What every plan that is best in the levels up to `zone-pairs` has, and every such plan is best."""

    placed_low: Int64
    placed_high: Int64
    """Shape (kinds,): replicas of an Item."""
    zone_low: Int64
    zone_high: Int64
    """Shape (kinds, zones): replicas of an Item in a zone."""
    load_low: Int64
    load_high: Int64
    """Shape (positions,): load of a Member."""
    placed: int
    """Replicas placed, of all Items together."""
    bounds: dict[str, int]
    """The best value of each level before `moves`."""


def intervals(members: Members, demand: Demand, rule: Zones, tuning: Tuning) -> Intervals:
    """Solve the pooled flow; see the module's introduction. Raises NoFlowError only if it is built wrong."""
    reach = tuning.reach
    while True:  # at most five times, as no limit is above 8^5 times the first reach
        found, far = _solve(members, demand, rule, reach)
        if not far or reach >= int(members.limit.max(initial=0)):
            return found
        reach *= 8


def _solve(members: Members, demand: Demand, rule: Zones, reach: int) -> tuple[Intervals, bool]:
    """The intervals, with single arcs for the `reach` units next to each band.

    Also whether some load may lie farther out, where units are lumped and the cost is wrong.
    """
    net = Network(*SHAPE_LEVELS)
    source, sink = net.add_ends()
    hubs, kinds = net.add_nodes(members.zones, hub=True), net.add_nodes(len(demand.count))
    shape = (len(demand.count), members.zones)
    replica, in_zone = add_demand(
        net, (source, sink), kinds, np.broadcast_to(hubs, shape), demand, members, rule
    )
    units = units_of_load(members, reach)
    first, pool = alike(units.zone, units.cost, units.draining)
    room = np.bincount(pool, units.size * units.members, len(first)).astype(np.int64)
    ends = hubs[units.zone[first]]
    loads = net.add(ends, sink, 0, room, balance=units.cost[first], misplaced=units.draining[first])
    flow = net.solve({source: demand.total, sink: -demand.total}, intervals=True)

    full, some = flow.low > 0, flow.high > 0
    placed_low, placed_high = np.zeros(shape[0], np.int64), np.zeros(shape[0], np.int64)
    for kind, arcs in replica:
        placed_low[kind] += full[arcs]
        placed_high[kind] += some[arcs]
    zone_low, zone_high = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for kind, zone, arcs in in_zone:
        zone_low[kind, zone] += full[arcs]
        zone_high[kind, zone] += some[arcs]
    classes = len(units.first)
    low = np.bincount(units.of, units.size * full[loads][pool], classes).astype(np.int64)
    high = np.bincount(units.of, units.size * some[loads][pool], classes).astype(np.int64)
    at = units.first
    near_low, near_high = members.low[at] - reach, members.high[at] + reach
    beyond = (low < near_low) & (near_low > 0) | (high > near_high) & (members.limit[at] > near_high)
    bounds = shape_bounds(flow.totals, demand, units.unfilled)
    found = Intervals(
        placed_low, placed_high, zone_low, zone_high,
        low[units.class_of], high[units.class_of], bounds["placed"], bounds,
    )  # fmt: skip
    return found, bool((beyond & ~members.draining[at]).any())


def add_demand(
    net: Network,
    ends: tuple[int, int],
    kinds: Int64,
    inside: Int64,
    demand: Demand,
    members: Members,
    rule: Zones,
) -> tuple[list[tuple[Int64, Int64]], list[tuple[Int64, Int64, Int64]]]:
    """The left half of the picture: rising arcs source -> `kinds` -> `inside` (shape (kinds, zones)).

    Returns the arcs of the 1st, 2nd, ... replica: (kinds, arcs), and in a zone: (kinds, zones, arcs).
    """
    together = rule != Zones.IGNORE
    apart = together and int((members.in_zone > 0).sum()) > 1
    net.add(*ends, 0, demand.total, placed=1)
    replica, in_zone = [], []
    for nth in range(1, int(demand.wanted.max(initial=0)) + 1):
        fits = demand.wanted >= nth
        some = np.flatnonzero(fits)
        keeps = nth <= demand.right[some]
        arcs = net.add(ends[0], kinds[some], 0, demand.count[some], given_up=-1 * keeps, shortage=nth)
        replica.append((some, arcs))
        if rule == Zones.REQUIRE:
            fits &= nth <= np.maximum(1, demand.asked - 1)
        kind, zone = np.nonzero(fits[:, None] & (members.in_zone >= nth))
        last = (demand.wanted[kind] == nth) & (nth > 1) & apart
        pairs = (nth - 1) * together
        arcs = net.add(
            kinds[kind], inside[kind, zone], 0, demand.count[kind], single_zone=last, zone_pairs=pairs
        )
        in_zone.append((kind, zone, arcs))
    return replica, in_zone


def shape_bounds(totals: Mapping[str, int], demand: Demand, unfilled: int) -> dict[str, int]:
    """The levels before `moves`, from what the arcs cost."""
    bounds = {name: totals[name] for name in SHAPE_LEVELS}
    bounds["given-up"] += int(demand.right @ demand.count)
    bounds["placed"] = demand.total - bounds["placed"]
    bounds["balance"] += unfilled
    return bounds


@dataclass(frozen=True, slots=True)
class Units:
    """Units of load by cost. Members that are equal in zone, limit, band and draining are a class."""

    first: Int64
    class_of: Int64
    """First position of each class, and the class of each position."""
    unfilled: int
    """What the units below the bands save when all of them are filled."""
    of: Int64
    zone: Int64
    cost: Int64
    draining: Bool
    size: Int64
    members: Int64
    """For each bundle of units: class, zone, cost of one, whether on a draining Member, how many
    units on one Member, and how many Members."""


def units_of_load(members: Members, reach: int, single: bool = False) -> Units:
    """Every unit of load with its cost; the farthest are lumped at the cost of the `reach` + 1st.

    With `single` each Member is a class of its own, and no unit below its band is lumped.
    """
    columns = (members.zone, members.limit, members.low, members.high, members.draining)
    everyone = np.arange(len(members.limit))
    first, class_of = (everyone, everyone) if single else alike(*columns)
    zone, limit, low, high, draining = (a[first][:, None] for a in columns)
    count, per = np.bincount(class_of, minlength=len(first)).astype(np.int64), np.maximum(limit, 1)
    down, up = int(members.low.max(initial=0)), int((members.limit - members.high).max(initial=0))
    reach = min(reach, max(down, up))
    nth = np.arange(1, (max(reach, down) if single else reach) + 1)[None, :]
    below = np.where(draining, 0, low if single else np.minimum(reach, low))
    above = np.where(draining, 0, np.minimum(reach, limit - high))
    step = SCALE * nth // per
    bundles = [
        (-(SCALE * (below + 1) // per), np.where(draining, 0, low - below)),
        (-step, np.ones_like(step) * (nth <= below)),
        (np.zeros_like(limit), np.where(draining, limit, high - low)),
        (step, np.ones_like(step) * (nth <= above)),
        (SCALE * (above + 1) // per, np.where(draining, 0, limit - high - above)),
    ]
    cost, size = (np.concatenate(part, axis=1) for part in zip(*bundles, strict=True))
    of, place = np.nonzero(size > 0)
    saved = -int((np.minimum(cost, 0) * size).sum(axis=1) @ count)
    return Units(
        first, class_of, saved, of, zone[of, 0], cost[of, place], draining[of, 0], size[of, place], count[of]
    )
