"""Why a plan changes something, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from berth.api import Entry
from berth.cli.planning import PoolPlan, slot_zero
from berth.solve import Reason


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
    load: dict[str, int] = {}
    for here in plan.held.values():
        for member in here:
            load[member] = load.get(member, 0) + 1
    found = []
    for item in sorted(leaves.keys() | gains.keys() | promotes.keys()):
        out, into = tuple(leaves.get(item, ())), tuple(gains.get(item, ()))
        words = _why(plan, item, out, into, load)
        found.append(Change(item, out, into, promotes.get(item), words))
    return found


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


def why_removed(
    plan: PoolPlan, item: str, member: str, here: dict[str, Entry], load: dict[str, int] | None = None
) -> str:
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
    on_live = [name for name in here if is_live(plan, name)]
    if seen.replicas == 0:
        return "it asks for no replicas"
    if holder.limit == 0 or holder.draining:
        return f"{member} drains"
    if load is not None and load.get(member, 0) > holder.limit:
        return f"{member} is above its limit"
    if len(on_live) > seen.replicas:
        return "it has more replicas than it asks for"
    zones = {pool.members[name].zone for name in on_live}
    planned = {pool.members[name].zone for name in plan.wanted[item]}
    if len(zones) == 1 and len(planned) > 1:
        return "it is in one zone only"
    if plan.short.get(item) is Reason.LIMIT_REACHED:
        return "limits are short, and shared evenly"
    return "balance"


def is_live(plan: PoolPlan, member: str) -> bool:
    """Whether the Member exists and counts as live."""
    state = plan.fleet.member_named(member)
    return state is not None and state.live
