"""The communicator for users' tests behaves as its workers are set up to."""

from __future__ import annotations

import asyncio
import time

import pytest

from berth.orchestrator import InMemoryCommunicator


async def test_tasks_are_added_listed_and_removed():
    communicator = InMemoryCommunicator()
    await communicator.add("w", "a")
    await communicator.add("w", "a")
    await communicator.add("w", "b")
    await communicator.remove("w", "unknown")
    assert await communicator.list("w") == ("a", "b")
    await communicator.remove("w", "a")
    assert communicator.tasks("w") == {"b"}
    assert communicator.tasks("other") == set()
    assert communicator.calls == {"add": 3, "remove": 2, "list": 1}


async def test_assigned_tasks_are_a_copy_and_replace_the_old_ones():
    communicator = InMemoryCommunicator()
    tasks = ["a", "b"]
    communicator.assign("w", tasks)
    tasks.clear()
    communicator.tasks("w").clear()
    assert await communicator.list("w") == ("a", "b")
    communicator.assign("w", ["c"])
    assert communicator.tasks("w") == {"c"}


async def test_a_failing_operation_raises_until_healed_and_leaves_the_tasks_alone():
    communicator = InMemoryCommunicator()
    communicator.assign("w", ["a"])
    communicator.fail("w", "remove", error=RuntimeError("busy"))
    with pytest.raises(RuntimeError, match="busy"):
        await communicator.remove("w", "a")
    await communicator.add("w", "b")
    communicator.fail("w")
    for call in (communicator.list("w"), communicator.add("w", "c"), communicator.remove("w", "a")):
        with pytest.raises(ConnectionError, match="'w' is down"):
            await call
    assert communicator.tasks("w") == {"a", "b"}
    communicator.heal("w")
    await communicator.remove("w", "a")
    assert communicator.tasks("w") == {"b"}


async def test_a_blocked_operation_hangs_until_healed():
    communicator = InMemoryCommunicator()
    communicator.block("w", "add")
    adding = asyncio.create_task(communicator.add("w", "a"))
    assert await communicator.list("w") == ()
    assert not adding.done()
    communicator.heal("w")
    await asyncio.wait_for(adding, 30)
    assert communicator.tasks("w") == {"a"}


async def test_a_blocked_call_that_is_cancelled_changes_nothing():
    communicator = InMemoryCommunicator()
    communicator.block("w")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(communicator.add("w", "a"), 0.01)
    assert communicator.tasks("w") == set()


async def test_a_forgotten_worker_is_empty_when_it_comes_back():
    communicator = InMemoryCommunicator()
    communicator.assign("w", ["a"])
    communicator.fail("w")
    communicator.forget("w")
    assert await communicator.list("w") == ()


async def test_latency_is_the_duration_of_a_call():
    communicator = InMemoryCommunicator(latency=0.05)
    started = time.monotonic()
    await communicator.add("w", "a")
    assert time.monotonic() - started >= 0.049


def test_an_unknown_operation_is_refused():
    communicator = InMemoryCommunicator()
    for method in (communicator.fail, communicator.block):
        with pytest.raises(ValueError, match="delete"):
            method("w", "delete")
