"""The statuses of an Item, a Member and a Pool, with human-readable messages."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import msgspec

from berth.kinds import Phase, ReadCondition
from berth.pool.brain import Brain
from berth.pool.liveness import Liveness
from berth.pool.member import MemberState
from berth.pool.reasons import MESSAGES, Reason
from berth.pool.words import Wait, Why, describe
from berth.words import items_are, still_here

Status = dict[str, Any]


class Conditions(NamedTuple):
    """Makes conditions for an object that has the conditions `old`; `wall` is the wall-clock time."""

    old: tuple[ReadCondition, ...]
    wall: str

    def __call__(self, type_: str, holds: bool, reason: str, message: str) -> dict[str, str]:
        """A condition; it keeps its transition time while its status stays the same."""
        status = "True" if holds else "False"
        since = [c.last_transition_time for c in self.old if (c.type, c.status) == (type_, status)]
        return {
            "type": type_,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": (since and since[0]) or self.wall,
        }


def same_status(new: Status, old: Any) -> bool:
    """Whether a status that was read equals `new`."""
    if old is None:
        return False
    for key, value in new.items():
        there: Any = getattr(old, _snake(key))
        if key == "conditions":
            there = [(c.type, c.status, c.reason, c.message, c.last_transition_time) for c in there]
            value = [tuple(c.values()) for c in value]
        elif isinstance(there, tuple):
            there = list(there)
        elif isinstance(there, msgspec.Struct):
            there = msgspec.structs.asdict(there)
        if there != value:
            return False
    return True


@cache
def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name)


def wait_words(brain: Brain, wait: Wait) -> str:
    """What an Item waits for, with the names of the Members."""
    members = brain.ledger.members
    names = [members[row].name if row in members else "a Member that is gone" for row in wait.members]
    budget = brain.ledger.policy.max_in_flight
    return describe(wait, names, brain.progress.moving, budget)


def item_problem(brain: Brain, row: int) -> tuple[str, str] | None:
    """Reason and message for an Item that is not at its target, else None."""
    short = brain.target.short.get(row)
    if short is not None:
        return short.value, MESSAGES[short]
    wait = brain.progress.waits.get(row)
    if wait is not None:
        return wait.why.value, wait_words(brain, wait)
    return None


def item_status(brain: Brain, row: int, condition: Conditions) -> Status:
    """`status` of an Item row that exists."""
    info = brain.ledger.item_info[row]
    holders = [m for m in brain.ledger.holders(row) if m.live]
    awaited = tuple(m.row for m in brain.ledger.holders(row) if m.awaited and not m.live)
    ready = sum(m.ready(info.name) for m in holders)
    primary = next((m.name for m in holders if m.entries[info.name].primary), None)
    held, wanted = len(holders), info.replicas
    wait = brain.progress.waits.get(row)
    if held >= wanted:
        words = f": {wait_words(brain, wait)}" if wait and wait.why is not Why.STEP else ""
        placed = condition("Placed", True, "Placed", f"{held} of {wanted} replicas are placed{words}")
    else:
        reason, words = item_problem(brain, row) or (Why.STEP.value, "placement is under way")
        placed = condition("Placed", False, reason, f"{held} of {wanted} replicas are placed: {words}")
    unready = [m.name for m in holders if not m.ready(info.name)]
    if wanted and primary is None and wait is not None and wait.why is Why.RELEASE:
        words = f"{ready} of {wanted} replicas are ready, but none is primary: {wait_words(brain, wait)}"
        is_ready = condition("Ready", False, Why.RELEASE.value, words)
    elif ready >= wanted:
        is_ready = condition("Ready", True, "Ready", f"{ready} of {wanted} replicas are ready")
    elif failed := [(m.name, why) for m in holders if (why := failure(m, info.name)) is not None]:
        words = "; ".join(f"{name} reports Failed: {why}" for name, why in failed)[:1000]
        is_ready = condition("Ready", False, "Failed", f"{ready} of {wanted} replicas are ready: {words}")
    elif awaited and not unready:
        away = Wait(Why.PAUSED if brain.outage.braking else Why.OUTAGE, awaited)
        words = f"{ready} of {wanted} replicas are ready: {wait_words(brain, away)}"
        is_ready = condition("Ready", False, away.why.value, words)
    elif unready:
        words = wait_words(brain, Wait(Why.NOT_READY, tuple(m.row for m in holders if m.name in unready)))
        is_ready = condition(
            "Ready", False, Why.NOT_READY.value, f"{ready} of {wanted} replicas are ready: {words}"
        )
    else:
        is_ready = condition("Ready", False, placed["reason"], f"{ready} of {wanted} replicas are ready")
    status: Status = {
        "replicas": held,
        "ready": ready,
        "primary": primary,
        "members": [m.name for m in holders],
        "observedGeneration": info.generation,
        "conditions": [placed, is_ready],
    }
    return status


def failure(member: MemberState, item: str) -> str | None:
    """The failure that a Member reports for one of its entries; None if it reports none."""
    report, grant = member.reports.get(item), member.entries[item].grant
    if report is None or (report.grant, report.phase) != (grant, Phase.FAILED) or not member.session_holds:
        return None
    problems = member.assignment.problems if member.assignment else ()
    return next((text for name, at, text in problems if (name, at) == (item, grant)), "it gives no reason")


_LIVENESS_WORDS = {
    Liveness.LIVE: "its Lease is renewed",
    Liveness.MISSING: "Lease {lease} does not exist",
    Liveness.RELEASED: "Lease {lease} was released by its holder",
    Liveness.EXPIRED: "Lease {lease} was not renewed in time",
    Liveness.LONG_EXPIRED: "Lease {lease} was not renewed in time",
}


def member_status(member: MemberState, condition: Conditions) -> Status:
    """`status` of a Member that exists."""
    info = member.info
    assert info is not None
    entries = member.entries
    primaries = sum(e.slot == 0 for e in entries.values())
    ready = sum(map(member.ready, entries)) if member.live else 0
    if info.lease is None:
        live = condition("Live", True, "NoLease", "it has no Lease, so it counts as live")
    else:
        reason = Liveness.EXPIRED if member.liveness is Liveness.LONG_EXPIRED else member.liveness
        words = _LIVENESS_WORDS[member.liveness].format(lease=info.lease)
        live = condition("Live", member.live, "LeaseRenewed" if member.live else reason.value, words)
    leaving = info.limit == 0 or info.draining
    left = len(entries.keys() | member.reports.keys()) if info.reported else len(entries)
    if not leaving:
        drained = condition("Drained", False, "NotDraining", "its limit is above 0")
    elif left:
        drained = condition("Drained", False, "Draining", still_here(left))
    else:
        drained = condition("Drained", True, "Empty", "it holds nothing")
    return {
        "items": len(entries),
        "primaries": primaries,
        "ready": ready,
        "observedGeneration": info.generation,
        "conditions": [live, drained],
    }


def pool_status(brain: Brain, ready: int, unusable: dict[str, str], condition: Conditions) -> Status:
    """`status` of the Pool, without its term."""
    ledger = brain.ledger
    wanted = int(ledger.arrays.replicas[: ledger.arrays.items].sum())
    members = [m for m in ledger.members.values() if m.info is not None]
    held = sum(len(m.entries) for m in members if m.live)
    waits = brain.progress.waits
    outage = brain.outage
    paused = condition(
        "Paused",
        outage.braking,
        "Brake" if outage.braking else "NotPaused",
        f"{outage.dead} of {outage.counted} Members died together: removals and moves are paused"
        if outage.braking
        else "",
    )
    if not waits:
        converged = condition("Converged", True, "Converged", "everything is where the plan wants it")
    else:
        row, wait = min(waits.items(), key=lambda pair: (pair[1].why is Why.STEP, pair[0]))
        name = ledger.items.names[row] or "an Item"
        words = f"{items_are(len(waits))} not yet at their target; {name}: {wait_words(brain, wait)}"
        held_back = [other for other in waits.values() if other.why is Why.BUDGET]
        if held_back and wait.why is not Why.BUDGET:
            words += f"; {len(held_back)} held back: {wait_words(brain, held_back[0])}"
        if all(w.why is Why.LIMIT for w in waits.values()):
            words += "; no step is possible: full Members would have to swap. Raise one limit by 1"
        converged = condition("Converged", False, wait.why.value, words)
    return {
        "items": len(ledger.item_info),
        "members": len(members),
        "slots": {"wanted": wanted, "held": held, "ready": ready},
        "conditions": [converged, _degraded(brain, members, unusable, condition), paused],
    }


def _degraded(
    brain: Brain, members: list[MemberState], unusable: dict[str, str], condition: Conditions
) -> dict[str, str]:
    solution = brain.target.solution
    if brain.failure:
        return condition("Degraded", True, "RoundFailed", brain.failure[:1000])
    if solution is not None and solution.trouble:
        text = (
            f"the solver gave no plan in time ({solution.trouble[:500]}). The Pool goes on with the"
            " best certified plan: missing replicas are recovered, moves may wait. The solver is asked again"
            " after 5 to 60 s"
        )
        return condition("Degraded", True, "SolverOverdue", text)
    if unusable:
        name, why = min(unusable.items())
        return condition("Degraded", True, "UnusableObject", f"{name} cannot be used: {why}")
    malformed = sorted(m.name for m in members if m.malformed)
    if malformed:
        text = f"Assignment {malformed[0]} has entries that cannot be used"
        return condition("Degraded", True, "UnusableObject", text)
    if brain.target.short:
        row = min(brain.target.short)
        reason: Reason = brain.target.short[row]
        name = brain.ledger.items.names[row] or "an Item"
        text = f"{items_are(len(brain.target.short))} short of replicas; {name}: {MESSAGES[reason]}"
        return condition("Degraded", True, reason.value, text)
    dead = sorted(m.name for m in members if not m.live)
    if dead:
        text = f"{len(dead)} of {len(members)} Members are not live: {', '.join(dead[:3])}"
        return condition("Degraded", True, "MembersNotLive", text)
    return condition("Degraded", False, "Healthy", "")
