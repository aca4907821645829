"""`python -m benchmarks.scale`: the cases at a size, the soak, the refusing API server, the report."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks.scale.cases import Measured, all_cases
from benchmarks.scale.sizes import SIZES, Size, size_named
from benchmarks.scale.stage import stage
from berth.testing import ControlPlane


def one_line(m: Measured) -> str:
    other = " ".join(f"{key}={value:.3g}" for key, value in m.other.items())
    return (
        f"{m.case}: {m.seconds:.3f} s, floor {m.floor:.3f} s, ratio {m.ratio:.2f}; "
        f"{m.writes} writes of {m.touched} Assignments (most {m.most}), {m.bytes / 1e6:.2f} MB, "
        f"{m.rounds} rounds; controller {m.controller_cpu:.2f} s CPU, {m.controller_peak:.0f} MiB; "
        f"API server {m.api_cpu:.2f} s CPU; {other}"
    )


async def run_cases(size: Size, args: argparse.Namespace, console: Console) -> dict[str, object]:
    with ControlPlane() as plane:
        plane.apply_crds()
        async with stage(
            plane, size, reported=args.reported, item_status=args.item_status, logs=args.logs
        ) as one:
            found = await all_cases(one, lambda m: console.print(one_line(m), highlight=False))
            history = one.observer.history
            for line in history.violations[:20]:
                console.print(f"[red]{line}[/]")
            return {
                "items": size.items,
                "members": size.members,
                "replicas": size.replicas,
                "item_status": args.item_status,
                "reported": args.reported,
                "cases": [m.plain() for m in found],
                "checked": history.checked,
                "violations": history.violations,
            }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--size", default="small,medium", help=f"{', '.join(SIZES)} or ITEMSxMEMBERS; comma")
    parser.add_argument("--reported", action="store_true", help="Members report what they hold (readiness)")
    parser.add_argument("--item-status", default="Full", choices=("Full", "Problems", "None"))
    parser.add_argument("--json", type=Path, help="folder to write the figures to")
    parser.add_argument("--logs", type=Path, help="folder to keep the controllers' logs in")
    args = parser.parse_args()
    if args.logs:
        args.logs.mkdir(parents=True, exist_ok=True)
    console = Console(width=200)
    for name in args.size.split(","):
        size = size_named(name)
        console.rule(str(size))
        started = time.monotonic()
        result = asyncio.run(run_cases(size, args, console))
        console.print(f"{time.monotonic() - started:.0f} s in all")
        if args.json:
            args.json.mkdir(parents=True, exist_ok=True)
            (args.json / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        if result["violations"]:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
