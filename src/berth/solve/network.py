"""The placement problem as a network: groups of like Items → zones → Members.

    source ─▶ group ─▶ group×zone ─▶ Member ─▶ sink
       │   k-th replica   k-th in      held: free      below the band: paid for
       │   of each Item:  that zone:   else one move   in the band: free
       │   levels 2, 3    5, 7         8, 10           above: 6; draining: 4, 9
       └──────────────── not placed: level 1 ────────────▲

A group is a number of Items that the objective cannot tell apart. Costs that rise with the k-th
unit are k arcs side by side, each as wide as the group has Items. A flow of a group of identical
Items can always be dealt to its Items without loss (see `deal`), so such a network is exact. Where
a group joins Items that are held by different Members, the network is a relaxation: every
placement is a flow in it of the same cost, so its optimum is a lower bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from berth.solve.flow import Network, solve_levels
from berth.solve.ladder import Ladder, ladder
from berth.solve.problem import Bool, Int32, Int64, Problem, Zones
from berth.solve.shares import SCALE, age_ranks, bands, placeable, second_zone


@dataclass(frozen=True, slots=True)
class Groups:
    """g groups of Items, seen from p placeable Members (in the order of `Fleet.rows`)."""

    size: Int64
    """Shape (g,): Items in each."""
    replicas: Int64
    """Shape (g,): replicas asked for."""
    wanted: Int64
    """Shape (g,)."""
    keep: Int64
    """Shape (g,): min(held on live Members, wanted): what level 2 looks at."""
    group: Int64
    """Shape (h,): the group of each held arc."""
    member: Int64
    """Shape (h,): its placeable Member."""
    count: Int64
    """Shape (h,): Items of the group that hold there with `primary`."""
    primary: Int64
    """Shape (h,): 1 where these entries are primaries, else 0."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The placeable Members in the order of their keys, so that no answer depends on rows."""

    rows: Int64
    limit: Int64
    low: Int64
    high: Int64
    zone: Int64
    """Numbered 0..z-1."""
    zones: int
    zone_size: Int64
    """Shape (z,): placeable Members in each zone."""
    draining: Int64
    """1 or 0."""
    rank: Int64
    """Age rank among those that drain (level 9)."""
    frozen: Int64
    """Entries that are there whatever the network decides: those of Items that are not in it."""


