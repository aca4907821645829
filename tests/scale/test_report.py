"""docs/benchmarks.md says what the figures in benchmarks/scale/results say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.scale import report
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
