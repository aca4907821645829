"""The table of the rows, aligned for a terminal or as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.solve.cases import Figures, Row
from benchmarks.solve.promises import milliseconds

LEGEND = (
    "Times from arrays to plan, median; start `kept`: in a running brain, its state kept. Each of three is "
    "Berth / OR-tools / Gazette, `-` where it was not run. over: moves above the judge's bound. fullest: the "
    "largest load in % of its limit. outside: entries outside of the bands or on draining Members. single: "
    "Items wholly in one zone. short: replicas not placed. proven: levels that the solver proves."
)


def _each(row: Row, show: Callable[[Figures], str]) -> str:
    return " / ".join(
        show(one) if one.seconds is not None else "-" for one in (row.berth, row.ortools, row.gazette)
    )


def _time(one: Figures) -> str:
    return milliseconds(one.seconds) if one.seconds is not None else one.note or "-"


def _over(row: Row) -> str:
    if row.over is None:
        return "?"
    return "0" if row.over == 0 else f"{row.over:.2%}"


def _proven(row: Row) -> str:
    return "all" if row.proven is None else "1-8" if row.proven_to_moves else f"not {row.proven}"


def _judged(row: Row) -> str:
    if row.wrong:
        return "WRONG: " + "; ".join(row.wrong)
    if row.missed is not None:
        return f"misses {row.missed}"
    return "holds" if row.close else "moves"


COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("family", lambda row: row.family),
    ("event", lambda row: row.event),
    ("start", lambda row: row.start),
    ("Berth", lambda row: _time(row.berth)),
    ("OR-tools", lambda row: _time(row.ortools)),
    ("Gazette", lambda row: _time(row.gazette)),
    ("moves", lambda row: _each(row, lambda one: f"{one.moves:,}")),
    ("over", _over),
    ("fullest", lambda row: _each(row, lambda one: f"{100 * (one.fullest or 0):.1f}")),
    ("outside", lambda row: _each(row, lambda one: f"{one.outside:,}")),
    ("single", lambda row: _each(row, lambda one: f"{one.single:,}")),
    ("short", lambda row: _each(row, lambda one: f"{one.short:,}")),
    ("judged", _judged),
    ("proven", _proven),
    ("engine", lambda row: row.engine),
)
LEFT = 3
"""So many columns are names; the others are aligned to the right, as far as a terminal goes."""


def aligned(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    cells = [[name for name, _ in COLUMNS], *([show(row) for _, show in COLUMNS] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    last = len(COLUMNS) - LEFT
    lines = [
        "  ".join(
            cell.ljust(width) if at < LEFT or at >= last else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def markdown(rows: Sequence[Row]) -> str:
    """The same table as Markdown."""
    names = [name for name, _ in COLUMNS]
    rule = ["---" if at < LEFT else "---:" for at in range(len(names))]
    lines = [names, rule, *([show(row) for _, show in COLUMNS] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
