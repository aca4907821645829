"""Workers that err, block, ignore cancellation or refuse tasks; calls side by side; cancelled terms."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from berth.orchestrator import Orchestrator

# Long enough that a loaded machine never runs into it, where a test does not wait for it.
LONG = 60.0


async def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)


def total(communicator, *workers):
    return sum(len(communicator.tasks(w)) for w in workers)


# -- list ---------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("nonsense", [None, 7, [["unhashable"]]], ids=str)
async def test_a_list_that_answers_nonsense_leaves_its_worker_out(fleet, nonsense, caplog):
    orchestrator, communicator = fleet(2, 2)
    answer = communicator.list

    async def strange(worker):
        return nonsense if worker == "w0" else await answer(worker)

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


# -- side by side -------------------------------------------------------------------------------


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


# -- add and remove -----------------------------------------------------------------------------


async def test_a_failed_add_is_logged_and_made_up_for_by_the_next_term(fleet, caplog):
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
    begin = time.monotonic()
    stats = await orchestrator.next_term()
    assert (stats.added, stats.failed, stats.skipped, stats.missing) == (10, 1, 9, 10)
    assert time.monotonic() - begin < 10 * 0.2, "one timeout, not one for each task"
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


# -- calls that ignore their cancellation -----------------------------------------------------


def deaf(release: asyncio.Event, log: list[str]):
    """A call that swallows every cancellation until it is released (or a test that failed must end)."""

    async def call(*arguments):
        log.append("begun")
        latest = time.monotonic() + 25
        while not release.is_set() and time.monotonic() < latest:
            with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                await asyncio.wait_for(release.wait(), 25)
        log.append("ended")
        return ["late"]

    return call


async def test_a_list_that_ignores_its_cancellation_does_not_hang_the_term(fleet, caplog):
    orchestrator, communicator = fleet(2, 2, timeout=0.1)
    release, log, answer = asyncio.Event(), [], communicator.list
    stubborn = deaf(release, log)
    communicator.list = lambda worker: stubborn() if worker == "w0" else answer(worker)
    for _ in range(3):
        stats = await asyncio.wait_for(orchestrator.next_term(), 20)
        assert (stats.worker_count, stats.left_out) == (1, 1)
    assert log == ["begun"], "not called again while the first call is under way"
    assert communicator.tasks("w1") == {"t0", "t1"}
    assert "ignores cancellation" in caplog.text
    communicator.list = answer
    release.set()
    await until(lambda: log == ["begun", "ended"])
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
    assert log == ["begun"]
    if operation == "add":
        assert len(communicator.tasks("w1")) == 2
    else:
        assert communicator.tasks("w1") == set(), "the move waits: its task was not surely removed"
    release.set()
    await until(lambda: log == ["begun", "ended"])
    await asyncio.sleep(0)
    assert log == ["begun", "ended"], "the rest of that lane was not called"
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


# -- terms --------------------------------------------------------------------------------------


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
    begun = []

    async def blocking(worker, task):
        begun.append(worker)
        await asyncio.Event().wait()

    communicator.add = blocking
    term = asyncio.create_task(orchestrator.next_term())
    await until(lambda: len(begun) == 2)
    term.cancel()
    with pytest.raises(asyncio.CancelledError):
        await term
    assert sorted(begun) == ["w0", "w1"]
    assert caplog.text == ""


async def test_cancelling_a_term_with_a_deaf_call_does_not_hang(fleet):
    orchestrator, communicator = fleet(1, 1, timeout=0.5)
    release, log = asyncio.Event(), []
    stubborn = deaf(release, log)
    communicator.add = stubborn
    term = asyncio.create_task(orchestrator.next_term())
    await until(lambda: log == ["begun"])
    term.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(term), 20)
    release.set()
    await until(lambda: len(log) == 2)


async def test_run_begins_a_term_every_interval_and_survives_failing_workers(fleet):
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
    begin = orchestrator._snapshot
    calls = []

    def breaks_once():
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("bug")
        return begin()

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
