"""Workers that err, block or refuse tasks."""

from __future__ import annotations

import asyncio
import time

import pytest


def total(communicator, *workers):
    return sum(len(communicator.tasks(w)) for w in workers)


async def test_a_worker_whose_list_fails_gets_nothing_and_its_tasks_run_elsewhere(fleet, caplog):
    orchestrator, communicator = fleet(3, 6)
    await orchestrator.next_term()
    kept = communicator.tasks("w1")
    communicator.fail("w1", "list")
    communicator.calls.clear()
    stats = await orchestrator.next_term()
    assert (stats.worker_count, stats.left_out, stats.added, stats.missing) == (2, 1, 2, 0)
    assert communicator.tasks("w1") == kept, "nobody spoke to it"
    assert total(communicator, "w0", "w2") == 6
    assert [s.worker for s in orchestrator.last_actual()] == ["w0", "w2"]
    assert "'w1' left out" in caplog.text
    assert not stats.settled


async def test_a_worker_that_comes_back_loses_its_surplus_and_the_loads_become_even(fleet):
    orchestrator, communicator = fleet(3, 6)
    await orchestrator.next_term()
    communicator.fail("w1", "list")
    await orchestrator.next_term()
    communicator.heal("w1")
    for _ in range(5):
        stats = await orchestrator.next_term()
    assert stats.settled
    assert total(communicator, "w0", "w1", "w2") == 6
    assert [len(communicator.tasks(w)) for w in ("w0", "w1", "w2")] == [2, 2, 2]


async def test_a_list_that_blocks_is_cancelled_after_the_timeout_and_left_out(fleet):
    orchestrator, communicator = fleet(3, 3, timeout=0.1)
    cancelled = []
    answer = communicator.list

    async def blocking(worker):
        if worker == "w1":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(worker)
                raise
        return await answer(worker)

    communicator.list = blocking
    stats = await orchestrator.next_term()
    assert cancelled == ["w1"]
    assert (stats.worker_count, stats.left_out) == (2, 1)
    assert total(communicator, "w0", "w2") == 3
    assert communicator.tasks("w1") == set()


@pytest.mark.parametrize("garbage", [None, 7, [["unhashable"]]], ids=str)
async def test_a_list_that_answers_garbage_leaves_its_worker_out(fleet, garbage, caplog):
    orchestrator, communicator = fleet(2, 2)
    answer = communicator.list

    async def strange(worker):
        return garbage if worker == "w0" else await answer(worker)

    communicator.list = strange
    stats = await orchestrator.next_term()
    assert stats.worker_count == 1
    assert communicator.tasks("w1") == {"t0", "t1"}
    assert "TypeError" in caplog.text


async def test_all_workers_failing_is_no_error_and_changes_nothing(fleet):
    orchestrator, communicator = fleet(3, 3)
    for worker in ("w0", "w1", "w2"):
        communicator.fail(worker)
    stats = await orchestrator.next_term()
    assert (stats.worker_count, stats.left_out, stats.missing, stats.added) == (0, 3, 3, 0)


async def test_a_list_that_cancels_itself_fails_like_any_other(fleet):
    orchestrator, communicator = fleet(2, 2)
    answer = communicator.list

    async def cancels_itself(worker):
        if worker == "w0":
            raise asyncio.CancelledError
        return await answer(worker)

    communicator.list = cancels_itself
    assert (await orchestrator.next_term()).worker_count == 1
    assert communicator.tasks("w1") == {"t0", "t1"}


async def test_a_failed_add_is_logged_and_repeated_by_the_next_term(fleet, caplog):
    orchestrator, communicator = fleet(2, 4)
    communicator.fail("w0", "add", error=RuntimeError("disk full"))
    stats = await orchestrator.next_term()
    assert (stats.added, stats.failed, stats.missing) == (2, 2, 2)
    assert "add of task 't" in caplog.text
    assert "on worker 'w0' failed: RuntimeError: disk full" in caplog.text
    communicator.heal("w0")
    stats = await orchestrator.next_term()
    assert (stats.added, stats.failed, stats.missing) == (2, 0, 0)
    assert [len(communicator.tasks(w)) for w in ("w0", "w1")] == [2, 2]


async def test_a_moved_task_is_not_added_elsewhere_when_its_removal_failed(fleet, caplog):
    orchestrator, communicator = fleet(2, 4)
    communicator.assign("w0", ["t0", "t1", "t2", "t3"])
    communicator.fail("w0", "remove")
    stats = await orchestrator.next_term()
    assert (stats.failed, stats.skipped, stats.added, stats.moved) == (1, 1, 0, 0)
    assert communicator.calls["add"] == 0
    assert "remove of task 't" in caplog.text
    communicator.heal("w0")
    await orchestrator.next_term()
    await orchestrator.next_term()
    assert [len(communicator.tasks(w)) for w in ("w0", "w1")] == [2, 2]


