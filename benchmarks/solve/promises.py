"""What must hold of the rows: thresholds by class of row, and the lines that close the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.solve.cases import KEPT, Row
from benchmarks.solve.families import FOREIGN, SMALL_EVENTS, TURNS

SMALL, LARGE = "small", "large"
PROVEN_TO_MOVES = 0.97
PROVEN_ALL = {SMALL: 0.80, LARGE: 0.75}
ZONES = {"32 zones": 0.2, "200 zones": 0.3}


@dataclass(frozen=True)
class Class:
    """Rows that have to be solved within the same time."""

    name: str
    seconds: float
    of: Callable[[Row], bool]


def _calm(row: Row) -> bool:
    """A small event from the solver's own start, and nothing else happens."""
    return (
        row.start == "own"
        and row.event in SMALL_EVENTS
        and row.family not in TURNS
        and row.family != FOREIGN
        and row.family not in ZONES
    )


CLASSES = (
    Class("state kept, small events, large", 0.012, lambda r: r.start == KEPT and r.size == LARGE),
    Class("own start, small events, small", 0.03, lambda r: _calm(r) and r.size == SMALL),
    Class("own start, small events, large", 0.06, lambda r: _calm(r) and r.size == LARGE),
    Class(
        "any other, small", 0.15,
        lambda r: r.size == SMALL and r.start != KEPT and not _calm(r) and r.family not in ZONES,
    ),
    Class(
        "any other, large", 1.0,
        lambda r: r.size == LARGE and r.start != KEPT and not _calm(r) and r.family not in ZONES,
    ),
    *(
        Class(name, most, lambda r, name=name: r.family == name and r.start not in (KEPT, "random"))
        for name, most in ZONES.items()
    ),
    Class("32 or 200 zones, random start", 1.0, lambda r: r.family in ZONES and r.start == "random"),
)  # fmt: skip


def milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def gains(row: Row) -> bool:
    """Whether Berth's plan is better than Gazette's where levels above the moves look."""
    ours, theirs = row.berth, row.gazette
    return any(
        (getattr(ours, name) or 0) < (getattr(theirs, name) or 0)
        for name in ("short", "single", "outside", "balance", "pairs")
    )


def where(row: Row) -> str:
    return f"{row.family}, {row.event}, {row.start} ({row.size})"


def summary(rows: Sequence[Row]) -> tuple[list[str], bool]:
    """(lines that close the table, whether all that must hold holds)."""
    lines, good = [], True

    def say(text: str, misses: Sequence[Row] = ()) -> None:
        nonlocal good
        good = good and not misses
        names = "; ".join(where(row) for row in misses[:4])
        more = f" and {len(misses) - 4} more" if len(misses) > 4 else ""
        lines.append(text + (f"  MISSED by {len(misses)}: {names}{more}" if misses else ""))

    for size in dict.fromkeys(row.size for row in rows):
        some = [row for row in rows if row.size == size]
        count = len(some)
        wrong = [row for row in some if not row.certified]
        missed = [row for row in some if row.missed is not None]
        far = [row for row in some if not row.close and row.missed is None]
        to_moves = sum(row.proven_to_moves for row in some)
        proven = sum(row.proven is None for row in some)
        say(f"{size}: certified {count - len(wrong)} of {count}", wrong)
        say(f"{size}: levels 1-7 at the bound {count - len(missed)} of {count}", missed)
        say(f"{size}: moves within 0.5% of the bound {count - len(missed) - len(far)} of {count}", far)
        enough = PROVEN_ALL.get(size, 0.75)
        short = to_moves < PROVEN_TO_MOVES * count or proven < enough * count
        good = good and not short
        lines.append(
            f"{size}: proven on levels 1-8 {to_moves / count:.1%} (must be {PROVEN_TO_MOVES:.0%}), "
            f"on all {proven / count:.1%} (must be {enough:.0%})" + ("  MISSED" if short else "")
        )
        peers = [row for row in some if row.gazette.seconds is not None and row.berth.seconds is not None]
        if peers:
            slower = [row for row in peers if (row.berth.seconds or 0) > (row.gazette.seconds or 0)]
            more = [row for row in peers if (row.berth.moves or 0) > (row.gazette.moves or 0)]
            say(
                f"{size}: beside Gazette slower in {len(slower)} of {len(peers)}",
                slower if size == LARGE else (),
            )
            for_nothing = [row for row in more if not gains(row)]
            say(
                f"{size}: more moves than Gazette in {len(more)} of {len(peers)}, "
                f"for a better plan in {len(more) - len(for_nothing)} of them",
                for_nothing if size in PROVEN_ALL else (),
            )
    for group in CLASSES:
        some = [row for row in rows if group.of(row)]
        if not some:
            continue
        worst = max(some, key=lambda row: row.berth.seconds or 0)
        late = [row for row in some if (row.berth.seconds or 0) > group.seconds]
        say(
            f"{group.name}: worst {milliseconds(worst.berth.seconds)} of {milliseconds(group.seconds)}"
            f" at {where(worst)}",
            sorted(late, key=lambda row: -(row.berth.seconds or 0)),
        )
    return lines, good
