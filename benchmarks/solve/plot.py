"""The picture: each family's times beside those of its peers, one panel for each size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.solve.cases import KEPT, Row
from benchmarks.solve.families import SIZES

MARKS = (
    ("Berth, running brain", "o", "#1b6ca8", lambda row: row.berth.seconds if row.start == KEPT else None),
    ("Berth, own start", "o", "#59a14f", lambda row: row.berth.seconds if row.start == "own" else None),
    (
        "Berth, foreign start", ".", "#9c755f",
        lambda row: row.berth.seconds if row.start not in (KEPT, "own") else None,
    ),
    ("Gazette's allocator", "|", "#e15759", lambda row: row.gazette.seconds),
    ("OR-tools, cold", "x", "#76659e", lambda row: row.ortools.seconds),
)  # fmt: skip


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write the picture; its format follows the name of the file (png, svg)."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "berth"  # the same figures draw the same file
    sizes = list(dict.fromkeys(row.size for row in rows))
    families = list(dict.fromkeys(row.family for row in rows))[::-1]
    figure, axes = plt.subplots(
        1, len(sizes), figsize=(1 + 5 * len(sizes), 1.6 + 0.32 * len(families)),
        sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    for panel, size in zip(axes[0], sizes, strict=True):
        for nudge, (label, mark, colour, seconds) in enumerate(MARKS):
            points = [
                (value, families.index(row.family) + 0.3 - 0.15 * nudge)
                for row in rows
                if row.size == size and (value := seconds(row)) is not None
            ]
            if points:
                panel.scatter(*zip(*points, strict=True), marker=mark, c=colour, s=18, label=label, lw=1)
        panel.set_xscale("log")
        panel.set_yticks(range(len(families)), families)
        panel.set_xlabel("seconds, one mark for each event and start")
        panel.set_title(f"{SIZES[size]} (Members x Items)", fontsize=10)
        panel.grid(True, axis="x", which="major", alpha=0.3)
        panel.set_ylim(-0.6, len(families) - 0.4)
    handles: dict[str, object] = {}
    for panel in axes[0]:
        handles.update(
            {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
        )
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=3, frameon=False, fontsize=9
    )
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, dpi=130, metadata=metadata)
    plt.close(figure)
