"""The fast path: from what is held to a best placement, where every level has a bound in closed form.

It answers when each level can be at its own least at once: all replicas placed, none on a draining
Member, every load in its band, every Item in its best spread over zones. Then only moves are left
to count, and two bounds say how few can do (see docs/design/solver.md):

* nothing above a band can be kept, so with S the Members above theirs
  moves ≥ wanted − Σ_S high − (what the Items can keep outside of S);
* what is missing below a band must come from elsewhere: moves ≥ Σ max(0, low − held).

Whatever it cannot reach or prove it leaves to others, by raising `Open`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from berth.solve.bounds import Bounds, keepable, primaries_lost, proof
from berth.solve.groups import deal, identical
from berth.solve.index import Index, counts_by_zone, mix
from berth.solve.network import solve_groups
from berth.solve.primaries import arrange
from berth.solve.problem import Bool, Int32, Int64, Problem, Proof, UInt64, Zones
from berth.solve.seats import Seekers, seat_all, seekers_at
from berth.solve.shapes import open_zones
from berth.solve.targets import drain, target_loads, water

CHUNKS = 40
"""Up to so many Items with surplus entries are looked at one by one, above all at once."""
SURPLUS = 0.2
"""Where more of all Items have surplus entries than this, the spread that fits each is not to be had."""
RETRIES = 6


class Open(Exception):  # noqa: N818 - no error: the question stays open
    """The fast path has no proven answer; says why."""


@dataclass(slots=True)
class Repaired:
    """Item rows whose slots are not simply what is held, and who has them; all others stay."""

    rows: Int64
    members: Int32
    """Shape (len(rows), v): slot order, padded with -1."""
    proof: Proof


def repair(problem: Problem, index: Index) -> Repaired:
    """A best placement with its proof. Raises Open where it is not sure of one."""
    total = index.total()
    fleet = index.fleet
    weight = fleet.limit
    _check_regular(problem, index, total)
    low, high = index.band(problem)
    drains = fleet.draining == 1
    low, high = np.where(drains, 0, low), np.where(drains, 0, high)

    loose = index.loose
    held = index.held_rows(loose)
    where = index.place[held]
    want = index.want_rows(loose)
    base, extra = index.shapes.base[want], index.shapes.extra[want]
    load = index.held_count[fleet.rows] - _count(index, held, loose)
    settled = load.copy()
    load += np.bincount(where[where >= 0], minlength=len(load))
    _drop_surplus(problem, index, loose, where, want, load, low, high)
    load[drains] = 0

    target = target_loads(load, low, high, weight, total)
    take, give = np.maximum(target - load, 0), np.maximum(load - target, 0)
    moves = int(take.sum())
    bounds = Bounds(index, total, held, want, settled, load, low, high)
    if moves and moves > bounds.moves(moves):
        raise Open(f"{moves} moves planned, the bound is {bounds.moves(moves)}")

    seekers = seekers_at(index, loose, where, want, base, extra)
    sent, source = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    banned = np.zeros(0, dtype=np.int64)
    for _ in range(RETRIES):
        if give.any():
            rows, donors = _evict(index, give, take, np.concatenate([banned, sent]))
            np.subtract.at(give, donors, 1)
            sent, source = np.concatenate([sent, rows]), np.concatenate([source, donors])
            at = index.place[index.held_rows(rows)]
            at[at == donors[:, None]] = -1
            wanted = index.want_rows(rows)
            shape = index.shapes
            seekers = _joined(
                seekers, seekers_at(index, rows, at, wanted, shape.base[wanted], shape.extra[wanted])
            )
            if give.any():
                gone = np.bincount(source, minlength=len(load))
                _find_other_donors(load - gone, low, high, weight, give)
                continue
        short = seat_all(seekers, take, fleet.zone, weight, problem.member_key[fleet.rows])
        if not len(short):
            break
        zones = np.asarray(seekers.open(short).any(axis=0))[fleet.zone]
        if _other_places(load, target, take, low, high, weight, zones):
            continue
        undone = short[short >= len(loose)]
        if len(undone) < len(short):
            raise Open("no place was found for an Item")
        # These cannot go where places are: they stay, and their Members send others.
        at = undone - len(loose)
        np.add.at(give, source[at], 1)
        banned = np.concatenate([banned, sent[at]])
        keep = np.ones(len(sent), dtype=np.bool_)
        keep[at] = False
        sent, source = sent[keep], source[keep]
        seekers = _picked(seekers, np.concatenate([np.ones(len(loose), dtype=np.bool_), keep]))
    else:
        raise Open("no place was found for Items that must move")

    rows = np.concatenate([loose, sent])
    at = seekers.at
    members = np.full(at.shape, -1, dtype=np.int32)
    members[at >= 0] = fleet.rows[at[at >= 0]]
    counts = index.primary_count - index.primaries_of(rows, len(problem.limit))
    members = arrange(problem, rows, members, counts, index.ranks)
    lost = primaries_lost(problem, index, rows, members)
    if lost and lost > (least := bounds.primaries(problem, loose, moves, lost)):
        raise Open(f"{lost} primaries lose their Member, the bound is {least}")
    return Repaired(rows, members, proof(problem, index, total, moves, lost))


def _check_regular(problem: Problem, index: Index, total: int) -> None:
    takers = index.fleet.draining == 0
    used = np.flatnonzero(index.by_replicas)
    most = int(used.max(initial=0))
    if min(most, index.members) > index.takers:
        raise Open("an Item wants more Members than there are without draining")
    if int(index.fleet.limit[takers].sum()) < total:
        raise Open("the limits do not hold everything")
    if problem.zones == Zones.REQUIRE:
        asked = used[used >= 2]
        if (index.shapes.top[np.minimum(asked, index.members)] > asked - 1).any():
            raise Open("Require leaves Items short")


def _count(index: Index, held: Int32, rows: Int64) -> Int64:
    """Entries of the rows in the order of the fleet, as `index.held_count` counts them."""
    counted = held[index.replicas_rows(rows) > 0]
    return np.bincount(counted[counted >= 0], minlength=len(index.held_count))[index.fleet.rows]


def _drop_surplus(
    problem: Problem,
    index: Index,
    loose: Int64,
    where: Int64,
    want: Int64,
    load: Int64,
    low: Int64,
    high: Int64,
) -> None:
    """Take from loose Items what no best spread of theirs keeps; `where` and `load` change in place.

    Which entries fit together is a matroid (a union of two laminar ones), so taking them in the
    order of preference keeps as many as can be: not on Members above their band, on Members at or
    below its lower end, primaries, on Members that are emptier for their limit.
    """
    base, extra = index.shapes.base[want], index.shapes.extra[want]
    counts = counts_by_zone(index, where)
    surplus = (where >= 0).sum(axis=1) - keepable(counts, base, extra)
    rows = np.flatnonzero(surplus > 0)
    if not len(rows):
        return
    rows = rows[np.argsort(problem.item_key[loose[rows]], kind="stable")]
    if len(rows) > max(CHUNKS, SURPLUS * index.items):
        raise Open("most Items would spread better than the bands let them")
    if len(rows) > CHUNKS:
        _keep_evenly(problem, index, loose, where, want, load, low, high, rows)
        return
    limit = np.maximum(index.fleet.limit, 1)
    zone = index.fleet.zone
    for part in np.array_split(rows, min(CHUNKS, len(rows))):
        at = where[part]
        safe = np.maximum(at, 0)
        order = np.lexsort(
            (
                at,
                (load / limit)[safe],
                index.held_rows(loose[part]) != index.primary_rows(loose[part])[:, None],
                (load > low)[safe],
                (load > high)[safe],
                at < 0,
            ),
            axis=1,
        )
        counts = np.zeros((len(part), index.fleet.zones), dtype=np.int64)
        every = np.arange(len(part))
        for column in range(at.shape[1]):
            pick = order[:, column]
            member = at[every, pick]
            there = member >= 0
            inside = there.copy()
            inside[there] = open_zones(counts[there], base[part][there], extra[part][there])[
                np.arange(int(there.sum())), zone[member[there]]
            ]
            counts[every[inside], zone[member[inside]]] += 1
            out = there & ~inside
            np.subtract.at(load, member[out], 1)
            where[part[out], pick[out]] = -1


def _keep_evenly(
    problem: Problem,
    index: Index,
    loose: Int64,
    where: Int64,
    want: Int64,
    load: Int64,
    low: Int64,
    high: Int64,
    rows: Int64,
) -> None:
    """`_drop_surplus` for many Items: what they keep is a small flow network without new entries."""
    np.subtract.at(load, where[rows][where[rows] >= 0], 1)
    fleet = replace(index.fleet, low=low, high=high, frozen=load.copy())
    groups, inverse = identical(problem, fleet, loose[rows])
    most = np.zeros(len(groups.size), dtype=np.int64)
    most[inverse] = index.shapes.top[want[rows]]
    outcome = solve_groups(problem, groups, fleet, np.zeros(0, dtype=np.int64), most)
    kept = deal(problem, fleet, loose[rows], inverse, outcome)
    members = np.where(where[rows] >= 0, fleet.rows[where[rows]], -2)
    stays = (members[:, :, None] == kept[:, None, :]).any(axis=2)
    where[rows] = np.where(stays, where[rows], -1)
    np.add.at(load, where[rows][where[rows] >= 0], 1)


def _joined(first: Seekers, second: Seekers) -> Seekers:
    names = Seekers.__slots__
    return Seekers(*(np.concatenate([getattr(first, name), getattr(second, name)]) for name in names))


def _picked(seekers: Seekers, rows: Bool) -> Seekers:
    return Seekers(*(getattr(seekers, name)[rows] for name in Seekers.__slots__))


def _other_places(
    load: Int64, target: Int64, take: Int64, low: Int64, high: Int64, weight: Int64, zones: Bool
) -> bool:
    """Give places that nobody could use to other Members, in the zones that are sought.

    `target` and `take` (the places left) change in place; every load stays within its band and the
    number of moves is the same. False where there is nothing to exchange.
    """
    spare = np.minimum(take, target - np.maximum(low, np.minimum(load, target)))
    ceiling = np.where(zones & (target >= load) & (take == 0), high, target)
    many = min(int(spare.sum()), int((ceiling - target).sum()))
    if not many:
        return False
    lowered = drain(target, target - spare, weight, many)
    raised = water(target, ceiling, weight, many)
    take += (lowered - target) + (raised - target)
    target += (lowered - target) + (raised - target)
    return True


def _find_other_donors(load: Int64, low: Int64, high: Int64, weight: Int64, give: Int64) -> None:
    """Where a Member has no Item that can leave to where places are, let others give instead."""
    stuck = give > 0
    rest = int(give.sum())
    floor = np.where(stuck, load, np.minimum(low, load))
    if (load > high).any() or int((load - floor).sum()) < rest:
        raise Open("too few Items can leave their Member")
    give[:] = load - drain(load, floor, weight, rest)


def _evict(index: Index, give: Int64, take: Int64, banned: Int64) -> tuple[Int64, Int64]:
    """(Item row, place of its Member) of settled Items that leave Members with too much.

    Not primaries where that can be, and only Items that may go to a zone with places; among
    those a scrambled order of keys decides. There may be fewer than `give` asks for.
    """
    donors = np.flatnonzero(give)
    owner, items = index.items_of(index.fleet.rows[donors])
    scrambled = mix(index.keys_rows(items), 5)
    # A sample of each Member's Items does, as a rule; of the others all are looked at.
    sizes = np.maximum(np.bincount(owner, minlength=len(donors)), 1)
    share = np.minimum((give[donors] * 8 + 24) / sizes, 1.0)
    chosen = np.flatnonzero((scrambled >> np.uint64(11)) * (0.5**53) <= share[owner])
    rows, sources = _choose_leavers(
        index, give, take, banned, donors, owner[chosen], items[chosen], scrambled[chosen]
    )
    good = index.primary_rows(rows) != index.fleet.rows[sources]
    rows, sources = rows[good], sources[good]
    left = give - np.bincount(sources, minlength=len(give))
    if left.any():
        among = np.flatnonzero(left[donors][owner] > 0)
        more, others = _choose_leavers(
            index, left, take, np.concatenate([banned, rows]), donors,
            owner[among], items[among], scrambled[among],
        )  # fmt: skip
        rows, sources = np.concatenate([rows, more]), np.concatenate([sources, others])
    return rows, sources


def _choose_leavers(
    index: Index,
    give: Int64,
    take: Int64,
    banned: Int64,
    donors: Int64,
    owner: Int64,
    items: Int32,
    scrambled: UInt64,
) -> tuple[Int64, Int64]:
    usable = ~index.loose_rows(items)
    if len(banned):
        usable &= ~np.isin(items, banned)
    owner, items, scrambled = owner[usable], items[usable], scrambled[usable]
    where = index.place[index.held_rows(items)]
    zone = index.fleet.zone
    counts = counts_by_zone(index, where)
    counts[np.arange(len(items)), zone[donors[owner]]] -= 1
    want = index.want_rows(items)
    goals = np.bincount(zone, weights=take, minlength=index.fleet.zones) > 0
    freedom = (open_zones(counts, index.shapes.base[want], index.shapes.extra[want]) & goals).sum(axis=1)
    takers = np.flatnonzero(take)
    if len(takers) <= 4:
        on_all = np.ones(len(items), dtype=np.bool_)
        for taker in takers.tolist():
            on_all &= (where == taker).any(axis=1)
        freedom[on_all] = 0
    primary = index.primary_rows(items) == index.fleet.rows[donors[owner]]
    order = np.lexsort((scrambled, -freedom, primary, owner))
    order = order[freedom[order] > 0]
    need = give[donors].copy()
    out_items: list[Int64] = []
    out_donors: list[Int64] = []
    taken = np.zeros(0, dtype=np.int64)
    while need.any() and len(order):
        group = owner[order]
        start = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
        rank = np.arange(len(order)) - np.repeat(start, np.diff(np.r_[start, len(order)]))
        pick = order[rank < need[group]]
        # An Item leaves one Member only: of two that send it, the first by key keeps to it.
        _, first = np.unique(items[pick], return_index=True)
        pick = pick[np.sort(first)]
        if not len(pick):
            break
        out_items.append(items[pick].astype(np.int64))
        out_donors.append(donors[owner[pick]])
        need -= np.bincount(owner[pick], minlength=len(need))
        taken = np.concatenate([taken, items[pick].astype(np.int64)])
        order = order[~np.isin(items[order], taken)]
    if not out_items:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate(out_items), np.concatenate(out_donors)
