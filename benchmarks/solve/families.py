"""Families of fleets that are hard to plan for, and what happens to them: arrays only, seeds fixed.

A fleet begins as its family says, held by the placement of a *start*. Then the family may take a
*turn* (a zone is lost, limits are cut) and one *event* happens; what follows is the instance to be
solved. The turn and the event change the arrays in place and name what they touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.solve.starts import held_by
from berth.solve.model import Int32, Int64, Problem, Touched, Zones

SHARE = 0.67
"""Part of all limits that is asked for where a family says nothing else."""
TIGHT = 0.97


@dataclass(frozen=True)
class Size:
    """How many Members and Items a family has at this size."""

    name: str
    members: int
    items: int

    def __str__(self) -> str:
        return f"{self.members:,} x {self.items:,}"


SIZES = {
    size.name: size
    for size in (
        Size("tiny", 12, 120),
        Size("little", 20, 600),
        Size("small", 100, 20_000),
        Size("large", 1000, 100_000),
    )
}


@dataclass
class Fleet:
    """A Problem and what is known of the rows that are not there yet."""

    problem: Problem
    asks: Int32
    """Shape (n,): what each Item asks for once it is there; the last 1% are not there at first."""
    items: int
    """Items that are there at first."""
    members: int
    """Members that the family has; the rows after them join with an event."""
    turn: Callable[[Problem], Sequence[int] | Int64] | None = None
    """Changes Members and returns their rows."""


def fleet(
    size: Size,
    *,
    zones: Sequence[int] = (1, 1, 1),
    replicas: int | Int32 = 3,
    weight: Int64 | None = None,
    share: float = SHARE,
    limit: Int64 | None = None,
) -> Fleet:
    """A fleet that holds nothing, with rows to spare for what joins.

    `zones` are the shares of the Members in each zone, `weight` the relative limits of the Members
    (shape (m,)), `share` the part of all limits that is asked for; `limit` says the limits instead.
    """
    m, n = size.members, size.items
    more, spare = max(1, n // 100), 1 + max(1, m // 10)
    rng = np.random.default_rng(1)
    asks = np.broadcast_to(np.asarray(replicas, dtype=np.int32), n + more).copy()
    if limit is None:
        weight = np.ones(m) if weight is None else weight.astype(float)
        limit = np.ceil(weight * asks[:n].sum() / share / weight.sum()).astype(np.int64)
    live = np.arange(m + spare) < m
    problem = Problem(
        item_key=rng.integers(1, 2**64, n + more, dtype=np.uint64),
        replicas=np.where(np.arange(n + more) < n, asks, 0).astype(np.int32),
        held=np.full((n + more, max(1, int(asks.max()))), -1, dtype=np.int32, order="F"),  # as in the brain
        held_primary=np.full(n + more, -1, dtype=np.int32),
        member_key=rng.integers(1, 2**64, m + spare, dtype=np.uint64),
        limit=np.append(limit, np.full(spare, limit[m // 2])).astype(np.int32),
        zone=np.append(spread(m, zones), np.zeros(spare)).astype(np.int32),
        live=live,
        draining=np.zeros(m + spare, dtype=np.bool_),
        age=np.arange(m + spare, dtype=np.int64),
    )
    return Fleet(problem, asks, n, m)


def spread(members: int, shares: Sequence[int]) -> Int64:
    """Shape (members,): zones in the given shares, each with one Member at least, well mixed."""
    parts = np.asarray(shares, dtype=float)
    counts = np.maximum(1, np.floor(members * parts / parts.sum())).astype(np.int64)
    for _ in range(max(0, members - int(counts.sum()))):
        counts[np.argmax(members * parts / parts.sum() - counts)] += 1
    at = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    return np.repeat(np.arange(len(counts)), counts)[np.argsort(at, kind="stable")][:members]


# ---- the families -------------------------------------------------------------------------------


def regular(size: Size) -> Fleet:
    """Three even zones, three replicas, equal limits."""
    return fleet(size)


def limits(size: Size) -> Fleet:
    """Limits from 1 to 10, drawn."""
    return fleet(size, zones=(3, 2), weight=np.random.default_rng(2).integers(1, 11, size.members))


def uneven(size: Size) -> Fleet:
    """Zones 10:3:1: the large one must hold two replicas of most Items."""
    return fleet(size, zones=(10, 3, 1))


def nearly_full(size: Size) -> Fleet:
    """Every Item needs one replica in a zone that has 0.4% more places than there are Items."""
    zone = spread(size.members, (3, 2))
    limit = np.where(
        zone == 1,
        np.ceil(size.items * 1.004 / (zone == 1).sum()),
        np.ceil(2 * size.items / SHARE / (zone == 0).sum()),
    )
    return fleet(size, zones=(3, 2), limit=limit.astype(np.int64))


def tight(size: Size) -> Fleet:
    """3% room."""
    return fleet(size, share=TIGHT)


def _drainers(size: Size) -> Int64:
    count = max(1, size.members // 20)
    return np.random.default_rng(3).permutation(size.members)[:count]


def beside_drainers(size: Size) -> Fleet:
    """5% of the Members drain; the others have 3% room."""
    out = fleet(size, share=TIGHT * (1 - len(_drainers(size)) / size.members))
    out.problem.draining[_drainers(size)] = True
    return out


def drain_begins(size: Size) -> Fleet:
    """3% room, and 5% of the Members begin to drain: not all of it can go elsewhere."""

    def turn(problem: Problem) -> Int64:
        problem.draining[_drainers(size)] = True
        return _drainers(size)

    out = fleet(size, share=TIGHT)
    out.turn = turn
    return out


def twelve_zones(size: Size) -> Fleet:
    """Twelve zones of one Member each with as many Items as they have room for; large: of 83 each."""
    if size.members < 1000:
        size = Size(size.name, 12, size.items * 12 // size.members)
    return fleet(size, zones=(1,) * 12)


def replicas(size: Size) -> Fleet:
    """Items that ask for 1 to 6 replicas."""
    asks = np.random.default_rng(4).integers(1, 7, size.items + max(1, size.items // 100))
    return fleet(size, replicas=asks.astype(np.int32))


def require(size: Size) -> Fleet:
    """`Require`, and the smaller zone has 0.3% fewer places than there are Items."""
    zone = spread(size.members, (3, 2))
    second = int((zone == 1).sum())
    places = min(int(size.items * 0.997), size.items - 1)
    limit = np.full(size.members, np.ceil(2 * size.items / 0.8 / (zone == 0).sum()))
    limit[zone == 1] = places // second + (np.arange(second) < places % second)
    out = fleet(size, zones=(3, 2), limit=limit.astype(np.int64))
    out.problem.zones = Zones.REQUIRE
    return out


def tolerant(size: Size) -> Fleet:
    """Loads may stray by 10%."""
    out = fleet(size, zones=(3, 2))
    out.problem.tolerance = 10
    return out


def scaled_out(size: Size) -> Fleet:
    """Half of the Members are new and empty."""
    new = np.flatnonzero(np.random.default_rng(5).permutation(size.members) >= (size.members + 1) // 2)

    def turn(problem: Problem) -> Int64:
        problem.live[new] = True
        return new

    out = fleet(size, share=0.43)
    out.problem.live[new] = False
    out.turn = turn
    return out


def zone_lost(size: Size) -> Fleet:
    """One of three zones is lost; the others have room for what it held."""

    def turn(problem: Problem) -> Int64:
        rows = np.flatnonzero(problem.live & (problem.zone == 2))
        problem.live[rows] = False
        return rows

    out = fleet(size, share=0.6)
    out.turn = turn
    return out


def shortage(size: Size) -> Fleet:
    """All limits are cut by 20%: more is held than they allow."""

    def turn(problem: Problem) -> Int64:
        problem.limit[:] = problem.limit * 4 // 5
        return np.arange(len(problem.limit))

    out = fleet(size, zones=(3, 2), share=0.9)
    out.turn = turn
    return out


def foreign(size: Size) -> Fleet:
    """A fleet that another, greedy planner has filled."""
    return fleet(size, zones=(3, 2), weight=np.random.default_rng(6).integers(2, 5, size.members))


def zones_32(size: Size) -> Fleet:
    """32 zones, or one for every two Members where that is less."""
    return fleet(size, zones=(1,) * min(32, size.members // 2))


def zones_200(size: Size) -> Fleet:
    """200 zones, or one for every two Members where that is less."""
    return fleet(size, zones=(1,) * min(200, size.members // 2))


FAMILIES: dict[str, Callable[[Size], Fleet]] = {
    "regular": regular,
    "limits 1:10": limits,
    "zones 10:3:1": uneven,
    "zone nearly full": nearly_full,
    "3% room": tight,
    "beside drainers": beside_drainers,
    "drain begins": drain_begins,
    "12 zones": twelve_zones,
    "replicas 1-6": replicas,
    "Require, short": require,
    "tolerance 10": tolerant,
    "scale-out": scaled_out,
    "zone lost": zone_lost,
    "shortage": shortage,
    "greedy": foreign,
    "32 zones": zones_32,
    "200 zones": zones_200,
}
FOREIGN = "greedy"
"""The family whose `own` placement is another planner's."""
TURNS = ("drain begins", "scale-out", "zone lost", "shortage")
"""The families in which more than the event happens at once."""
STARTS = ("own", "astray", "random", "first-fit", "empty")
"""By whom the fleet was placed: the solver itself, itself with 1% of the entries astray, others, nobody."""


