"""`berth explain item|member`: where it is and why, where it should be, and what it waits for."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from berth.cli.analysis import NextRound, Waiting, next_round, primary_of
from berth.cli.errors import UsageError
from berth.cli.objects import Conditions, PoolObjects, Source, conditions_of
from berth.cli.options import Context, Files, Kubeconfig, Namespace, Output, OutputOption, print_json
from berth.cli.reasons import (
    item_waits,
    member_waits,
    unreleased,
    why_changed,
    why_one_zone,
    why_promoted,
    why_removed,
)
from berth.cli.tables import band_text, console, load_bar
from berth.kinds import Entry
from berth.pool import MemberEdit
from berth.pool.reasons import MESSAGES
from berth.words import counted

Facts = dict[str, Any]

SHOWN = 10
"""Lines of each list."""


class Kind(StrEnum):
    """What can be explained."""

    ITEM = "item"
    MEMBER = "member"


def explain_command(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="`item` or `member`.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")],
    files: Files = None,
    output: OutputOption = Output.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Explain the state of an Item or a Member, and what it waits for.

    Of an Item it shows which Members hold it and why, which should, and the next step.

    Of a Member it shows what it holds, its load, and which Items arrive and leave, and why.
    """
    pool = _find(Source(tuple(files or ()), kubeconfig, context, namespace), kind, name)
    facts = (item_facts if kind is Kind.ITEM else member_facts)(next_round(pool), name)
    if output is Output.JSON:
        print_json(facts)
    else:
        _print_facts(console(), facts, led=bool(pool.leader))


def _find(source: Source, kind: Kind, name: str) -> PoolObjects:
    """The Pool in which an object of that name exists; else the one in which it is only listed."""
    pools = list(source.load().values())
    existing: list[Collection[str]] = [p.items if kind is Kind.ITEM else p.members for p in pools]
    found = [p for p, names in zip(pools, existing, strict=True) if name in names]
    found = found or [p for p in pools if name in _listed(p, kind)]
    if len(found) == 1:
        return found[0]
    called = kind.title()
    if found:
        where = ", ".join(sorted(p.namespace for p in found))
        raise UsageError(f"there are {len(found)} {called}s of that name ({where}): give --namespace")
    names = sorted(itertools.chain(*existing))
    raise UsageError(not_found(called, name, names, source.searched()))


def _listed(pool: PoolObjects, kind: Kind) -> Collection[str]:
    """What Assignments name, whether it exists or not."""
    if kind is Kind.MEMBER:
        return pool.assignments
    return {text.partition("#")[0] for a in pool.assignments.values() for text in a.spec.items}


def not_found(kind: str, name: str, names: list[str], where: str) -> str:
    """The message for a name that does not exist, with some that do."""
    close = difflib.get_close_matches(name, names, n=3) or names[:3]
    more = f" and {len(names) - len(close)} more" if len(names) > len(close) else ""
    known = f"there are: {', '.join(close)}{more}" if names else f"there are no {kind}s at all"
    return f"{kind} {name} does not exist in {where}; {known}"


# ---- the facts, ready for JSON ---------------------------------------------------------------------


def item_facts(now: NextRound, name: str) -> Facts:
    """All that is known of an Item."""
    plan, pool = now.plan, now.plan.pool
    item = pool.items.get(name)
    replicas = item.spec.replicas if item else 0
    here, wanted = plan.held.get(name, {}), plan.wanted.get(name, [])
    holders = sorted(here.items(), key=lambda pair: (pair[1].slot, -pair[1].epoch, pair[0]))
    primary = primary_of(here)
    change = plan.changes.get(name)
    why = why_changed(plan, change) if change else ""
    short = plan.short.get(name)
    return {
        "kind": "Item",
        "name": name,
        "namespace": pool.namespace,
        "pool": pool.name,
        "exists": item is not None,
        "replicas": replicas,
        "held": [_entry_facts(now, name, member, entry) for member, entry in holders],
        "wanted": wanted,
        "arrives": [{"member": member, "why": why} for member in wanted if member not in here],
        "primary": {
            "now": primary,
            "wanted": wanted[0] if wanted else None,
            "why": why_promoted(plan, name) if wanted and wanted[0] != primary else None,
        },
        "missing": replicas - len(wanted),
        "missingReason": {"reason": short.value, "message": MESSAGES[short]} if short else None,
        "oneZone": why_one_zone(plan, name),
        "waitsFor": _waits_facts(item_waits(now, name)),
        "next": [_step(member, edit, held=member in here) for member, edit in now.steps.get(name, ())],
        "conditions": _condition_facts(conditions_of(item)),
    }


