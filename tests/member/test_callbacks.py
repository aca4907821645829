import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
from member_fakes import Hand, Recorder, turns
from waiting import until

from berth.member.callbacks import CallbackRunner


@pytest.fixture
async def runner(worker: Recorder) -> AsyncIterator[CallbackRunner]:
    async with CallbackRunner(worker, pause=lambda failures: 0.01 * failures) as runner:
        runner.start_session(lambda: 1000.0)
        yield runner


@pytest.fixture
def hand(runner: CallbackRunner) -> Hand:
    return Hand(runner)


async def test_a_replica_is_prepared_and_reported_ready(worker: Recorder, hand: Hand) -> None:
    gate = worker.hold("prepare a")
    hand.want("a#1@3")
    await hand.until_reported("a@3=Preparing")
    gate.set()
    await hand.until_reported("a@3=Ready")
    assert worker.log == ["prepare a"]
    held = worker.items["a"]
    assert (held.slot, held.primary, held.epoch, held.owned()) == (1, False, 3, True)


async def test_a_primary_is_activated_only_once_its_report_has_been_written(
    worker: Recorder, hand: Hand, runner: CallbackRunner
) -> None:
    hand.want("a#0@3:4")
    await until(lambda: hand.reports() == ["a@3=Active"])
    await turns()
    assert worker.log == ["prepare a"]
    hand.confirm()
    await until(lambda: worker.log == ["prepare a", "activate a@4"])
    assert worker.items["a"].primary
    assert worker.items["a"].epoch == 4


async def test_a_confirmation_of_an_entry_that_is_gone_by_now_starts_nothing(
    worker: Recorder, hand: Hand, runner: CallbackRunner
) -> None:
    hand.want("a#0@3:4")
    await until(lambda: hand.reports() == ["a@3=Active"])
    late = runner.snapshot()
    hand.want("a#1@3")
    runner.confirm(late)
    await hand.until_reported("a@3=Ready")
    assert worker.log == ["prepare a"]


async def test_a_confirmation_is_void_once_something_else_was_reported(
    worker: Recorder, hand: Hand, runner: CallbackRunner
) -> None:
    """Promoted, demoted, promoted again: the report in between took the first one back."""
    hand.want("a#0@3:4")
    await until(lambda: hand.reports() == ["a@3=Active"])
    late = runner.snapshot()
    hand.want("a#1@3")
    assert hand.reports() == ["a@3=Ready"]
    hand.want("a#0@3:5")
    runner.confirm(late)
    await turns()
    assert worker.log == ["prepare a"]
    hand.confirm()
    await until(lambda: worker.log[-1] == "activate a@5")


async def test_a_demoted_primary_reports_active_until_deactivate_has_returned(
    worker: Recorder, hand: Hand
) -> None:
    hand.want("a#0@3:4")
    await until(lambda: (hand.confirm(), "activate a@4" in worker.log)[1])
    gate = worker.hold("deactivate a")
    hand.want("a#2@3")
    await until(lambda: worker.log[-1] == "deactivate a")
    assert hand.reports() == ["a@3=Active"]
    gate.set()
    await hand.until_reported("a@3=Ready")
    held = worker.items["a"]
    assert (held.slot, held.primary, held.epoch) == (2, False, 3)


async def test_an_item_that_is_gone_is_deactivated_and_dropped_before_it_is_no_longer_listed(
    worker: Recorder, hand: Hand, runner: CallbackRunner
) -> None:
    hand.want("a#0@3:4")
    await until(lambda: (hand.confirm(), "activate a@4" in worker.log)[1])
    gate = worker.hold("drop a")
    hand.want()
    await until(lambda: worker.log[-1] == "drop a")
    assert hand.reports() == ["a@3=Draining"]
    assert worker.items["a"].owned()
    gate.set()
    await hand.until_reported()
    assert worker.log == ["prepare a", "activate a@4", "deactivate a", "drop a"]
    assert not worker.items["a"].owned()
    assert runner.empty


