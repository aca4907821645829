"""The statuses of Items, Members and a Pool, and which of them must be written."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from berth.kinds import ItemObject, ItemStatusMode, Key, MemberObject, ReadCondition, ReadPoolStatus
from berth.pool.brain import Brain
from berth.pool.decision import Notice
from berth.pool.liveness import Liveness
from berth.pool.member import MemberState
from berth.pool.progress import UNDER_WAY
from berth.pool.reasons import MESSAGES, WORDS, Wait, Why, listed
from berth.words import items_are, still_here

Status = dict[str, Any]
NAMED = 5  # how many unusable objects a condition names; it counts the others


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


def same_status(new: Status, old: msgspec.Struct | None) -> bool:
    """Whether a status that was read equals `new` in all fields that `new` has."""
    return old is not None and msgspec.convert(msgspec.to_builtins(old) | new, type(old)) == old


def member_names(brain: Brain, rows: Iterable[int]) -> list[str]:
    """The names of the Members of these rows, for a sentence."""
    members = brain.ledger.members
    return [members[row].name if row in members else "a Member that is gone" for row in rows]


def wait_words(brain: Brain, wait: Wait) -> str:
    """What an Item waits for, with the names of the Members."""
    who, budget = listed(member_names(brain, wait.members)), brain.ledger.policy.moves.max_in_flight
    return WORDS[wait.why].format(who=who, in_flight=brain.progress.moving, budget=budget)


def failures(members: Iterable[MemberState], item: str) -> dict[str, str]:
    """The Members among these that report the Item as failed, and a sentence for each."""
    return {m.name: f"{m.name} reports Failed: {why}" for m in members if (why := m.failure(item))}


def item_status(brain: Brain, row: int, condition: Conditions) -> Status:
    """`status` of an Item row that exists."""
    ledger, name = brain.ledger, brain.ledger.items.name(row)
    holders = [m for m in ledger.holders(row) if m.live]
    held, wanted = len(holders), int(ledger.arrays.replicas[row])
    unready = [m for m in holders if not m.ready(name)]
    primary = next((m.name for m in holders if m.entries[name].primary), None)
    wait = brain.progress.waits.get(row)
    placed_words = f"{held} of {wanted} replicas are placed"
    if held >= wanted:
        words = f": {wait_words(brain, wait)}" if wait and wait.why is not Why.STEP else ""
        placed = condition("Placed", True, "Placed", placed_words + words)
    elif (short := brain.target.short.get(row)) is not None:
        placed = condition("Placed", False, short.value, f"{placed_words}: {MESSAGES[short]}")
    else:
        missing = wait or UNDER_WAY
        words = wait_words(brain, missing)
        placed = condition("Placed", False, missing.why.value, f"{placed_words}: {words}")
    ready_words = f"{held - len(unready)} of {wanted} replicas are ready"
    if wanted and primary is None and wait is not None and wait.why is Why.RELEASE:
        words = f"{ready_words}, but none is primary: {wait_words(brain, wait)}"
        ready = condition("Ready", False, wait.why.value, words)
    elif held - len(unready) >= wanted:
        ready = condition("Ready", True, "Ready", ready_words)
    else:
        reason, words = _unready(brain, row, unready) or (placed["reason"], "")
        ready = condition("Ready", False, reason, f"{ready_words}: {words}" if words else ready_words)
    return {
        "replicas": held,
        "ready": held - len(unready),
        "primary": primary,
        "members": [m.name for m in holders],
        "observedGeneration": ledger.generations[row],
        "conditions": [placed, ready],
    }


def _unready(brain: Brain, row: int, unready: list[MemberState]) -> tuple[str, str] | None:
    """Reason and message for an Item with too few ready replicas, if its holders are the reason."""
    item = brain.ledger.items.name(row)
    holders = brain.ledger.holders(row)
    if failed := failures((m for m in holders if m.live), item):
        return "Failed", "; ".join(failed.values())[:1000]
    awaited = tuple(m.row for m in holders if m.awaited)
    if unready:
        wait = Wait(Why.NOT_READY, tuple(m.row for m in unready))
    elif awaited:
        wait = Wait(Why.PAUSED if brain.outage.braking else Why.OUTAGE, awaited)
    else:
        return None
    return wait.why.value, wait_words(brain, wait)


_LIVE_WORDS = {
    Liveness.LIVE: ("LeaseRenewed", "its Lease is renewed"),
    Liveness.MISSING: ("LeaseMissing", "Lease {lease} does not exist"),
    Liveness.RELEASED: ("LeaseReleased", "Lease {lease} was released by its holder"),
    Liveness.EXPIRED: ("LeaseExpired", "Lease {lease} was not renewed in time"),
    Liveness.LONG_EXPIRED: ("LeaseExpired", "Lease {lease} was not renewed in time"),
}
"""Reason and message of the condition `Live`."""


def member_status(member: MemberState, condition: Conditions) -> Status:
    """`status` of a Member that exists."""
    info, entries = member.info, member.entries
    assert info is not None
    if member.lease:
        reason, words = _LIVE_WORDS[member.liveness]
        live = condition("Live", member.live, reason, words.format(lease=member.lease))
    else:
        live = condition("Live", True, "NoLease", "it has no Lease, so it counts as live")
    if member.limit and not info.spec.draining:
        drained = condition("Drained", False, "NotDraining", "its limit is above 0")
    elif left := len(member.held_or_reported):
        drained = condition("Drained", False, "Draining", still_here(left))
    else:
        drained = condition("Drained", True, "Empty", "it holds nothing")
    return {
        "items": len(entries),
        "primaries": sum(e.primary for e in entries.values()),
        "ready": sum(map(member.ready, entries)),
        "observedGeneration": info.metadata.generation,
        "conditions": [live, drained],
    }


def pool_status(brain: Brain, ready: int, unusable: dict[str, str], condition: Conditions) -> Status:
    """`status` of the Pool, without its term."""
    ledger, outage = brain.ledger, brain.outage
    members = [m for m in ledger.members.values() if m.info is not None]
    paused = ("Brake", outage.reason) if outage.braking else ("NotPaused", "")
    degraded = _degraded(brain, members, unusable)
    return {
        "items": len(ledger.generations),
        "members": len(members),
        "slots": {
            "wanted": int(ledger.arrays.replicas[: ledger.arrays.items].sum()),
            "held": sum(len(m.entries) for m in members if m.live),
            "ready": ready,
        },
        "conditions": [
            condition("Converged", *_converged(brain)),
            condition("Degraded", degraded is not None, *(degraded or ("Healthy", ""))),
            condition("Paused", outage.braking, *paused),
        ],
    }


def _converged(brain: Brain) -> tuple[bool, str, str]:
    """Whether no Item waits; reason and message of the first that does, a wait for a step last."""
    waits = brain.progress.waits
    if not waits:
        return True, "Converged", "everything is where the plan wants it"
    row, wait = min(waits.items(), key=lambda pair: (pair[1].why is Why.STEP, pair[0]))
    name = brain.ledger.items.names[row] or "an Item"
    words = f"{items_are(len(waits))} not yet at target; {name}: {wait_words(brain, wait)}"
    held_back = [other for other in waits.values() if other.why is Why.BUDGET]
    if held_back and wait.why is not Why.BUDGET:
        words += f"; {len(held_back)} held back: {wait_words(brain, held_back[0])}"
    if all(w.why is Why.LIMIT for w in waits.values()):
        words += "; no step is possible: full Members would have to swap. Raise one limit by 1"
    return False, wait.why.value, words


def _degraded(brain: Brain, members: list[MemberState], unusable: dict[str, str]) -> tuple[str, str] | None:
    """Reason and message of the most severe of the Pool's faults."""
    solution, short = brain.target.solution, brain.target.short
    words = [f"{name} cannot be used: {why}" for name, why in sorted(unusable.items())]
    words += sorted(f"Assignment {m.name} has entries that cannot be used" for m in members if m.malformed)
    if len(words) > NAMED:
        words[NAMED:] = [f"{len(words) - NAMED} more objects cannot be used"]
    if brain.failure:
        return "RoundFailed", "; ".join([brain.failure[:1000], *words])
    if solution is not None and solution.trouble:
        overdue = (
            f"the solver gave no plan in time ({solution.trouble[:500]}). The Pool goes on with the"
            " best certified plan: missing replicas are recovered, moves may wait. The solver is asked again"
            " after 5 to 60 s"
        )
        return "SolverOverdue", "; ".join([overdue, *words])
    if words:
        return "UnusableObject", "; ".join(words)
    if short:
        row, reason = min(short.items())
        name = brain.ledger.items.names[row] or "an Item"
        return reason.value, f"{items_are(len(short))} short of replicas; {name}: {MESSAGES[reason]}"
    dead = sorted(m.name for m in members if not m.live)
    if dead:
        text = f"{len(dead)} of {len(members)} Members are not live: {', '.join(dead[:3])}"
        return "MembersNotLive", text
    return None


