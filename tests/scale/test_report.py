"""docs/benchmarks.md says what the figures in benchmarks/scale/results say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.scale import report
from benchmarks.scale.__main__ import median_of
from benchmarks.scale.load import bursts
from benchmarks.scale.sizes import Size, size_named

RUNS = sorted(file.stem for file in report.RESULTS.glob("*.json"))


def test_the_page_holds_the_tables_of_the_figures() -> None:
    text = report.DOCUMENT.read_text()
    assert report.written(text, report.blocks()) == text, "run python -m benchmarks.scale.report"


def test_every_picture_of_the_page_is_there() -> None:
    for name in ("scale-ratios.svg", "scale-soak.svg"):
        assert (report.PICTURES / name).is_file()
        assert f"images/{name}" in report.DOCUMENT.read_text()


@pytest.mark.parametrize("name", RUNS)
def test_no_run_whose_figures_are_shown_broke_a_promise(name: str) -> None:
    run = json.loads((Path(report.RESULTS) / f"{name}.json").read_text())
    assert run["violations"] == []
    assert run.get("drift", []) == []
    assert run.get("ended") is None
    assert run.get("lost", 0) == 0


def test_a_size_is_named_or_spelled_out() -> None:
    assert size_named("medium") == Size(10_000, 100)
    assert size_named("500x10") == Size(500, 10)
    assert size_named("large").limit == 450
    with pytest.raises(ValueError, match="ITEMSxMEMBERS"):
        size_named("huge")


def test_of_several_runs_each_case_is_that_of_the_median_ratio() -> None:
    def run(a: float, b: float) -> dict[str, object]:
        cases = [{"case": "a", "ratio": a, "seconds": 10 * a}, {"case": "b", "ratio": b, "seconds": 10 * b}]
        return {"items": 10, "cases": cases, "checked": 2, "violations": [f"broken at {a}"]}

    done = median_of([run(1, 6), run(3, 4), run(2, 5)])
    assert [(c["ratio"], c["seconds"], c["ratios"]) for c in done["cases"]] == [
        (2, 20, [1, 2, 3]),
        (5, 50, [4, 5, 6]),
    ]
    assert (done["items"], done["checked"]) == (10, 6)
    assert done["violations"] == ["broken at 1", "broken at 3", "broken at 2"]


@pytest.mark.parametrize(
    ("times", "count"),
    [
        ([], 0),
        ([1.0], 1),
        ([1.0, 1.01, 1.02], 1),
        ([1.0, 1.05, 1.06], 2),
        ([i * 0.01 for i in range(60)], 2),
        ([i * 0.01 for i in range(101)], 2),
        ([i * 0.01 for i in range(110)], 3),
    ],
)
def test_bursts_end_with_quiet_or_after_a_while(times: list[float], count: int) -> None:
    assert bursts(times, quiet=0.02, longest=0.5) == count