def _entry_facts(now: NextRound, item: str, member: str, entry: Entry) -> Facts:
    plan = now.plan
    state = plan.brain.ledger.member_named(member)
    known = plan.members.get(member)
    report = state.reports.get(item) if state else None
    stays = member in plan.wanted.get(item, ())
    return {
        "member": member,
        "zone": known.zone if known else None,
        "slot": entry.slot,
        "grant": entry.grant,
        "epoch": entry.epoch,
        "live": plan.live(member),
        "ready": state is not None and state.ready(item),
        "phase": report.phase.value if report and report.grant == entry.grant else None,
        "problem": state.problem(entry) if state else None,
        "stays": stays,
        "why": "the plan keeps it here" if stays else why_removed(plan, item, member),
    }


def _step(member: str, edit: MemberEdit, *, held: bool) -> str:
    """An edit that the rules allow now, as an instruction."""
    entry = edit.entry
    if entry is None:
        return f"take it from {member}"
    if held:
        return f"make {member} {'its primary' if entry.slot == 0 else f'a replica in slot {entry.slot}'}"
    return f"give it to {member} {'as primary' if entry.slot == 0 else f'(slot {entry.slot})'}"


def member_facts(now: NextRound, name: str) -> Facts:
    """All that is known of a Member."""
    plan, pool = now.plan, now.plan.pool
    state = plan.brain.ledger.member_named(name)
    member = plan.members.get(name)
    entries = {item: here[name] for item, here in plan.held.items() if name in here}
    changes = plan.changes.values()
    return {
        "kind": "Member",
        "name": name,
        "namespace": pool.namespace,
        "pool": pool.name,
        "exists": member is not None,
        "zone": member.zone if member else None,
        "limit": member.limit if member else 0,
        "draining": member is not None and member.draining,
        "live": plan.live(name),
        "items": len(entries),
        "primaries": sum(entry.slot == 0 for entry in entries.values()),
        "ready": member.ready if member else 0,
        "releasing": sorted(set(unreleased(state)) - entries.keys()) if state else [],
        "planned": plan.items[name],
        "plannedPrimaries": plan.primaries[name],
        "band": member.band if member else (0, 0),
        "arrives": [{"item": c.item, "why": why_changed(plan, c)} for c in changes if name in c.gains],
        "leaves": [
            {"item": c.item, "why": why_removed(plan, c.item, name)} for c in changes if name in c.leaves
        ],
        "problems": [
            {"item": problem.item, "grant": problem.grant, "message": problem.message}
            for problem in (state.assignment.status.problems if state and state.assignment else ())
        ],
        "malformed": list(state.malformed) if state else [],
        "waitsFor": _waits_facts(member_waits(now, name)),
        "conditions": _condition_facts(conditions_of(pool.members.get(name))),
    }


def _waits_facts(wait: Waiting | None) -> Facts | None:
    return None if wait is None else {**wait._asdict(), "members": list(wait.members)}


def _condition_facts(conditions: Conditions) -> list[Facts]:
    return [
        {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "since": condition.last_transition_time,
        }
        for condition in conditions
    ]


# ---- the facts as text -----------------------------------------------------------------------------


def _print_facts(screen: Console, facts: Facts, *, led: bool) -> None:
    missing = "" if facts["exists"] else ", which no longer exists"
    title = f" of Pool {facts['pool']} in namespace {facts['namespace']}{missing}"
    screen.print(Text.assemble((f"{facts['kind']} {facts['name']}", "bold cyan"), title))
    (_item_text if facts["kind"] == "Item" else _member_text)(screen, facts)
    if (waits := facts["waitsFor"]) is not None:
        _print(screen, "Waits for", f"{waits['reason']}: {waits['message']}", "bold yellow")
    else:
        why = "it is where the plan wants it"
        if facts["kind"] == "Member":
            draining = "it holds nothing and can be stopped"
            why = draining if facts["draining"] else "it holds what the plan wants"
        _print(screen, "Waits for", f"nothing: {why}", "bold green")
    if not led:
        _print(screen, "Note", "no controller has led this Pool yet: start berth controller", "yellow")


