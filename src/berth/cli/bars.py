"""Bars of load, and the console that tables are printed on."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

WIDTH = 24
PIPE_WIDTH = 160
"""Columns where the output is no terminal: wide enough that nothing is cut."""


def console() -> Console:
    """Standard output; plain text where that is no terminal."""
    screen = Console(highlight=False, markup=False, emoji=False)
    if not screen.is_terminal:
        screen.width = max(screen.width, PIPE_WIDTH)
    return screen


def load_bar(load: int, low: int, high: int, scale: int, width: int = WIDTH) -> Text:
    """A bar of `load` against its band [low, high]; `scale` is the load of a full bar.

    `█` is load, `▓` load above the band, `░` what is missing to reach it.
    """
    unit = max(scale, 1) / width
    bar = Text(no_wrap=True)
    for cell in range(width):
        middle = (cell + 0.5) * unit
        if middle < load:
            bar.append("▓", "red") if middle > high else bar.append("█", "green")
        elif middle < low:
            bar.append("░", "yellow")
        else:
            bar.append("·", "dim")
    return bar


def against_band(load: int, low: int, high: int) -> Text:
    """In words: how a load stands to its band."""
    if load > high:
        return Text(f"+{load - high}", "red")
    if load < low:
        return Text(f"-{low - load}", "yellow")
    return Text("in band", "green")


def band_text(low: int, high: int) -> str:
    """A band, for people."""
    return str(low) if low == high else f"{low}–{high}"
