"""`berth plan` and its solver: bounded in time, certified, and what it says where an engine fails."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cliengines import solver
from cliobjects import Run, assignment, eventually, item, listed, member, obj

from berth.child_process import ChildProcess
from berth.cli import analysis
from berth.solve import Solver
from berth.solve.tuning import DEFAULT

FLEET = (
    member("m-a", 4),
    member("m-b", 4),
    item("held"),
    *(item(f"new-{n}") for n in range(5)),
    assignment("m-b", "held#0@1:1"),
)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Makes `berth plan` ask an engine of `cliengines` for everything."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def use(name: str) -> None:
        monkeypatch.setattr(analysis, "Solver", partial(solver, name))

    return use


def left_behind() -> list[str]:
    """Child processes of this one."""
    found = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in found if "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]]


def test_seconds_are_the_wall_time_of_the_solve_with_its_other_process(
    berth: Run, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = analysis.brain_of

    def reads_slowly(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.4)
        return found(*args, **kwargs)

    monkeypatch.setattr(analysis, "brain_of", reads_slowly)
    before = left_behind()
    quick = berth("plan", "-o", "json", "-f", "-", stdin=listed(*FLEET)).json["pools"]["p"]
    assert 0 < quick["seconds"] < 0.4
    engine("slow")
    asked = berth("plan", "-o", "json", "-f", "-", stdin=listed(*FLEET)).json["pools"]["p"]
    assert 0.5 <= asked["seconds"] < 1.5
    for plan in (quick, asked):
        del plan["seconds"]
    assert quick == asked
    assert left_behind() == before


def test_each_pool_has_its_own_deadline_and_reports_its_makeshift_plan(berth: Run, engine: Any) -> None:
    engine("hangs")
    objects = [*FLEET, member("q-a", 4, pool="q"), item("other", pool="q")]
    before = left_behind()
    started = time.monotonic()
    answer = berth("plan", "-f", "-", stdin=listed(*objects))
    assert answer.code == 0
    assert 2.0 <= time.monotonic() - started < 10
    lines = answer.out.splitlines()
    assert lines[0] == "Pool p: 6 of 6 slots placed on 2 Members; 5 to add, 0 to remove, 5 to promote"
    makeshift = [line for line in lines if line.startswith("A makeshift plan: ")]
    assert len(makeshift) == 2
    for line in makeshift:
        assert line.startswith("A makeshift plan: the solver's usual engines gave none (no answer within ")
        assert line.endswith(" s). It places what is missing and moves nothing for balance.")
    assert left_behind() == before


@pytest.mark.parametrize(
    ("name", "why", "logged"),
    [
        ("dies", "its process ended (signal 9)", ""),
        ("rubbish", "its answer is not a plan", "the answer is str, not a plan"),
        ("crowds", "its plan was rejected", "6 Items, above its limit of 4"),
    ],
)
def test_an_engine_that_fails_is_reported_and_its_problem_is_saved(
    berth: Run,
    engine: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    why: str,
    logged: str,
) -> None:
    engine(name)
    answer = berth("plan", "-f", "-", stdin=listed(*FLEET))
    assert answer.code == 0
    assert f"A makeshift plan: the solver's usual engines gave none ({why}" in answer.out
    files = list((tmp_path / "berth").glob("*.json")) if logged else []
    if logged:
        (path,) = files
        (record,) = [one for one in caplog.records if one.name == "berth.saved"]
        assert record.levelname == "ERROR"
        words = record.getMessage()
        assert words.startswith("Pool default/p: the plan of the ")
        assert words.endswith(f"(berth plan -f {path})")
        engine("slow")
        plans = [
            berth("plan", "-o", "json", "-f", *source).json["pools"]["p"]
            for source in ([path], [save_text(tmp_path, listed(*FLEET))])
        ]
        for plan in plans:
            del plan["seconds"]
            assert set(plan["members"]) == {"m-a", "m-b"}
            assert plan["optimal"]
        assert plans[0]["items"] == plans[1]["items"], "the saved problem is the same one, by name"
        assert plans[0]["levels"] == plans[1]["levels"]


def save_text(folder: Path, text: str) -> Path:
    path = folder / "written.json"
    path.write_text(text)
    return path


def test_the_best_plan_so_far_stands_where_the_longer_search_fails(
    berth: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Searches(Solver):
        """As if the plan that was found at once left a level open."""

        def begin(self, problem: Any, touched: Any = None) -> Any:
            from berth.solve.engine import Pending

            found = super().begin(problem, touched)
            assert not isinstance(found, Pending)
            return Pending(problem, time.perf_counter(), found, self._process, 1.0)

    monkeypatch.setattr(
        analysis,
        "Solver",
        partial(Searches, process=ChildProcess("cliengines:dies", DEFAULT, memory=DEFAULT.memory)),
    )
    answer = berth("plan", "-f", "-", stdin=listed(*FLEET))
    line = answer.out.splitlines()[1]
    assert line.startswith("Proven optimal in all 14 levels by the ")
    assert " The search for a better plan failed (its process ended (signal 9)" in line


INTERRUPTED = """
import sys
from functools import partial
sys.path.insert(0, {folder!r})
from berth.cli import analysis, main
from cliengines import EVERYTHING, solver
from dataclasses import replace
analysis.Solver = partial(solver, "hangs", replace(EVERYTHING, seconds=60.0))
main()
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_other_process_too(tmp_path: Path, sent: signal.Signals, code: int) -> None:
    path = save_text(tmp_path, listed(*FLEET))
    script = INTERRUPTED.format(folder=str(Path(__file__).parent))
    command = [sys.executable, "-c", script, "plan", "-f", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        (child,) = eventually(lambda: children.read_text().split())
        time.sleep(0.5)  # until it hangs
        process.send_signal(sent)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (code, "", "")
    assert not Path(f"/proc/{child}").exists()


def crowded(seed: int) -> str:
    """Few large and few small Members, and a placement by somebody who never looked at limits.

    The small ones hold twice what they may, two Members that hold something are gone, Items hold
    too much, too little and nothing. A solver once guessed loads for these in a circle, for ever.
    """
    rng = random.Random(seed)
    small, large = [f"small-{n}" for n in range(6)], [f"large-{n}" for n in range(8)]
    everyone = [*small, *large, "left-a", "left-b"]
    objects = [obj("Pool", "p", {"zones": "Ignore"})]
    objects += [member(name, 18) for name in small] + [member(name, 112) for name in large]
    held: dict[str, list[str]] = {name: [] for name in everyone}
    for n in range(289):
        replicas = rng.choices([0, 1, 2, 3, 4, 9], [29, 70, 69, 59, 34, 28])[0]
        objects.append(item(f"i{n}", replicas))
        for slot, name in enumerate(rng.sample(everyone, rng.randint(0, replicas + 1))):
            held[name].append(f"i{n}#{slot}@1" if slot else f"i{n}#0@1:1")
    return listed(*objects, *(assignment(name, *entries) for name, entries in held.items()))


@pytest.mark.parametrize("seed", range(6))
def test_a_crowded_fleet_of_two_sizes_is_planned_at_once(berth: Run, seed: int) -> None:
    text = crowded(seed)
    found = [berth("plan", "-o", "json", "-f", "-", stdin=text).json["pools"]["p"] for _ in range(2)]
    assert found[0]["optimal"]
    assert min(plan["seconds"] for plan in found) < 0.5, "0.03 s where nobody else uses the machine"
    assert all(one["items"] <= one["limit"] for one in found[0]["members"].values())
    json.dumps(found)
