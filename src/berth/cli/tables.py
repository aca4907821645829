"""Tables, bars of load, and the console on which they are printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from berth.cli.analysis import MemberSummary

T = TypeVar("T")

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


def member_columns(*own: Column[MemberSummary]) -> list[Column[MemberSummary]]:
    """The columns of a table of Members, up to those of the load."""
    return [
        Column("MEMBER", lambda m: m.name),
        Column("ZONE", lambda m: m.zone or "-"),
        Column("LIMIT", lambda m: m.limit, right=True),
        *own,
    ]


def load_columns(
    members: Iterable[MemberSummary], load: Callable[[MemberSummary], int]
) -> list[Column[MemberSummary]]:
    """The columns that compare a load with the Member's band."""
    scale = max((max(load(m), 0 if m.draining else m.high) for m in members), default=1)
    return [
        Column("LOAD", lambda m: load_bar(load(m), m.low, m.high, scale)),
        Column("BAND", lambda m: band_text(m.low, m.high)),
        Column("", lambda m: against_band(load(m), m.low, m.high)),
        Column("STATE", _state),
    ]


def load_bar(load: int, low: int, high: int, scale: int) -> Text:
    """A bar of `load` against its band [low, high]; `scale` is the load of a full bar.

    `█` is load, `▓` load above the band, `░` what is missing to reach it.
    """
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


def against_band(load: int, low: int, high: int) -> Text:
    """How far a load is from its band."""
    if load > high:
        return Text(f"+{load - high}", "red")
    if load < low:
        return Text(f"-{low - load}", "yellow")
    return Text("in band", "green")


def band_text(low: int, high: int) -> str:
    """A band, as one number where both ends are equal."""
    return str(low) if low == high else f"{low}–{high}"


def _state(member: MemberSummary) -> Text:
    if not member.live:
        return Text("not live", "red")
    return Text("draining", "yellow") if member.draining else Text("live")
