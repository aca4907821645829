"""The levels before `moves` as one small flow, and the intervals that contain every best plan.

         replicas             in one zone              load
       1st 2nd 3rd            1st 2nd 3rd          below | band | above
            ┌──────> kind A ──┬──────────> zone a ────────────────> ┐
    source ─┤                 └─────────┐                           ├─> sink
            ├──────> kind B ──┬─────────┴> zone b ────────────────> │
            │                 └──────────> zone c ────────────────> ┘
            └──────────────── not placed ─────────────────────────> ┘

A *kind* in this module is the set of Items that want the same number of replicas and hold the same number.
Every arrow is a bundle of parallel arcs of rising cost: the second replica of an Item in a zone costs a zone
pair, its last replica may leave it in a single zone, and each unit of load outside a Member's band costs what
the level `balance` charges. Rising costs are convex, so an optimal flow fills the cheaper arcs first and the
total is the value of the level. The Members of a zone are pooled: their units of equal cost share one arc.

The network has a few hundred arcs for any number of Items, and it gives more than a bound. In every
optimal flow, an arc with a positive reduced cost is empty and one with a negative reduced cost is
full (see `flow`). Each arc is the nth unit of something, so counting the arcs that must be full and
those that may be filled gives an interval for each quantity: the replicas of an Item, its replicas
in each zone, and the load of each Member. For example, if the first replica of a kind must be placed
and the second may be, an Item of that kind has 1 or 2. A placement is optimal in all these levels
*exactly if* every quantity lies in its interval and the maximum number of replicas is placed.

Pooling ignores that a Member holds an Item at most once. If this matters, possibly no placement
lies within the intervals. Then the bounds are not met, and `exact` answers.
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
    age_rank: Int64  # 1 for the youngest draining Member, rising to the oldest; 0 for the others
    low: Int64  # the band
    high: Int64


@dataclass(frozen=True, slots=True)
class Demand:
    """Kinds of Items by requested and held replicas; arrays of shape (kinds,), sorted by both."""

    asked: Int64  # replicas requested
    right: Int64  # held on live Members, at most `wanted`: placing fewer gives replicas up
    wanted: Int64  # replicas requested, at most one on each usable Member
    count: Int64  # Items of the kind
    total: int  # replicas wanted by all Items together


class Intervals(NamedTuple):
    """Bounds that hold for exactly the plans that are optimal in the levels up to `zone-pairs`."""

    placed_low: Int64  # shape (kinds,): replicas of an Item
    placed_high: Int64
    zone_low: Int64  # shape (kinds, zones): replicas of an Item in a zone
    zone_high: Int64
    load_low: Int64  # shape (positions,): load of a Member
    load_high: Int64
    placed: int  # replicas placed, of all Items together
    bounds: dict[str, int]  # the optimal value of each level before `moves`


def intervals(members: Members, demand: Demand, rule: Zones, reach: int) -> tuple[Intervals, int]:
    """Solve the pooled flow of the module's docstring. A NoFlowError would be a bug: it always has a flow.

    `reach` is the number of units next to each band that get their own arcs at first. The second
    value is the number that was needed, which is a good first guess for the next solve.
    """
    found, far = _solve(members, demand, rule, reach)
    while far and reach < int(members.limit.max(initial=0)):
        reach *= 8
        found, far = _solve(members, demand, rule, reach)
    return found, reach


def _solve(members: Members, demand: Demand, rule: Zones, reach: int) -> tuple[Intervals, bool]:
    """The intervals, with an arc for each of the `reach` units next to a band.

    Units farther out share one arc with an inexact cost. The second value says whether some load
    may lie there, so that a larger `reach` is needed.
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

    edges = []  # minimum and maximum: of each kind, of each kind in each zone, of each class of Members
    for full in (flow.low > 0, flow.high > 0):
        placed = sums(replica[0], size, full[replica[1]])
        zoned = sums(in_zone[0], size * zones, full[in_zone[1]]).reshape(size, zones)
        edges.append((placed, zoned, sums(units.of, len(at), units.size * full[arcs][pool])))
    (placed_low, zone_low, low), (placed_high, zone_high, high) = edges
    far = (low < members.low[at] - reach) | (high > members.high[at] + reach)
    # With a limit in the millions the floors make all these units cost the same: then the cost is exact.
    limit = np.maximum(members.limit[at], 1)
    far &= SCALE * (reach + 2 + demand.total) // limit > SCALE * (reach + 1) // limit
    loads = low[of], high[of]
    found = Intervals(placed_low, placed_high, zone_low, zone_high, *loads, bounds["placed"], bounds)
    return found, bool((far & ~members.draining[at]).any())


