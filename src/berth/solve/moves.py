"""Levels 8 to 11 within the intervals: how few entries must move, and how many of which kind.

                        kept                   ┌────────> pooled Members of zone a ───> ┐
    source ──> kind ──> kind in zone a ────────┤                                        ├─> sink
                   │                     moves └─> new ─> crowded or draining Member ─> │
                   └──> kind in zone b ...                                              ┘

A *kind* is now all Items that ask for, held and hold as much in each zone. What is held may be
kept at no cost; everything else is a move. Members within their interval are pooled by zone:
which of them gives or takes an entry makes no difference yet. Those that must shed, or drain, are
nodes of their own, with the entries of each kind that they hold.

Of the answer only sums are used: the bound on moves (a relaxation can only be too low), what
leaves and joins each kind in each zone, the load of each zone and of each draining Member. Not
its split over Members: that is an extreme point, and dealing it out would cost more moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from berth.solve.flow import Flow, Network
from berth.solve.model import SCALE, Int32, Int64
from berth.solve.state import names_one
from berth.solve.work import Work

LEVELS = ("moves", "draining-age", "primaries-moved", "drift", "even")
"""`drift`: of equal moves those that change fewest zones. `even`: level 11 of the objective."""
STEPS = 48
"""Arcs for the units of one owner within its interval, by what they cost in the level `even`."""


@dataclass(frozen=True, slots=True)
class Surplus:
    """Entries of which some must go: more of an Item in one area or cell than it may have there.

    Arrays of shape (entries,): row, column in `at`, Member, area, kind, and the group of which
    `cap` entries may stay.
    """

    row: Int64
    column: Int64
    member: Int64
    area: Int64
    kind: Int64
    group: Int64
    cap: Int64


@dataclass(frozen=True, slots=True)
class Moves:
    """What the network says."""

    bounds: dict[str, int]
    """The least of `moves`, `draining-age` and `primaries-moved`, one after the other."""
    leave: Int64
    join: Int64
    """Shape (kinds, areas): entries that go from, and come to, the Items of a kind in an area."""
    loads: Int64
    """Shape (areas,): load of all Members of an area together."""
    draining_load: Int64
    """Shape (positions,): load of Members that drain; 0 for others."""
    kept: Int64
    """Shape (surplus entries,): 1 where the entry stays."""


def least_moves(work: Work, surplus: Surplus | None = None) -> Moves:
    """Solve the network; see the module's introduction. Raises NoFlow where the intervals cannot be met."""
    return _MoveNetwork(work, surplus).solve()