async def test_targets_that_come_and_go_while_a_callback_runs_are_skipped(
    worker: Recorder, hand: Hand
) -> None:
    hand.want("a#0@3:4")
    gate = worker.hold("activate a")
    await until(lambda: (hand.confirm(), "activate a@4" in worker.log)[1])
    hand.want("a#0@3:4", "b#1@5")
    for grant in range(6, 20):
        hand.want("a#0@3:4", f"b#1@{grant}")
    gate.set()
    await hand.until_reported("a@3=Active", "b@19=Ready")
    assert "cancelled activate a" not in worker.log
    assert worker.log.count("prepare b") <= 2


async def test_a_prepare_that_is_no_longer_wanted_is_cancelled_and_dropped(
    worker: Recorder, hand: Hand
) -> None:
    worker.hold("prepare a")
    hand.want("a#1@3")
    await until(lambda: worker.log == ["prepare a"])
    hand.want()
    await hand.until_reported()
    assert worker.log == ["prepare a", "cancelled prepare a", "drop a"]


async def test_an_activate_that_is_no_longer_wanted_is_cancelled_and_deactivated(
    worker: Recorder, hand: Hand
) -> None:
    worker.hold("activate a")
    hand.want("a#0@3:4")
    await until(lambda: (hand.confirm(), "activate a@4" in worker.log)[1])
    hand.want("a#1@3")
    await hand.until_reported("a@3=Ready")
    assert worker.log == ["prepare a", "activate a@4", "cancelled activate a", "deactivate a"]


async def test_an_item_that_is_granted_again_is_dropped_and_prepared_again(
    worker: Recorder, hand: Hand
) -> None:
    hand.want("a#1@3")
    await hand.until_reported("a@3=Ready")
    first = worker.items["a"]
    hand.want("a#1@9")
    await hand.until_reported("a@9=Ready")
    assert worker.log == ["prepare a", "drop a", "prepare a"]
    assert not first.owned()
    assert worker.items["a"].owned()


async def test_a_new_epoch_without_a_demotion_before_it_is_activated_again(
    worker: Recorder, hand: Hand
) -> None:
    hand.want("a#0@3:4")
    await until(lambda: (hand.confirm(), "activate a@4" in worker.log)[1])
    hand.want("a#0@3:7")
    await until(lambda: (hand.confirm(), "activate a@7" in worker.log)[1])
    assert worker.log == ["prepare a", "activate a@4", "deactivate a", "activate a@7"]


async def test_a_change_of_slot_alone_calls_no_callback(worker: Recorder, hand: Hand) -> None:
    hand.want("a#2@3")
    await hand.until_reported("a@3=Ready")
    hand.want("a#1@3")
    assert worker.items["a"].slot == 1
    assert worker.log == ["prepare a"]


async def test_a_prepare_that_fails_is_reported_with_its_message_and_tried_again(
    worker: Recorder, hand: Hand, runner: CallbackRunner
) -> None:
    worker.fail("prepare a", OSError("no such\nshard"), ValueError("bad"))
    gate = worker.hold("prepare a")
    gate.set()
    hand.want("a#1@3")
    await until(lambda: runner.snapshot().problems)
    snapshot = runner.snapshot()
    assert snapshot.reports == ("a@3=Failed",)
    assert snapshot.problems[0].item == "a"
    assert snapshot.problems[0].message == "prepare: OSError: no such shard"
    await hand.until_reported("a@3=Ready")
    assert worker.log == ["prepare a"] * 3
    assert runner.snapshot().problems == ()


