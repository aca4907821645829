"""The controller with a solver that fails: what is missing is recovered in time, later all is well again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from carried_out import Carried
from faulty_engines import FAULTY, FILE, TUNING
from ticking import children, ticking

from berth.controller.metrics import Metrics
from berth.controller.solving import PoolSolver, Rejections, SolverProcess
from berth.pool import Conditions, Solved, pool_status
from berth.solve import Problem, Solution, Touched

REJECTED = {
    "nothing",
    "text",
    "a wrong shape",
    "one dimension",
    "floats",
    "no such Members",
    "one Member twice",
    "above the limits",
    "beats its bound",
    "without bounds",
}
"""Engines whose answers are read, and are not used."""


class Stage(Carried):
    """A Pool of three Members whose Items have two replicas each, planned by a solver of its own."""

    def __init__(self, process: SolverProcess, folder: Path, name: str = "p") -> None:
        super().__init__(self._solve, name=name, a=4, b=4, c=4)
        self.metrics = Metrics()
        self.rejections = Rejections(self.brain, self.metrics, folder)
        self.solver = PoolSolver(process, self.rejections)
        for item in ("x", "y", "z"):
            self.item(item, 2)

    async def _solve(self, problem: Problem, touched: Touched | None, thorough: bool) -> Solution:
        return await self.solver(problem, touched, thorough)

    @property
    def held(self) -> dict[str, int]:
        ledger = self.brain.ledger
        return {item: len(ledger.holders(ledger.items.of[item])) for item in ("x", "y", "z")}

    @property
    def failures(self) -> int:
        """Solves in which the thorough engine gave no plan."""
        return sum(isinstance(fact, Solved) and fact.failed for fact in self.facts)

    @property
    def retry_in(self) -> float | None:
        """Seconds until the thorough engine is asked again, None where it works."""
        at = self.brain.target.retry_at
        return None if at is None else at - self.now

    def degraded(self) -> tuple[str, str, str]:
        status = pool_status(self.brain, 0, {}, Conditions((), ""))
        found = next(c for c in status["conditions"] if c["type"] == "Degraded")
        return found["status"], found["reason"], found["message"]


Behaviour = Callable[[str], object]


@pytest.fixture
def engine_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Behaviour:
    """Says what the engine does from now on."""
    path = tmp_path / "engine"
    monkeypatch.setenv(FILE, str(path))
    return path.write_text


@contextlib.asynccontextmanager
async def process() -> AsyncIterator[SolverProcess]:
    before = children()
    solver = SolverProcess(TUNING, "faulty_engines:engine")
    await asyncio.to_thread(solver.prepare)
    assert len(children() - before) == 1
    try:
        yield solver
    finally:
        solver.end()
        assert children() == before


@pytest.mark.parametrize("fault", FAULTY)
async def test_what_is_missing_is_recovered_whatever_the_engine_does(
    fault: str,
    engine_is: Behaviour,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "problems"
    async with process() as solver:
        stage = Stage(solver, folder)
        engine_is("well")
        await stage.round()
        assert stage.held == {"x": 2, "y": 2, "z": 2}
        assert stage.degraded()[1] == "Healthy"

        engine_is(fault)
        stage.gone("a")
        async with ticking() as ticks:
            started = time.monotonic()
            await stage.round()
            seconds = time.monotonic() - started
        assert stage.held == {"x": 2, "y": 2, "z": 2}
        assert seconds < TUNING.seconds + 1.5
        assert ticks.longest < 0.1, f"the event loop was held up for {ticks.longest:.3f} s"
        status, reason, message = stage.degraded()
        assert (status, reason) == ("True", "SolverOverdue")
        assert "missing replicas are recovered" in message
        assert len(message) < 1000
        assert stage.failures == 1
        assert (fault in REJECTED) == any("is not used" in text for text in await logged(caplog, fault))
        assert (fault in REJECTED) == bool(list(folder.glob("*.json")))

        # Nothing changes, but the engine is well again: it is asked once more, by itself.
        assert stage.retry_in == 5.0
        engine_is("well")
        stage.now += 5.0
        await stage.round()
        assert stage.degraded()[:2] == ("False", "Healthy")
        assert stage.retry_in is None


async def logged(caplog: pytest.LogCaptureFixture, fault: str) -> list[str]:
    """What the log has; the problem of a plan that was rejected is saved first, beside the work."""
    until = time.monotonic() + 5.0
    while fault in REJECTED and time.monotonic() < until:
        if any("is not used" in text for text in caplog.messages):
            break
        await asyncio.sleep(0.01)
    return caplog.messages


async def test_an_engine_that_writes_to_standard_output_does_no_harm(
    engine_is: Behaviour, tmp_path: Path
) -> None:
    engine_is("noisy")
    async with process() as solver:
        stage = Stage(solver, tmp_path)
        await stage.round()
        assert stage.held == {"x": 2, "y": 2, "z": 2}
        assert stage.degraded()[1] == "Healthy"


async def test_a_rejected_plan_is_logged_with_names_and_the_file_of_its_problem(
    engine_is: Behaviour, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine_is("above the limits")
    async with process() as solver:
        stage = Stage(solver, tmp_path / "problems")
        for item in "stuvw":
            stage.item(item)
        await stage.round()
        lines = [text for text in await logged(caplog, "above the limits") if "is not used" in text]
        assert len(lines) == 1
        assert "Pool ns/p: the plan of the pooled engine is not used" in lines[0]
        assert "Member a has 8 Items, above its limit of 4" in lines[0]
        (path,) = (tmp_path / "problems").glob("*.json")
        assert f"berth plan -f {path}" in lines[0]
        # Once more, a moment later: logged, but not saved again.
        stage.now += 5.0
        await stage.round()
        assert len(list((tmp_path / "problems").glob("*.json"))) == 1
        assert any("saved less than a minute ago" in text for text in caplog.messages)
        labels = ("ns", "p", "pooled")
        assert stage.metrics.plans_rejected.labels(*labels)._value.get() == 2


async def test_while_the_engine_is_known_to_fail_events_are_served_at_once(
    engine_is: Behaviour, tmp_path: Path
) -> None:
    engine_is("hangs")
    async with process() as solver:
        stage = Stage(solver, tmp_path)
        await stage.round()
        stage.gone("a")
        started = time.monotonic()
        await stage.round()
        assert time.monotonic() - started < 0.5
        assert stage.held == {"x": 2, "y": 2, "z": 2}
        assert stage.degraded()[1] == "SolverOverdue"
        assert stage.failures == 1


async def test_the_delay_grows_and_starts_anew_after_a_success(engine_is: Behaviour, tmp_path: Path) -> None:
    engine_is("raises")
    async with process() as solver:
        stage = Stage(solver, tmp_path)
        delays = []
        for _ in range(6):
            stage.now += stage.retry_in or 0.0
            await stage.round()
            delays.append(stage.retry_in)
        assert delays == [5, 10, 20, 40, 60, 60]
        engine_is("well")
        stage.now += 60.0
        await stage.round()
        engine_is("raises")
        stage.item("w")
        await stage.round()
        assert stage.retry_in == 5.0


async def test_waiting_for_another_pool_counts_towards_the_deadline(
    engine_is: Behaviour, tmp_path: Path
) -> None:
    engine_is("hangs")
    async with process() as solver:
        one, two = Stage(solver, tmp_path, "one"), Stage(solver, tmp_path, "two")
        started = time.monotonic()
        await asyncio.gather(one.round(), two.round())
        assert time.monotonic() - started < TUNING.seconds + 1.0
        assert one.held == two.held == {"x": 2, "y": 2, "z": 2}
        assert one.degraded()[1] == two.degraded()[1] == "SolverOverdue"


async def test_pools_share_one_process(engine_is: Behaviour, tmp_path: Path) -> None:
    engine_is("well")
    before = children()
    async with process() as solver:
        stages = [Stage(solver, tmp_path, f"p{number}") for number in range(5)]
        await asyncio.gather(*(stage.round() for stage in stages))
        assert all(stage.held == {"x": 2, "y": 2, "z": 2} for stage in stages)
        assert len(children() - before) == 1


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.01, 0.3])
async def test_a_round_that_is_cancelled_ends_its_question_and_no_other(
    delay: float, engine_is: Behaviour, tmp_path: Path
) -> None:
    engine_is("hangs")
    async with process() as solver:
        stage = Stage(solver, tmp_path)
        task = asyncio.create_task(stage.round())
        await asyncio.sleep(delay)
        task.cancel()
        started = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - started < 1.0
        engine_is("well")
        await stage.round()
        assert stage.degraded()[1] == "Healthy"


async def test_nothing_is_started_once_it_has_ended(engine_is: Behaviour, tmp_path: Path) -> None:
    engine_is("hangs")
    before = children()
    solver = SolverProcess(TUNING, "faulty_engines:engine")
    stage = Stage(solver, tmp_path)
    task = asyncio.create_task(stage.round())
    starting = asyncio.create_task(asyncio.to_thread(solver.prepare))
    await asyncio.sleep(0.02)  # while the process is being started
    solver.end()
    await asyncio.wait_for(asyncio.gather(task, starting), 5.0)
    solver.prepare()
    assert children() == before
    assert stage.held == {"x": 2, "y": 2, "z": 2}, "recovered by what there was in time"
