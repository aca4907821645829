"""The plan of a Pool: what the solver wants, and how that differs from what is held."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from berth.cli.snapshot import PoolSnapshot, disowned, fleet_of
from berth.kinds import Entry
from berth.pool import Ledger
from berth.pool.member import read_entries
from berth.pool.reasons import Reason, reasons
from berth.solve import LEVELS, Bands, Problem, Solution, Solver, bands

Pair = tuple[str, str]
"""Item and Member."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The plain difference between what is held and what is wanted, sorted."""

    add: list[Pair]
    remove: list[Pair]
    promote: list[Pair]
    """Items whose slot 0 has a new holder, first placements too."""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """The answer of the solver for one Pool, with names."""

    pool: PoolSnapshot
    fleet: Ledger
    problem: Problem
    solution: Solution
    bands: Bands
    wanted: dict[str, list[str]]
    """Members by Item in slot order, for Items that exist."""
    held: dict[str, dict[str, Entry]]
    """Entries by Item and Member, those of dead and unknown Members and of gone Items too."""
    short: dict[str, Reason]
    """Why an Item has fewer replicas placed than it asks for."""
    changes: Changes
    items: dict[str, int]
    """Planned load by Member."""
    primaries: dict[str, int]
    """Planned primaries by Member."""

    @property
    def slots_wanted(self) -> int:
        """The sum of replicas."""
        return sum(item.replicas for item in self.pool.items.values())

    @property
    def slots_placed(self) -> int:
        """Replicas that the plan places."""
        return sum(map(len, self.wanted.values()))


def plan_pool(pool: PoolSnapshot, fleet: Ledger | None = None) -> PoolPlan:
    """Solve the Pool from nothing but its objects."""
    fleet = fleet or fleet_of(pool, now=0.0)
    problem = fleet.problem()
    names, member_names = fleet.items.names, fleet.member_rows.names

    def rejected(engine: str, faults: Sequence[str], wrong: Problem) -> None:
        # It loads the whole operator, which no other plan needs.
        from berth.controller.rejected import report

        report(engine, faults, wrong, names.__getitem__, member_names.__getitem__, pool.name, pool.namespace)

    # A solver of its own: its deadline is this Pool's, and none of its processes is left behind.
    with closing(Solver(rejected=rejected)) as solver:
        solution = solver.solve(problem)
    wanted = _wanted(pool, fleet, solution)
    held = held_entries(pool, fleet)
    items, primaries = dict.fromkeys(pool.members, 0), dict.fromkeys(pool.members, 0)
    for members in wanted.values():
        for member in members:
            items[member] += 1
        if members:
            primaries[members[0]] += 1
    return PoolPlan(
        pool=pool,
        fleet=fleet,
        problem=problem,
        solution=solution,
        bands=bands(problem),
        wanted=wanted,
        held=held,
        short={name: reason for row, reason in reasons(problem, solution).items() if (name := names[row])},
        changes=difference(held, wanted),
        items=items,
        primaries=primaries,
    )


def _wanted(pool: PoolSnapshot, fleet: Ledger, solution: Solution) -> dict[str, list[str]]:
    names = fleet.member_rows.names
    rows = fleet.items.of
    members = solution.members.tolist()
    return {
        item: [names[row] or "" for row in members[rows[item]] if row >= 0] for item in sorted(pool.items)
    }


def held_entries(pool: PoolSnapshot, fleet: Ledger) -> dict[str, dict[str, Entry]]:
    """What Assignments list, by Item and Member; an Assignment of an earlier Member counts for nothing."""
    held: dict[str, dict[str, Entry]] = {}
    for name, assignment in pool.assignments.items():
        if disowned(assignment, pool.members):
            continue
        member = fleet.member_named(name)
        if member is not None and member.owned:
            entries = member.entries
        else:
            entries = read_entries(None, {}, assignment.items).entries
        for item, entry in entries.items():
            held.setdefault(item, {})[name] = entry
    return held


def difference(held: dict[str, dict[str, Entry]], wanted: dict[str, list[str]]) -> Changes:
    """What would have to be added, removed and promoted, whatever the order and the rules in between."""
    add, remove, promote = [], [], []
    for item, members in wanted.items():
        here = held.get(item, {})
        add += [(item, member) for member in members if member not in here]
        if members and members[0] != slot_zero(here):
            promote.append((item, members[0]))
    for item, here in held.items():
        keep = wanted.get(item, ())
        remove += [(item, member) for member in here if member not in keep]
    return Changes(sorted(add), sorted(remove), sorted(promote))


def slot_zero(here: dict[str, Entry]) -> str | None:
    """Who holds slot 0: of several that claim it, the one with the highest epoch."""
    claims = [(entry.epoch, name) for name, entry in here.items() if entry.slot == 0]
    return max(claims)[1] if claims else None


def plan_json(plan: PoolPlan) -> dict[str, Any]:
    """The plan as section "Command line" of the design lays it down."""
    pool, proof = plan.pool, plan.solution.proof
    return {
        "slots": {"wanted": plan.slots_wanted, "placed": plan.slots_placed},
        "members": {
            name: {
                "zone": pool.members[name].zone,
                "limit": pool.members[name].limit,
                "items": plan.items[name],
                "primaries": plan.primaries[name],
                "usage": {},
            }
            for name in sorted(pool.members)
        },
        "items": {
            name: {
                "members": members,
                "missing": pool.items[name].replicas - len(members),
                "reason": plan.short[name].value if name in plan.short else None,
            }
            for name, members in plan.wanted.items()
        },
        "changes": {
            "add": [list(pair) for pair in plan.changes.add],
            "remove": [list(pair) for pair in plan.changes.remove],
            "promote": [list(pair) for pair in plan.changes.promote],
        },
        "levels": {name: {"reached": proof.reached[name], "bound": proof.bounds[name]} for name in LEVELS},
        "optimal": plan.solution.optimal,
        "seconds": round(plan.solution.seconds, 6),
    }
