"""`python -m benchmarks.scale`: the cases at a size, beside another checkout, the soak, the refusal."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.scale.beside import beside, compared
from benchmarks.scale.cases import Measured, all_cases
from benchmarks.scale.refuse import refusal
from benchmarks.scale.sizes import SIZES, Size, size_named
from benchmarks.scale.soak import soak
from benchmarks.scale.stage import Stage, stage
from berth.testing import ControlPlane


def one_line(m: Measured) -> str:
    other = " ".join(f"{key}={value:.3g}" for key, value in m.other.items())
    return (
        f"{m.case}: {m.seconds:.3f} s, floor {m.floor:.3f} s ({m.open_floor:.3f}), ratio {m.ratio:.2f}; "
        f"{m.writes} writes of {m.touched} Assignments (most {m.most}), {m.bytes / 1e6:.2f} MB, "
        f"{m.rounds} rounds for {m.bursts} bursts; "
        f"controller {m.controller_cpu:.2f} s CPU, {m.controller_peak:.0f} MiB; "
        f"API server {m.api_cpu:.2f} s CPU; {other}"
    )


def show(one: Stage, args: argparse.Namespace, console: Console, measured: Measured, code: str = "") -> None:
    """Print a case, and add it to the file of `--lines`; `code` is whose controller it was measured with."""
    console.print(f"{code} {one_line(measured)}".strip(), highlight=False, soft_wrap=True)
    if args.lines:  # a run of an hour that is broken off has not been for nothing
        of = {"code": code} if code else {}
        with args.lines.open("a") as lines:
            lines.write(json.dumps({"size": str(one.size), **of, **measured.plain()}) + "\n")


async def run_cases(one: Stage, args: argparse.Namespace, console: Console) -> dict[str, Any]:
    cases = await all_cases(one, partial(show, one, args, console))
    return {"cases": [m.plain() for m in cases]}


async def run_beside(one: Stage, args: argparse.Namespace, console: Console) -> dict[str, Any]:
    runs = await beside(one, args.beside, args.runs, partial(show, one, args, console))
    console.print(compared(runs))
    return {"beside": runs}


async def run_soak(one: Stage, args: argparse.Namespace, console: Console) -> dict[str, Any]:
    done = await soak(one, args.soak, restarts=args.restarts, say=console.print)
    console.print(
        f"soak of {done.seconds:.0f} s: {done.events}; {done.writes} writes, {done.checked} changes checked; "
        f"RSS {done.quarter(2):.1f} MiB in the second quarter, {done.quarter(4):.1f} in the last "
        f"({100 * done.growth:+.1f}%); {len(done.drift)} differences between caches and server; "
        f"{done.controller_cpu:.0f} s CPU",
        highlight=False,
    )
    for line in done.drift[:10]:
        console.print(f"[red]{line}[/]")
    return done.plain()


async def run_refusal(one: Stage, args: argparse.Namespace, console: Console) -> dict[str, Any]:
    done = await refusal(one, args.refuse)
    console.print(
        f"refused for {done.lasted:.0f} s ({done.requests} requests): converged {done.converged:.2f} s "
        f"after, {done.lost} entries lost, {done.writes} writes, "
        + ("the controller runs on" if done.ended is None else f"the controller ENDED with {done.ended}"),
        highlight=False,
    )
    return done.plain()


Job = Callable[[Stage, argparse.Namespace, Console], Awaitable[dict[str, Any]]]


def chosen(args: argparse.Namespace) -> tuple[Job, str]:
    """What to run, and how the names of its results begin."""
    if args.soak:
        return run_soak, "soak-"
    if args.refuse:
        return run_refusal, "refuse-"
    return (run_beside, "beside-") if args.beside else (run_cases, "")


async def run(size: Size, job: Job, args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """One run on a control plane of its own."""
    with ControlPlane() as plane:
        plane.apply_crds()
        async with stage(
            plane, size, reported=args.reported, item_status=args.item_status, logs=args.logs, clean=False
        ) as one:
            result = await job(one, args, console)
            history = one.observer.history
            for line in history.violations[:20]:
                console.print(f"[red]{line}[/]")
    return {
        "items": size.items,
        "members": size.members,
        "replicas": size.replicas,
        "item_status": args.item_status,
        "reported": args.reported,
        "checked": history.checked,
        "violations": history.violations,
        **result,
    }


def median_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Several runs of the cases as one: of each case the run of the median ratio, and the ratios of all."""
    cases = []
    for same in zip(*(run["cases"] for run in runs), strict=True):
        ordered = sorted(same, key=lambda case: case["ratio"])
        ratios = [case["ratio"] for case in ordered]
        cases.append(ordered[(len(ordered) - 1) // 2] | {"ratios": ratios})
    return runs[0] | {
        "cases": cases,
        "checked": sum(run["checked"] for run in runs),
        "violations": [line for run in runs for line in run["violations"]],
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "--size", default="small,medium,large", help=f"{', '.join(SIZES)} or ITEMSxMEMBERS; comma"
    )
    parser.add_argument(
        "--runs", type=int, default=1, help="of each case the run of the median ratio is kept"
    )
    parser.add_argument(
        "--beside",
        type=lambda folder: Path(folder).resolve(),
        metavar="CHECKOUT",
        help="folder of another checkout: its controller and this one lead one fleet in turn, --runs times",
    )
    parser.add_argument("--reported", action="store_true", help="Members report what they hold (readiness)")
    parser.add_argument("--item-status", default="Full", choices=("Full", "Problems", "None"))
    parser.add_argument(
        "--soak", type=float, metavar="SECONDS", help="churn for so long instead of the cases"
    )
    parser.add_argument("--restarts", type=int, default=3, help="API server restarts during the soak")
    parser.add_argument(
        "--refuse", type=float, metavar="SECONDS", help="refuse the controller everything for so long instead"
    )
    parser.add_argument("--json", type=Path, help="folder to write the figures to")
    parser.add_argument("--lines", type=Path, help="file to add each case to as soon as it is measured")
    parser.add_argument("--logs", type=Path, help="folder to keep the controllers' logs in")
    args = parser.parse_args()
    if args.beside and not (args.beside / "src/berth").is_dir():
        parser.error(f"--beside {args.beside}: there is no src/berth; name the folder of a checkout")
    if args.logs:
        args.logs.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGINT, signal.SIGTERM):  # in the background a shell has SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    console = Console(width=200)
    job, prefix = chosen(args)
    for name in args.size.split(","):
        size = size_named(name)
        console.rule(str(size))
        started = time.monotonic()
        if job is run_cases:
            result = median_of([asyncio.run(run(size, job, args, console)) for _ in range(args.runs)])
        else:
            result = asyncio.run(run(size, job, args, console))
        console.print(f"{time.monotonic() - started:.0f} s in all")
        if args.json:
            args.json.mkdir(parents=True, exist_ok=True)
            (args.json / f"{prefix}{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        if result["violations"]:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
