"""What one term does when every worker answers: the behaviours of go-orchestrator's own tests, and more."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from berth.orchestrator import InMemoryCommunicator, Orchestrator, Task, WorkerState


def loads(communicator, workers):
    return sorted(len(communicator.tasks(w)) for w in workers)


def everywhere(communicator, workers):
    return Counter(task for w in workers for task in communicator.tasks(w))


async def test_tasks_are_spread_evenly(fleet):
    orchestrator, communicator = fleet(3, 3)
    stats = await orchestrator.next_term()
    assert loads(communicator, ["w0", "w1", "w2"]) == [1, 1, 1]
    assert set(everywhere(communicator, ["w0", "w1", "w2"])) == {"t0", "t1", "t2"}
    assert (stats.worker_count, stats.added, stats.missing, stats.settled) == (3, 3, 0, False)


async def test_the_second_term_has_nothing_to_do(fleet):
    orchestrator, communicator = fleet(3, 7)
    await orchestrator.next_term()
    communicator.calls.clear()
    stats = await orchestrator.next_term()
    assert stats.settled
    assert dict(communicator.calls) == {"list": 3}


async def test_no_workers_and_no_tasks_are_no_error(fleet):
    orchestrator, communicator = fleet(0, 2)
    assert (await orchestrator.next_term()).missing == 2
    assert orchestrator.last_actual() == []
    orchestrator.update_tasks([])
    orchestrator.add_worker("w")
    assert (await orchestrator.next_term()).settled
    assert communicator.calls["add"] == 0


async def test_a_task_that_runs_stays_where_it_is(fleet):
    orchestrator, communicator = fleet(3, 3)
    communicator.assign("w0", ["t1"])
    stats = await orchestrator.next_term()
    assert communicator.tasks("w0") == {"t1"}
    assert loads(communicator, ["w0", "w1", "w2"]) == [1, 1, 1]
    assert (stats.added, stats.removed) == (2, 0)


async def test_an_unknown_task_is_removed(fleet):
    orchestrator, communicator = fleet(3, 3)
    communicator.assign("w0", ["extra"])
    stats = await orchestrator.next_term()
    assert everywhere(communicator, ["w0", "w1", "w2"]) == Counter(t0=1, t1=1, t2=1)
    assert (stats.added, stats.removed, stats.moved) == (3, 1, 0)


async def test_unknown_tasks_are_removed_even_when_nothing_is_expected(fleet):
    orchestrator, communicator = fleet(2)
    communicator.assign("w0", ["a", "b", "c"])
    assert (await orchestrator.next_term()).removed == 3
    assert communicator.tasks("w0") == set()


async def test_surplus_instances_are_removed_at_once(fleet):
    orchestrator, communicator = fleet(4)
    orchestrator.add_task("t", instances=1)
    for worker in ("w0", "w1", "w2", "w3"):
        communicator.assign(worker, ["t"])
    stats = await orchestrator.next_term()
    assert everywhere(communicator, ["w0", "w1", "w2", "w3"]) == Counter(t=1)
    assert (stats.removed, stats.added, stats.moved) == (3, 0, 0)


async def test_a_surplus_is_taken_from_the_fuller_worker(fleet):
    orchestrator, communicator = fleet(2, 4)
    communicator.assign("w0", ["t0", "t1", "t2"])
    communicator.assign("w1", ["t0", "t3"])
    await orchestrator.next_term()
    assert communicator.tasks("w0") == {"t1", "t2"}
    assert communicator.tasks("w1") == {"t0", "t3"}


async def test_instances_of_a_task_run_on_different_workers(fleet):
    orchestrator, communicator = fleet(3)
    for name in ("a", "b", "c"):
        orchestrator.add_task(name, instances=2)
    await orchestrator.next_term()
    assert everywhere(communicator, ["w0", "w1", "w2"]) == Counter(a=2, b=2, c=2)
    assert loads(communicator, ["w0", "w1", "w2"]) == [2, 2, 2]


async def test_more_instances_than_workers_run_once_on_each(fleet):
    orchestrator, communicator = fleet(2)
    orchestrator.add_task("t", instances=5)
    stats = await orchestrator.next_term()
    assert everywhere(communicator, ["w0", "w1"]) == Counter(t=2)
    assert stats.missing == 3
    assert (await orchestrator.next_term()).settled


async def test_zero_instances_keep_a_task_expected_and_stopped(fleet):
    orchestrator, communicator = fleet(2)
    orchestrator.add_task("t", instances=0)
    communicator.assign("w1", ["t"])
    await orchestrator.next_term()
    assert everywhere(communicator, ["w0", "w1"]) == Counter()
    assert orchestrator.expected_tasks() == [Task("t", 0)]


async def test_missing_instances_go_elsewhere_without_touching_the_worker_that_has_one(fleet):
    orchestrator, communicator = fleet(3, 7, instances=3)
    communicator.assign("w0", [f"t{n}" for n in range(7)])
    stats = await orchestrator.next_term()
    assert stats.removed == 0
    assert loads(communicator, ["w0", "w1", "w2"]) == [7, 7, 7]


async def test_an_empty_worker_gets_a_task_of_the_fuller_one(fleet):
    orchestrator, communicator = fleet(3, 3)
    communicator.assign("w0", ["t0", "t1"])
    communicator.assign("w2", ["t2"])
    stats = await orchestrator.next_term()
    assert loads(communicator, ["w0", "w1", "w2"]) == [1, 1, 1]
    assert communicator.tasks("w2") == {"t2"}
    assert (stats.added, stats.removed, stats.moved) == (1, 1, 1)


@pytest.mark.parametrize(
    "held", [[["t0", "t3"], ["t1"], ["t2"]], [["t0"], ["t1", "t2"], ["t3"]]], ids=["first", "second"]
)
async def test_nothing_moves_when_the_counts_cannot_be_more_even(fleet, held):
    orchestrator, communicator = fleet(3, 4)
    for number, tasks in enumerate(held):
        communicator.assign(f"w{number}", tasks)
    assert (await orchestrator.next_term()).settled
    assert communicator.calls["remove"] == communicator.calls["add"] == 0


async def test_a_load_below_the_mean_is_filled_from_a_worker_that_is_not_above_its_ceiling(fleet):
    # 3, 3, 1: nobody is above ceil(7/3) = 3, but 1 is below floor(7/3) = 2.
    orchestrator, communicator = fleet(3, 7)
    communicator.assign("w0", ["t0", "t1", "t2"])
    communicator.assign("w1", ["t3", "t4", "t5"])
    communicator.assign("w2", ["t6"])
    stats = await orchestrator.next_term()
    assert stats.moved == 1
    assert loads(communicator, ["w0", "w1", "w2"]) == [2, 2, 3]


@pytest.mark.parametrize(("bound", "terms"), [(1, 6), (2, 3), (4, 2), (None, 1)])
async def test_a_worker_gives_up_at_most_moves_per_worker_in_a_term(fleet, bound, terms):
    orchestrator, communicator = fleet(4, 8, moves_per_worker=bound)
    communicator.assign("w0", [f"t{n}" for n in range(8)])
    previous = 8
    for term in range(1, terms + 1):
        stats = await orchestrator.next_term()
        load = len(communicator.tasks("w0"))
        assert previous - load <= (bound or 8)
        assert stats.moved == previous - load
        assert stats.postponed == load - 2
        assert (load == 2) == (term == terms)
        previous = load
    assert (await orchestrator.next_term()).settled
    assert communicator.calls["remove"] == 6  # the fewest there can be


async def test_every_full_worker_gives_to_a_new_one_in_the_same_term(fleet):
    orchestrator, communicator = fleet(4, 20)
    await orchestrator.next_term()
    orchestrator.add_worker("new")
    stats = await orchestrator.next_term()
    assert loads(communicator, ["w0", "w1", "w2", "w3", "new"]) == [4, 4, 4, 4, 4]
    assert stats.moved == 4


async def test_moves_per_worker_zero_fills_gaps_but_evens_nothing_out(fleet):
    orchestrator, communicator = fleet(2, 5, moves_per_worker=0)
    communicator.assign("w0", ["t0", "t1", "t2", "t3"])
    stats = await orchestrator.next_term()
    assert communicator.tasks("w1") == {"t4"}
    assert (stats.moved, stats.settled) == (0, False)
    assert stats.postponed > 0


async def test_new_tasks_go_to_emptier_workers_before_anything_moves(fleet):
    orchestrator, communicator = fleet(2, 6)
    communicator.assign("w0", ["t0", "t1", "t2"])
    stats = await orchestrator.next_term()
    assert communicator.tasks("w0") == {"t0", "t1", "t2"}
    assert (stats.added, stats.moved) == (3, 0)


async def test_a_removed_worker_is_not_called_again_and_its_tasks_go_to_the_others(fleet):
    orchestrator, communicator = fleet(3, 3)
    await orchestrator.next_term()
    lost = communicator.tasks("w1")
    orchestrator.remove_worker("w1")
    communicator.fail("w1")
    stats = await orchestrator.next_term()
    assert (stats.worker_count, stats.left_out, stats.failed) == (2, 0, 0)
    assert lost <= communicator.tasks("w0") | communicator.tasks("w2")
    assert loads(communicator, ["w0", "w2"]) == [1, 2]


async def test_a_removed_task_stops_everywhere_and_nothing_else_moves(fleet):
    orchestrator, communicator = fleet(3, 3, instances=2)
    await orchestrator.next_term()
    before = everywhere(communicator, ["w0", "w1", "w2"])
    orchestrator.remove_task("t1")
    stats = await orchestrator.next_term()
    assert everywhere(communicator, ["w0", "w1", "w2"]) == before - Counter(t1=2)
    assert stats.removed - stats.moved == 2


async def test_a_moved_task_is_removed_before_it_is_added_elsewhere(fleet):
    orchestrator, communicator = fleet(3, 9, moves_per_worker=None)
    communicator.assign("w0", [f"t{n}" for n in range(9)])
    running: Counter[str] = Counter(f"t{n}" for n in range(9))
    add, remove = communicator.add, communicator.remove

    async def slow_remove(worker, task):
        await asyncio.sleep(0.01)
        await remove(worker, task)
        running[task] -= 1

    async def checked_add(worker, task):
        assert running[task] == 0, "added while it still runs on the old worker"
        running[task] += 1
        await add(worker, task)

    communicator.remove, communicator.add = slow_remove, checked_add
    stats = await orchestrator.next_term()
    assert (stats.moved, stats.failed) == (6, 0)
    assert loads(communicator, ["w0", "w1", "w2"]) == [3, 3, 3]


async def test_stats_go_to_on_term_and_count_terms(fleet):
    seen = []
    orchestrator, _ = fleet(2, 2, on_term=seen.append)
    returned = [await orchestrator.next_term(), await orchestrator.next_term()]
    assert seen == returned
    assert [s.term for s in seen] == [1, 2]
    assert all(0 <= s.list_seconds + s.plan_seconds <= s.seconds for s in seen)


async def test_an_error_of_on_term_is_logged_and_harms_nothing(fleet, caplog):
    def on_term(stats):
        raise RuntimeError("the dashboard is down")

    orchestrator, communicator = fleet(1, 1, on_term=on_term)
    assert (await orchestrator.next_term()).added == 1
    assert "on_term failed" in caplog.text
    assert "the dashboard is down" in caplog.text
    assert communicator.tasks("w0") == {"t0"}


async def test_last_actual_is_what_the_workers_said_at_the_start_of_the_term(fleet):
    orchestrator, communicator = fleet(2, 2)
    communicator.assign("w0", ["t0"])
    assert orchestrator.last_actual() is None
    await orchestrator.next_term()
    assert orchestrator.last_actual() == [WorkerState("w0", ["t0"]), WorkerState("w1", [])]
    orchestrator.last_actual()[0].tasks.append("mine")  # a copy
    assert orchestrator.last_actual()[0].tasks == ["t0"]


async def test_a_worker_that_lists_a_task_twice_counts_once(fleet):
    orchestrator, communicator = fleet(1, 2)

    async def twice(worker):
        return iter(["t0", "t0", "t1", "t1"])

    communicator.list = twice
    assert (await orchestrator.next_term()).settled
    assert orchestrator.last_actual() == [WorkerState("w0", ["t0", "t1"])]


async def test_the_same_fleet_gets_the_same_plan_whatever_the_order_of_adding():
    results = []
    for order in (1, -1):
        communicator = InMemoryCommunicator()
        orchestrator = Orchestrator(communicator)
        for number in list(range(5))[::order]:
            orchestrator.add_worker(f"w{number}")
        for number in list(range(23))[::order]:
            orchestrator.add_task(f"t{number}", instances=1 + number % 3)
        await orchestrator.next_term()
        results.append({f"w{n}": communicator.tasks(f"w{n}") for n in range(5)})
    assert results[0] == results[1]


async def test_ten_thousand_tasks_on_two_workers_are_even_too():
    communicator = InMemoryCommunicator()
    orchestrator = Orchestrator(communicator)
    orchestrator.update_workers(["a", "b"])
    orchestrator.update_tasks(Task(n) for n in range(10_001))
    assert (await orchestrator.next_term()).missing == 0
    assert loads(communicator, ["a", "b"]) == [5000, 5001]


async def test_ten_thousand_tasks_on_two_hundred_workers_move_no_more_than_they_must():
    communicator = InMemoryCommunicator()
    orchestrator = Orchestrator(communicator, moves_per_worker=None)
    orchestrator.update_workers(range(200))
    orchestrator.update_tasks(Task(n) for n in range(10_000))
    stats = await orchestrator.next_term()
    assert (stats.added, stats.missing, stats.optimal) == (10_000, 0, True)
    for worker in range(200, 225):
        orchestrator.add_worker(worker)
    stats = await orchestrator.next_term()
    # 10,000 / 225 = 44.4: 100 workers keep 45, 100 keep 44; the new ones get 44 each.
    assert (stats.moved, stats.removed, stats.missing, stats.optimal) == (25 * 44, 25 * 44, 0, True)
    assert Counter(loads(communicator, range(225))) == Counter({45: 100, 44: 125})
    assert (await orchestrator.next_term()).settled