# ---- the events ---------------------------------------------------------------------------------


def _one(problem: Problem) -> int:
    """A Member in the middle of those that take part."""
    rows = np.flatnonzero(problem.live & ~problem.draining & (problem.limit > 0))
    return int(rows[len(rows) // 2])


def nothing(_: Fleet) -> Touched:
    return touched()


def one_lost(now: Fleet) -> Touched:
    row = _one(now.problem)
    now.problem.live[row] = False
    return touched(members=[row])


def one_joins(now: Fleet) -> Touched:
    problem, row = now.problem, now.members
    problem.live[row] = True
    problem.zone[row] = problem.zone[_one(problem)]
    return touched(members=[row])


def more_items(now: Fleet) -> Touched:
    rows = np.arange(now.items, len(now.asks))
    now.problem.replicas[rows] = now.asks[rows]
    return touched(items=rows)


def rolled(now: Fleet) -> Touched:
    """10% of the Members are replaced by new ones, each in the zone and with the limit of an old one."""
    problem = now.problem
    new = np.arange(now.members + 1, len(problem.limit))
    old = np.random.default_rng(8).permutation(np.flatnonzero(problem.live & ~problem.draining))[: len(new)]
    new = new[: len(old)]
    problem.live[old], problem.live[new] = False, True
    problem.zone[new], problem.limit[new] = problem.zone[old], problem.limit[old]
    return touched(members=np.append(old, new))


def one_drains(now: Fleet) -> Touched:
    row = _one(now.problem)
    now.problem.draining[row] = True
    return touched(members=[row])


EVENTS: dict[str, Callable[[Fleet], Touched]] = {
    "nothing": nothing,
    "one lost": one_lost,
    "one joins": one_joins,
    "+1% Items": more_items,
    "10% rolled": rolled,
    "one drains": one_drains,
}
SMALL_EVENTS = ("one lost", "one joins", "+1% Items", "one drains")


def touched(items: Sequence[int] | Int64 = (), members: Sequence[int] | Int64 = ()) -> Touched:
    """The rows as `Touched` wants them."""
    return Touched(np.asarray(items, dtype=np.int32), np.asarray(members, dtype=np.int32))


# ---- putting them together ----------------------------------------------------------------------


def prepared(family: str, size: Size, start: str, own: Callable[[Problem], Int32]) -> Fleet:
    """The fleet before its turn and any event, held by the placement of `start`.

    `own` plans for a fleet that holds nothing: Member rows of each Item, shape (n, v), padded with -1.
    """
    now = FAMILIES[family](size)
    hold(now.problem, held_by(now.problem, start, own, greedy=family == FOREIGN))
    return now


def hold(problem: Problem, members: Int32) -> None:
    """The placement comes true: `held` is set in place; `members` has shape (n, v)."""
    width = min(problem.held.shape[1], members.shape[1])
    problem.held[:] = -1
    problem.held[:, :width] = members[:, :width]
    problem.held_primary[:] = problem.held[:, 0]


def turn(now: Fleet) -> Touched:
    """Let the family take its turn, in place."""
    return touched(members=() if now.turn is None else now.turn(now.problem))


def happen(now: Fleet, event: str) -> Touched:
    """Let the event happen, in place."""
    return EVENTS[event](now)


def instance(family: str, size: Size, event: str, start: str, own: Callable[[Problem], Int32]) -> Problem:
    """The Problem after the turn and the event, from the start."""
    now = prepared(family, size, start, own)
    turn(now)
    happen(now, event)
    return now.problem


def cases(
    families: Sequence[str] = (), events: Sequence[str] = (), starts: Sequence[str] = ()
) -> list[tuple[str, str, str]]:
    """(family, event, start) of all that make sense and are asked for; empty lists ask for all."""
    out = []
    for family in families or FAMILIES:
        for start in starts or STARTS:
            for event in events or EVENTS:
                if start == "empty" and event != "nothing":
                    continue  # a first fill; what happened before it shows nowhere
                if family == FOREIGN and start in ("random", "first-fit", "empty"):
                    continue  # it is a start of its own
                out.append((family, event, start))
    return out