def add_demand(
    net: Network, kinds: Int64, inside: Int64, demand: Demand, members: Members, rule: Zones
) -> tuple[Int64, Int64]:
    """Add the left half of the picture: rising arcs source -> `kinds` -> `inside` (shape (kinds, zones)).

    Returns two arrays of shape (2, arcs). The first has the kinds and the arcs of a 1st, 2nd, ...
    replica; the second has kind × zones + zone and the arcs of a 1st, 2nd, ... replica in a zone.
    """
    in_zone = sums(members.zone[members.limit > 0], members.zones)
    zones_matter = rule != Zones.IGNORE
    several_zones = zones_matter and int((in_zone > 0).sum()) > 1
    net.add(net.source, net.sink, 0, demand.total, placed=1)
    numbers = np.arange(int(demand.wanted.max(initial=0)))[:, None]  # of an Item's replicas, from 0
    nth, kind = np.nonzero(numbers < demand.wanted)
    keeps, count = nth < demand.right[kind], demand.count[kind]
    arcs = net.add(net.source, kinds[kind], 0, count, given_up=-1 * keeps, shortage=nth + 1)
    replica = np.stack([kind, arcs])
    together = np.clip(demand.asked - 1, 1, demand.wanted) if rule == Zones.REQUIRE else demand.wanted
    nth, kind, zone = np.nonzero(numbers[:, :, None] < np.minimum(together[:, None], in_zone))
    last = (nth + 1 == demand.wanted[kind]) & (nth > 0) & several_zones
    pairs, ends = nth * zones_matter, (kinds[kind], inside[kind, zone])
    arcs = net.add(*ends, 0, demand.count[kind], single_zone=last, zone_pairs=pairs)
    return replica, np.stack([kind * members.zones + zone, arcs])


def shape_bounds(totals: Mapping[str, int], demand: Demand, unfilled: int) -> dict[str, int]:
    """The values of the levels before `moves`, from the costs of a flow.

    Arcs count in `given-up` and `balance` what is saved against a plan that places nothing.
    """
    bounds = {name: totals[name] for name in SHAPE_LEVELS}
    bounds["given-up"] += int(demand.right @ demand.count)
    bounds["placed"] = demand.total - bounds["placed"]
    bounds["balance"] += unfilled
    return bounds


class Units(NamedTuple):
    """Units of load by cost. Members that are equal in zone, limit, band and draining form a class."""

    first: Int64  # the first position of each class
    class_of: Int64  # the class of each position
    unfilled: int  # the cost in `balance` if all units below the bands stay empty
    of: Int64  # for each bundle of units of equal cost: its class,
    cost: Int64  # the cost of one unit,
    size: Int64  # and the number of units on one Member of the class


def units_of_load(members: Members, reach: int, single: bool = False) -> Units:
    """Every unit of load with its cost; units beyond `reach` all get the cost of number `reach` + 1.

    With `single`, each Member is its own class, and every unit below its band has its exact cost.
    """
    columns = (members.zone, members.limit, members.low, members.high, members.draining)
    everyone = np.arange(len(members.limit))
    first, class_of = (everyone, everyone) if single else alike(*columns)
    _, limit, low, high, draining = (a[first][:, None] for a in columns)
    down, up = int(members.low.max(initial=0)), int((members.limit - members.high).max(initial=0))
    above = min(reach, max(down, up))
    below = max(above, down) if single else above
    # Distances from the band, negative below it. The first and the last stand for all units farther out.
    distance = np.concatenate([[-below - 1], -np.arange(1, below + 1), np.arange(above + 2)])
    cost = np.sign(distance) * (SCALE * np.abs(distance) // np.maximum(limit, 1))
    not_nearer = np.where(distance < 0, low, limit - high) + 1 - np.abs(distance)
    size = np.clip(not_nearer, 0, np.where((distance < -below) | (distance > above), limit, 1))
    size = np.where(distance == 0, np.where(draining, limit, high - low), size * ~draining)
    of, place = np.nonzero(size > 0)
    unfilled = -int((np.minimum(cost, 0) * size).sum(axis=1) @ sums(class_of, len(first)))
    return Units(first, class_of, unfilled, of, cost[of, place], size[of, place])
