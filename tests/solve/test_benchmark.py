"""The benchmark itself, at a size at which each run is instant."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.solve.__main__ import main
from benchmarks.solve.bounds import bound
from benchmarks.solve.cases import KEPT, KEPT_RUNS, Bench
from benchmarks.solve.churn import churn
from benchmarks.solve.families import FAMILIES, SIZES, instance
from benchmarks.solve.go_peer import NoGazette, program
from benchmarks.solve.judge import broken, count
from benchmarks.solve.peer import solve_peer
from benchmarks.solve.starts import emptiest, first_fit

TINY = SIZES["tiny"]


@pytest.mark.parametrize(
    "family", ["regular", "limits 1:10", "beside drainers", "shortage", "Require, short"]
)
def test_or_tools_finds_the_levels_that_the_judge_says_are_the_best(family: str) -> None:
    problem = instance(family, TINY, "one lost", "own", emptiest)
    best = bound(problem)
    found = solve_peer(problem, best.levels)
    assert found.plan is not None, found.why
    assert broken(problem, found.plan) == []
    reached = count(problem, found.plan)
    # It does not share a shortage evenly, and its few candidates cost moves and, at times, balance.
    for name in ("given-up", "placed", "misplaced", "single-zone"):
        assert reached[name] == best.levels[name], name


def test_the_state_that_is_kept_changes_no_plan_but_its_time() -> None:
    with Bench(TINY, runs=2, ortools=False) as bench:
        rows = list(bench.rows(["regular"], ["one lost", "+1% Items"], [KEPT, "own"]))
    assert [row.start for row in rows] == [KEPT, KEPT, "own", "own"]
    for kept, own in zip(rows[:2], rows[2:], strict=True):
        assert kept.event == own.event
        assert kept.berth.moves == own.berth.moves
        assert len(kept.runs) == KEPT_RUNS


def test_the_table_the_summary_the_picture_and_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, figures = tmp_path / "picture.svg", tmp_path / "figures.json"
    code = main(
        ["--size", "tiny", "--family", "3% room", "--event", "one lost", "--no-peers", "--runs", "1",
         "--plot", str(picture), "--json", str(figures)]
    )  # fmt: skip
    said = capsys.readouterr()
    assert code == 0, said.out
    assert "tiny: certified 5 of 5" in said.out
    assert "3% room  one lost  random" in said.out
    assert picture.read_text().startswith("<?xml")
    assert len(json.loads(figures.read_text())["rows"]) == 5
    assert (
        main(["--size", "tiny", "--family", "limits 1:10", "--start", "own", "--no-peers", "--markdown"]) == 0
    )
    assert "| limits 1:10 | one lost | own |" in capsys.readouterr().out


def test_without_go_gazette_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(NoGazette, match="no Go on PATH"):
        program()
    assert main(["--size", "tiny", "--family", "regular", "--event", "one joins", "--start", "own"]) == 0
    assert "Gazette is left out: there is no Go on PATH\n" in capsys.readouterr().err


def test_a_churn_is_proven_event_by_event() -> None:
    result = churn(SIZES["little"], 40)
    assert result.proven == 40
    assert result.holds == result.judged == 1
    assert "40 single events" in result.line()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("start", ["astray", "random", "first-fit"])
def test_every_start_is_within_limits(family: str, start: str) -> None:
    problem = instance(family, TINY, "nothing", start, emptiest)
    again = instance(family, TINY, "nothing", start, emptiest)
    assert np.array_equal(problem.held, again.held), "seeds are fixed"
    row = np.sort(problem.held, axis=1)
    assert not ((row[:, 1:] == row[:, :-1]) & (row[:, 1:] >= 0)).any()
    before = FAMILIES[family](TINY).problem
    load = np.bincount(problem.held[problem.held >= 0], minlength=len(before.limit))
    assert (load <= before.limit).all()


def test_first_fit_fills_one_member_after_the_other() -> None:
    problem = FAMILIES["regular"](TINY).problem
    load = np.bincount(first_fit(problem)[:120].ravel(), minlength=len(problem.limit))
    assert load.tolist() == [45] * 6 + [30] * 3 + [0] * 5


def test_the_help_names_what_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "+1%" in capsys.readouterr().out
