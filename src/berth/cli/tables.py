"""Tables, bars of load, and the console on which they are printed."""

from collections.abc import Callable, Collection, Sequence

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from berth.cli.analysis import MemberSummary

Cell = str | int | Text
Band = tuple[int, int]
"""The lowest and the highest load that is a fair share."""

BAR_WIDTH = 24
PIPE_WIDTH = 160
"""Columns where the output is no terminal: wide enough that nothing is cut."""
WRAPPED = ("FROM", "TO", "WHY")
"""Headers of columns whose cells may take several lines."""


def console() -> Console:
    """Standard output; plain text where it is no terminal."""
    screen = Console(highlight=False, markup=False, emoji=False)
    if not screen.is_terminal:
        screen.width = max(screen.width, PIPE_WIDTH)
    return screen


def table(headers: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    """A table without lines. Columns of numbers are aligned to the right."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for header, cell in zip(headers, rows[0], strict=True):
        justify: JustifyMethod = "right" if isinstance(cell, int) else "left"
        grid.add_column(header, justify=justify, no_wrap=header not in WRAPPED)
    for row in rows:
        grid.add_row(*(cell if isinstance(cell, Text) else str(cell) for cell in row))
    return grid


def more(count: int, shown: int | None) -> list[Text]:
    """The line below a list of `count` that is cut after `shown`; none where it is not cut."""
    if shown is None or count <= shown:
        return []
    return [Text(f"... and {count - shown} more; --all shows them", "dim")]


def member_table(
    members: Collection[MemberSummary], load: str, counts: Callable[[MemberSummary], dict[str, int]]
) -> Table:
    """A table of Members with the `counts` of one command by header; it compares `load` with their bands."""
    counted = [(m, counts(m)) for m in members]
    scale = max(max(count[load], 0 if m.draining else m.band[1]) for m, count in counted)

    def row(m: MemberSummary, count: dict[str, int]) -> list[Cell]:
        bar, against = load_bar(count[load], m.band, scale), _against_band(count[load], m.band)
        return [m.name, m.zone or "-", m.limit, *count.values(), bar, band_text(m.band), against, _state(m)]

    headers = ("MEMBER", "ZONE", "LIMIT", *counted[0][1], "LOAD", "BAND", "", "STATE")
    return table(headers, [row(m, count) for m, count in counted])


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


def band_text(band: Band) -> str:
    """A band, as one number where both ends are equal."""
    low, high = band
    return str(low) if low == high else f"{low}–{high}"


def _against_band(load: int, band: Band) -> Text:
    low, high = band
    if load > high:
        return Text(f"+{load - high}", "red")
    return Text(f"-{low - load}", "yellow") if load < low else Text("in band", "green")


def _state(member: MemberSummary) -> Text:
    if not member.live:
        return Text("not live", "red")
    return Text("draining", "yellow") if member.draining else Text("live")
