"""`python -m benchmarks.solve`: every hard family, event and start, judged, beside OR-tools and Gazette.

The exit code is 1 where something that must hold does not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.solve.cases import KEPT, Bench, Row
from benchmarks.solve.churn import churn
from benchmarks.solve.families import EVENTS, FAMILIES, SIZES, STARTS
from benchmarks.solve.go_peer import NoGazette, program
from benchmarks.solve.plot import draw
from benchmarks.solve.promises import milliseconds, summary
from benchmarks.solve.report import LEGEND, aligned, markdown


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="python -m benchmarks.solve", description=__doc__.splitlines()[0])
    out.add_argument("--size", choices=[*SIZES, "both"], default="both", help="both: small and large")
    out.add_argument(
        "--family",
        action="append",
        choices=list(FAMILIES),
        metavar="NAME",
        default=[],
        help=f"may be repeated; of {', '.join(FAMILIES)}".replace("%", "%%"),
    )
    out.add_argument(
        "--event",
        action="append",
        choices=list(EVENTS),
        metavar="NAME",
        default=[],
        help=f"may be repeated; of {', '.join(EVENTS)}".replace("%", "%%"),
    )
    out.add_argument(
        "--start",
        action="append",
        choices=[KEPT, *STARTS],
        metavar="NAME",
        default=[],
        help=f"may be repeated; of {', '.join([KEPT, *STARTS])}",
    )
    out.add_argument("--no-peers", action="store_true", help="without OR-tools and Gazette")
    out.add_argument("--runs", type=int, default=3, help="the median counts (default 3, kept 15)")
    out.add_argument("--churn", action="store_true", help="also a chain of 1,000 single events, large")
    out.add_argument("--markdown", action="store_true", help="the table as Markdown")
    out.add_argument("--plot", type=Path, metavar="FILE", help="draw the times (png or svg)")
    out.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    return out  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, draw; see `--help`."""
    options = parser().parse_args(arguments)
    gazette: Path | None = None
    if not options.no_peers:
        try:
            gazette = program()
        except NoGazette as why:
            print(f"Gazette is left out: {why}", file=sys.stderr)
    rows: list[Row] = []
    begun = time.monotonic()
    for size in ["small", "large"] if options.size == "both" else [options.size]:
        some: list[Row] = []
        with Bench(SIZES[size], max(1, options.runs), not options.no_peers, gazette) as bench:
            for row in bench.rows(options.family, options.event, options.start):
                some.append(row)
                text = f"{time.monotonic() - begun:5.0f} s  {size}: {row.family}, {row.event}, {row.start}"
                print(f"{text}: {milliseconds(row.berth.seconds)}", file=sys.stderr, flush=True)
        title = f"{SIZES[size]} (Members x Items)"
        if options.markdown:
            print(f"\n### {title}\n\n{markdown(some)}")
        else:
            print(f"\n{title}\n{aligned(some)}", flush=True)
        rows += some
    print(f"\n{LEGEND}\n")
    lines, good = summary(rows)
    print("\n".join(f"- {line}" if options.markdown else line for line in lines))
    if options.churn:
        print(churn().line())
    if options.plot:
        draw(rows, options.plot)
    if options.json:
        options.json.write_text(
            json.dumps({"rows": [row.record() for row in rows], "summary": lines}, indent=1)
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