async def test_an_activate_that_fails_is_undone_at_once_and_only_then_reported_failed(
    worker: Recorder,
) -> None:
    async with CallbackRunner(worker, pause=lambda _: 0.5) as runner:
        runner.start_session(lambda: 1000.0)
        hand = Hand(runner)
        worker.fail("activate a", RuntimeError("port in use"))
        gate = worker.hold("deactivate a")
        hand.want("a#0@3:4")
        await until(lambda: (hand.confirm(), worker.log[-1:] == ["deactivate a"])[1])
        assert hand.reports() == ["a@3=Active"]
        gate.set()
        await hand.until_reported("a@3=Failed")
        await until(lambda: (hand.confirm(), worker.log.count("activate a@4") == 2)[1])
        await until(lambda: runner.snapshot().problems == ())
        assert worker.log == ["prepare a", "activate a@4", "deactivate a", "activate a@4"]


async def test_a_deactivate_that_fails_is_tried_again_before_anything_else(
    worker: Recorder, hand: Hand
) -> None:
    hand.want("a#0@3:4")
    await until(lambda: (hand.confirm(), "activate a@4" in worker.log)[1])
    worker.fail("deactivate a", RuntimeError("flush"), RuntimeError("flush"))
    hand.want()
    await hand.until_reported()
    assert worker.log == ["prepare a", "activate a@4"] + ["deactivate a"] * 3 + ["drop a"]


async def test_one_slow_item_does_not_hold_up_the_others(worker: Recorder, hand: Hand) -> None:
    worker.hold("prepare a")
    hand.want("a#1@1", *(f"b{n:03}#1@1" for n in range(100)))
    await until(lambda: len(worker.log) == 101)
    assert hand.reports()[0] == "a@1=Preparing"
    await hand.until_reported("a@1=Preparing", *(f"b{n:03}@1=Ready" for n in range(100)))


async def test_an_item_that_is_gone_before_it_was_started_calls_no_callback(
    worker: Recorder, hand: Hand, runner: CallbackRunner
) -> None:
    hand.want("a#1@3")
    hand.want()
    await until(lambda: runner.empty)
    assert worker.log == []


async def test_prepares_are_limited_in_number_and_releases_do_not_queue(worker: Recorder) -> None:
    async with CallbackRunner(worker, concurrency=3) as runner:
        runner.start_session(lambda: 1000.0)
        hand = Hand(runner)
        hand.want("x#1@1")
        await hand.until_reported("x@1=Ready")
        gates = [worker.hold(f"prepare a{n}") for n in range(9)]
        hand.want("x#1@1", *(f"a{n}#1@1" for n in range(9)))
        await until(lambda: sum(worker.running.values()) == 3)
        hand.want(*(f"a{n}#1@1" for n in range(8)))
        await until(lambda: "drop x" in worker.log)
        for gate in gates:
            gate.set()
        await hand.until_reported(*(f"a{n}@1=Ready" for n in range(8)))
        assert worker.max_at_once <= 4
        assert "prepare a8" not in worker.log


async def test_on_loss_everything_is_cancelled_at_once_and_then_cleaned_up(
    worker: Recorder, hand: Hand, runner: CallbackRunner
) -> None:
    hand.want("a#0@3:4")
    await until(lambda: (hand.confirm(), "activate a@4" in worker.log)[1])
    worker.hold("prepare b")
    hand.want("a#0@3:4", "b#1@5")
    await until(lambda: "prepare b" in worker.log)
    spawned = worker.items["a"].spawn(asyncio.sleep(1000))
    runner.end_session()
    assert not worker.items["a"].owned()
    assert not worker.items["b"].owned()
    await asyncio.wait_for(worker.items["a"].wait_over(), 5)
    await asyncio.wait_for(runner.wait_until_empty(), 5)
    assert spawned.cancelled()
    assert worker.log[-4:].count("drop a") + worker.log[-4:].count("drop b") == 2
    assert "deactivate a" in worker.log
    assert "cancelled prepare b" in worker.log
    assert hand.reports() == []


