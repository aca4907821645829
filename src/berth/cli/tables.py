"""Tables, bars of load, and the console on which they are printed."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from berth.cli.analysis import MemberSummary

T = TypeVar("T")
Band = tuple[int, int]
"""The lowest and the highest load that is a fair share."""

BAR_WIDTH = 24
PIPE_WIDTH = 160
"""Columns where the output is no terminal: wide enough that nothing is cut."""


def console() -> Console:
    """Standard output; plain text where it is no terminal."""
    screen = Console(highlight=False, markup=False, emoji=False)
    if not screen.is_terminal:
        screen.width = max(screen.width, PIPE_WIDTH)
    return screen


class Column(NamedTuple, Generic[T]):
    """A column of a table: its header, and what it shows of a row."""

    header: str
    value: Callable[[T], str | int | Text]
    right: bool = False
    style: str = ""
    wrap: bool = False


def table(columns: Sequence[Column[T]], rows: Iterable[T]) -> Table:
    """A table without lines."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(
            column.header,
            justify="right" if column.right else "left",
            style=column.style,
            no_wrap=not column.wrap,
        )
    for row in rows:
        cells = [column.value(row) for column in columns]
        grid.add_row(*(cell if isinstance(cell, Text) else str(cell) for cell in cells))
    return grid


def more(count: int, shown: int | None) -> list[Text]:
    """The line below a list of `count` that is cut after `shown`; none where it is not cut."""
    if shown is None or count <= shown:
        return []
    return [Text(f"... and {count - shown} more; --all shows them", "dim")]


def member_table(
    members: Collection[MemberSummary], load: Callable[[MemberSummary], int], *own: Column[MemberSummary]
) -> Table:
    """A table of Members that compares `load` with their bands; `own` are the columns of one command."""
    scale = max(max(load(m), 0 if m.draining else m.band[1]) for m in members)
    columns: list[Column[MemberSummary]] = [
        Column("MEMBER", lambda m: m.name),
        Column("ZONE", lambda m: m.zone or "-"),
        Column("LIMIT", lambda m: m.limit, right=True),
        *own,
        Column("LOAD", lambda m: load_bar(load(m), m.band, scale)),
        Column("BAND", lambda m: band_text(m.band)),
        Column("", lambda m: against_band(load(m), m.band)),
        Column("STATE", _state),
    ]
    return table(columns, members)


def load_bar(load: int, band: Band, scale: int) -> Text:
    """A bar of `load` against its band; `scale` is the load of a full bar.

    `█` is load, `▓` load above the band, `░` what is missing to reach it.
    """
    low, high = band
    unit = max(scale, 1) / BAR_WIDTH
    bar = Text(no_wrap=True)
    for cell in range(BAR_WIDTH):
        middle = (cell + 0.5) * unit
        if middle < load:
            bar.append("▓", "red") if middle > high else bar.append("█", "green")
        elif middle < low:
            bar.append("░", "yellow")
        else:
            bar.append("·", "dim")
    return bar


def against_band(load: int, band: Band) -> Text:
    """How far a load is from its band."""
    low, high = band
    if load > high:
        return Text(f"+{load - high}", "red")
    if load < low:
        return Text(f"-{low - load}", "yellow")
    return Text("in band", "green")


def band_text(band: Band) -> str:
    """A band, as one number where both ends are equal."""
    low, high = band
    return str(low) if low == high else f"{low}–{high}"


def _state(member: MemberSummary) -> Text:
    if not member.live:
        return Text("not live", "red")
    return Text("draining", "yellow") if member.draining else Text("live")
