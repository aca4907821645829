"""The state of a Pool at a glance: sums, a line for each Member, and what is wrong. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from berth.cli.snapshot import PoolSnapshot, Said, fleet_of
from berth.pool import Ledger, MemberState
from berth.solve import bands
from berth.words import still_here

NO_CONTROLLER = "no controller has led this Pool yet: is berth controller running?"


class Trouble(NamedTuple):
    """Something that a person should know."""

    kind: str
    name: str
    message: str


@dataclass(frozen=True, slots=True)
class MemberLine:
    """A Member at a glance; counts are of entries that its Assignment lists."""

    name: str
    zone: str
    limit: int
    draining: bool
    live: bool
    items: int
    primaries: int
    ready: int
    low: int
    """The load's band."""
    high: int


@dataclass(frozen=True, slots=True)
class Overview:
    """A Pool at a glance."""

    pool: PoolSnapshot
    wanted: int
    """The sum of replicas."""
    held: int
    """Entries on live Members."""
    ready: int
    members: list[MemberLine]
    troubles: list[Trouble]
    """The worst first."""

    def said(self, type_: str) -> Said | None:
        """A condition of the Pool."""
        return next((c for c in self.pool.pool_said if c.type == type_), None)


def overview(pool: PoolSnapshot, now: float = 1e6) -> Overview:
    """Look at the Pool as its objects stand; nothing is solved."""
    fleet = fleet_of(pool, now)
    problem = fleet.problem()
    band = bands(problem)
    lines = []
    for name in sorted(pool.members):
        state = fleet.members[fleet.member_rows.of[name]]
        lines.append(_line(state, int(band.low[state.row]), int(band.high[state.row])))
    return Overview(
        pool=pool,
        wanted=sum(item.replicas for item in pool.items.values()),
        held=sum(line.items for line in lines if line.live),
        ready=sum(line.ready for line in lines if line.live),
        members=lines,
        troubles=[*_pool_troubles(pool), *_member_troubles(pool, fleet), *_item_troubles(pool, fleet)],
    )


def _line(state: MemberState, low: int, high: int) -> MemberLine:
    seen = state.seen
    assert seen is not None
    return MemberLine(
        name=state.name,
        zone=seen.zone,
        limit=seen.limit,
        draining=seen.draining or seen.limit == 0,
        live=state.live,
        items=len(state.entries),
        primaries=sum(entry.slot == 0 for entry in state.entries.values()),
        ready=sum(map(state.ready, state.entries)),
        low=low,
        high=high,
    )


def _pool_troubles(pool: PoolSnapshot) -> list[Trouble]:
    found = []
    if not pool.leader:
        found.append(Trouble("Pool", pool.name, NO_CONTROLLER))
    bad = {"Paused": "True", "Degraded": "True", "Converged": "False"}
    for type_, status in bad.items():
        said = next((c for c in pool.pool_said if c.type == type_ and c.status == status), None)
        if said is not None:
            name = "Not converged" if type_ == "Converged" else type_
            found.append(Trouble("Pool", pool.name, f"{name} ({said.reason}): {said.message}"))
    return found


def _member_troubles(pool: PoolSnapshot, fleet: Ledger) -> list[Trouble]:
    dead, failed, other = [], [], []
    for name in sorted(pool.members):
        state = fleet.members[fleet.member_rows.of[name]]
        if not state.live:
            said = pool.live(name)
            dead.append(
                Trouble("Member", name, f"not live: {said.message if said else 'its Lease has run out'}")
            )
        if state.assignment is not None:
            for item, _, text in state.assignment.problems:
                failed.append(Trouble("Member", name, f"Item {item}: {text}"))
        if state.malformed:
            other.append(Trouble("Member", name, f"its Assignment cannot be read: {state.malformed[0]}"))
        if (state.limit == 0 or (state.seen and state.seen.draining)) and state.entries:
            other.append(Trouble("Member", name, f"draining: {still_here(len(state.entries))}"))
    return dead + failed + other


def _item_troubles(pool: PoolSnapshot, fleet: Ledger) -> list[Trouble]:
    found = []
    for name, item in sorted(pool.items.items()):
        holders = [m for m in fleet.holders(fleet.items.of[name]) if m.live]
        ready = sum(m.ready(name) for m in holders)
        if len(holders) >= item.replicas and ready >= item.replicas:
            continue
        type_ = "Placed" if len(holders) < item.replicas else "Ready"
        said = next((c for c in pool.item_said.get(name, ()) if (c.type, c.status) == (type_, "False")), None)
        count = len(holders) if type_ == "Placed" else ready
        words = f"{count} of {item.replicas} replicas are {type_.lower()}"
        found.append((count - item.replicas, Trouble("Item", name, said.message if said else words)))
    found.sort(key=lambda pair: pair[0])
    return [trouble for _, trouble in found]


def overview_json(view: Overview) -> dict[str, Any]:
    """The overview for programs."""
    pool = view.pool
    return {
        "namespace": pool.namespace,
        "name": pool.name,
        "term": pool.term,
        "leader": pool.leader or None,
        "slots": {"wanted": view.wanted, "held": view.held, "ready": view.ready},
        "items": len(pool.items),
        "members": {
            line.name: {
                "zone": line.zone,
                "limit": line.limit,
                "draining": line.draining,
                "live": line.live,
                "items": line.items,
                "primaries": line.primaries,
                "ready": line.ready,
                "band": [line.low, line.high],
            }
            for line in view.members
        },
        "conditions": {
            c.type: {"status": c.status, "reason": c.reason, "message": c.message} for c in pool.pool_said
        },
        "problems": [t._asdict() for t in view.troubles],
    }
