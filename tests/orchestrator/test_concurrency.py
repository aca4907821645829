"""Calls of one term run side by side."""

from __future__ import annotations

import asyncio

import pytest
from orchestrator_calls import LONG
from waiting import until


async def test_all_workers_are_listed_at_once(fleet):
    orchestrator, communicator = fleet(20, timeout=LONG)
    barrier = asyncio.Barrier(20)

    async def meet(worker):
        await barrier.wait()  # passes only when all 20 calls are under way together
        return []

    communicator.list = meet
    assert (await orchestrator.next_term()).worker_count == 20


@pytest.mark.parametrize("operation", ["add", "remove"])
async def test_adds_and_removes_of_different_workers_run_side_by_side(fleet, operation):
    orchestrator, communicator = fleet(5, 10 if operation == "add" else 0, timeout=LONG)
    for number in range(5):
        communicator.assign(f"w{number}", [] if operation == "add" else ["x", "y"])
    barrier, busy = asyncio.Barrier(5), set()

    async def meet(worker, task):
        assert worker not in busy, "two calls to one worker at once"
        busy.add(worker)
        await barrier.wait()
        busy.discard(worker)

    setattr(communicator, operation, meet)
    stats = await orchestrator.next_term()
    assert getattr(stats, {"add": "added", "remove": "removed"}[operation]) == 10


async def test_adds_of_one_worker_do_not_wait_for_removals_of_another(fleet):
    orchestrator, communicator = fleet(2, 2, timeout=LONG)
    communicator.assign("w0", ["unknown"])
    remove, order = communicator.remove, []

    async def waits_for_the_add(worker, task):
        await until(lambda: communicator.tasks("w1"))
        order.append("removed")
        await remove(worker, task)

    communicator.remove = waits_for_the_add
    stats = await orchestrator.next_term()
    assert order == ["removed"]
    assert (stats.added, stats.removed) == (2, 1)
