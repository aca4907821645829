"""Why a plan changes something, and what an Item or a Member waits for, in words."""

from collections.abc import Iterable
from typing import NamedTuple

from berth.cli.analysis import Change, PoolPlan, primary_of
from berth.cli.objects import find_condition
from berth.kinds import Entry, Phase, ZonePolicy
from berth.pool import MemberState, Wait, Why
from berth.pool.reasons import MESSAGES, Reason
from berth.pool.statuses import failures, member_names, wait_words
from berth.words import still_here

# ---- why a plan changes something ------------------------------------------------------------------


def why_changed(plan: PoolPlan, change: Change) -> str:
    """Why the plan changes anything for an Item."""
    if change.leaves:
        return "; ".join(dict.fromkeys(why_removed(plan, change.item, member) for member in change.leaves))
    if change.gains:
        return "it has too few replicas" if change.item in plan.held else "first placement"
    return why_promoted(plan, change.item)


def why_promoted(plan: PoolPlan, item: str) -> str:
    """Why slot 0 of an Item goes to another Member."""
    holder = primary_of(plan.held.get(item, {}))
    if holder is None:
        return "no Member holds slot 0"
    stays = holder in plan.wanted.get(item, ())
    return "balance of primaries" if stays else f"the plan moves the Item away from {holder}"


def why_removed(plan: PoolPlan, item: str, member: str) -> str:
    """Why the plan takes an Item from a Member that holds it."""
    pool, here = plan.pool, plan.held[item]
    known, holder = pool.items.get(item), plan.members.get(member)
    if known is None:
        return "the Item is gone"
    if holder is None:
        return f"{member} does not exist"
    if not holder.live:
        return f"{member} is not live"
    if known.spec.replicas == 0:
        return "it asks for no replicas"
    if holder.draining:
        return f"{member} is draining"
    if holder.items > holder.limit:
        return f"{member} is above its limit"
    live = [name for name in here if plan.live(name)]
    arrived = _arrived(plan, item, here, live)
    if len(live) - len(arrived) > known.spec.replicas:
        return "it has more replicas than it asks for"
    before = [name for name in live if name not in arrived]
    if len(_zones(plan, before)) == 1 and len(_zones(plan, plan.wanted[item])) > 1:
        return "all its replicas are in one zone"
    short = plan.short.get(item)
    if short is Reason.SINGLE_ZONE and len(before) > len(plan.wanted[item]):
        return "zones: Require leaves a replica unplaced rather than place all of them in one zone"
    if short is Reason.LIMIT_REACHED:
        return "the limits are used up, and the shortage is shared evenly"
    return "balance"


def _zones(plan: PoolPlan, members: Iterable[str]) -> set[str]:
    return {plan.members[name].zone for name in members}


def _arrived(plan: PoolPlan, item: str, here: dict[str, Entry], live: list[str]) -> set[str]:
    """Holders that came with a move under way, for each of which another holder still has to leave.

    A new holder gets a slot at or above `replicas` while the one that it replaces has a slot below. After
    a cut of `replicas` there are more such entries, or they are those that leave.
    """
    replicas = plan.pool.items[item].spec.replicas
    arrived = {name for name in live if here[name].slot >= replicas}.intersection(plan.wanted[item])
    return arrived if 0 < len(live) - replicas <= len(arrived) else set()


def why_one_zone(plan: PoolPlan, item: str) -> str | None:
    """Why the plan has an Item of two or more replicas in one zone although there is another."""
    wanted = plan.wanted.get(item, [])
    zones = _zones(plan, wanted)
    if len(wanted) < 2 or len(zones) != 1 or plan.brain.ledger.policy.zones is not ZonePolicy.SPREAD:
        return None
    zone = zones.pop()
    others = [m for m in plan.members.values() if m.zone != zone and m.limit > 0 and m.live]
    if not others:
        return None
    or_draining = " or draining" if any(m.draining and plan.items[m.name] < m.limit for m in others) else ""
    count = "both" if len(wanted) == 2 else f"all {len(wanted)}"
    where = f"zone {zone}" if zone else "the unnamed zone"
    return f"{count} replicas are in {where}: other zones have only Members that are full{or_draining}"


