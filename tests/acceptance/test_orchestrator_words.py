"""The orchestrator library, word by word: section 10 of the design."""

from __future__ import annotations

import asyncio
import collections
import logging
import math
import random
import subprocess
import sys
from collections.abc import Iterable

import pytest

from berth.orchestrator import Communicator, Orchestrator, Task, TermStats, WorkerState


class Fleet:
    """A communicator of our own; any hashable is a worker or a task."""

    def __init__(self, latency: float = 0.0) -> None:
        self.runs: dict[object, set[object]] = collections.defaultdict(set)
        self.fails: set[tuple[str, object]] = set()
        self.blocks: set[tuple[str, object]] = set()
        self.calls: list[tuple[str, object, object]] = []
        self.cancelled = 0
        self.latency = latency
        self.now = 0
        self.peak = 0

    async def call(self, what: str, worker: object, task: object = None) -> None:
        self.calls.append((what, worker, task))
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            await asyncio.sleep(self.latency)
            if (what, worker) in self.blocks:
                await asyncio.sleep(3600)
            if (what, worker) in self.fails:
                raise RuntimeError(f"{what} fails")
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.now -= 1

    async def list(self, worker: object) -> Iterable[object]:
        await self.call("list", worker)
        return set(self.runs[worker])

    async def add(self, worker: object, task: object) -> None:
        await self.call("add", worker, task)
        assert task not in self.runs[worker], "twice on one worker"
        self.runs[worker].add(task)

    async def remove(self, worker: object, task: object) -> None:
        await self.call("remove", worker, task)
        self.runs[worker].discard(task)

    def where(self, task: object) -> set[object]:
        return {worker for worker, tasks in self.runs.items() if task in tasks}

    def loads(self, *workers: object) -> list[int]:
        return sorted(len(self.runs[w]) for w in workers)


def communicates(fleet: Fleet) -> Communicator[object, object]:
    return fleet


async def test_before_and_after_the_first_term() -> None:
    fleet, seen = Fleet(), []
    o = Orchestrator(communicates(fleet), timeout=10.0, on_term=seen.append, logger=None, moves_per_worker=1)
    assert o.last_actual() is None
    assert o.expected_tasks() == []
    o.add_worker(("any", 1))
    o.add_worker(("any", 1))
    o.add_task(("t", 1), instances=1)
    o.add_task(("t", 1), instances=1)
    o.add_task("u")
    assert o.expected_tasks() == [Task(("t", 1), instances=1), Task("u", instances=1)]
    assert fleet.calls == [], "changes take effect in the next term"
    stats = await o.next_term()
    assert isinstance(stats, TermStats)
    assert stats.worker_count == 1
    assert seen == [stats]
    assert fleet.runs["any", 1] == {("t", 1), "u"}
    [state] = o.last_actual() or []
    assert isinstance(state, WorkerState)
    assert state.worker == ("any", 1)
    await o.next_term()
    [state] = o.last_actual() or []
    assert set(state.tasks) == {("t", 1), "u"}


async def test_no_workers_is_no_error() -> None:
    o = Orchestrator(Fleet())
    o.add_task("t")
    stats = await o.next_term()
    assert stats.worker_count == 0
    assert o.last_actual() == []


async def test_tasks_and_workers_come_and_go() -> None:
    fleet = Fleet()
    o = Orchestrator(fleet)
    o.update_workers(["a", "b", "c"])
    o.update_tasks([Task("x", instances=2), Task("y"), Task("y")])
    await o.next_term()
    assert len(fleet.where("x")) == 2
    assert len(fleet.where("y")) == 1
    o.remove_task("x")
    o.remove_task("never there")
    await o.next_term()
    assert not fleet.where("x")
    fleet.runs["a"] |= {"stray"}
    await o.next_term()
    assert not fleet.where("stray"), "unknown tasks are removed"
    [gone] = fleet.where("y")
    o.remove_worker(gone)
    o.remove_worker("never there")
    await o.next_term()
    assert fleet.where("y") - {gone}
    o.update_tasks([])
    await o.next_term()
    assert not fleet.where("y") - {gone}


async def test_more_instances_than_workers_run_once_on_each() -> None:
    fleet = Fleet()
    o = Orchestrator(fleet)
    o.update_workers(["a", "b"])
    o.add_task("x", instances=5)
    await o.next_term()
    assert fleet.where("x") == {"a", "b"}


async def test_surplus_instances_are_removed() -> None:
    fleet = Fleet()
    o = Orchestrator(fleet)
    o.update_workers(["a", "b", "c"])
    for worker in "abc":
        fleet.runs[worker].add("x")
    o.add_task("x", instances=1)
    await o.next_term()
    assert len(fleet.where("x")) == 1


@pytest.mark.parametrize("how", ["fails", "blocks"])
async def test_who_errs_or_blocks_is_left_out_of_the_term_and_gets_nothing(how: str) -> None:
    fleet = Fleet()
    o = Orchestrator(fleet, timeout=0.3)
    o.update_workers(["good", "bad"])
    o.update_tasks([Task(f"t{n}") for n in range(4)])
    getattr(fleet, how).add(("list", "bad"))
    stats = await asyncio.wait_for(o.next_term(), 10)
    assert stats.worker_count == 1
    assert [c for c in fleet.calls if c[1] == "bad"] == [("list", "bad", None)]
    assert len(fleet.runs["good"]) == 4
    assert fleet.cancelled == (how == "blocks"), "a call is cancelled after `timeout` seconds"
    getattr(fleet, how).clear()
    await o.next_term()
    assert len(fleet.runs["bad"]) == 1, "sheds at most one task a term"
    await o.next_term()
    assert fleet.loads("good", "bad") == [2, 2]