async def test_a_removal_that_blocks_holds_up_only_the_moves_from_that_worker(fleet):
    orchestrator, communicator = fleet(3, 9, timeout=0.2)
    communicator.assign("w0", [f"t{n}" for n in range(4)])
    communicator.assign("w1", [f"t{n}" for n in range(4, 9)])
    communicator.block("w0", "remove")
    stats = await orchestrator.next_term()
    assert (stats.moved, stats.failed) == (1, 1)
    assert [len(communicator.tasks(w)) for w in ("w0", "w1", "w2")] == [4, 4, 1]


async def test_after_a_call_that_blocked_the_others_to_that_worker_wait_for_the_next_term(fleet):
    orchestrator, communicator = fleet(2, 20, timeout=0.2)
    communicator.block("w0", "add")
    started = time.monotonic()
    stats = await orchestrator.next_term()
    assert (stats.added, stats.failed, stats.skipped, stats.missing) == (10, 1, 9, 10)
    assert time.monotonic() - started < 10 * 0.2, "one timeout, not one for each task"
    communicator.heal("w0")
    await orchestrator.next_term()
    assert [len(communicator.tasks(w)) for w in ("w0", "w1")] == [10, 10]


async def test_each_call_has_the_whole_timeout_for_itself(fleet):
    orchestrator, communicator = fleet(1, 8, timeout=1.0)
    communicator.latency = 0.15  # 1.2 s in all
    stats = await orchestrator.next_term()
    assert (stats.added, stats.failed) == (8, 0)
    assert stats.seconds > 1.0


async def test_a_task_whose_removal_always_fails_does_not_keep_the_others_from_moving(fleet):
    orchestrator, communicator = fleet(2, 6)
    communicator.assign("w0", [f"t{n}" for n in range(6)])
    remove, stuck = communicator.remove, set()

    async def refuse_the_first(worker, task):
        stuck.add(task) if not stuck else None
        if task in stuck:
            raise RuntimeError("busy")
        await remove(worker, task)

    communicator.remove = refuse_the_first
    for _ in range(12):
        stats = await orchestrator.next_term()
    assert stats.settled
    assert [len(communicator.tasks(w)) for w in ("w0", "w1")] == [3, 3]
    assert stuck <= communicator.tasks("w0")


async def test_a_task_whose_removal_failed_is_tried_again_after_the_others(fleet):
    orchestrator, communicator = fleet(2, 20)
    communicator.assign("w0", [f"t{n}" for n in range(20)])
    remove, stuck = communicator.remove, []

    async def refuse_the_first(worker, task):
        stuck.append(task) if not stuck else None
        if task in stuck:
            raise RuntimeError("busy")
        await remove(worker, task)

    communicator.remove = refuse_the_first
    assert (await orchestrator.next_term()).failed == 1
    for _ in range(9):
        stats = await orchestrator.next_term()
        assert (stats.moved, stats.failed) == (1, 0)


async def test_tasks_do_not_starve_on_a_worker_that_answers_but_cannot_start_any(fleet, caplog):
    orchestrator, communicator = fleet(4, 12)
    communicator.fail("w2", "add")
    for _ in range(3):
        stats = await orchestrator.next_term()
    assert (stats.missing, stats.resting) == (0, 1)
    assert "'w2' gets nothing" in caplog.text
    communicator.heal("w2")
    for _ in range(8):
        stats = await orchestrator.next_term()
    assert stats.settled
    assert [len(communicator.tasks(f"w{n}")) for n in range(4)] == [3, 3, 3, 3]


async def test_a_task_that_no_worker_can_start_costs_no_worker_its_share(fleet):
    orchestrator, communicator = fleet(3, 6)
    add = communicator.add

    async def refuse_poison(worker, task):
        if task == "poison":
            raise RuntimeError("cannot be parsed")
        await add(worker, task)

    communicator.add = refuse_poison
    orchestrator.add_task("poison")
    for number in range(20):
        orchestrator.add_task(f"later{number}")
        stats = await orchestrator.next_term()
        assert stats.missing == 1 or number == 0
    for worker in ("w0", "w1", "w2"):
        assert 8 <= len(communicator.tasks(worker)) <= 9


async def test_a_worker_rests_only_while_the_others_can_hold_everything(fleet):
    orchestrator, communicator = fleet(2)
    orchestrator.add_task("both", instances=2)
    communicator.fail("w0", "add")
    for _ in range(4):
        stats = await orchestrator.next_term()
        assert (stats.resting, stats.failed) == (0, 1)
    communicator.heal("w0")
    assert (await orchestrator.next_term()).missing == 0
