"""docs/benchmarks.md and its pictures from `results/`: `python -m benchmarks.scale.report`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
PICTURES = ROOT / "docs" / "images"
SIZES = ("small", "medium", "large")
Run = dict[str, Any]


def load(name: str) -> Run | None:
    """The figures of one run, if it was made."""
    file = RESULTS / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def title(run: Run) -> str:
    return f"{run['items']:,} Items x {run['members']:,} Members"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table; the first column is text, the others figures."""
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ratio(case: dict[str, Any]) -> str:
    """The ratio to the floor; the least and the most of several runs with it."""
    ratios = case["ratios"]
    text = f"{case['ratio']:.2f}"
    return text if len(ratios) < 2 else f"{text} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def case_table(run: Run) -> str:
    """One row for each case with a cause."""
    rows = [
        (
            case["case"],
            f"{case['seconds']:.2f}",
            f"{case['floor']:.2f}",
            f"{case['open_floor']:.2f}",
            ratio(case),
            f"{case['writes']:,}",
            f"{case['touched']:,}",
            f"{case['most']}",
            f"{case['bytes'] / 1e6:.2f}",
            f"{case['rounds']}",
            f"{case['bursts']}" if "Items" in case["case"] else "",
            f"{case['controller_cpu']:.1f}",
            f"{case['controller_peak']:.0f}",
            f"{case['api_cpu']:.1f}",
        )
        for case in run["cases"]
        if case["case"] not in ("idle", "cold start")
    ]
    head = (
        "case", "s", "floor s", "open s", "ratio", "writes", "touched", "most", "MB", "rounds", "bursts",
        "CPU s", "peak MiB", "API CPU s",
    )  # fmt: skip
    return table(head, rows)


def start_table(runs: list[Run]) -> str:
    """The cold starts of all sizes."""
    rows = []
    for run in runs:
        for case in run["cases"]:
            if case["case"] == "cold start":
                other = case["other"]
                rows.append(
                    (
                        title(run),
                        f"{other['caches_filled']:.2f}",
                        f"{other['leading']:.2f}",
                        f"{case['seconds']:.2f}",
                        f"{case['floor']:.2f}",
                        ratio(case),
                        f"{case['controller_cpu']:.1f}",
                        f"{case['controller_peak']:.0f}",
                        f"{case['writes']}",
                    )
                )
    head = (
        "fleet", "caches filled s", "leads s", "first round done s", "bare list s", "ratio", "CPU s",
        "peak MiB", "writes",
    )  # fmt: skip
    return table(head, rows)


def idle_table(runs: list[Run]) -> str:
    """What it costs when nothing happens."""
    rows = [
        (
            title(run),
            f"{case['other']['renewals_per_second']:.0f}",
            f"{100 * case['other']['core']:.1f}%",
            f"{case['writes']}",
            f"{case['rounds']}",
            f"{case['controller_peak']:.0f}",
        )
        for run in runs
        for case in run["cases"]
        if case["case"] == "idle"
    ]
    return table(("fleet", "renewals/s", "of a core", "writes", "rounds", "RSS MiB"), rows)


def soak_table(run: Run) -> str:
    events = ", ".join(
        f"{count:,} x {name.replace('_', ' ')}" for name, count in sorted(run["events"].items())
    )
    growth = 100 * (run["last_quarter"] / run["second_quarter"] - 1)
    rows = [
        ("fleet", title(run)),
        ("seconds", f"{run['seconds']:.0f}"),
        ("events", events),
        ("writes of Assignments", f"{run['writes']:,}"),
        ("changes of entries checked against the promises", f"{run['checked']:,}"),
        ("promises broken", f"{len(run['violations'])}"),
        ("differences between caches and server in the end", f"{len(run['drift'])}"),
        (
            "memory, second quarter / last quarter",
            f"{run['second_quarter']:.1f} / {run['last_quarter']:.1f} MiB ({growth:+.1f}%)",
        ),
        ("controller CPU", f"{run['controller_cpu']:.0f} s"),
        ("from the last event to everything in place", f"{run['settled']:.1f} s"),
    ]
    return table(("", "figure"), rows)


def refusal_table(runs: list[Run]) -> str:
    rows = [
        (
            title(run),
            f"{run['lasted']:.0f}",
            f"{run['requests']}",
            f"{run['converged']:.1f}",
            f"{run['lost']}",
            "runs on" if run["ended"] is None else f"ended with {run['ended']}",
        )
        for run in runs
    ]
    head = ("fleet", "refused for s", "requests refused", "converged after s", "entries lost", "controller")
    return table(head, rows)


def draw(runs: list[Run], soak: Run | None) -> None:
    """Write the pictures."""
    mpl.use("svg")
    # The same figures give the same file.
    mpl.rcParams.update({"svg.hashsalt": "berth", "svg.fonttype": "none", "font.size": 9})
    PICTURES.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(8, 4.2))
    names = [case["case"] for case in runs[-1]["cases"] if case["case"] != "idle"]
    for number, run in enumerate(runs):
        ratios = {re.sub(r"^\d+", "10", c["case"]): c["ratio"] for c in run["cases"]}
        values = [ratios.get(re.sub(r"^\d+", "10", name), 0.0) for name in names]
        at = [place + (number - (len(runs) - 1) / 2) * 0.8 / len(runs) for place in range(len(names))]
        axes.barh(at, values, height=0.8 / len(runs), label=title(run))
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.axvline(1.5, color="grey", linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(
        "time from the cause to the last write, as a multiple of a bare program's for the same objects"
    )
    axes.legend()
    save(figure, "scale-ratios.svg")
    if soak is not None:
        figure, axes = plt.subplots(figsize=(8, 2.6))
        axes.plot([at / 60 for at, _ in soak["rss"]], [mib for _, mib in soak["rss"]])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("minutes of churn")
        axes.set_ylabel("controller's RSS, MiB")
        save(figure, "scale-soak.svg")


def save(figure: Any, name: str) -> None:
    figure.tight_layout()
    figure.savefig(PICTURES / name, metadata={"Date": None})
    plt.close(figure)


def blocks() -> dict[str, str]:
    """The generated parts of the document by name."""
    runs = [run for name in SIZES if (run := load(name)) is not None]
    found = {
        "cases": "\n\n".join(f"### {title(run)}\n\n{case_table(run)}" for run in runs),
        "start": start_table(runs),
        "idle": idle_table(runs),
    }
    if (soak := load("soak-medium")) is not None:
        found["soak"] = soak_table(soak)
    refusals = [run for name in SIZES if (run := load(f"refuse-{name}")) is not None]
    if refusals:
        found["refusal"] = refusal_table(refusals)
    return found


def written(text: str, parts: dict[str, str]) -> str:
    """The document with its generated parts replaced."""
    for name, part in parts.items():
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        assert marks.search(text), f"docs/benchmarks.md has no marks for {name}"
        text = marks.sub(lambda found, part=part: found[1] + part + "\n" + found[2], text)
    return text


def main() -> int:
    DOCUMENT.write_text(written(DOCUMENT.read_text(), blocks()))
    runs = [run for name in SIZES if (run := load(name)) is not None]
    draw(runs, load("soak-medium"))
    print(f"wrote {DOCUMENT.relative_to(ROOT)} and {PICTURES.relative_to(ROOT)}/scale-*.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
