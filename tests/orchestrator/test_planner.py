"""Terms whose plan takes long or fails: the event loop goes on, and no process is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from berth.child_process import ChildProcess
from berth.orchestrator import orchestrator as library
from berth.solve import Solver, Tuning

EVERYTHING = Tuning(quick_moves=-1, quick_items=-1, quick_arcs=-1)
"""Nothing is quick, so that the other process is asked."""
ENGINES = """
import os, time
from berth.solve.answer import thorough

def notes(problem, tuning):
    with open({path!r}, "a") as file:
        file.write(f"{{os.getpid()}}\\n")
    return thorough(problem, tuning)

def slow(problem, tuning):
    time.sleep(1.0)
    return thorough(problem, tuning)

def hangs(problem, tuning):
    notes(problem, tuning)
    time.sleep(600)

def garbage(problem, tuning):
    return "garbage"
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Lets the solver's other process plan every term, by the engine of that name; gives who was asked."""
    module = f"engines_{os.getpid()}_{time.monotonic_ns()}"
    path = tmp_path / "asked"
    path.touch()
    (tmp_path / f"{module}.py").write_text(ENGINES.format(path=str(path)))
    monkeypatch.syspath_prepend(str(tmp_path))

    def use(engine: str, seconds: float = 60.0):
        tuning = replace(EVERYTHING, seconds=seconds)

        def solver(_: Tuning, **options):
            return Solver(
                tuning, process=ChildProcess(f"{module}:{engine}", tuning, memory=tuning.memory), **options
            )

        monkeypatch.setattr(library, "Solver", solver)
        return lambda: [int(line) for line in path.read_text().split()]

    return use


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_one_process_plans_all_terms_and_ends_with_the_orchestrator(fleet, asked):
    who = asked("notes")
    orchestrator, communicator = fleet(3, 9)
    assert (await orchestrator.next_term()).optimal
    orchestrator.add_worker("new")
    assert (await orchestrator.next_term()).moved > 0
    first, second = who()
    assert first == second != os.getpid()
    assert alive(first)
    del orchestrator
    async with asyncio.timeout(10):  # the thread that planned lets go of it a moment later
        while alive(first):
            gc.collect()
            await asyncio.sleep(0.01)
    assert sum(len(communicator.tasks(w)) for w in ("w0", "w1", "w2", "new")) == 9


async def test_the_process_ends_when_run_does_and_a_later_term_starts_another(fleet, asked):
    who = asked("notes")
    ended = asyncio.Event()
    orchestrator, _ = fleet(3, 9, on_term=lambda stats: ended.set())
    running = asyncio.create_task(orchestrator.run(0.05))
    await ended.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (first,) = who()
    assert not alive(first)
    orchestrator.add_task("more")
    assert (await orchestrator.next_term()).added == 1
    assert who()[1] != first


async def test_the_event_loop_goes_on_while_a_term_is_planned(fleet, asked):
    asked("slow")
    orchestrator, _ = fleet(3, 9)
    longest, last = 0.0, time.monotonic()
    term = asyncio.create_task(orchestrator.next_term())
    while not term.done():
        await asyncio.sleep(0.005)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    assert (await term).plan_seconds >= 1.0
    assert longest < 0.5


async def test_a_term_that_is_cancelled_ends_its_question_and_the_next_one_plans(fleet, asked):
    who = asked("hangs")
    orchestrator, _ = fleet(3, 9)
    term = asyncio.create_task(orchestrator.next_term())
    async with asyncio.timeout(20):
        while not who():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    started = time.monotonic()
    term.cancel()
    with pytest.raises(asyncio.CancelledError):
        await term
    assert time.monotonic() - started < 2
    assert not alive(who()[0])
    asked("notes")
    assert (await orchestrator.next_term()).added == 9


@pytest.mark.parametrize(
    ("engine", "seconds", "why"),
    [("hangs", 0.5, "no answer within "), ("garbage", 60.0, "its answer is not a plan")],
)
async def test_if_the_solver_fails_missing_tasks_are_placed_and_nothing_moves(
    fleet, asked, caplog, engine, seconds, why
):
    asked(engine, seconds=seconds)
    orchestrator, communicator = fleet(3, 9)
    communicator.assign("w0", [f"t{n}" for n in range(8)])
    stats = await orchestrator.next_term()
    assert (stats.added, stats.moved, stats.missing, stats.settled, stats.optimal) == (1, 0, 0, False, False)
    assert f"the solver gave no plan ({why}" in caplog.text
    stats = await orchestrator.next_term()
    assert (stats.added, stats.removed, stats.settled) == (0, 0, False), "it is not even yet"
    asked("notes")
    orchestrator._close_solver()  # a new solver is made, with an engine that works again
    assert (await orchestrator.next_term()).moved > 0


async def test_a_first_placement_of_ten_thousand_tasks_waits_for_no_process(fleet, monkeypatch):
    def refuse(*_):
        raise AssertionError("another process is started")

    monkeypatch.setattr("berth.child_process.ChildProcess.start", refuse)
    orchestrator, _ = fleet(200, 10_000)
    assert (await orchestrator.next_term()).added == 10_000
