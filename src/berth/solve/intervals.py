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

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from berth.solve.arrays import alike, sums
from berth.solve.flow import Network
from berth.solve.model import SCALE, SHAPE_LEVELS, Bool, Int64, Zones


class Members(NamedTuple):
    """The live Members; arrays of shape (positions,)."""

    limit: Int64  # 0 where nothing may be placed
    zone: Int64  # 0 to zones-1, in the order of each zone's first position
    zones: int
    draining: Bool
    age_rank: Int64  # 1 for the youngest that drains, rising to the oldest; 0 for the others
    low: Int64  # the band
    high: Int64


@dataclass(frozen=True, slots=True)
class Demand:
    """Kinds of Items by what they ask for and hold; arrays of shape (kinds,), sorted by both."""

    asked: Int64
    right: Int64  # entries on live Members, at most as many as wanted: given up if fewer are placed
    wanted: Int64
    count: Int64

    @property
    def total(self) -> int:
        """Replicas wanted by all Items together."""
        return int(self.wanted @ self.count)


class Intervals(NamedTuple):
    """What every plan that is best in the levels up to `zone-pairs` has, and every such plan is best."""

    placed_low: Int64  # shape (kinds,): replicas of an Item
    placed_high: Int64
    zone_low: Int64  # shape (kinds, zones): replicas of an Item in a zone
    zone_high: Int64
    load_low: Int64  # shape (positions,): load of a Member
    load_high: Int64
    placed: int  # replicas placed, of all Items together
    bounds: dict[str, int]  # the best value of each level before `moves`


def intervals(members: Members, demand: Demand, rule: Zones, reach: int) -> tuple[Intervals, int]:
    """Solve the pooled flow; see the module's introduction. Raises NoFlowError only if it is built wrong.

    `reach` is how many units next to each band have single arcs at first; the second value is how
    many were needed, a good first guess for the next time.
    """
    while True:  # a few times at most: `reach` grows until no limit is farther out
        found, far = _solve(members, demand, rule, reach)
        if not far or reach >= int(members.limit.max(initial=0)):
            return found, reach
        reach *= 8


def _solve(members: Members, demand: Demand, rule: Zones, reach: int) -> tuple[Intervals, bool]:
    """The intervals, with single arcs for the `reach` units next to each band, and whether some load
    may lie farther out, where units are lumped and the cost is wrong.
    """
    net, size, zones = Network(*SHAPE_LEVELS), len(demand.count), members.zones
    hubs, kinds = net.add_nodes(zones, hub=True), net.add_nodes(size)
    inside = np.broadcast_to(hubs, (size, zones))
    replica, in_zone = add_demand(net, kinds, inside, demand, members, rule)
    units = units_of_load(members, reach)
    at, of = units.first, units.class_of
    zone, draining = members.zone[at[units.of]], members.draining[at[units.of]]
    first, pool = alike(zone, units.cost, draining)
    room, ends = sums(pool, len(first), units.size * sums(of, len(at))[units.of]), hubs[zone[first]]
    arcs = net.add(ends, net.sink, 0, room, balance=units.cost[first], misplaced=draining[first])
    flow = net.solve(demand.total, intervals=True)
    bounds = shape_bounds(flow.totals, demand, units.unfilled)

    edges = []  # the least, and the most, of each kind, of each kind in each zone, and of each class
    for full in (flow.low > 0, flow.high > 0):
        placed = sums(replica[0], size, full[replica[1]])
        zoned = sums(in_zone[0], size * zones, full[in_zone[1]]).reshape(size, zones)
        edges.append((placed, zoned, sums(units.of, len(at), units.size * full[arcs][pool])))
    (placed_low, zone_low, low), (placed_high, zone_high, high) = edges
    near_low, near_high, limit = members.low[at] - reach, members.high[at] + reach, members.limit[at]
    beyond = (low < near_low) & (near_low > 0) | (high > near_high) & (limit > near_high)
    # Of a Member with a limit in the millions all units in question cost the same.
    beyond &= SCALE * (reach + 2 + demand.total) // np.maximum(limit, 1) > SCALE * (reach + 1) // np.maximum(
        limit, 1
    )
    loads = low[of], high[of]
    found = Intervals(placed_low, placed_high, zone_low, zone_high, *loads, bounds["placed"], bounds)
    return found, bool((beyond & ~members.draining[at]).any())