def fleet(problem: Problem, total: int) -> Fleet:
    """The placeable Members of a Problem whose Items want `total` replicas."""
    rows = np.flatnonzero(placeable(problem))
    rows = rows[np.argsort(problem.member_key[rows], kind="stable")]
    band = bands(problem, total)
    # Zones in the order of their first Member by key: numbers of zones are rows too.
    _, first, inverse = np.unique(problem.zone[rows], return_index=True, return_inverse=True)
    zone = np.argsort(np.argsort(first))[inverse].astype(np.int64)
    size = np.bincount(zone, minlength=len(first)).astype(np.int64)
    if problem.zones == Zones.IGNORE:
        zone, size = np.zeros(len(rows), dtype=np.int64), np.array([len(rows)], dtype=np.int64)
    return Fleet(
        rows=rows,
        limit=problem.limit[rows].astype(np.int64),
        low=band.low[rows],
        high=band.high[rows],
        zone=zone,
        zones=len(size),
        zone_size=size,
        draining=problem.draining[rows].astype(np.int64),
        rank=age_ranks(problem)[rows],
        frozen=np.zeros(len(rows), dtype=np.int64),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a network decided."""

    group: Int64
    """Shape (e,): with `member` and `count`: how many Items of the group are on the Member."""
    member: Int64
    count: Int64
    new: Bool
    """Shape (e,): entries of Items that the Member does not hold now."""
    gains: Int64
    """Shape (p,): new entries of each Member."""
    load: Int64
    """Shape (p,): all entries of each Member, frozen ones too."""
    cells: Int64
    """Shape (g, z): entries of each group in each zone."""
    levels: tuple[int, ...]
    """The ten levels, apart from constants that the caller adds (primaries of Items not in it)."""


@dataclass(slots=True)
class _Arcs:
    tail: list[Int64]
    head: list[Int64]
    capacity: list[Int64]
    costs: list[dict[int, Int64]]
    sunk: dict[int, int]
    """What frozen entries cost, by level."""

    def add(self, tail: Int64, head: Int64, capacity: Int64, **costs: Int64) -> slice:
        """Costs are named l1 to l11 and default to 0."""
        begin = sum(len(part) for part in self.tail)
        self.tail.append(np.asarray(tail, dtype=np.int64))
        self.head.append(np.asarray(head, dtype=np.int64))
        self.capacity.append(np.asarray(capacity, dtype=np.int64))
        self.costs.append({int(name[1:]): np.asarray(cost) for name, cost in costs.items()})
        return slice(begin, begin + len(self.tail[-1]))

    def cost(self, level: int) -> Int64:
        return np.concatenate(
            [
                np.broadcast_to(costs.get(level, np.int64(0)), tail.shape)
                for tail, costs in zip(self.tail, self.costs, strict=True)
            ]
        ).astype(np.int64)


def _units(count: Int64) -> tuple[Int64, Int64]:
    """(owner, k) for k = 1..count[owner] of each owner."""
    owner = np.repeat(np.arange(len(count)), count)
    start = np.repeat(np.cumsum(count) - count, count)
    return owner, np.arange(len(owner)) - start + 1


def zone_caps(problem: Problem, groups: Groups, fleet: Fleet) -> Int64:
    """Shape (g, z): most replicas of one Item in a zone."""
    caps = np.minimum(groups.wanted[:, None], fleet.zone_size[None, :])
    if problem.zones == Zones.REQUIRE:
        forbidden = np.where(groups.replicas >= 2, groups.replicas - 1, groups.replicas)
        caps = np.minimum(caps, forbidden[:, None])
    return caps


def solve_groups(
    problem: Problem,
    groups: Groups,
    fleet: Fleet,
    targets: Int64 | None = None,
    most: Int64 | None = None,
    pooled: bool = False,
    guess: Int64 | None = None,
) -> Outcome:
    """The least flow of the network of `groups` on all ten levels, ties by emptiness (level 11).

    With `targets` (places of Members) entries move to these only, which makes a smaller network
    whose answer is allowed, but perhaps not the best. `most`, shape (g,), limits further how many
    replicas of one Item a zone takes. With `pooled` new entries reach the Members of a zone through
    one node of that zone: far fewer arcs, but an Item might be twice on a Member, so the levels are
    a bound only, and the outcome lists held entries only. `guess`, shape (p,), says about which loads
    to expect; a good one saves time.
    """
    # More entries than there are Items, once each, no Member ever has.
    most_loads = np.maximum(np.minimum(fleet.limit, fleet.frozen + int(groups.size.sum())), fleet.high)
    while True:
        steps = ladder(fleet.limit, fleet.low, fleet.high, most_loads, guess)
        outcome = _solve(problem, groups, fleet, steps, targets, most, pooled)
        load = outcome.load
        if steps.exact(np.maximum(fleet.low - load, 0), np.maximum(load - fleet.high, 0)).all():
            return outcome
        guess = load


def _solve(
    problem: Problem,
    groups: Groups,
    fleet: Fleet,
    steps: Ladder,
    targets: Int64 | None,
    most: Int64 | None,
    pooled: bool,
) -> Outcome:
    g, z, m = len(groups.size), fleet.zones, len(fleet.rows)
    source, sink = 0, 1
    group_node, zone_node, member_node = 2, 2 + g, 2 + g + g * z
    amount = int((groups.size * groups.wanted).sum())
    arcs = _Arcs([], [], [], [], {})
    unplaced = arcs.add(
        np.array([source]), np.array([sink]), np.array([amount]), l1=np.ones(1, dtype=np.int64)
    )

    owner, unit = _units(groups.wanted)
    arcs.add(
        np.full(len(owner), source), group_node + owner, groups.size[owner],
        l2=(unit > groups.keep[owner]).astype(np.int64), l3=unit,
    )  # fmt: skip

    caps = zone_caps(problem, groups, fleet)
    if most is not None:
        caps = np.minimum(caps, most[:, None])
    cell, unit = _units(caps.ravel())
    owner = cell // max(z, 1)
    count_zones = problem.zones != Zones.IGNORE
    whole = (unit == groups.wanted[owner]) & (unit >= 2) & second_zone(problem)
    spread = arcs.add(
        group_node + owner, zone_node + cell, groups.size[owner],
        l5=whole.astype(np.int64), l7=(unit - 1) * count_zones,
    )  # fmt: skip

    held = arcs.add(
        zone_node + groups.group * z + fleet.zone[groups.member], member_node + groups.member,
        groups.count, l10=-groups.primary,
    )  # fmt: skip
    open_size = np.repeat(groups.size, m).reshape(g, m)
    np.subtract.at(open_size, (groups.group, groups.member), groups.count)
    may_take = np.ones(m, dtype=np.bool_)
    if targets is not None:
        may_take[:] = False
        may_take[targets] = True
    if pooled:
        pool_node = member_node + m
        wide = np.flatnonzero(caps.ravel() > 0)
        arcs.add(
            zone_node + wide, pool_node + wide % max(z, 1), (groups.size[:, None] * caps).ravel()[wide],
            l8=np.ones(len(wide), dtype=np.int64),
        )  # fmt: skip
        new_member = np.flatnonzero(may_take)
        new_group = np.zeros(len(new_member), dtype=np.int64)
        new = arcs.add(
            pool_node + fleet.zone[new_member], member_node + new_member, np.full(len(new_member), amount)
        )
    else:
        new_group, new_member = np.nonzero((open_size > 0) & (groups.wanted > 0)[:, None] & may_take)
        new = arcs.add(
            zone_node + new_group * z + fleet.zone[new_member], member_node + new_member,
            open_size[new_group, new_member], l8=np.ones(len(new_group), dtype=np.int64),
        )  # fmt: skip
    loads = _member_arcs(arcs, fleet, steps, member_node, sink)

    costs = [arcs.cost(level) for level in range(1, 12)]
    tops = [int(np.abs(cost).max(initial=0)) for cost in costs]
    passages = m + 1 + z * pooled  # of a simple cycle through Members or the source
    spans = [2 * top for top in tops]
    for level in (5, 7, 8, 10):
        spans[level - 1] = 2 * min(passages, max(g * (z + 1), 1)) * tops[level - 1]
    network = Network(
        nodes=2 + g + g * z + m + z * pooled,
        tail=np.concatenate(arcs.tail),
        head=np.concatenate(arcs.head),
        capacity=np.concatenate(arcs.capacity),
        costs=costs,
        spans=spans,
        source=source,
        sink=sink,
        amount=amount,
    )
    flow = solve_levels(network)

    group = np.concatenate([groups.group, new_group])
    member = np.concatenate([groups.member, new_member])
    count = np.concatenate([flow[held], flow[new]])
    load = fleet.frozen.copy()
    np.add.at(load, fleet.zone[:0] if not m else network.tail[loads] - member_node, flow[loads])
    sums = [int((cost * flow).sum()) for cost in costs]
    for level, sunk in arcs.sunk.items():
        sums[level - 1] += sunk
    held_live = int((groups.size * groups.keep).sum())
    levels = (
        amount - int(flow[unplaced].sum()),
        held_live - (int(count.sum()) - sums[1]),
        sums[2],
        sums[3],
        sums[4],
        sums[5] + steps.ground,
        sums[6],
        sums[7],
        sums[8],
        sums[9] + int((groups.primary * groups.count).sum()),
    )
    used = count > 0
    is_new = np.arange(len(group)) >= len(groups.group)
    gains = np.bincount(member[is_new], weights=count[is_new], minlength=m).astype(np.int64)
    if pooled:
        used &= ~is_new
    cells = np.bincount(cell, weights=flow[spread], minlength=g * z).astype(np.int64).reshape(g, z)
    return Outcome(group[used], member[used], count[used], is_new[used], gains, load, cells, levels)


def _member_arcs(arcs: _Arcs, fleet: Fleet, steps: Ladder, member_node: int, sink: int) -> slice:
    """Member → sink: cheap up to the band, free within, dear above; all convex."""
    owner = steps.owner
    # Frozen entries have used up the first loads.
    left = np.clip(steps.start + steps.size - fleet.frozen[owner], 0, steps.size)
    costs = {4: fleet.draining[owner], 6: steps.cost, 9: fleet.rank[owner]}
    for level, cost in costs.items():
        arcs.sunk[level] = int((cost * (steps.size - left)).sum())
    # Level 11: how full the Member would be for its limit, so the emptiest is taken first.
    return arcs.add(
        member_node + owner, np.full(len(owner), sink), left,
        l4=costs[4], l6=costs[6], l9=costs[9], l11=SCALE * (steps.start + 1) // fleet.limit[owner],
    )  # fmt: skip


def member_order(problem: Problem, rows: Iterable[int] | Int64) -> Int32:
    """Shape (m,): the place of each Member row in `rows`, -1 for those not in it."""
    place = np.full(len(problem.limit), -1, dtype=np.int32)
    rows = np.asarray(rows, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    return place
