"""Weights of workers, draining by a limit of 0, and zones."""

from __future__ import annotations

import pytest

from berth.orchestrator import InMemoryCommunicator, Orchestrator
from berth.orchestrator.plan import weights


async def settle(orchestrator, most=60):
    for _ in range(most):
        stats = await orchestrator.next_term()
        if stats.settled:
            return stats
    raise AssertionError(f"not settled after {most} terms: {stats}")


async def test_loads_are_in_proportion_to_the_limits(fleet):
    orchestrator, communicator = fleet(0, 30)
    for worker, limit in (("small", 10), ("middle", 20), ("big", 30)):
        orchestrator.add_worker(worker, limit=limit)
    await orchestrator.next_term()
    assert [len(communicator.tasks(w)) for w in ("small", "middle", "big")] == [5, 10, 15]


async def test_a_limit_is_never_exceeded_and_what_does_not_fit_is_missing(fleet):
    orchestrator, communicator = fleet(0, 10)
    orchestrator.add_worker("a", limit=2)
    orchestrator.add_worker("b", limit=3)
    stats = await orchestrator.next_term()
    assert (stats.added, stats.missing) == (5, 5)
    assert [len(communicator.tasks(w)) for w in ("a", "b")] == [2, 3]
    assert (await orchestrator.next_term()).settled


async def test_a_limit_of_zero_drains_a_worker_term_by_term_without_a_task_missing(fleet):
    orchestrator, communicator = fleet(3, 9)
    await orchestrator.next_term()
    orchestrator.update_worker("w0", limit=0)
    for left in (2, 1, 0):
        stats = await orchestrator.next_term()
        assert (len(communicator.tasks("w0")), stats.moved, stats.missing) == (left, 1, 0)
    assert (await orchestrator.next_term()).settled
    orchestrator.update_worker("w0", limit=None)
    await settle(orchestrator)
    assert [len(communicator.tasks(f"w{n}")) for n in range(3)] == [3, 3, 3]


async def test_a_full_worker_gives_up_a_task_before_it_gets_another(fleet):
    # "c" and "x" must move: b is full and has to shed before it may take anything.
    orchestrator, communicator = fleet()
    orchestrator.add_worker("a", limit=2)
    orchestrator.add_worker("b", limit=2)
    orchestrator.add_worker("c", limit=2)
    for task in ("p", "q"):
        orchestrator.add_task(task, instances=2)
    for task in ("r", "s"):
        orchestrator.add_task(task)
    communicator.assign("a", ["p", "q"])
    communicator.assign("b", ["r", "s"])
    most, add = [0], communicator.add

    async def watch(worker, task):
        await add(worker, task)
        most.append(len(communicator.tasks(worker)))

    communicator.add = watch
    stats = await settle(orchestrator)
    assert stats.missing == 0
    assert max(most) <= 2
    assert [len(communicator.tasks(w)) for w in "abc"] == [2, 2, 2]


async def test_a_full_worker_whose_removal_fails_gets_nothing_more(fleet):
    orchestrator, communicator = fleet()
    orchestrator.add_worker("full", limit=1)
    orchestrator.add_task("wanted")
    communicator.assign("full", ["unknown"])
    communicator.fail("full", "remove")
    stats = await orchestrator.next_term()
    assert (stats.failed, stats.skipped, stats.added) == (1, 1, 0)
    assert communicator.tasks("full") == {"unknown"}
    communicator.heal("full")
    await orchestrator.next_term()
    assert communicator.tasks("full") == {"wanted"}


@pytest.mark.parametrize(
    ("limits", "tasks", "expected"),
    [
        ([None, None], 8, [4096, 4096]),
        ([None, None], 10_001, [5001, 5001]),
        ([10, 30], 8, [10, 30]),
        ([5, None], 8, [5, 5]),
        ([5, None], 20, [5, 15]),
        ([5, None, None], 20, [5, 8, 8]),
        ([0, None], 3, [0, 4096]),
    ],
)
def test_a_worker_without_a_limit_weighs_as_much_as_the_greatest_or_what_is_left(limits, tasks, expected):
    import numpy as np

    assert weights(limits, np.ones(tasks, np.int64)).tolist() == expected


