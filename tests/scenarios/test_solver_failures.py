"""Stories of a controller whose solver fails, with real processes on the real API server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from stage import Controller, Stage
from waiting import eventually

pytestmark = pytest.mark.cluster

HERE = Path(__file__).parent
ENGINES = HERE.parent / "controller"
"""The folder of the module whose engines fail."""
FILE = "BERTH_TEST_ENGINE"
SECONDS = 2.0
Engine = Callable[[str], object]


@pytest.fixture
def engine_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Sets what the engine does from now on."""
    path = tmp_path / "engine"
    monkeypatch.setenv(FILE, str(path))
    monkeypatch.setenv("PYTHONPATH", f"{ENGINES}{os.pathsep}{HERE}")
    path.write_text("well")
    return path.write_text


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """The file that is there once the engine was asked."""
    return tmp_path / "engine.asked"


def controller(stage: Stage, folder: Path) -> Controller:
    """One that asks another process for everything."""
    tuning = {"quick_moves": -1, "quick_items": -1, "quick_arcs": -1, "seconds": SECONDS, "memory": 1 << 30}
    options = [f"--solver-tuning={name}={number}" for name, number in tuning.items()]
    engine = "--solver-engine=asked_engine:engine"
    return stage.controller(engine, *options, f"--problem-folder={folder}")


def children(process: subprocess.Popen[bytes]) -> set[int]:
    """What the controller has started."""
    found: set[int] = set()
    for task in Path(f"/proc/{process.pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            found.update(map(int, (task / "children").read_text().split()))
    return found


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def degraded(stage: Stage) -> str:
    return str(stage.condition("pools", "default", "Degraded").get("reason", ""))


def test_missing_replicas_are_recovered_whatever_the_solver_does(
    stage: Stage, engine_is: Engine, tmp_path: Path
) -> None:
    leader = controller(stage, tmp_path / "problems")
    names = [f"m{number}" for number in range(8)]
    stage.members(*names, lease=None, reported=False, worker=False)
    stage.items(6, 2)
    stage.settle()
    eventually(lambda: degraded(stage) == "Healthy", lambda: leader.text[-3000:])
    for fault in ("hangs", "is killed", "crashes", "eats memory", "above the limits"):
        engine_is(fault)
        lost = next(name for name in names if stage.holds(name))
        names.remove(lost)
        started = time.monotonic()
        stage.api.delete("members", lost)
        stage.settle(quiet=0.0)
        assert time.monotonic() - started < SECONDS + 3.0, fault
        eventually(lambda: degraded(stage) == "SolverOverdue", lambda: leader.text[-3000:])
        engine_is("well")
        eventually(lambda: degraded(stage) == "Healthy", lambda: leader.text[-3000:], 40.0)
    (path,) = (tmp_path / "problems").glob("*.json")
    assert str(path) in leader.text
    assert leader.led == 1
    assert leader.process.poll() is None
    stage.history.check()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_behind(
    ending: signal.Signals, stage: Stage, engine_is: Engine, asked: Path, tmp_path: Path
) -> None:
    leader = controller(stage, tmp_path)
    eventually(lambda: children(leader.process), "the solver's process is started beforehand")
    started = children(leader.process)
    engine_is("hangs")
    stage.members("a", "b", lease=None, reported=False, worker=False)
    stage.items(2)
    eventually(asked.exists, "the solver is not asked")
    leader.process.send_signal(ending)
    leader.process.wait(10)
    # After SIGKILL nobody is there to end it, but the question has its own end.
    eventually(lambda: not any(map(runs, started)), "a process is left behind", SECONDS + 10.0)


def test_a_leader_that_was_replaced_ends_its_solver(
    stage: Stage, engine_is: Engine, asked: Path, tmp_path: Path
) -> None:
    leader = controller(stage, tmp_path)
    eventually(lambda: children(leader.process), "the solver's process is started beforehand")
    engine_is("hangs")
    stage.members("a", "b", lease=None, reported=False, worker=False)
    stage.items(2)
    eventually(asked.exists, "the solver is not asked")
    stage.api.merge("leases", "berth-controller", {"spec": {"holderIdentity": "somebody-else"}})
    eventually(lambda: "no longer leading" in leader.text, lambda: leader.text[-3000:])
    eventually(lambda: not children(leader.process), "a process is left behind", 2.0)
    # The Lease runs out, as nobody renews it: this one leads again, with another process.
    engine_is("well")
    leader.wait_leading(2)
    stage.settle()
    assert len(children(leader.process)) == 1
