"""A plan for people."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from berth.cli.bars import against_band, band_text, console, load_bar
from berth.cli.planning import PoolPlan
from berth.cli.why import Change, changes, is_live
from berth.pool.reasons import MESSAGES
from berth.solve import LEVELS
from berth.words import counted

SHOWN = 20
"""Rows of changes and of short Items, unless everything is asked for."""


def print_plans(plans: dict[str, PoolPlan], everything: bool) -> None:
    """Print each Pool: a line, its Members, what changes and what cannot be placed."""
    screen = console()
    if not plans:
        screen.print("There are no Pools, Items or Members here.")
    for number, (key, plan) in enumerate(plans.items()):
        if number:
            screen.print()
        _print_plan(screen, key, plan, None if everything else SHOWN)


def _print_plan(screen: Console, key: str, plan: PoolPlan, shown: int | None) -> None:
    done = plan.changes
    headline = Text.assemble(
        ("Pool ", "bold"),
        (key, "bold cyan"),
        f": {plan.slots_placed} of {plan.slots_wanted} slots placed on "
        f"{counted(len(plan.pool.members), 'Member')}; ",
        f"{len(done.add)} to add, {len(done.remove)} to remove, {len(done.promote)} to promote",
    )
    screen.print(headline)
    troubled = plan.solution.engine == "plain" or plan.solution.trouble
    screen.print(proof(plan), style="yellow" if troubled else "dim")
    if plan.pool.members:
        screen.print(_members(plan))
    moving = changes(plan)
    screen.print()
    if moving:
        screen.print(_why_counts(moving))
        screen.print(_changes(moving[:shown]))
        _more(screen, len(moving), shown)
    else:
        screen.print("Nothing changes.")
    if plan.short:
        screen.print()
        screen.print(_short(plan, shown))
        _more(screen, len(plan.short), shown)


def proof(plan: PoolPlan) -> str:
    """Whether the plan is proven to be the best, who found it, and what went wrong on the way."""
    found = plan.solution
    if found.engine == "plain":
        return (
            f"A makeshift plan: the solver's usual engines gave none ({found.why or found.trouble}). "
            "It places what is missing and moves nothing for balance."
        )
    why = f" ({found.why})" if found.why else ""
    by = f"{found.engine} engine in {found.seconds:.3f} s{why}"
    # The first answer stands where the longer search, which could have been better, gave none.
    trouble = f" The search for a better plan failed ({found.trouble})." if found.trouble else ""
    name = found.proof.first_open
    if name is None:
        return f"Proven optimal in all {len(LEVELS)} levels by the {by}.{trouble}"
    reached, bound = found.proof.reached[name], found.proof.bounds[name]
    return f"Not proven optimal, by the {by}: {name} is {reached}, its bound {bound}.{trouble}"


def _members(plan: PoolPlan) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("MEMBER", "ZONE"):
        table.add_column(name, no_wrap=True)
    for name in ("LIMIT", "HELD", "PLAN", "PRIMARIES"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("LOAD", no_wrap=True)
    for name in ("BAND", "", "STATE"):
        table.add_column(name, no_wrap=True)
    held = Counter(member for here in plan.held.values() for member in here)
    rows = plan.fleet.member_rows.of
    top = max([*plan.items.values(), *plan.bands.high.tolist(), 1])
    for name, member in sorted(plan.pool.members.items()):
        low, high = int(plan.bands.low[rows[name]]), int(plan.bands.high[rows[name]])
        load = plan.items[name]
        table.add_row(
            name,
            member.zone or "-",
            str(member.limit),
            str(held[name]),
            str(load),
            str(plan.primaries[name]),
            load_bar(load, low, high, top),
            band_text(low, high),
            against_band(load, low, high),
            state_text(is_live(plan, name), member.limit, member.draining),
        )
    return table


def state_text(live: bool, limit: int, draining: bool) -> Text:
    """What is special about a Member."""
    if not live:
        return Text("not live", "red")
    if limit == 0 or draining:
        return Text("draining", "yellow")
    return Text("live")


def _why_counts(moving: list[Change]) -> Text:
    counts = Counter(change.why for change in moving).most_common(6)
    parts = [f"{count} × {why}" for why, count in counts]
    return Text("Changes by reason: " + "; ".join(parts))


def _changes(moving: list[Change]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("ITEM", no_wrap=True)
    table.add_column("FROM", style="red")
    table.add_column("TO", style="green")
    table.add_column("PRIMARY", no_wrap=True)
    table.add_column("WHY")
    for change in moving:
        table.add_row(
            change.item,
            ", ".join(change.leaves) or "-",
            ", ".join(change.gains) or "-",
            change.promotes or "",
            change.why,
        )
    return table


def _short(plan: PoolPlan, shown: int | None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("CANNOT BE PLACED", no_wrap=True, style="yellow")
    table.add_column("MISSING", no_wrap=True, justify="right")
    table.add_column("REASON", no_wrap=True)
    table.add_column("WHY")
    for name in sorted(plan.short)[:shown]:
        replicas = plan.pool.items[name].replicas
        reason = plan.short[name]
        missing = f"{replicas - len(plan.wanted[name])} of {replicas}"
        table.add_row(name, missing, reason.value, MESSAGES[reason])
    return table


def _more(screen: Console, count: int, shown: int | None) -> None:
    if shown is not None and count > shown:
        screen.print(f"... and {count - shown} more; --all shows them", style="dim")