class StatusWrite(NamedTuple):
    """A status to write."""

    name: str
    row: int
    status: Status | None  # None: it is removed


class Statuses:
    """Which statuses of a Pool must be written. `wall` is the time of day, as conditions have it.

    `store` has the objects as the API server has them, by namespace and name.
    """

    def __init__(self, brain: Brain) -> None:
        self._brain = brain
        self._changed = brain.ledger.changed
        self._ready: dict[str, int] = {}

    def members(self, store: Mapping[Key, MemberObject], wall: str) -> tuple[list[StatusWrite], list[Notice]]:
        """The statuses of Members that have changed, and the Events of those that have died."""
        members = self._brain.ledger.members
        rows, self._changed.member_status = sorted(self._changed.member_status), set()
        writes, notices = [], []
        for row in rows:
            member = members.get(row)
            there = store.get((self._brain.namespace, member.name)) if member else None
            if member is None or member.info is None or there is None:
                continue
            status = member_status(member, Conditions(there.status.conditions if there.status else (), wall))
            self._ready[member.name] = status["ready"]
            if there.reported_live and not member.live:
                live = status["conditions"][0]
                notices.append(Notice("Member", member.name, member.uid, live["reason"], live["message"]))
            if not same_status(status, there.status):
                writes.append(StatusWrite(member.name, row, status))
        return writes, notices

    def take_items(self) -> list[int]:
        """The rows of the Items whose status may have changed."""
        rows, self._changed.item_status = sorted(self._changed.item_status), set()
        return rows

    def items(self, rows: list[int], store: Mapping[Key, ItemObject], wall: str) -> list[StatusWrite]:
        """The statuses of these Items, as far as they have changed."""
        ledger = self._brain.ledger
        mode = ledger.policy.item_status
        writes = []
        for row in rows:
            name = ledger.items.names[row] if row in ledger.generations else None
            there = store.get((self._brain.namespace, name)) if name else None
            if name is None or there is None:
                continue
            old = there.status
            if mode is ItemStatusMode.NONE:
                if old is not None:  # a stale status is worse than none
                    writes.append(StatusWrite(name, row, None))
                continue
            status = item_status(self._brain, row, Conditions(old.conditions if old else (), wall))
            healthy = all(condition["status"] == "True" for condition in status["conditions"])
            if mode is ItemStatusMode.PROBLEMS and old is None and healthy:
                continue
            if not same_status(status, old):
                writes.append(StatusWrite(name, row, status))
        return writes

    def pool(
        self, unusable: dict[str, str], old: ReadPoolStatus | None, generation: int, wall: str
    ) -> tuple[Status, bool]:
        """The Pool's status without its term, and whether it has changed."""
        names = {m.name for m in self._brain.ledger.members.values() if m.info is not None}
        self._ready = {name: count for name, count in self._ready.items() if name in names}
        ready = sum(self._ready.values())
        status = pool_status(self._brain, ready, unusable, Conditions(old.conditions if old else (), wall))
        status["observedGeneration"] = generation
        return status, not same_status(status, old)

    def put_back(self, *, members: Iterable[int] = (), items: Iterable[int] = ()) -> None:
        """The statuses of these rows were not written."""
        self._changed.member_status.update(members)
        self._changed.item_status.update(items)
