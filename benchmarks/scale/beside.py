"""This checkout beside another: their controllers lead one fleet in turn, through the same events.

A machine that other work slows down by half changes both alike, so the ratio of the two tells what a change
of the code costs where seconds of two runs would not.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.scale.cases import Measured, events, first_placement
from benchmarks.scale.child import ROOT
from benchmarks.scale.stage import Stage

HERE, OTHER = "this", "other"


async def beside(
    stage: Stage, other: Path, turns: int, show: Callable[[str, Measured], None]
) -> dict[str, list[dict[str, Any]]]:
    """All events under each checkout's controller, `turns` times; every run of each case, by case.

    `other` is the absolute path of the other checkout, whose objects must be compatible with this one's.
    """
    runs: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    folders = {HERE: ROOT, OTHER: other}
    async with AsyncExitStack() as stack:
        await first_placement(stage, stack)
    for turn in range(turns):
        # Alternately, so that neither is always the one that follows.
        for code in sorted(folders, reverse=bool(turn % 2)):

            def note(measured: Measured, code: str = code) -> None:
                runs[measured.case].append({"code": code, **measured.plain()})
                show(code, measured)

            async with stage.controller(checkout=folders[code]) as controller:
                await stage.until(lambda c=controller: c.said("leading in term"), "a leader", 300)
                await stage.settled(600)
                await stage.idle(controller, 600)
                await events(stage, controller, note)
                await stage.kill(stage.members[:1])  # one has joined
                await stage.settled(300)
                await stage.idle(controller, 300)
    return dict(runs)


def compared(runs: dict[str, list[dict[str, Any]]]) -> Table:
    """The medians of each case in seconds and as ratios to the bare writes."""
    table = Table(*("case", "runs", "other s", "this s", "this / other", "other / floor", "this / floor"))
    for case, all_runs in runs.items():
        seconds, ratios = (
            {
                code: statistics.median(run[key] for run in all_runs if run["code"] == code)
                for code in (OTHER, HERE)
            }
            for key in ("seconds", "ratio")
        )
        table.add_row(
            case,
            f"{len(all_runs) // 2}",
            f"{seconds[OTHER]:.2f}",
            f"{seconds[HERE]:.2f}",
            f"{seconds[HERE] / seconds[OTHER]:.2f}",
            f"{ratios[OTHER]:.2f}",
            f"{ratios[HERE]:.2f}",
        )
    return table