async def test_an_error_of_add_is_logged_and_left_to_the_next_term(caplog: pytest.LogCaptureFixture) -> None:
    fleet, logger = Fleet(), logging.getLogger("acceptance")
    o = Orchestrator(fleet, logger=logger)
    o.add_worker("a")
    o.add_task("x")
    fleet.fails.add(("add", "a"))
    with caplog.at_level(logging.WARNING, logger="acceptance"):
        await o.next_term()
    assert caplog.records
    assert [c[0] for c in fleet.calls].count("add") == 1
    fleet.fails.clear()
    await o.next_term()
    assert fleet.where("x") == {"a"}


async def test_a_move_removes_before_it_adds_and_adds_nothing_if_that_failed() -> None:
    fleet = Fleet()
    o = Orchestrator(fleet)
    fleet.runs["a"] = {f"t{n}" for n in range(6)}
    o.update_tasks([Task(f"t{n}") for n in range(6)])
    o.update_workers(["a", "b"])
    fleet.fails.add(("remove", "a"))
    await o.next_term()
    assert fleet.loads("a", "b") == [0, 6]
    assert not [c for c in fleet.calls if c[0] == "add"]
    fleet.fails.clear()
    fleet.calls.clear()
    await o.next_term()
    assert [c[:2] for c in fleet.calls if c[0] != "list"] == [("remove", "a"), ("add", "b")]


async def test_a_worker_sheds_at_most_moves_per_worker_and_nothing_moves_when_it_is_even() -> None:
    fleet = Fleet()
    o = Orchestrator(fleet, moves_per_worker=2)
    fleet.runs["a"] = {f"t{n}" for n in range(9)}
    o.update_tasks([Task(f"t{n}") for n in range(9)])
    o.update_workers(["a", "b"])
    for expected in ([2, 7], [4, 5], [4, 5]):
        fleet.calls.clear()
        await o.next_term()
        assert fleet.loads("a", "b") == expected
    assert not [c for c in fleet.calls if c[0] != "list"]


async def test_workers_are_listed_and_told_in_parallel_and_terms_do_not_overlap() -> None:
    fleet = Fleet(latency=0.2)
    o = Orchestrator(fleet)
    o.update_workers(range(20))
    o.update_tasks([Task(f"t{n}") for n in range(20)])
    loop = asyncio.get_running_loop()
    start = loop.time()
    await o.next_term()
    assert loop.time() - start < 2
    assert fleet.peak == 20
    fleet.peak, fleet.calls = 0, []
    await asyncio.gather(o.next_term(), o.next_term())
    assert fleet.peak == 20, "a second term waits for the first"
    assert len(fleet.calls) == 40


async def test_run_makes_a_term_every_interval_until_cancelled() -> None:
    fleet, terms = Fleet(), []
    o = Orchestrator(fleet, on_term=terms.append)
    o.add_worker("a")
    running = asyncio.create_task(o.run(0.05))
    o.add_task("x")
    async with asyncio.timeout(10):
        while len(terms) < 4 or not fleet.where("x"):  # noqa: ASYNC110 (a poll is what a user would write)
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    count = len(terms)
    await o.next_term()
    assert len(terms) == count + 1, "no other term has been made meanwhile"


async def test_changes_during_a_term_count_from_the_next() -> None:
    fleet = Fleet(latency=0.2)
    o = Orchestrator(fleet)
    o.add_worker("a")
    o.add_task("x")
    term = asyncio.create_task(o.next_term())
    async with asyncio.timeout(10):
        while not fleet.calls:  # noqa: ASYNC110 (a poll is what a user would write)
            await asyncio.sleep(0)
    o.add_task("y")
    await term
    assert not fleet.where("y")
    await o.next_term()
    assert fleet.where("y") == {"a"}


@pytest.mark.parametrize("seed", range(15))
async def test_loads_end_between_floor_and_ceil_of_the_mean_with_the_fewest_moves(seed: int) -> None:
    r = random.Random(seed)
    fleet = Fleet()
    o = Orchestrator(fleet, moves_per_worker=r.choice([1, 3, 50]))
    workers = [f"w{n}" for n in range(r.randint(1, 7))]
    tasks = [Task(f"t{n}", instances=r.randint(0, 3)) for n in range(r.randint(0, 40))]
    o.update_workers(workers)
    o.update_tasks(tasks)
    for task in tasks:
        for worker in r.sample(workers, r.randint(0, len(workers))):
            fleet.runs[worker].add(f"t{tasks.index(task)}")
    for _ in range(60):
        fleet.calls.clear()
        await o.next_term()
        if all(c[0] == "list" for c in fleet.calls):
            break
    else:
        raise AssertionError("it never comes to rest")
    total = sum(min(t.instances, len(workers)) for t in tasks)
    low, high = math.floor(total / len(workers)), math.ceil(total / len(workers))
    assert sum(fleet.loads(*workers)) == total
    assert all(low <= load <= high for load in fleet.loads(*workers))


async def test_loads_follow_limits_where_they_are_given() -> None:
    fleet = Fleet()
    o = Orchestrator(fleet)
    o.add_worker("small", limit=5)
    o.add_worker("large", limit=15)
    o.update_tasks([Task(f"t{n}") for n in range(12)])
    await o.next_term()
    assert [len(fleet.runs["small"]), len(fleet.runs["large"])] == [3, 9]


def test_it_is_importable_without_kopf_and_the_kubernetes_client() -> None:
    code = "import sys, berth.orchestrator; print(sorted({'kopf', 'kubernetes'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
