"""`python -m benchmarks.solve`: a table of all cases, the churn trace, and the promises checked."""

from __future__ import annotations

import argparse
import json
import resource
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.solve.cases import GROUPS, Row
from benchmarks.solve.churn import Churn, churn
from benchmarks.solve.plot import SIZES, draw, scaling

PICTURE = Path(__file__).parents[2] / "docs" / "design" / "solver-scaling.png"


def memory() -> float:
    """Largest resident memory so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.2f} ms"


def ratio(row: Row) -> str:
    if row.ratio is None:
        return "–"
    return f"1/{1 / row.ratio:,.0f}" if row.ratio < 0.5 else f"{row.ratio:.2f}"


def table(title: str) -> Table:
    out = Table(title=title, title_justify="left")
    out.add_column("case")
    for name in ("Berth", "OR-tools cold", "ratio", "moves", "least", "OR-tools'", "off band"):
        out.add_column(name, justify="right")
    out.add_column("proven")
    out.add_column("engine")
    return out


def add(out: Table, row: Row) -> None:
    peer = "–" if row.peer_moves is None else f"{row.peer_moves:,}"
    proven = ("yes" if row.proven else "[red]no[/]") + ("" if row.checked else " [red]MISCOUNTED[/]")
    out.add_row(
        row.case, seconds(row.seconds), seconds(row.peer_seconds), ratio(row), f"{row.moves:,}",
        f"{row.least_moves:,}", peer, f"{row.band_distance:,}", proven, row.engine,
    )  # fmt: skip


def show_churn(console: Console, result: Churn) -> None:
    record = result.record()
    out = Table(title="churn, 1000 x 100,000: random single events in a row", title_justify="left")
    for name in ("event", "count", "median", "99th percentile"):
        out.add_column(name, justify="left" if name == "event" else "right")
    import numpy as np

    for kind in sorted(set(result.kinds)):
        some = result.of((kind,))
        out.add_row(
            kind, str(len(some)), seconds(float(np.median(some))), seconds(float(np.quantile(some, 0.99)))
        )
    some = result.seconds
    out.add_row(
        "all", str(len(some)), seconds(float(np.median(some))), seconds(float(np.quantile(some, 0.99)))
    )
    console.print(out)
    console.print(
        f"proven {result.proven} of {record['events']}, by the fast path alone {result.fast}; "
        f"the end state counted independently: {'right' if result.checked else '[red]WRONG[/]'}"
    )
    if result.peer_seconds:
        single = float(record["item_median"])  # type: ignore[arg-type]
        console.print(
            f"OR-tools cold on the last instance: {seconds(result.peer_seconds)}; "
            f"single-Item median {seconds(single)} = 1/{result.peer_seconds / single:,.0f}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.solve", description=__doc__)
    parser.add_argument("groups", nargs="*", choices=[[], *GROUPS, "churn"], help="all by default")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--no-peer", action="store_true", help="without OR-tools: only Berth's own figures")
    parser.add_argument("--plot", action="store_true", help=f"only draw {PICTURE.name} anew")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 130)
    if options.plot:
        times = scaling()
        draw(times, PICTURE)
        for key, values in times.items():
            console.print(key, "  ".join(f"{n:,}: {seconds(t)}" for n, t in zip(SIZES, values, strict=True)))
        return 0
    peer = not options.no_peer
    records: dict[str, object] = {}
    rows: list[Row] = []
    for name in options.groups or [*GROUPS, "churn"]:
        if name == "churn":
            result = churn(peer=peer)
            show_churn(console, result)
            records["churn"] = result.record()
            continue
        out: Table | None = None
        for row in GROUPS[name](peer):
            out = out or table(row.size)
            add(out, row)
            rows.append(row)
            print(f"  {row.size}: {row.case} {seconds(row.seconds)}", file=sys.stderr, flush=True)
        if out is not None:
            console.print(out)
            console.print(f"largest memory so far, OR-tools included: {memory():.2f} GB")
    records["rows"] = [row.record() for row in rows]
    records["memory_gb"] = memory()
    if options.json:
        options.json.write_text(json.dumps(records, indent=1))
    wrong = [row for row in rows if not row.checked or row.moves != row.least_moves]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
