"""`berth status`: Pools and Members at a glance, problems first; live with --watch."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from berth.cli.analysis import MemberSummary, brain_of, summarize
from berth.cli.cluster import follow, with_client
from berth.cli.objects import PoolObjects, Pools, Source, conditions_of, display_names, find_condition
from berth.cli.options import AllNamespaces, Context, Kubeconfig, Namespace, Output, option, print_json
from berth.cli.tables import console, member_table, more
from berth.kube import Client
from berth.pool import Ledger
from berth.words import counted, still_here

SHOWN = 15
"""Problems of each Pool, without `--all`."""
NAMED = 3
"""Names of objects that share a problem."""
PERIOD = 0.5
"""Seconds between two updates; more where a fleet is so large that an update takes long."""
SHARE = 5
"""An update may take one part in this many of the time."""
NOTHING = "There are no objects of berth.dev in {}."
NO_CONTROLLER = "no controller has led this Pool yet: is berth controller running?"


def status_command(
    watch: Annotated[bool, option("Keep it up to date until Ctrl-C.", "--watch", "-w")] = False,
    output: Output = "table",
    everything: Annotated[bool, option("List every problem, not only the first 15.", "--all")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
    all_namespaces: AllNamespaces = False,
) -> None:
    """Show Pools and their Members, problems first.

    Bars: █ load, ░ what is missing to the fair share, ▓ what is above it.

    With --watch and -o json it prints one JSON document a line, whenever something changes.
    """
    source = Source((), kubeconfig, context, namespace, all_namespaces)
    where = source.searched()
    shown = None if everything else SHOWN
    if watch:
        with_client(source, lambda client, space: _watch(client, space, output, where, shown))
        return
    pools = _overviews(source.load())
    if output == "json":
        print_json(_json(pools))
    else:
        console().print(_view(pools, where, shown))


# ---- what there is to know -------------------------------------------------------------------------


class Problem(NamedTuple):
    """Something that a person should know."""

    kind: str
    name: str
    message: str


class Overview(NamedTuple):
    """A Pool at a glance."""

    pool: PoolObjects
    held: int
    """Entries on live Members."""
    ready: int
    members: list[MemberSummary]
    problems: list[Problem]
    """The worst first."""


def _overviews(pools: Pools) -> dict[str, Overview]:
    return {name: overview(pools[key]) for key, name in display_names(pools).items()}


def overview(pool: PoolObjects) -> Overview:
    """The Pool as its objects are; nothing is solved."""
    ledger = brain_of(pool).ledger
    members = list(summarize(ledger).values())
    problems = _pool_problems(pool) + _member_problems(pool, ledger, members) + _item_problems(pool, ledger)
    live = [member for member in members if member.live]
    return Overview(pool, sum(m.items for m in live), sum(m.ready for m in live), members, problems)


_BAD = {
    ("Paused", "True"): "Paused",
    ("Degraded", "True"): "Degraded",
    ("Converged", "False"): "Not converged",
}
"""Conditions of a Pool that are problems, in words; the worst first."""


def _pool_problems(pool: PoolObjects) -> list[Problem]:
    found = {(condition.type, condition.status): condition for condition in conditions_of(pool.pool)}
    messages = [] if pool.status.leader else [NO_CONTROLLER]
    for key, words in _BAD.items():
        if condition := found.get(key):
            messages.append(f"{words} ({condition.reason}): {condition.message}")
    return [Problem("Pool", pool.name, message) for message in messages]


def _member_problems(pool: PoolObjects, ledger: Ledger, members: list[MemberSummary]) -> list[Problem]:
    dead, failed, other = [], [], []
    for member in members:
        name, state = member.name, ledger.member_named(member.name)
        assert state is not None
        if not member.live:
            condition = find_condition(pool.members[name], "Live")
            why = condition.message if condition else "its Lease has run out"
            dead.append(Problem("Member", name, f"not live: {why}"))
        problems = state.assignment.status.problems if state.assignment else ()
        failed += [Problem("Member", name, f"Item {each.item}: {each.message}") for each in problems]
        if state.malformed:
            other.append(Problem("Member", name, f"its Assignment cannot be read: {state.malformed[0]}"))
        if member.draining and member.items:
            other.append(Problem("Member", name, f"draining: {still_here(member.items)}"))
    return dead + failed + other


def _item_problems(pool: PoolObjects, ledger: Ledger) -> list[Problem]:
    found = []
    for name, item in sorted(pool.items.items()):
        replicas = item.spec.replicas
        holders = [m for m in ledger.holders(ledger.items.of[name]) if m.live]
        ready = sum(m.ready(name) for m in holders)
        type_, count = ("Placed", len(holders)) if len(holders) < replicas else ("Ready", ready)
        if count < replicas:
            condition = find_condition(item, type_)
            words = f"{count} of {replicas} replicas are {type_.lower()}"
            if condition is not None and condition.status == "False":
                words = condition.message
            found.append((count - replicas, Problem("Item", name, words)))
    return [problem for _, problem in sorted(found, key=lambda pair: pair[0])]


# ---- how it is shown -------------------------------------------------------------------------------


def _json(pools: dict[str, Overview]) -> dict[str, Any]:
    return {"pools": {name: overview_json(pool) for name, pool in pools.items()}}


def overview_json(view: Overview) -> dict[str, Any]:
    """A Pool at a glance, for programs."""
    pool = view.pool
    return {
        "namespace": pool.namespace,
        "name": pool.name,
        "term": pool.status.term,
        "leader": pool.status.leader or None,
        "slots": {"wanted": pool.slots_wanted, "held": view.held, "ready": view.ready},
        "items": len(pool.items),
        "members": {
            member.name: {key: value for key, value in member._asdict().items() if key != "name"}
            for member in view.members
        },
        "conditions": {
            c.type: {"status": c.status, "reason": c.reason, "message": c.message}
            for c in conditions_of(pool.pool)
        },
        "problems": [problem._asdict() for problem in view.problems],
    }


def _view(pools: dict[str, Overview], where: str, shown: int | None) -> RenderableType:
    if not pools:
        return Text(NOTHING.format(where))
    parts: list[RenderableType] = []
    for name, view in pools.items():
        parts += [Text()] if parts else []
        parts.append(headline(name, view))
        lines = grouped(view.problems)
        parts += [Text.assemble(("  ! ", "bold red"), f"{who}: {what}") for who, what in lines[:shown]]
        parts += [Text("  ") + line for line in more(len(lines), shown)]
        if view.members:
            parts.append(member_table(view.members, "ITEMS", _counts))
    return Group(*parts)


def _counts(member: MemberSummary) -> dict[str, int]:
    return {"ITEMS": member.items, "PRIMARIES": member.primaries, "READY": member.ready}


def headline(name: str, view: Overview) -> Text:
    """One line for a Pool."""
    wanted, live = view.pool.slots_wanted, sum(member.live for member in view.members)
    held = (f"{view.held} of {wanted} slots held", "green" if view.held >= wanted else "yellow")
    ready = (f"{view.ready} ready", "green" if view.ready >= wanted else "yellow")
    objects = f"; {counted(len(view.pool.items), 'Item')}, {live} of {len(view.members)} Members live; "
    converged = find_condition(view.pool.pool, "Converged")
    state = ("no leader", "yellow")
    if converged is not None:
        state = ("converged", "green") if converged.status == "True" else ("moving", "yellow")
    return Text.assemble(("Pool ", "bold"), (name, "bold cyan"), ": ", held, ", ", ready, objects, state)


def grouped(problems: list[Problem]) -> list[tuple[str, str]]:
    """Who and what, in order; objects of one kind with the same problem share a line."""
    names: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        names.setdefault((problem.kind, problem.message), []).append(problem.name)

    def who(kind: str, found: list[str]) -> str:
        some = ", ".join([*found[:NAMED], *(["..."] if len(found) > NAMED else [])])
        return f"{kind} {some}" if len(found) == 1 else f"{len(found)} {kind}s ({some})"

    return [(who(kind, found), message) for (kind, message), found in names.items()]


# ---- --watch ---------------------------------------------------------------------------------------


async def _watch(
    client: Client, namespace: str | None, output: Output, where: str, shown: int | None
) -> None:
    """Show the Pools whenever something changes, until cancelled."""
    screen = console()
    async with follow(client, namespace) as (pools, changed):
        if output == "table" and screen.is_terminal:
            # Live prints warnings of the client above the tables.
            with Live(console=screen, auto_refresh=False) as live:
                async for views in _changes(pools, changed):
                    clock = datetime.now().astimezone().strftime("%H:%M:%S")
                    footer = Text(f"{clock}  Ctrl-C ends", "dim")
                    live.update(Group(_view(views, where, shown), footer), refresh=True)
        before = ""
        async for views in _changes(pools, changed):
            text = json.dumps(_json(views), ensure_ascii=False) if output == "json" else _text(views, where)
            if text != before:
                print(text, flush=True)
            before = text


async def _changes(pools: Callable[[], Pools], changed: asyncio.Event) -> AsyncIterator[dict[str, Overview]]:
    """The Pools now, and after each change."""
    while True:
        started = time.monotonic()
        changed.clear()
        yield _overviews(pools())
        await asyncio.sleep(max(PERIOD, SHARE * (time.monotonic() - started)))
        await changed.wait()


def _text(pools: dict[str, Overview], where: str) -> str:
    """One line for each Pool."""
    if not pools:
        return NOTHING.format(where)
    lines = []
    for name, view in pools.items():
        first = f", first: {view.problems[0].message}" if view.problems else ""
        lines.append(f"{headline(name, view).plain}; {len(view.problems)} problems{first}")
    return "\n".join(lines)