async def test_after_a_loss_the_same_entries_are_prepared_again_once_the_old_work_has_ended(
    worker: Recorder, hand: Hand, runner: CallbackRunner
) -> None:
    hand.want("a#0@3:4")
    await until(lambda: (hand.confirm(), "activate a@4" in worker.log)[1])
    gate = worker.hold("deactivate a")
    runner.end_session()
    runner.start_session(lambda: 1000.0)
    hand.want("a#0@3:4")
    await until(lambda: worker.log[-1] == "deactivate a")
    assert hand.reports() == ["a@3=Preparing"]
    hand.confirm()
    gate.set()
    await until(lambda: (hand.confirm(), worker.log[-1] == "activate a@4")[1])
    assert worker.log == [
        "prepare a", "activate a@4", "deactivate a", "drop a", "prepare a", "activate a@4",
    ]  # fmt: skip
    assert worker.items["a"].owned()


async def test_a_spawned_task_that_raises_fails_the_item_which_is_then_activated_again(
    worker: Recorder, hand: Hand, runner: CallbackRunner
) -> None:
    async def poll() -> None:
        raise ConnectionError("upstream went away")

    hand.want("a#0@3:4")
    await until(lambda: (hand.confirm(), "activate a@4" in worker.log)[1])
    worker.items["a"].spawn(poll())
    await until(lambda: runner.snapshot().problems)
    assert runner.snapshot().problems[0].message == "task: ConnectionError: upstream went away"
    await until(lambda: (hand.confirm(), worker.log.count("activate a@4") == 2)[1])
    assert worker.log == ["prepare a", "activate a@4", "deactivate a", "activate a@4"]


async def test_tasks_that_keep_failing_do_not_delay_the_next_try(worker: Recorder, hand: Hand) -> None:
    async def fail() -> None:
        raise ConnectionError("gone")

    hand.want("a#1@3")
    await hand.until_reported("a@3=Ready")
    for _ in range(30):
        worker.items["a"].spawn(fail())
        await asyncio.sleep(0.005)
    assert worker.log.count("prepare a") > 1
    await hand.until_reported("a@3=Ready")


async def test_tasks_spawned_as_primary_end_after_deactivate_and_the_others_before_drop(
    worker: Recorder, hand: Hand
) -> None:
    hand.want("a#1@3")
    await hand.until_reported("a@3=Ready")
    always = worker.items["a"].spawn(asyncio.sleep(1000))
    hand.want("a#0@3:4")
    await until(lambda: (hand.confirm(), "activate a@4" in worker.log)[1])
    as_primary = worker.items["a"].spawn(asyncio.sleep(1000))
    hand.want("a#1@3")
    await hand.until_reported("a@3=Ready")
    assert as_primary.cancelled()
    assert not always.done()
    hand.want()
    await hand.until_reported()
    assert always.cancelled()


async def test_the_data_of_an_item_is_read_before_prepare_and_an_error_there_is_retried(
    worker: Recorder,
) -> None:
    answers: list[Mapping[str, str] | Exception] = [LookupError("no Item a"), {"url": "x"}]

    async def read(name: str) -> Mapping[str, str]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with CallbackRunner(worker, read_data=read, pause=lambda _: 0.01) as runner:
        runner.start_session(lambda: 1000.0)
        hand = Hand(runner)
        hand.want("a#1@3")
        await hand.until_reported("a@3=Ready")
    assert worker.items["a"].data == {"url": "x"}


async def test_after_an_abort_no_callback_is_called(worker: Recorder) -> None:
    async with CallbackRunner(worker) as runner:
        runner.start_session(lambda: 1000.0)
        hand = Hand(runner)
        hand.want("a#1@3")
        await hand.until_reported("a@3=Ready")
        worker.hold("prepare b")
        hand.want("a#1@3", "b#1@3")
        await until(lambda: "prepare b" in worker.log)
    assert worker.log == ["prepare a", "prepare b", "cancelled prepare b"]
    assert not worker.items["a"].owned()
