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
    stage: Stage, other: Path, turns: int, show: Callable[[Measured, str], None]
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
                show(measured, code)

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
    for case, of_case in runs.items():
        before, now = (_median(of_case, code, "seconds") for code in (OTHER, HERE))
        ratios = [f"{_median(of_case, code, 'ratio'):.2f}" for code in (OTHER, HERE)]
        table.add_row(
            case, f"{len(of_case) // 2}", f"{before:.2f}", f"{now:.2f}", f"{now / before:.2f}", *ratios
        )
    return table


def _median(runs: list[dict[str, Any]], code: str, key: str) -> float:
    return statistics.median(run[key] for run in runs if run["code"] == code)