async def test_a_worker_without_a_limit_takes_what_the_limited_ones_cannot(fleet):
    orchestrator, communicator = fleet(0, 20)
    orchestrator.add_worker("capped", limit=5)
    orchestrator.add_worker("open")
    await orchestrator.next_term()
    assert [len(communicator.tasks(w)) for w in ("capped", "open")] == [5, 15]


async def test_instances_of_a_task_run_in_different_zones():
    communicator = InMemoryCommunicator()
    orchestrator = Orchestrator(communicator)
    for number in range(6):
        orchestrator.add_worker(f"w{number}", zone="north" if number < 3 else "south")
    for number in range(12):
        orchestrator.add_task(f"t{number}", instances=2)
    await orchestrator.next_term()
    north = [t for n in range(3) for t in communicator.tasks(f"w{n}")]
    assert len(north) == len(set(north)) == 12
    assert [len(communicator.tasks(f"w{n}")) for n in range(6)] == [4] * 6


async def test_a_task_wholly_in_one_zone_is_spread_one_move_at_a_time(fleet):
    orchestrator, communicator = fleet()
    for worker, zone in (("a", "north"), ("b", "north"), ("c", "south")):
        orchestrator.add_worker(worker, zone=zone)
    for number in range(3):
        orchestrator.add_task(f"t{number}", instances=2)
    communicator.assign("a", ["t0", "t1", "t2"])
    communicator.assign("b", ["t0", "t1", "t2"])
    while not (stats := await orchestrator.next_term()).settled:
        assert stats.missing == 0
        assert stats.moved <= 2
    assert communicator.tasks("c") == {"t0", "t1", "t2"}


async def test_all_workers_in_one_named_zone_are_like_workers_without_zones(fleet):
    orchestrator, communicator = fleet(0, 4)
    orchestrator.add_worker("a", zone="z")
    orchestrator.add_worker("b")
    orchestrator.update_worker("b", zone="z")
    await orchestrator.next_term()
    assert [len(communicator.tasks(w)) for w in "ab"] == [2, 2]
    assert (await orchestrator.next_term()).settled


async def test_of_two_removals_one_that_fails_leaves_room_for_one_task_only(fleet):
    orchestrator, communicator = fleet(0, 2)
    orchestrator.add_worker("full", limit=2)
    communicator.assign("full", ["stuck", "unknown"])
    remove = communicator.remove

    async def refuse(worker, task):
        if task == "stuck":
            raise RuntimeError("busy")
        await remove(worker, task)

    communicator.remove = refuse
    stats = await orchestrator.next_term()
    assert (stats.removed, stats.added, stats.failed, stats.skipped, stats.missing) == (1, 1, 1, 1, 1)
    assert len(communicator.tasks("full")) == 2


async def test_a_task_is_not_taken_away_for_a_worker_that_has_no_room_yet(fleet):
    # x and y must go to b, which can give up only one task a term, since c has x and y already.
    orchestrator, communicator = fleet()
    for worker, limit in (("a1", 0), ("a2", 0), ("b", 2), ("c", 4)):
        orchestrator.add_worker(worker, limit=limit)
    for task, instances in (("x", 2), ("y", 2), ("p", 1), ("q", 1)):
        orchestrator.add_task(task, instances=instances)
    for worker, tasks in (("a1", ["x"]), ("a2", ["y"]), ("b", ["p", "q"]), ("c", ["x", "y"])):
        communicator.assign(worker, tasks)
    terms = 0
    while not (stats := await orchestrator.next_term()).settled:
        assert (stats.missing, stats.skipped, stats.failed) == (0, 0, 0)
        terms += 1
    assert terms == 2
    assert communicator.tasks("b") == {"x", "y"}
    assert communicator.tasks("c") == {"x", "y", "p", "q"}
