"""What is expected: duplicates, replacing, values of any type, changes during a term, threads."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from dataclasses import dataclass

import pytest

from berth.orchestrator import InMemoryCommunicator, Orchestrator, Task
from berth.orchestrator.model import stable_key


async def test_duplicates_are_ignored(fleet):
    orchestrator, communicator = fleet(2, 2)
    orchestrator.add_worker("w0", limit=0)
    orchestrator.add_task("t0", instances=9)
    orchestrator.update_workers(["w0", "w1", "w0"])
    assert orchestrator.expected_tasks() == [Task("t0"), Task("t1")]
    stats = await orchestrator.next_term()
    assert (stats.worker_count, stats.added) == (2, 2)
    assert [len(communicator.tasks(w)) for w in ("w0", "w1")] == [1, 1]


def test_of_two_tasks_with_one_definition_the_first_counts(fleet):
    orchestrator, _ = fleet(0, 1)
    orchestrator.update_tasks([Task("a", 2), Task("b"), Task("a", 3)])
    assert orchestrator.expected_tasks() == [Task("a", 2), Task("b", 1)]


def test_removing_what_is_unknown_is_no_error(fleet):
    orchestrator, _ = fleet(1, 1)
    orchestrator.remove_worker("nobody")
    orchestrator.remove_task("nothing")
    assert orchestrator.expected_tasks() == [Task("t0")]


def test_expected_tasks_come_in_the_order_of_adding_and_are_a_copy(fleet):
    orchestrator, _ = fleet()
    for name in ("z", "a", "m"):
        orchestrator.add_task(name)
    orchestrator.expected_tasks().clear()
    assert [task.definition for task in orchestrator.expected_tasks()] == ["z", "a", "m"]
    orchestrator.update_tasks([])
    assert orchestrator.expected_tasks() == []


async def test_replacing_the_workers_keeps_the_limits_of_those_that_stay(fleet):
    orchestrator, communicator = fleet(0, 3)
    orchestrator.add_worker("small", limit=1)
    orchestrator.add_worker("gone")
    orchestrator.update_workers(w for w in ("big", "small"))
    await orchestrator.next_term()
    assert len(communicator.tasks("small")) == 1
    assert len(communicator.tasks("big")) == 2


async def test_fewer_instances_are_removed_and_more_are_added(fleet):
    orchestrator, communicator = fleet(3)
    for instances in (1, 3, 2, 0):
        orchestrator.update_tasks([Task("t", instances)])
        await orchestrator.next_term()
        assert sum(len(communicator.tasks(f"w{n}")) for n in range(3)) == instances


def test_impossible_values_are_refused_and_change_nothing(fleet):
    orchestrator, _ = fleet(1, 1)
    for instances in (-1, 33, 1.5):
        with pytest.raises(ValueError, match="instances must be a whole number from 0 to 32"):
            orchestrator.add_task("x", instances=instances)
    with pytest.raises(ValueError, match="instances"):
        orchestrator.update_tasks([Task("y"), Task("x", -1)])
    with pytest.raises(TypeError, match="not a Task"):
        orchestrator.add_task(Task("x"))
    for limit in (-1, 4097, 0.5):
        with pytest.raises(ValueError, match="limit must be a whole number from 0 to 4096, or None"):
            orchestrator.add_worker("x", limit=limit)
        with pytest.raises(ValueError, match="limit"):
            orchestrator.update_worker("w0", limit=limit)
    with pytest.raises(KeyError):
        orchestrator.update_worker("x", limit=1)
    with pytest.raises(TypeError, match="unhashable"):
        orchestrator.add_worker([])
    assert orchestrator.expected_tasks() == [Task("t0")]


@dataclass(frozen=True)
class Feed:
    url: str


class Opaque:
    """Equal only to itself, not orderable, all with the same repr."""

    def __repr__(self) -> str:
        return "opaque"


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


async def test_workers_and_tasks_may_be_any_hashable_values():
    communicator = InMemoryCommunicator()
    orchestrator = Orchestrator(communicator)
    workers = [("10.0.0.1", 80), 7, None, frozenset({1})]
    tasks = [
        "1",
        1,
        2.5,
        ("a", 1),
        None,
        Feed("x"),
        b"raw",
        Opaque(),
        Opaque(),
        Unprintable(),
        "\ud800",
        Opaque,
    ]
    for worker in workers:
        orchestrator.add_worker(worker)
    for task in tasks:
        orchestrator.add_task(task)
    stats = await orchestrator.next_term()
    assert stats.added == len(tasks)
    assert [len(communicator.tasks(w)) for w in workers] == [3, 3, 3, 3]
    assert Counter(t for w in workers for t in communicator.tasks(w)) == Counter(tasks)
    assert (await orchestrator.next_term()).settled


def test_a_key_has_64_bits_and_depends_on_type_and_repr():
    assert 0 <= stable_key(Opaque()) < 2**64
    assert stable_key(Opaque()) == stable_key(Opaque())
    assert stable_key(1) != stable_key("1")


async def test_changes_during_a_term_count_from_the_next_one(fleet):
    orchestrator, communicator = fleet(2, 2)
    add, changed = communicator.add, []

    async def change_meanwhile(worker, task):
        if not changed:
            changed.append(True)
            orchestrator.add_task("late")
            orchestrator.add_worker("later")
            orchestrator.remove_worker("w1")
            orchestrator.remove_task("t0")
            orchestrator.update_worker("w0", limit=9)
        await add(worker, task)

    communicator.add = change_meanwhile
    stats = await orchestrator.next_term()
    assert (stats.added, stats.worker_count) == (2, 2)
    assert communicator.tasks("w0") | communicator.tasks("w1") == {"t0", "t1"}
    assert communicator.tasks("later") == set()
    assert [t.definition for t in orchestrator.expected_tasks()] == ["t1", "late"]
    await orchestrator.next_term()
    assert communicator.tasks("w0") | communicator.tasks("later") == {"t1", "late"}


async def test_many_threads_and_tasks_may_change_what_is_expected_while_terms_run(fleet):
    orchestrator, communicator = fleet(5)
    errors = []

    def change(number):
        try:
            for turn in range(300):
                orchestrator.add_task((number, turn))
                orchestrator.add_worker(("extra", number))
                orchestrator.expected_tasks()
                orchestrator.last_actual()
                if turn % 3 == 0:
                    orchestrator.remove_task((number, turn))
                    orchestrator.remove_worker(("extra", number))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=change, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        await orchestrator.next_term()
        await asyncio.sleep(0)
    for thread in threads:
        thread.join()
    assert errors == []
    stats = await orchestrator.next_term()
    while not stats.settled:
        stats = await orchestrator.next_term()
    workers = [f"w{n}" for n in range(5)] + [("extra", n) for n in range(4)]
    assert sum(len(communicator.tasks(w)) for w in workers) == 4 * 200 == len(orchestrator.expected_tasks())


async def test_a_term_can_be_asked_for_from_another_thread(fleet):
    orchestrator, communicator = fleet(1, 1)
    loop = asyncio.get_running_loop()

    def ask():
        return asyncio.run_coroutine_threadsafe(orchestrator.next_term(), loop).result(30)

    assert (await asyncio.to_thread(ask)).added == 1
    assert communicator.tasks("w0") == {"t0"}