def _item_text(screen: Console, facts: Facts) -> None:
    _print(screen, "Asks for", counted(facts["replicas"], "replica"))
    held = [(_entry_text(entry), "" if entry["stays"] else "red") for entry in facts["held"]]
    _print_all(screen, "Is", held or [("nowhere", "")])
    arrives = {arrival["member"]: arrival["why"] for arrival in facts["arrives"]}
    wanted = []
    for slot, member in enumerate(facts["wanted"]):
        words = f"on {member} as {'replica' if slot else 'primary'}"
        new = member in arrives
        wanted.append((f"{words}: {arrives[member]}", "green") if new else (words, ""))
    _print_all(screen, "Should be", wanted or [("nowhere", "")])
    primary = facts["primary"]
    if primary["why"] and primary["now"] is not None:
        _print(screen, "Primary", f"{primary['now']} now; {primary['why']}")
    if facts["oneZone"]:
        _print(screen, "Zones", facts["oneZone"], "yellow")
    _print_all(screen, "Next", [(step, "") for step in facts["next"]])


def _entry_text(entry: Facts) -> str:
    zone = f" in zone {entry['zone']}" if entry["zone"] else ""
    primary = entry["slot"] == 0
    role = f"primary since term {entry['epoch']}" if primary else f"replica in slot {entry['slot']}"
    state = ("ready" if entry["ready"] else "not ready") if entry["live"] else "not live"
    phase = f" ({entry['phase']})" if entry["phase"] else ""
    problem = f", {entry['problem']}" if entry["problem"] else ""
    leaves = "" if entry["stays"] else f"; it leaves: {entry['why']}"
    where = f"on {entry['member']}{zone}: {role}, granted in term {entry['grant']}"
    return f"{where}, {state}{phase}{problem}{leaves}"


def _member_text(screen: Console, facts: Facts) -> None:
    items, planned, band = facts["items"], facts["planned"], facts["band"]
    state = ("live" if facts["live"] else "not live") + (", draining" if facts["draining"] else "")
    zone = f", zone {facts['zone']}" if facts["zone"] else ""
    _print(screen, "State", f"{state}, limit {facts['limit']}{zone}")
    held = f"{counted(items, 'Item')}, {facts['primaries']} as primary, {facts['ready']} ready"
    _print(screen, "Holds", held)
    low, high = band
    where = f"{items - high} above" if items > high else f"{low - items} below" if items < low else "in"
    bar = load_bar(items, band, max(items, planned, high))
    _print(screen, "Load", Text.assemble(bar, f"  {where} its band of {band_text(band)}"))
    wanted = f"{counted(planned, 'Item')}, {facts['plannedPrimaries']} as primary"
    _print(screen, "Should hold", wanted)
    lists = {
        "Arrives": ([f"{a['item']}: {a['why']}" for a in facts["arrives"]], "green"),
        "Leaves": ([f"{a['item']}: {a['why']}" for a in facts["leaves"]], "red"),
        "Releasing": (facts["releasing"], "yellow"),
        "Problems": ([f"{p['item']}: {p['message']}" for p in facts["problems"]], "red"),
        "Malformed": (facts["malformed"], "red"),
    }
    for label, (lines, style) in lists.items():
        _print_all(screen, label, [(line, style) for line in lines[:SHOWN]])
        if len(lines) > SHOWN:
            _print(screen, "", f"... and {len(lines) - SHOWN} more")


def _print_all(screen: Console, label: str, lines: list[tuple[str, str]]) -> None:
    """Print lines with their styles, the label before the first."""
    for number, (words, style) in enumerate(lines):
        _print(screen, "" if number else label, words, style)


def _print(screen: Console, label: str, words: str | Text, style: str = "") -> None:
    text = words if isinstance(words, Text) else Text(words, style)
    screen.print(Text.assemble((f"{label + ':' if label else '':13}", "bold"), text))