class _MoveNetwork:
    def __init__(self, work: Work, surplus: Surplus | None) -> None:
        self.work, self.kinds, self.surplus = work, work.kinds, surplus
        self.found = work.intervals
        self.net = Network(*LEVELS, limit=work.arcs)
        self._choose_own_nodes()
        self._count_held()

    def _choose_own_nodes(self) -> None:
        """Which Members are nodes of their own (`own`), and which kinds are too small to be pooled there."""
        work, kinds, found = self.work, self.kinds, self.found
        own = (work.load > found.load_high) | work.members.draining
        if self.surplus is not None:
            own[self.surplus.member] = True
        # An Item can be on a Member only once, so a kind with fewer Items than a Member has places
        # cannot fill it: such a kind needs an arc of its own to each such Member.
        room = np.maximum(0, found.load_high - work.load)
        self.few = (kinds.placed_high - kinds.spread.sum(axis=1) >= 2) & (
            kinds.count < room.max(initial=0)
        )
        if self.few.any():
            own |= room > kinds.count[self.few].min()
            if int(self.few.sum()) * int(own.sum()) > work.tuning.few_arcs:
                self.few[:] = False
        self.own = np.flatnonzero(own & (found.load_high > 0))
        self.pooled = ~own
        self.node_of = np.full(len(own) + 1, -1)
        self.node_of[self.own] = np.arange(len(self.own))

    def _count_held(self) -> None:
        """How much of each kind is held on own Members, and by primaries there and in each area."""
        work, kinds = self.work, len(self.kinds.count)
        state, own, areas = work.state, len(self.own), work.areas
        self.held = self._table(kinds, own)
        self.led = self._table(kinds, own)
        every = work.kind()
        lead = state.lead.astype(np.int64)
        led = np.flatnonzero((lead >= 0) & (every >= 0))
        if len(work.over_rows):  # a primary that is known to go can not be kept
            over = work.over_rows
            still = (work.at(over) == state.lead[over][:, None]).any(axis=1)
            gone = np.zeros(len(lead), np.bool_)
            gone[over[~still]] = True
            led = led[~gone[led]]
        self.leads = int((lead >= 0).sum())
        self.led_in = np.bincount(every[led] * areas + work.area[lead[led]], minlength=kinds * areas)
        self.led_in = self.led_in.reshape(kinds, areas)
        if own and (work.load[self.own] > 0).any():
            rows = np.flatnonzero(names_one(self.node_of >= 0, state.at))
            at = self.node_of[work.at(rows)]
            item, column = np.nonzero(at >= 0)
            kind = every[rows[item]]
            some = kind >= 0
            np.add.at(self.held, (kind[some], at[item, column][some]), 1)
            mine = self.node_of[lead[led]]
            np.add.at(self.led, (every[led][mine >= 0], mine[mine >= 0]), 1)

    def _table(self, rows: int, columns: int) -> Int64:
        return np.zeros((rows, columns), np.int64)

    def solve(self) -> Moves:
        work, kinds, found, net = self.work, self.kinds, self.found, self.net
        areas, count = work.areas, kinds.count
        source, sink = (int(net.add_nodes(1, hub=True)[0]) for _ in range(2))
        keep, new, pool, new_own = (net.add_nodes(areas, hub=True) for _ in range(4))
        own = net.add_nodes(len(self.own), hub=True)
        nodes = net.add_nodes(len(count))
        net.add(source, nodes, kinds.placed_low * count, kinds.placed_high * count)

        kind, area = np.nonzero(kinds.area_high > 0)
        inside = net.add_nodes(len(kind))
        n, held = count[kind], kinds.spread[kind, area]
        low, high = kinds.area_low[kind, area], kinds.area_high[kind, area]
        near = np.clip(held, low, high)
        stays = net.add(nodes[kind], inside, low * n, near * n)
        # Dearer for the last three quarters of a kind: where nearly all of its Items must give an
        # entry up, there is no choice of Members left.
        some = np.minimum(n // 4, (high - near) * n)
        joins = net.add(nodes[kind], inside, 0, some, drift=1)
        more = net.add(nodes[kind], inside, 0, (high - near) * n - some, drift=2)

        owned, owned_led = self._by_area(self.held), self._by_area(self.led)
        here, led_here = self.held.copy(), self.led.copy()
        pairs = None
        lookup = np.full((len(count), areas), -1)
        lookup[kind, area] = np.arange(len(kind))
        if self.surplus is not None:
            pairs = self._add_surplus(inside, lookup, keep, own, here, led_here, owned, owned_led)
        free = np.minimum(held * n - owned[kind, area], high * n)
        free_led = np.minimum(free, (self.led_in - owned_led)[kind, area])
        primary = [net.add(inside, keep[area], 0, np.maximum(free_led, 0), primaries_moved=-1)]
        net.add(inside, keep[area], 0, np.maximum(free - np.maximum(free_led, 0), 0))
        moved = [net.add(inside, new[area], 0, high * n, moves=1)]

        arange = np.arange(areas)
        net.add(keep[arange], pool[arange], 0, self._pool(np.minimum(work.load, found.load_high)))
        lacking = self._pool(np.maximum(0, found.load_low - work.load))
        net.add(new[arange], pool[arange], lacking, self._pool(found.load_high))
        ends = self._add_loads(pool, sink, self.pooled, work.area)

        own_ends = np.zeros(0, np.int64)
        if len(self.own):
            k, d = np.nonzero(here)
            k, d = self._where_allowed(k, d)
            at = lookup[k, work.area[self.own[d]]]
            net.add(inside[at], own[d], 0, (here - led_here)[k, d])
            primary.append(net.add(inside[at], own[d], 0, led_here[k, d], primaries_moved=-1))
            wide = ~self.few[kind]
            moved.append(net.add(inside[wide], new_own[area[wide]], 0, (high * n)[wide], moves=1))
            net.add(new_own[work.area[self.own]], own, 0, found.load_high[self.own])
            k, d = self._where_allowed(*np.nonzero(np.broadcast_to(self.few[:, None], self.held.shape)))
            at = lookup[k, work.area[self.own[d]]]
            moved.append(net.add(inside[at], own[d], 0, count[k] - self.held[k, d], moves=1))
            chosen = np.zeros(len(self.pooled), np.bool_)
            chosen[self.own] = True
            own_ends = self._add_loads(own, sink, chosen, self.node_of[:-1])
        flow = net.solve({source: found.placed, sink: -found.placed})
        primary_arcs = np.concatenate([*primary, *([] if pairs is None else [pairs[1]])])
        inflow = self._table(len(count), areas)
        inflow[kind, area] = flow.units[stays] + flow.units[joins] + flow.units[more]
        have = kinds.spread * count[:, None]
        return Moves(
            bounds={
                "moves": int(flow.units[np.concatenate(moved)].sum()),
                "draining-age": flow.totals["draining-age"],
                "primaries-moved": self.leads - int(flow.units[primary_arcs].sum()),
            },
            leave=np.maximum(0, have - inflow),
            join=np.maximum(0, inflow - have),
            loads=self._sum_loads(flow, ends, own_ends),
            draining_load=self._draining_loads(flow, own_ends),
            kept=np.zeros(0, np.int64) if pairs is None else flow.units[pairs[0]],
        )

    def _by_area(self, table: Int64) -> Int64:
        out = self._table(len(table), self.work.areas)
        np.add.at(out.T, self.work.area[self.own], table.T)
        return out

    def _pool(self, value: Int64) -> Int64:
        some = self.pooled
        return np.bincount(self.work.area[some], value[some], self.work.areas).astype(np.int64)

    def _where_allowed(self, kind: Int64, own: Int64) -> tuple[Int64, Int64]:
        fine = self.kinds.area_high[kind, self.work.area[self.own[own]]] > 0
        return kind[fine], own[fine]

    def _add_surplus(
        self, inside: Int64, lookup: Int64, keep: Int64, own: Int64,
        here: Int64, led_here: Int64, owned: Int64, owned_led: Int64,
    ) -> tuple[Int64, Int64]:  # fmt: skip
        """Each entry of the surplus as an arc of its own, at most `cap` of a group together.

        Takes them out of the counts of what is held. Returns the arcs, and those of primaries.
        """
        some = self.surplus
        assert some is not None
        net, state = self.net, self.work.state
        groups, first, group = np.unique(some.group, return_index=True, return_inverse=True)
        gates = net.add_nodes(len(groups))
        at = lookup[some.kind[first], some.area[first]]
        there = at >= 0
        net.add(inside[at[there]], gates[there], 0, some.cap[first][there])
        target = self.node_of[some.member]
        mine = target >= 0
        lead = state.lead[some.row] == some.member
        head = np.where(mine, own[target] if len(own) else 0, keep[some.area])
        arcs = net.add(gates[group], head, 0, 1, primaries_moved=-1 * lead)
        np.subtract.at(here, (some.kind[mine], target[mine]), 1)
        np.subtract.at(led_here, (some.kind[mine & lead], target[mine & lead]), 1)
        np.add.at(owned, (some.kind[~mine], some.area[~mine]), 1)
        np.add.at(owned_led, (some.kind[~mine & lead], some.area[~mine & lead]), 1)
        return arcs, arcs[lead]

    def _add_loads(self, owners: Int64, sink: int, chosen: np.ndarray, owner: Int64) -> Int64:
        """Arcs to the sink for the loads of the chosen Members, pooled by owner.

        The least that must be there, then unit by unit in the order of what it costs in level 11.
        """
        found, members, net = self.found, self.work.members, self.net
        at = np.flatnonzero(chosen & (found.load_high > 0))
        low = np.bincount(owner[at], found.load_low[at], len(owners)).astype(np.int64)
        rank = np.zeros(len(owners), np.int64)
        rank[owner[at]] = np.maximum(rank[owner[at]], members.age_rank[at])
        arcs = [net.add(owners, sink, low, low, draining_age=rank)]
        span = found.load_high[at] - found.load_low[at]
        plain = span * (members.draining[at] | (int(span.sum()) > self.work.tuning.even_units))
        loose = np.bincount(owner[at], plain, len(owners)).astype(np.int64)
        arcs.append(net.add(owners, sink, 0, loose, draining_age=rank))
        unit = np.repeat(np.arange(len(at)), span - plain)
        if len(unit):
            start = np.cumsum(span - plain) - (span - plain)
            nth = found.load_low[at][unit] + np.arange(len(unit)) - start[unit] + 1
            cost = SCALE * nth // np.maximum(members.limit[at[unit]], 1)
            whose = owner[at[unit]]
            order = np.lexsort((cost, whose))
            whose, cost = whose[order], cost[order]
            # Owners with many units: bundles of about equal size, each at its dearest unit's cost.
            size = np.bincount(whose, minlength=len(owners))
            place = np.arange(len(whose)) - (np.cumsum(size) - size)[whose]
            bundle = place // np.maximum(1, -(-size // STEPS))[whose]
            edge = np.flatnonzero(np.r_[(whose[1:] != whose[:-1]) | (bundle[1:] != bundle[:-1]), True])
            units = np.diff(np.r_[-1, edge])
            arcs.append(net.add(owners[whose[edge]], sink, 0, units, even=cost[edge]))
            self._segments = (whose[edge], arcs[-1])
        else:
            self._segments = (np.zeros(0, np.int64), np.zeros(0, np.int64))
        ends = [(np.arange(len(owners)), arcs[0]), (np.arange(len(owners)), arcs[1]), self._segments]
        return np.stack([np.concatenate(part) for part in zip(*ends, strict=True)])

    def _sum_loads(self, flow: Flow, pooled: Int64, own: Int64) -> Int64:
        areas = self.work.areas
        out = np.bincount(pooled[0], flow.units[pooled[1]], areas)
        if len(own):
            out += np.bincount(self.work.area[self.own[own[0]]], flow.units[own[1]], areas)
        return out.astype(np.int64)

    def _draining_loads(self, flow: Flow, own: Int64) -> Int64:
        out = np.zeros(len(self.pooled), np.int64)
        if len(own):
            np.add.at(out, self.own[own[0]], flow.units[own[1]])
        return np.where(self.work.members.draining, out, 0)


def surplus_entries(work: Work) -> Surplus | None:
    """Entries of Items that have more in one area, or one cell, than they may; None without any."""
    kinds = work.kinds
    too_many = (kinds.spread > kinds.area_high).any(axis=1)
    rows = work.kinds_chosen(too_many) if too_many.any() else np.zeros(0, np.int64)
    doubled = _doubled(work)
    if len(doubled):
        rows = np.union1d(rows, doubled)
        rows = rows[np.argsort(work.state.hash[rows], kind="stable")]
    if not len(rows):
        return None
    at, kind = work.at(rows).astype(np.int64), work.kind(rows).astype(np.int64)
    rows, at, kind = rows[kind >= 0], at[kind >= 0], kind[kind >= 0]
    area = np.where(at >= 0, work.area[at], -1)
    cap = kinds.area_high[kind[:, None], np.maximum(area, 0)]
    size, group = _twins(area), area
    if work.state.merged:
        cell = np.where(at >= 0, work.cell[at], -1)
        inside = cell >= len(work.area)
        twins = _twins(np.where(inside, cell, -1 - np.arange(at.shape[1])))
        double = inside & (twins > 1)
        size, cap = np.where(double, twins, size), np.where(double, 1, cap)
        group = np.where(double, work.areas + cell, group)
    item, column = np.nonzero((at >= 0) & (size > cap))
    if not len(item):
        return None
    return Surplus(
        row=rows[item],
        column=column,
        member=at[item, column],
        area=area[item, column],
        kind=kind[item],
        group=item * (1 << 24) + group[item, column],
        cap=cap[item, column],
    )


def _doubled(work: Work) -> Int64:
    """Items with two entries in one merged zone."""
    if not work.state.merged:
        return np.zeros(0, np.int64)
    cell = np.append(np.where(work.cell >= len(work.area), work.cell, -1), -1)
    at = work.state.at
    columns = [cell[at[:, column]] for column in range(at.shape[1])]
    out = np.zeros(len(at), np.bool_)
    for one in range(len(columns)):
        for two in range(one):
            out |= (columns[one] == columns[two]) & (columns[one] >= 0)
    rows = np.flatnonzero(out)
    return rows[work.kind(rows) >= 0]


def _twins(values: Int64) -> Int64:
    """How many of its row equal each element (itself included)."""
    out = np.zeros(values.shape, np.int64)
    for column in range(values.shape[1]):
        out += values[:, column : column + 1] == values
    return out


def drop_surplus(work: Work) -> dict[str, int] | None:
    """Decide which surplus entries go, by the network with them apart, and lay the Items over.

    Returns the bounds of that network: it knows more of these Items than one of kinds. None
    where there is no surplus (or too much of it for arcs of their own).
    """
    some = surplus_entries(work)
    if some is None or len(some.row) > work.tuning.surplus_entries:
        return None
    moves = least_moves(work, some)
    # Of each group as many go as must, first those that the network does not keep, primaries last.
    order = np.lexsort((some.member == work.state.lead[some.row], moves.kept, some.group))
    groups, size = np.unique(some.group, return_counts=True)
    excess = np.repeat(size, size) - some.cap[order]
    rank = np.arange(len(order)) - np.repeat(np.cumsum(size) - size, size)
    go = order[rank < excess]
    rows, place = np.unique(some.row[go], return_inverse=True)
    at: Int32 = work.at(rows)
    at[place, some.column[go]] = -1
    work.lay_over(rows, at)
    return moves.bounds