def add_demand(
    net: Network, kinds: Int64, inside: Int64, demand: Demand, members: Members, rule: Zones
) -> tuple[Int64, Int64]:
    """The left half of the picture: rising arcs source -> `kinds` -> `inside` (shape (kinds, zones)).

    Returns for the arcs of a 1st, 2nd, ... replica their kinds and numbers, shape (2, arcs), and
    for those of a replica in a zone likewise, kinds × zones + zone in the place of the kind.
    """
    in_zone = sums(members.zone[members.limit > 0], members.zones)
    together = rule != Zones.IGNORE
    apart = together and int((in_zone > 0).sum()) > 1
    net.add(net.source, net.sink, 0, demand.total, placed=1)
    replica, zoned = [np.zeros((2, 0), np.int64)], [np.zeros((2, 0), np.int64)]
    for nth in range(1, int(demand.wanted.max(initial=0)) + 1):
        fits = demand.wanted >= nth
        some = np.flatnonzero(fits)
        keeps, count = nth <= demand.right[some], demand.count[some]
        arcs = net.add(net.source, kinds[some], 0, count, given_up=-1 * keeps, shortage=nth)
        replica.append(np.stack([some, arcs]))
        if rule == Zones.REQUIRE:
            fits &= nth <= np.maximum(1, demand.asked - 1)
        kind, zone = np.nonzero(fits[:, None] & (in_zone >= nth))
        last = (demand.wanted[kind] == nth) & (nth > 1) & apart
        pairs, ends = (nth - 1) * together, (kinds[kind], inside[kind, zone])
        arcs = net.add(*ends, 0, demand.count[kind], single_zone=last, zone_pairs=pairs)
        zoned.append(np.stack([kind * members.zones + zone, arcs]))
    return np.hstack(replica), np.hstack(zoned)


def shape_bounds(totals: Mapping[str, int], demand: Demand, unfilled: int) -> dict[str, int]:
    """The levels before `moves`, from what the arcs cost."""
    bounds = {name: totals[name] for name in SHAPE_LEVELS}
    bounds["given-up"] += int(demand.right @ demand.count)
    bounds["placed"] = demand.total - bounds["placed"]
    bounds["balance"] += unfilled
    return bounds


class Units(NamedTuple):
    """Units of load by cost. Members that are equal in zone, limit, band and draining are a class."""

    first: Int64  # the first position of each class
    class_of: Int64  # the class of each position
    unfilled: int  # what the units below the bands save when all of them are filled
    of: Int64  # for each bundle of units of a class that cost the same: the class,
    cost: Int64  # the cost of a unit,
    size: Int64  # and how many units on one Member


def units_of_load(members: Members, reach: int, single: bool = False) -> Units:
    """Every unit of load with its cost; the farthest are lumped at the cost of the `reach` + 1st.

    With `single` each Member is a class of its own, and no unit below its band is lumped.
    """
    columns = (members.zone, members.limit, members.low, members.high, members.draining)
    everyone = np.arange(len(members.limit))
    first, class_of = (everyone, everyone) if single else alike(*columns)
    _, limit, low, high, draining = (a[first][:, None] for a in columns)
    down, up = int(members.low.max(initial=0)), int((members.limit - members.high).max(initial=0))
    reach, per = min(reach, max(down, up)), np.maximum(limit, 1)
    nth = np.arange(1, (max(reach, down) if single else reach) + 1)[None, :]
    below = np.where(draining, 0, low if single else np.minimum(reach, low))
    above = np.where(draining, 0, np.minimum(reach, limit - high))
    step = SCALE * nth // per
    bundles = [
        (-(SCALE * (below + 1) // per), np.where(draining, 0, low - below)),
        (-step, 1 * (nth <= below)),
        (np.zeros_like(limit), np.where(draining, limit, high - low)),
        (step, 1 * (nth <= above)),
        (SCALE * (above + 1) // per, np.where(draining, 0, limit - high - above)),
    ]
    cost, size = (np.concatenate(part, axis=1) for part in zip(*bundles, strict=True))
    of, place = np.nonzero(size > 0)
    unfilled = -int((np.minimum(cost, 0) * size).sum(axis=1) @ sums(class_of, len(first)))
    return Units(first, class_of, unfilled, of, cost[of, place], size[of, place])
