"""The scaling picture: seconds for a fixed change while Items grow."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.solve.cases import sized
from benchmarks.solve.world import World, rows

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
ROUNDS = 15
CASES = ("cold", "one of 100 Members lost and back", "one Item asks for less and more")


def scaling(members: int = 1000, sizes: tuple[int, ...] = SIZES) -> dict[str, list[float]]:
    """Median seconds by case, one value for each size; the change is the same at all sizes.

    The Member that is lost and comes back has limit 100 at every size: the same Items move.
    """
    out: dict[str, list[float]] = {"cold": [], "Member": [], "Item": []}
    for items in sizes:
        now = sized(items, members)
        small = members // 2
        now.problem.limit[small] = 100
        out["cold"].append(now.solve())
        now.settle()
        out["Member"].append(float(np.median([_member(now, small, k) for k in range(2 * ROUNDS)])))
        out["Item"].append(float(np.median([_item(now, 5 + k // 2, k) for k in range(10 * ROUNDS)])))
    return out


def _member(now: World, row: int, turn: int) -> float:
    (now.join if turn % 2 else now.lose)(rows(row))
    seconds = now.solve()
    now.settle()
    return seconds


def _item(now: World, row: int, turn: int) -> float:
    now.ask(rows(row), 3 if turn % 2 else 2)
    seconds = now.solve()
    now.settle()
    return seconds


def draw(times: dict[str, list[float]], path: Path, sizes: tuple[int, ...] = SIZES) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    names = {
        "cold": "cold: every Item placed for the first time",
        "Member": "a Member of limit 100 lost, or back",
        "Item": "one Item asks for one replica less, or more",
    }
    for key, label in names.items():
        axes.loglog(sizes, times[key], marker="o", label=label)
    axes.set_xlabel("Items (3 replicas each, 1000 Members, zones 3:2)")
    axes.set_ylabel("seconds to solve")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(frameon=False)
    axes.set_title("The cost of a change does not grow with the fleet")
    figure.savefig(path, dpi=120)
    plt.close(figure)
