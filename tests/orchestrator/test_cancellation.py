"""Calls that ignore their cancellation, and terms that are cancelled."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from orchestrator_calls import LONG, deaf
from waiting import until

from berth.orchestrator import Orchestrator


async def test_a_list_that_ignores_its_cancellation_does_not_hang_the_term(fleet, caplog):
    orchestrator, communicator = fleet(2, 2, timeout=0.1)
    release, log, answer = asyncio.Event(), [], communicator.list
    stubborn = deaf(release, log)
    communicator.list = lambda worker: stubborn() if worker == "w0" else answer(worker)
    for _ in range(3):
        stats = await asyncio.wait_for(orchestrator.next_term(), 20)
        assert (stats.worker_count, stats.left_out) == (1, 1)
    assert log == ["started"], "not called again while the first call is under way"
    assert communicator.tasks("w1") == {"t0", "t1"}
    assert "ignores cancellation" in caplog.text
    communicator.list = answer
    release.set()
    await until(lambda: log == ["started", "ended"])
    await asyncio.sleep(0)
    assert (await orchestrator.next_term()).worker_count == 2


@pytest.mark.parametrize("operation", ["add", "remove"])
async def test_an_add_or_remove_that_ignores_its_cancellation_does_not_hang_the_term(fleet, operation):
    orchestrator, communicator = fleet(2, 4, timeout=0.1)
    if operation == "remove":
        communicator.assign("w0", ["t0", "t1", "t2", "t3", "unknown"])
    release, log = asyncio.Event(), []
    stubborn, usual = deaf(release, log), getattr(communicator, operation)
    setattr(communicator, operation, lambda w, t: stubborn() if w == "w0" else usual(w, t))
    stats = await asyncio.wait_for(orchestrator.next_term(), 20)
    assert stats.failed == 1
    assert stats.skipped >= 1
    assert log == ["started"]
    if operation == "add":
        assert len(communicator.tasks("w1")) == 2
    else:
        assert communicator.tasks("w1") == set(), "the move waits: its task may not have been removed"
    release.set()
    await until(lambda: log == ["started", "ended"])
    await asyncio.sleep(0)
    assert log == ["started", "ended"], "the rest of that lane was not called"
    setattr(communicator, operation, usual)
    for _ in range(6):
        stats = await orchestrator.next_term()
    assert stats.settled
    assert [len(communicator.tasks(w)) for w in ("w0", "w1")] == [2, 2]


async def test_a_call_that_cleans_up_after_its_cancellation_is_waited_for(fleet):
    orchestrator, communicator = fleet(1, 1, timeout=0.2)
    cleaned = []

    async def cleans_up(worker, task):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            cleaned.append(task)

    communicator.add = cleans_up
    stats = await orchestrator.next_term()
    assert cleaned == ["t0"]
    assert (stats.failed, stats.missing) == (1, 1)


async def test_a_call_that_ends_well_in_its_grace_counts_and_the_next_one_has_its_own_time(fleet, caplog):
    orchestrator, communicator = fleet(1, 2, timeout=0.5)
    add, calls = communicator.add, []

    async def finishes_late_then_blocks(worker, task):
        calls.append(task)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        if len(calls) == 1:
            await add(worker, task)
        else:
            await asyncio.sleep(0)
            raise asyncio.CancelledError

    communicator.add = finishes_late_then_blocks
    stats = await orchestrator.next_term()
    assert (stats.added, stats.failed) == (1, 1)
    assert len(calls) == 2
    assert "no answer within 0.5 s" in caplog.text
    assert "ignores cancellation" not in caplog.text
    assert stats.seconds > 0.9


async def test_terms_never_overlap(fleet):
    orchestrator, communicator = fleet(3, 3, timeout=LONG)
    active, most, answer = 0, 0, communicator.list

    async def counted(worker):
        nonlocal active, most
        active += 1
        most = max(most, active)
        await asyncio.sleep(0.01)
        active -= 1
        return await answer(worker)

    communicator.list = counted
    stats = await asyncio.gather(*(orchestrator.next_term() for _ in range(4)))
    assert most == 3, "three workers of one term at a time"
    assert sorted(s.term for s in stats) == [1, 2, 3, 4]
    assert sum(s.added for s in stats) == 3


async def test_cancelling_a_term_cancels_its_calls_and_the_next_term_works(fleet):
    orchestrator, communicator = fleet(3, 3, timeout=LONG)
    cancelled, answer = [], communicator.list

    async def blocking(worker):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(worker)
            raise

    communicator.list = blocking
    term = asyncio.create_task(orchestrator.next_term())
    await until(lambda: len(asyncio.all_tasks()) >= 5)
    term.cancel()
    with pytest.raises(asyncio.CancelledError):
        await term
    assert sorted(cancelled) == ["w0", "w1", "w2"]
    assert asyncio.all_tasks() == {asyncio.current_task()}, "no stray tasks"
    communicator.list = answer
    assert (await orchestrator.next_term()).added == 3


async def test_a_cancelled_term_makes_no_further_calls(fleet, caplog):
    orchestrator, communicator = fleet(2, 10, timeout=LONG)
    started = []

    async def blocking(worker, task):
        started.append(worker)
        await asyncio.Event().wait()

    communicator.add = blocking
    term = asyncio.create_task(orchestrator.next_term())
    await until(lambda: len(started) == 2)
    term.cancel()
    with pytest.raises(asyncio.CancelledError):
        await term
    assert sorted(started) == ["w0", "w1"]
    assert caplog.text == ""


async def test_cancelling_a_term_with_a_call_that_ignores_cancellation_does_not_hang(fleet):
    orchestrator, communicator = fleet(1, 1, timeout=0.5)
    release, log = asyncio.Event(), []
    stubborn = deaf(release, log)
    communicator.add = stubborn
    term = asyncio.create_task(orchestrator.next_term())
    await until(lambda: log == ["started"])
    term.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(term), 20)
    release.set()
    await until(lambda: len(log) == 2)


async def test_run_starts_a_term_every_interval_and_survives_failing_workers(fleet):
    terms = []
    orchestrator, communicator = fleet(2, 2, on_term=terms.append)
    communicator.fail("w0")
    runner = asyncio.create_task(orchestrator.run(0.02))
    await until(lambda: len(terms) >= 3)
    communicator.heal("w0")
    await until(lambda: terms[-1].settled)
    runner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await runner
    assert [len(communicator.tasks(w)) for w in ("w0", "w1")] == [1, 1]


async def test_run_logs_an_unexpected_error_and_goes_on(fleet, caplog, monkeypatch):
    terms = []
    orchestrator, _ = fleet(1, 1, on_term=terms.append)
    snapshot = orchestrator._snapshot
    calls = []

    def breaks_once():
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("bug")
        return snapshot()

    monkeypatch.setattr(orchestrator, "_snapshot", breaks_once)
    runner = asyncio.create_task(orchestrator.run(0.01))
    await until(lambda: terms)
    runner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await runner
    assert "term 1 failed" in caplog.text
    assert terms[0].term == 2


async def test_impossible_options_are_refused(fleet):
    for options in ({"timeout": 0}, {"timeout": -1}, {"moves_per_worker": -1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Orchestrator(None, **options)
    orchestrator, _ = fleet()
    with pytest.raises(ValueError, match="interval"):
        await orchestrator.run(0)
