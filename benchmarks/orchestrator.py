"""A term of 10,000 tasks on 200 workers against the communicator's calls alone.

    python -m benchmarks.orchestrator [--tasks N] [--workers N] [--repeat N]

Each scenario is run once to record its calls. Then the whole term is timed (list, plan, calls), and
the recorded calls alone are: the same lanes, one for each worker, without an orchestrator. Both are
the best of several runs, each on a fresh fleet. The fewest moves possible are computed from the loads.
Target: with a communicator that takes 1 ms for a call, as a worker on the next machine does at
best, at most twice the time of the calls alone, and never a move more than the fewest.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from berth.orchestrator import InMemoryCommunicator, Orchestrator, Task, TermStats

Communicator = InMemoryCommunicator[int, int]
Change = Callable[[Orchestrator[int, int], Communicator], None]
TARGET = 2.0


@dataclass(frozen=True)
class Scenario:
    name: str
    placed: bool
    """Whether everything is placed evenly before the change."""
    change: Change


def nothing(_: Orchestrator[int, int], __: Communicator) -> None:
    pass


def lose(count: int) -> Change:
    def change(_: Orchestrator[int, int], communicator: Communicator) -> None:
        for worker in range(count):
            communicator.fail(worker)

    return change


def gain(count: int) -> Change:
    def change(orchestrator: Orchestrator[int, int], _: Communicator) -> None:
        for worker in range(count):
            orchestrator.add_worker(1_000_000 + worker)

    return change


SCENARIOS = [
    Scenario("first placement", False, nothing),
    Scenario("nothing to do", True, nothing),
    Scenario("1 worker lost", True, lose(1)),
    Scenario("20 workers lost", True, lose(20)),
    Scenario("1 worker more", True, gain(1)),
    Scenario("20 workers more", True, gain(20)),
]


@dataclass(frozen=True)
class Calls:
    listed: list[int]
    lanes: dict[int, list[tuple[str, int]]]
    """For each worker (operation, task) in order."""


class Recording(Communicator):
    """Notes the calls of each worker in their order."""

    def __init__(self, latency: float) -> None:
        super().__init__(latency)
        self.listed: list[int] = []
        self.lanes: dict[int, list[tuple[str, int]]] = {}

    async def list(self, worker: int) -> tuple[int, ...]:
        self.listed.append(worker)
        return await super().list(worker)

    async def add(self, worker: int, task: int) -> None:
        self.lanes.setdefault(worker, []).append(("add", task))
        await super().add(worker, task)

    async def remove(self, worker: int, task: int) -> None:
        self.lanes.setdefault(worker, []).append(("remove", task))
        await super().remove(worker, task)


def prepared(
    scenario: Scenario, tasks: int, workers: int, communicator: Communicator
) -> Orchestrator[int, int]:
    """Return an orchestrator about to run the term of the scenario; any number of moves in one term."""
    orchestrator = Orchestrator(communicator, timeout=60, moves_per_worker=None)
    orchestrator.update_workers(range(workers))
    orchestrator.update_tasks(Task(number) for number in range(tasks))
    for worker in range(workers):
        communicator.assign(worker, range(worker, tasks, workers) if scenario.placed else ())
    scenario.change(orchestrator, communicator)
    return orchestrator


async def record(scenario: Scenario, tasks: int, workers: int) -> tuple[TermStats, Calls, int]:
    """Run the term: its stats, its calls, and the fewest moves that even its loads out."""
    communicator = Recording(0.0)
    orchestrator = prepared(scenario, tasks, workers, communicator)
    stats = await orchestrator.next_term()
    loads = sorted((len(state.tasks) for state in orchestrator.last_actual() or []), reverse=True)
    mean, rest = divmod(tasks, len(loads))
    least = sum(max(0, load - mean - (place < rest)) for place, load in enumerate(loads))
    return stats, Calls(communicator.listed, communicator.lanes), least


async def time_term(scenario: Scenario, tasks: int, workers: int, latency: float) -> tuple[float, float]:
    """Return the seconds of the term, and of them those for planning."""
    communicator = Communicator(latency)
    orchestrator = prepared(scenario, tasks, workers, communicator)
    gc.collect()
    begin = time.perf_counter()
    stats = await orchestrator.next_term()
    return time.perf_counter() - begin, stats.plan_seconds


async def time_calls(
    scenario: Scenario,
    tasks: int,
    workers: int,
    latency: float,
    calls: Calls,
    *,
    bounded: bool,
) -> float:
    """Return the seconds of the same calls: all lists at once, then a lane for each worker.

    `bounded` puts each call under an `asyncio.timeout`, the plain way to do what the orchestrator must.
    """
    communicator = Communicator(latency)
    prepared(scenario, tasks, workers, communicator)

    async def ask(worker: int) -> None:
        with contextlib.suppress(ConnectionError):
            await communicator.list(worker)

    async def lane(worker: int, steps: list[tuple[str, int]]) -> None:
        for name, task in steps:
            method = communicator.add if name == "add" else communicator.remove
            if bounded:
                async with asyncio.timeout(60):
                    await method(worker, task)
            else:
                await method(worker, task)

    gc.collect()
    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for worker in calls.listed:
            group.create_task(ask(worker))
    async with asyncio.TaskGroup() as group:
        for worker, steps in calls.lanes.items():
            group.create_task(lane(worker, steps))
    return time.perf_counter() - begin


async def measure(tasks: int, workers: int, repeat: int) -> bool:
    """Print the table; True when every target is met."""
    console = Console(width=110)
    logging.getLogger("berth.orchestrator").setLevel(logging.ERROR)
    table = Table(title=f"One term, {tasks:,} tasks on {workers} workers (best of {repeat}, in ms)")
    table.add_column("latency", justify="right")
    table.add_column("scenario")
    for heading in ("calls", "moves", "fewest", "calls alone", "+ timeouts", "planning", "term", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    met = True
    for latency in (0.001, 0.0):
        for scenario in SCENARIOS:
            stats, calls, least = await record(scenario, tasks, workers)
            bare, bounded, term = [], [], []
            for _ in range(repeat):  # in turn, so that a noisy moment of the machine hits all three
                bare.append(await time_calls(scenario, tasks, workers, latency, calls, bounded=False))
                bounded.append(await time_calls(scenario, tasks, workers, latency, calls, bounded=True))
                term.append(await time_term(scenario, tasks, workers, latency))
            (seconds, planning), alone = min(term), min(bare)
            good = stats.moved == least and stats.missing == 0 and stats.optimal
            if latency and scenario.name == "first placement":
                good &= seconds <= TARGET * alone
            met &= good
            table.add_row(
                f"{latency * 1000:g}",
                scenario.name,
                f"{len(calls.listed) + sum(map(len, calls.lanes.values())):,}",
                str(stats.moved),
                str(least),
                f"{alone * 1000:.1f}",
                f"{min(bounded) * 1000:.1f}",
                f"{planning * 1000:.1f}",
                f"{seconds * 1000:.1f}",
                f"{seconds / alone:.2f}" + ("" if good else " [red]missed[/red]"),
                end_section=scenario is SCENARIOS[-1],
            )
    console.print(table)
    return met


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a term of the orchestrator against its calls alone")
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    sys.exit(0 if asyncio.run(measure(arguments.tasks, arguments.workers, arguments.repeat)) else 1)