# ---- what is waited for ----------------------------------------------------------------------------


class Waiting(NamedTuple):
    """What an Item or a Member waits for, in the words of the conditions."""

    reason: str
    message: str
    members: tuple[str, ...] = ()


def _waiting(plan: PoolPlan, why: Why, *rows: int) -> Waiting:
    """A wait for the Members of these rows."""
    return Waiting(why.value, wait_words(plan.brain, Wait(why, rows)), tuple(member_names(plan.brain, rows)))


def item_waits(plan: PoolPlan, name: str) -> Waiting | None:
    """What an Item of a next round waits for; None where it is as it should be."""
    short = plan.short.get(name)
    if short is not None:
        return Waiting(short.value, MESSAGES[short])
    ledger = plan.brain.ledger
    row = ledger.items.of.get(name)
    if row is None:
        # It is deleted, and only Assignments of deleted Members list it.
        return _waiting(plan, Why.STEP) if name in plan.held else None
    wait = plan.brain.progress.waits.get(row)
    if wait is None:
        unready = tuple(m.row for m in ledger.holders(row) if not m.ready(name))
        if not unready or name not in plan.pool.items:
            return None
        wait = Wait(Why.NOT_READY, unready)
    failed = _failures(plan, name, wait.members) if wait.why is Why.NOT_READY else None
    return failed or _waiting(plan, wait.why, *wait.members)


def _failures(plan: PoolPlan, item: str, rows: tuple[int, ...]) -> Waiting | None:
    """The Members among these that report the Item as failed, in the words of its condition `Ready`."""
    members = plan.brain.ledger.members
    found = failures((members[row] for row in rows if row in members), item)
    return Waiting(Phase.FAILED.value, "; ".join(found.values()), tuple(found)) if found else None


def member_waits(plan: PoolPlan, name: str) -> Waiting | None:
    """What a Member of a next round waits for; None where it is as it should be."""
    pool, state = plan.pool, plan.brain.ledger.member_named(name)
    if state is None or state.info is None:
        return Waiting("MemberMissing", "the Member does not exist")
    if not state.live:
        return _not_live(plan, state)
    assignment = pool.assignments.get(name)
    if assignment is None:
        return Waiting("NoAssignment", "its Assignment does not exist yet")
    if pool.is_former(assignment):
        return Waiting("NoAssignment", "its Assignment still belongs to an earlier Member of this name")
    if plan.members[name].draining:
        left = sorted(state.held_or_reported)
        first = _first_wait(plan, left)
        words = f"; {first.message}" if first else ""
        return Waiting("Draining", f"{still_here(len(left))}{words}") if left else None
    unready = sorted(item for item in state.entries if not state.ready(item))
    for item in unready:
        if failed := _failures(plan, item, (state.row,)):
            return failed._replace(message=f"{item}: {failed.message}")
    if unready:
        more = f" and {len(unready) - 3} more" if len(unready) > 3 else ""
        wait = _waiting(plan, Why.NOT_READY, state.row)
        return wait._replace(message=f"{wait.message}: {', '.join(unready[:3])}{more}")
    changes = plan.changes.values()
    return _first_wait(plan, [change.item for change in changes if name in change.gains + change.leaves])


def _not_live(plan: PoolPlan, state: MemberState) -> Waiting:
    condition = find_condition(plan.pool.members[state.name], "Live")
    why = (condition.message if condition else "") or "its Lease is not renewed"
    if not state.awaited:
        return Waiting(condition.reason if condition else "NotLive", why, (state.name,))
    wait = _waiting(plan, Why.PAUSED if plan.brain.outage.braking else Why.OUTAGE, state.row)
    return wait._replace(message=f"{why}; {wait.message}")


def _first_wait(plan: PoolPlan, items: list[str]) -> Waiting | None:
    """What the first of these Items that waits for something waits for."""
    waits = ((item, item_waits(plan, item)) for item in items)
    return next((wait._replace(message=f"{item}: {wait.message}") for item, wait in waits if wait), None)
