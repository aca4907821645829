"""Explanations for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from berth.cli.bars import against_band, band_text, console, load_bar
from berth.words import counted

Facts = dict[str, Any]
SHOWN = 10


def print_facts(facts: Facts, *, led: bool) -> None:
    """Print what `explain_item` or `explain_member` found; `led`: whether a controller leads the Pool."""
    screen = console()
    missing = "" if facts["exists"] else ", which does not exist any more"
    title = f" of Pool {facts['pool']} in namespace {facts['namespace']}{missing}"
    screen.print(Text.assemble((f"{facts['kind']} {facts['name']}", "bold cyan"), title))
    if facts["kind"] == "Item":
        _item(screen, facts)
    else:
        _member(screen, facts)
    _waits(screen, facts)
    if not led:
        _line(screen, "Note", "no controller has led this Pool yet: berth controller", "yellow")


def _item(screen: Console, facts: Facts) -> None:
    held, wanted = facts["held"], facts["wanted"]
    _line(screen, "Asks for", counted(facts["replicas"], "replica"))
    if not held:
        _line(screen, "Is", "nowhere")
    for index, entry in enumerate(held):
        _line(screen, "" if index else "Is", _entry(entry), None if entry["stays"] else "red")
    if not wanted:
        _line(screen, "Should be", "nowhere")
    for index, member in enumerate(wanted):
        why = next((a["why"] for a in facts["arrives"] if a["member"] == member), None)
        primary = "as primary" if index == 0 else "as replica"
        words = f"on {member} {primary}" + (f": {why}" if why is not None else "")
        _line(screen, "" if index else "Should be", words, "green" if why is not None else None)
    if facts["primary"]["why"] and facts["primary"]["now"] is not None:
        _line(screen, "Primary", f"{facts['primary']['now']} now: {facts['primary']['why']}")
    if facts["oneZone"]:
        _line(screen, "Zones", facts["oneZone"], "yellow")
    for index, step in enumerate(facts["next"]):
        _line(screen, "" if index else "Next", step)


def _entry(entry: Facts) -> str:
    zone = f" in zone {entry['zone']}" if entry["zone"] else ""
    role = (
        f"primary since term {entry['epoch']}" if entry["slot"] == 0 else f"replica in slot {entry['slot']}"
    )
    state = ("ready" if entry["ready"] else "not ready") if entry["live"] else "not live"
    if entry["phase"]:
        state += f" ({entry['phase']})"
    words = f"on {entry['member']}{zone}: {role}, granted in term {entry['grant']}, {state}"
    if entry["problem"]:
        words += f", {entry['problem']}"
    return words if entry["stays"] else f"{words}; it leaves: {entry['why']}"


def _member(screen: Console, facts: Facts) -> None:
    low, high = facts["band"]
    items, planned = facts["items"], facts["planned"]
    state = "live" if facts["live"] else "not live"
    if facts["draining"]:
        state += ", draining"
    zone = f", zone {facts['zone']}" if facts["zone"] else ""
    _line(screen, "State", f"{state}, limit {facts['limit']}{zone}")
    _line(
        screen, "Holds", f"{counted(items, 'Item')}, {facts['primaries']} as primary, {facts['ready']} ready"
    )
    scale = max(items, planned, high, 1)
    off = against_band(items, low, high).plain
    fits = f"{'in' if off == 'in band' else off + ' against'} its band of {band_text(low, high)}"
    _line(screen, "Load", Text.assemble(load_bar(items, low, high, scale), f"  {fits}"))
    _line(screen, "Should hold", f"{counted(planned, 'Item')}, {facts['plannedPrimaries']} as primary")
    _list(screen, "Arrives", [f"{a['item']}: {a['why']}" for a in facts["arrives"]], "green")
    _list(screen, "Leaves", [f"{a['item']}: {a['why']}" for a in facts["leaves"]], "red")
    _list(screen, "Releasing", facts["releasing"], "yellow")
    _list(screen, "Problems", [f"{p['item']}: {p['message']}" for p in facts["problems"]], "red")
    _list(screen, "Malformed", facts["malformed"], "red")


def _waits(screen: Console, facts: Facts) -> None:
    waits = facts["waitsFor"]
    if waits is not None:
        _line(screen, "Waits for", f"{waits['reason']}: {waits['message']}", "bold yellow")
    elif facts["kind"] == "Member" and facts["draining"]:
        _line(screen, "Waits for", "nothing: it holds nothing and may go", "bold green")
    else:
        _line(screen, "Waits for", "nothing: it is where the plan wants it", "bold green")


def _list(screen: Console, label: str, lines: list[str], style: str) -> None:
    for index, words in enumerate(lines[:SHOWN]):
        _line(screen, "" if index else label, words, style)
    if len(lines) > SHOWN:
        _line(screen, "", f"... and {len(lines) - SHOWN} more")


def _line(screen: Console, label: str, words: str | Text, style: str | None = None) -> None:
    text = words if isinstance(words, Text) else Text(words, style or "")
    screen.print(Text.assemble((f"{label + ':' if label else '':13}", "bold"), text))
