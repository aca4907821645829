"""`berth explain item|member`: where it is and why, where it should be, and what it waits for."""

import itertools
from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal

import typer
from msgspec.structs import astuple
from rich.console import Console
from rich.text import Text

from berth.cli import reasons
from berth.cli.analysis import MemberSummary, PoolPlan, next_round, primary_of
from berth.cli.errors import UsageError, not_found
from berth.cli.objects import PoolObjects, Source, WithConditions, conditions_of
from berth.cli.options import Context, Files, Kubeconfig, Namespace, Output, print_json
from berth.cli.tables import band_text, console, load_bar
from berth.kinds import Entry
from berth.pool import MemberEdit
from berth.pool.reasons import MESSAGES
from berth.words import counted

Facts = dict[str, Any]
Kind = Literal["item", "member"]

SHOWN = 10
"""Lines of each list."""
CONDITION = ("type", "status", "reason", "message", "since")
"""What the fields of a condition are called in JSON."""


def explain_command(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="`item` or `member`.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")],
    files: Files = None,
    output: Output = "table",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Explain the state of an Item or a Member, and what it waits for.

    Of an Item it shows which Members hold it and why, which should, and the next step.

    Of a Member it shows what it holds, its load, and which Items arrive and leave, and why.
    """
    pool = _find(Source(tuple(files or ()), kubeconfig, context, namespace), kind, name)
    plan = next_round(pool)
    facts = _item_facts(plan, name) if kind == "item" else _member_facts(plan, name)
    if output == "json":
        print_json(facts)
    else:
        _print_facts(console(), facts, led=bool(pool.status.leader))


def _find(source: Source, kind: Kind, name: str) -> PoolObjects:
    """The Pool in which an object of that name exists; else the one in which it is only listed."""
    pools = list(source.load().values())
    existing: list[Collection[str]] = [p.items if kind == "item" else p.members for p in pools]
    found = [p for p, names in zip(pools, existing, strict=True) if name in names]
    found = found or [p for p in pools if name in _listed(p, kind)]
    if len(found) == 1:
        return found[0]
    if found:
        where = ", ".join(sorted(p.namespace for p in found))
        raise UsageError(f"there are {len(found)} {kind.title()}s of that name ({where}): give --namespace")
    names = sorted(itertools.chain(*existing))
    raise UsageError(not_found(kind.title(), name, names, source.searched()))


def _listed(pool: PoolObjects, kind: Kind) -> Collection[str]:
    """What Assignments name, whether it exists or not."""
    if kind == "member":
        return pool.assignments
    return {text.partition("#")[0] for a in pool.assignments.values() for text in a.spec.items}


# ---- the facts, ready for JSON ---------------------------------------------------------------------


def _item_facts(plan: PoolPlan, name: str) -> Facts:
    item = plan.pool.items.get(name)
    replicas = item.spec.replicas if item else 0
    here, wanted = plan.held.get(name, {}), plan.wanted.get(name, [])
    holders = sorted(here.items(), key=lambda pair: (pair[1].slot, -pair[1].epoch, pair[0]))
    primary = primary_of(here)
    change = plan.changes.get(name)
    why = reasons.why_changed(plan, change) if change else ""
    short, wait = plan.short.get(name), reasons.item_waits(plan, name)
    return {
        **_common_facts("Item", plan, name, item),
        "replicas": replicas,
        "held": [_entry_facts(plan, member, entry) for member, entry in holders],
        "wanted": wanted,
        "arrives": [{"member": member, "why": why} for member in wanted if member not in here],
        "primary": {
            "now": primary,
            "wanted": wanted[0] if wanted else None,
            "why": reasons.why_promoted(plan, name) if wanted and wanted[0] != primary else None,
        },
        "missing": replicas - len(wanted),
        "missingReason": {"reason": short.value, "message": MESSAGES[short]} if short else None,
        "oneZone": reasons.why_one_zone(plan, name),
        "next": [_step(member, edit, held=member in here) for member, edit in plan.steps.get(name, ())],
        "waitsFor": wait and wait._asdict(),
    }


def _member_facts(plan: PoolPlan, name: str) -> Facts:
    state = plan.brain.ledger.member_named(name)
    entries = {item: here[name] for item, here in plan.held.items() if name in here}
    primaries = sum(entry.slot == 0 for entry in entries.values())
    gone = MemberSummary(name, "", 0, False, False, len(entries), primaries, 0, (0, 0))
    known = plan.members.get(name)
    arrives = [change for change in plan.changes.values() if name in change.gains]
    leaves = [change.item for change in plan.changes.values() if name in change.leaves]
    wait = reasons.member_waits(plan, name)
    problems = state.assignment.status.problems if state and state.assignment else ()
    return {
        **_common_facts("Member", plan, name, plan.pool.members.get(name)),
        **(known or gone)._asdict(),
        "zone": known.zone if known else None,
        "releasing": sorted(state.held_or_reported - entries.keys()) if state else [],
        "planned": plan.items[name],
        "plannedPrimaries": plan.primaries[name],
        "arrives": [{"item": c.item, "why": reasons.why_changed(plan, c)} for c in arrives],
        "leaves": [{"item": item, "why": reasons.why_removed(plan, item, name)} for item in leaves],
        "problems": [{"item": p.item, "grant": p.grant, "message": p.message} for p in problems],
        "malformed": list(state.malformed) if state else [],
        "waitsFor": wait and wait._asdict(),
    }


def _common_facts(kind: str, plan: PoolPlan, name: str, found: WithConditions | None) -> Facts:
    return {
        "kind": kind,
        "name": name,
        "namespace": plan.pool.namespace,
        "pool": plan.pool.name,
        "exists": found is not None,
        "conditions": [dict(zip(CONDITION, astuple(c), strict=True)) for c in conditions_of(found)],
    }


def _entry_facts(plan: PoolPlan, member: str, entry: Entry) -> Facts:
    item, known = entry.name, plan.members.get(member)
    state = plan.brain.ledger.member_named(member)
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
        "why": "the plan keeps it here" if stays else reasons.why_removed(plan, item, member),
    }


def _step(member: str, edit: MemberEdit, *, held: bool) -> str:
    """An edit that the rules allow now, as an instruction."""
    entry = edit.entry
    if entry is None:
        return f"take it from {member}"
    if held:
        return f"make {member} {'its primary' if entry.slot == 0 else f'a replica in slot {entry.slot}'}"
    return f"give it to {member} {'as primary' if entry.slot == 0 else f'(slot {entry.slot})'}"


# ---- the facts as text -----------------------------------------------------------------------------

Line = tuple[str, str | Text, str]
"""A label, words and their style; of several lines with one label only the first shows it."""


def _print_facts(screen: Console, facts: Facts, *, led: bool) -> None:
    missing = "" if facts["exists"] else ", which no longer exists"
    title = f" of Pool {facts['pool']} in namespace {facts['namespace']}{missing}"
    screen.print(Text.assemble((f"{facts['kind']} {facts['name']}", "bold cyan"), title))
    before = ""
    for label, words, style in _lines(facts, led):
        text = words if isinstance(words, Text) else Text(words, style)
        screen.print(Text.assemble((f"{label + ':' if label != before else '':13}", "bold"), text))
        before = label


def _lines(facts: Facts, led: bool) -> Iterator[Line]:
    if facts["kind"] == "Item":
        yield from _item_lines(facts)
        rests = "it is where the plan wants it"
    else:
        yield from _member_lines(facts)
        drained = facts["draining"]
        rests = "it holds nothing and can be stopped" if drained else "it holds what the plan wants"
    if (waits := facts["waitsFor"]) is not None:
        yield "Waits for", f"{waits['reason']}: {waits['message']}", "bold yellow"
    else:
        yield "Waits for", f"nothing: {rests}", "bold green"
    if not led:
        yield "Note", "no controller has led this Pool yet: start berth controller", "yellow"


def _item_lines(facts: Facts) -> Iterator[Line]:
    yield "Asks for", counted(facts["replicas"], "replica"), ""
    for entry in facts["held"]:
        yield "Is", _entry_text(entry), "" if entry["stays"] else "red"
    if not facts["held"]:
        yield "Is", "nowhere", ""
    arrives = {arrival["member"]: arrival["why"] for arrival in facts["arrives"]}
    for slot, member in enumerate(facts["wanted"]):
        words = f"on {member} as {'replica' if slot else 'primary'}"
        why = arrives.get(member)
        yield "Should be", f"{words}: {why}" if why else words, "green" if why else ""
    if not facts["wanted"]:
        yield "Should be", "nowhere", ""
    primary = facts["primary"]
    if primary["why"] and primary["now"] is not None:
        yield "Primary", f"{primary['now']} now; {primary['why']}", ""
    if facts["oneZone"]:
        yield "Zones", facts["oneZone"], "yellow"
    for step in facts["next"]:
        yield "Next", step, ""


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


def _member_lines(facts: Facts) -> Iterator[Line]:
    items, planned, (low, high) = facts["items"], facts["planned"], facts["band"]
    state = ("live" if facts["live"] else "not live") + (", draining" if facts["draining"] else "")
    zone = f", zone {facts['zone']}" if facts["zone"] else ""
    yield "State", f"{state}, limit {facts['limit']}{zone}", ""
    yield "Holds", f"{counted(items, 'Item')}, {facts['primaries']} as primary, {facts['ready']} ready", ""
    where = f"{items - high} above" if items > high else f"{low - items} below" if items < low else "in"
    bar = load_bar(items, (low, high), max(items, planned, high))
    yield "Load", Text.assemble(bar, f"  {where} its band of {band_text((low, high))}"), ""
    yield "Should hold", f"{counted(planned, 'Item')}, {facts['plannedPrimaries']} as primary", ""
    lists = {
        "Arrives": ([f"{a['item']}: {a['why']}" for a in facts["arrives"]], "green"),
        "Leaves": ([f"{a['item']}: {a['why']}" for a in facts["leaves"]], "red"),
        "Releasing": (facts["releasing"], "yellow"),
        "Problems": ([f"{p['item']}: {p['message']}" for p in facts["problems"]], "red"),
        "Malformed": (facts["malformed"], "red"),
    }
    for label, (lines, style) in lists.items():
        for line in lines[:SHOWN]:
            yield label, line, style
        if len(lines) > SHOWN:
            yield label, f"... and {len(lines) - SHOWN} more", ""
