"""Why a plan changes something, in words. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from berth.cli.planning import PoolPlan, slot_zero
from berth.kinds import Entry, ZonePolicy
from berth.pool.reasons import Reason


class Change(NamedTuple):
    """What the plan changes for one Item, and why."""

    item: str
    leaves: tuple[str, ...]
    gains: tuple[str, ...]
    promotes: str | None
    """The new holder of slot 0, if it has one."""
    why: str


def changes(plan: PoolPlan) -> list[Change]:
    """The changes of each Item that has some, sorted by Item."""
    leaves: dict[str, list[str]] = {}
    gains: dict[str, list[str]] = {}
    for item, member in plan.changes.remove:
        leaves.setdefault(item, []).append(member)
    for item, member in plan.changes.add:
        gains.setdefault(item, []).append(member)
    promotes = dict(plan.changes.promote)
    load = loads(plan)
    found = []
    for item in sorted(leaves.keys() | gains.keys() | promotes.keys()):
        out, into = tuple(leaves.get(item, ())), tuple(gains.get(item, ()))
        words = _why(plan, item, out, into, load)
        found.append(Change(item, out, into, promotes.get(item), words))
    return found


def loads(plan: PoolPlan) -> dict[str, int]:
    """Entries by Member."""
    return Counter(member for here in plan.held.values() for member in here)


def _why(
    plan: PoolPlan, item: str, leaves: tuple[str, ...], gains: tuple[str, ...], load: dict[str, int]
) -> str:
    here = plan.held.get(item, {})
    reasons = list(dict.fromkeys(why_removed(plan, item, member, here, load) for member in leaves))
    if reasons:
        return "; ".join(reasons)
    if gains:
        return "first placement" if not here else "it has too few replicas"
    return why_promoted(here, plan.wanted.get(item, ()))


def why_promoted(here: dict[str, Entry], wanted: Sequence[str]) -> str:
    """Why slot 0 of an Item goes to another of its holders."""
    holder = slot_zero(here)
    if holder is None:
        return "nobody holds slot 0"
    return "balance of primaries" if holder in wanted else f"{holder} is to leave"


def why_removed(plan: PoolPlan, item: str, member: str, here: dict[str, Entry], load: dict[str, int]) -> str:
    """Why the plan takes an Item from a Member that has it. `load`: entries by Member."""
    pool = plan.pool
    seen = pool.items.get(item)
    if seen is None:
        return "the Item is gone"
    holder = pool.members.get(member)
    if holder is None:
        return f"{member} does not exist"
    if not is_live(plan, member):
        return f"{member} is not live"
    if seen.replicas == 0:
        return "it asks for no replicas"
    if holder.limit == 0 or holder.draining:
        return f"{member} drains"
    if load.get(member, 0) > holder.limit:
        return f"{member} is above its limit"
    on_live = [name for name in here if is_live(plan, name)]
    arrived = _arrived(plan, item, here, on_live)
    if len(on_live) - len(arrived) > seen.replicas:
        return "it has more replicas than it asks for"
    before = [name for name in on_live if name not in arrived]
    zones = {pool.members[name].zone for name in before}
    planned = {pool.members[name].zone for name in plan.wanted[item]}
    if len(zones) == 1 and len(planned) > 1:
        return "it is in one zone only"
    short = plan.short.get(item)
    if short is Reason.SINGLE_ZONE and len(before) > len(plan.wanted[item]):
        return "zones: Require leaves a replica unplaced rather than have all of them in one zone"
    if short is Reason.LIMIT_REACHED:
        return "limits are short, and shared evenly"
    return "balance"


def _arrived(plan: PoolPlan, item: str, here: dict[str, Entry], on_live: list[str]) -> set[str]:
    """Holders that came with moves under way: for each of them another is still to leave.

    A newcomer gets a slot above those asked for while the holder that it replaces has one of these. After
    a cut of `replicas` the entries above are more than that, or are those that leave.
    """
    replicas, wanted = plan.pool.items[item].replicas, plan.wanted[item]
    above = {name for name in on_live if here[name].slot >= replicas}
    came = above.intersection(wanted)
    return came if 0 < len(on_live) - replicas <= len(came) else set()


def why_one_zone(plan: PoolPlan, item: str) -> str | None:
    """Why the plan has an Item of two or more replicas in one zone though there is another."""
    members, wanted = plan.pool.members, plan.wanted.get(item, [])
    zones = {members[name].zone for name in wanted}
    if len(wanted) < 2 or len(zones) != 1 or plan.pool.policy.zones is not ZonePolicy.SPREAD:
        return None
    zone = zones.pop()
    others = [m for m in members.values() if m.zone != zone and m.limit > 0 and is_live(plan, m.name)]
    if not others:
        return None
    drain = any(m.draining and plan.items[m.name] < m.limit for m in others)
    why = "has room" + (" and does not drain" if drain else "")
    count = "both" if len(wanted) == 2 else f"all {len(wanted)}"
    where = f"zone {zone}" if zone else "the zone without a name"
    return f"{count} replicas are in {where}: no Member of another zone {why}"


def is_live(plan: PoolPlan, member: str) -> bool:
    """Whether the Member exists and counts as live."""
    state = plan.fleet.member_named(member)
    return state is not None and state.live
