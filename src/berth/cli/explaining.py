"""What is to be said of one Item or Member: where it is and why, what is wanted, what it waits for. Pure."""

from __future__ import annotations

from typing import Any

from berth.cli.planning import slot_zero
from berth.cli.situation import Situation, Waiting, item_waits, leftovers, member_waits
from berth.cli.snapshot import Said
from berth.cli.why import changes, is_live, loads, why_one_zone, why_promoted, why_removed
from berth.kinds import Entry
from berth.pool import MemberEdit
from berth.pool.reasons import MESSAGES

Facts = dict[str, Any]


def explain_item(now: Situation, name: str) -> Facts:
    """The facts of an Item, ready for JSON."""
    plan, pool = now.plan, now.pool
    seen = pool.items.get(name)
    here = plan.held.get(name, {})
    wanted = plan.wanted.get(name, [])
    change = next((c for c in changes(plan) if c.item == name), None)
    holders = sorted(here.items(), key=lambda pair: (pair[1].slot, -pair[1].epoch, pair[0]))
    short = plan.short.get(name)
    load = loads(plan)
    return {
        "kind": "Item",
        "name": name,
        "namespace": pool.namespace,
        "pool": pool.name,
        "exists": seen is not None,
        "replicas": seen.replicas if seen else 0,
        "held": [_held(now, name, member, entry, load) for member, entry in holders],
        "wanted": wanted,
        "arrives": [{"member": m, "why": change.why if change else ""} for m in wanted if m not in here],
        "primary": {
            "now": slot_zero(here),
            "wanted": wanted[0] if wanted else None,
            "why": why_promoted(here, wanted) if wanted and wanted[0] != slot_zero(here) else None,
        },
        "missing": (seen.replicas if seen else 0) - len(wanted),
        "missingReason": {"reason": short.value, "message": MESSAGES[short]} if short else None,
        "oneZone": why_one_zone(plan, name),
        "waitsFor": _waiting(item_waits(now, name)),
        "next": [
            step_words(member, edit, holds=member in here) for member, edit in now.next_steps.get(name, ())
        ],
        "conditions": _conditions(pool.item_said.get(name, ())),
    }


def _held(now: Situation, item: str, member: str, entry: Entry, load: dict[str, int]) -> Facts:
    plan = now.plan
    state = now.fleet.member_named(member)
    seen = now.pool.members.get(member)
    report = state.reports.get(item) if state else None
    problem = None
    if state is not None and state.assignment is not None:
        told = (
            text for name, grant, text in state.assignment.problems if (name, grant) == (item, entry.grant)
        )
        problem = next(told, None)
    stays = member in plan.wanted.get(item, ())
    return {
        "member": member,
        "zone": seen.zone if seen else None,
        "slot": entry.slot,
        "grant": entry.grant,
        "epoch": entry.epoch,
        "live": is_live(plan, member),
        "ready": state is not None and state.ready(item),
        "phase": report.phase.value if report and report.grant == entry.grant else None,
        "problem": problem,
        "stays": stays,
        "why": "the plan keeps it here" if stays else why_removed(plan, item, member, plan.held[item], load),
    }


def step_words(member: str, edit: MemberEdit, *, holds: bool) -> str:
    """An edit that the rules allow now, as a sentence without a subject."""
    entry = edit.entry
    if entry is None:
        return f"take it from {member}"
    if entry.slot == 0:
        return f"make {member} its primary" if holds else f"give it to {member} as primary"
    return (
        f"make {member} a replica in slot {entry.slot}"
        if holds
        else f"give it to {member} (slot {entry.slot})"
    )


def explain_member(now: Situation, name: str) -> Facts:
    """The facts of a Member, ready for JSON."""
    plan, pool = now.plan, now.pool
    state = now.fleet.member_named(name)
    seen = pool.members.get(name)
    entries = {item: here[name] for item, here in plan.held.items() if name in here}
    row = state.row if state else None
    why = {change.item: change.why for change in changes(plan)}
    left = leftovers(state) if state else []
    draining = seen is not None and (seen.limit == 0 or seen.draining)
    load = loads(plan)
    return {
        "kind": "Member",
        "name": name,
        "namespace": pool.namespace,
        "pool": pool.name,
        "exists": seen is not None,
        "zone": seen.zone if seen else None,
        "limit": seen.limit if seen else 0,
        "draining": draining,
        "live": is_live(plan, name),
        "items": len(entries),
        "primaries": sum(entry.slot == 0 for entry in entries.values()),
        "ready": sum(map(state.ready, state.entries)) if state else 0,
        "releasing": sorted(set(left) - entries.keys()),
        "planned": plan.items.get(name, 0),
        "plannedPrimaries": plan.primaries.get(name, 0),
        "band": [int(plan.bands.low[row]), int(plan.bands.high[row])] if row is not None else [0, 0],
        "arrives": [{"item": i, "why": why.get(i, "")} for i, m in plan.changes.add if m == name],
        "leaves": [
            {"item": i, "why": why_removed(plan, i, name, plan.held[i], load)}
            for i, m in plan.changes.remove
            if m == name
        ],
        "problems": [
            {"item": item, "grant": grant, "message": text}
            for item, grant, text in (state.assignment.problems if state and state.assignment else ())
        ],
        "malformed": list(state.malformed) if state else [],
        "waitsFor": _waiting(member_waits(now, name)),
        "conditions": _conditions(pool.member_said.get(name, ())),
    }


def _waiting(waits: Waiting | None) -> Facts | None:
    if waits is None:
        return None
    return {"reason": waits.reason, "message": waits.message, "members": list(waits.members)}


def _conditions(said: tuple[Said, ...]) -> list[Facts]:
    return [
        {"type": c.type, "status": c.status, "reason": c.reason, "message": c.message, "since": c.since}
        for c in said
    ]
