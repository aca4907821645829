"""The state of Pools for people: problems first, then a bar for each Member."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from berth.cli.bars import against_band, band_text, load_bar
from berth.cli.overview import MemberLine, Overview, Trouble
from berth.cli.plan_table import state_text
from berth.words import counted

SHOWN = 15
"""Problems shown of each Pool, unless everything is asked for."""
NAMED = 3
"""Names shown of those who share a problem."""


def status_view(views: dict[str, Overview], where: str, shown: int | None = SHOWN) -> RenderableType:
    """All Pools; `where` says which namespace was looked at."""
    if not views:
        return Text(f"There is nothing of berth.dev in {where}.")
    parts: list[RenderableType] = []
    for number, (key, view) in enumerate(views.items()):
        if number:
            parts.append(Text())
        parts += _pool(key, view, shown)
    return Group(*parts)


def headline(key: str, view: Overview) -> Text:
    """One line for a Pool."""
    full = view.held >= view.wanted
    ready = view.ready >= view.wanted
    live = sum(line.live for line in view.members)
    return Text.assemble(
        ("Pool ", "bold"),
        (key, "bold cyan"),
        ": ",
        (f"{view.held} of {view.wanted} slots held", "green" if full else "yellow"),
        ", ",
        (f"{view.ready} ready", "green" if ready else "yellow"),
        f"; {counted(len(view.pool.items), 'Item')}, {live} of {len(view.members)} Members live; ",
        _converged(view),
    )


def _converged(view: Overview) -> Text:
    said = view.said("Converged")
    if said is None:
        return Text("no leader", "yellow")
    return Text("converged", "green") if said.status == "True" else Text("moving", "yellow")


def _pool(key: str, view: Overview, shown: int | None) -> list[RenderableType]:
    parts: list[RenderableType] = [headline(key, view)]
    lines = grouped(view.troubles)
    parts += [Text.assemble(("  ! ", "bold red"), f"{who}: {message}") for who, message in lines[:shown]]
    if shown is not None and len(lines) > shown:
        parts.append(Text(f"  ... and {len(lines) - shown} more; --all shows them", "dim"))
    if view.members:
        parts.append(_members(view.members))
    return parts


def grouped(troubles: list[Trouble]) -> list[tuple[str, str]]:
    """Who and what, in order; those of whom the same is to be said stand together."""
    names: dict[tuple[str, str], list[str]] = {}
    for trouble in troubles:
        names.setdefault((trouble.kind, trouble.message), []).append(trouble.name)
    return [(_who(kind, who), message) for (kind, message), who in names.items()]


def _who(kind: str, names: list[str]) -> str:
    if len(names) == 1:
        return f"{kind} {names[0]}"
    more = ", ..." if len(names) > NAMED else ""
    return f"{len(names)} {kind}s ({', '.join(names[:NAMED])}{more})"


def _members(lines: list[MemberLine]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("MEMBER", "ZONE"):
        table.add_column(name, no_wrap=True)
    for name in ("LIMIT", "ITEMS", "PRIMARIES", "READY"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("LOAD", "BAND", "", "STATE"):
        table.add_column(name, no_wrap=True)
    top = max(max(line.items, line.high if not line.draining else 0) for line in lines)
    for line in lines:
        table.add_row(
            line.name,
            line.zone or "-",
            str(line.limit),
            str(line.items),
            str(line.primaries),
            str(line.ready),
            load_bar(line.items, line.low, line.high, top),
            band_text(line.low, line.high),
            against_band(line.items, line.low, line.high),
            state_text(line.live, line.limit, line.draining),
        )
    return table
