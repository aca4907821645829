"""Workers that misbehave: one Item may suffer, never another, nor the Member."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from member_fakes import Hand, Recorder, turns
from waiting import until

from berth.kinds import AssignmentObject
from berth.kube import Meta
from berth.member.assignment import status_patch
from berth.member.callbacks import CallbackRunner
from berth.member.worker import Held


class Lease:
    """Held until its seconds are set to 0."""

    def __init__(self) -> None:
        self.left = 1000.0

    def seconds(self) -> float:
        return self.left


class Acting(Recorder):
    """Does something of one's own in a callback, after noting it."""

    def __init__(self) -> None:
        super().__init__()
        self.acts: dict[str, Callable[[Held], Any]] = {}

    async def _note(self, what: str, item: Held) -> None:
        await super()._note(what, item)
        if act := self.acts.get(f"{what} {item.name}"):
            await act(item)


@pytest.fixture
def worker() -> Acting:
    return Acting()


@pytest.fixture
def lease() -> Lease:
    return Lease()


@pytest.fixture
async def runner(worker: Acting, lease: Lease) -> AsyncIterator[CallbackRunner]:
    async with CallbackRunner(worker, pause=lambda failures: 0.05 * failures) as runner:
        runner.start_session(lease.seconds)
        yield runner


@pytest.fixture
def hand(runner: CallbackRunner) -> Hand:
    return Hand(runner)


async def primary(hand: Hand, worker: Acting, name: str = "a") -> Held:
    hand.want(f"{name}#0@3:4")
    await until(lambda: (hand.confirm(), worker.log[-1:] == [f"activate {name}@4"])[1])
    await hand.until_reported(f"{name}@3=Active")
    return worker.items[name]


async def test_a_task_that_breaks_because_of_deactivate_does_not_leave_the_replica_failed(
    worker: Acting, hand: Hand, runner: CallbackRunner
) -> None:
    """`deactivate` closes a connection under the feet of what was spawned: it is being ended anyway."""
    closed = asyncio.Event()

    async def poll() -> None:
        await closed.wait()
        raise ConnectionError("closed")

    async def close(_: Held) -> None:
        closed.set()
        await asyncio.sleep(0.02)

    held = await primary(hand, worker)
    held.spawn(poll())
    worker.acts["deactivate a"] = close
    hand.want("a#1@3")
    await hand.until_reported("a@3=Ready")
    await turns()
    assert hand.reports() == ["a@3=Ready"]
    assert runner.snapshot().problems == ()
    assert worker.log == ["prepare a", "activate a@4", "deactivate a"]


async def test_a_task_that_breaks_when_it_is_cancelled_for_drop_does_not_hold_up_the_next_grant(
    worker: Acting, hand: Hand, runner: CallbackRunner
) -> None:
    async def untidy() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            raise OSError("while closing")

    hand.want("a#1@3")
    await hand.until_reported("a@3=Ready")
    worker.items["a"].spawn(untidy())
    await asyncio.sleep(0)
    runner.pause = lambda _: 1000.0
    hand.want("a#1@5")
    await hand.until_reported("a@5=Ready")
    assert runner.snapshot().problems == ()


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [ValueError("no feed-\udcff"), UnspeakableError()])
async def test_an_error_without_a_printable_message_fails_only_its_item(
    error: Exception, worker: Acting, hand: Hand, runner: CallbackRunner
) -> None:
    worker.fail("prepare a", error)
    runner.pause = lambda _: 0.5
    hand.want("a#1@3", "b#1@3")
    await hand.until_reported("a@3=Failed", "b@3=Ready")
    snapshot = runner.snapshot()
    assert type(error).__name__ in snapshot.problems[0].message
    msgspec.json.encode(status_patch("me", snapshot, AssignmentObject(Meta("w"))))
    await hand.until_reported("a@3=Ready", "b@3=Ready")


class Panic(BaseException):
    """As a panic in Rust comes to Python."""


async def test_a_callback_that_raises_a_base_exception_fails_only_its_item(
    worker: Acting, hand: Hand
) -> None:
    worker.fail("prepare a", Panic("index out of bounds"))
    hand.want("a#1@3", "b#1@3")
    await hand.until_reported("a@3=Ready", "b@3=Ready")
    assert worker.log.count("prepare a") == 2


async def test_an_assignment_that_arrives_after_a_loss_starts_nothing_until_the_next_session(
    worker: Acting, hand: Hand, runner: CallbackRunner, lease: Lease
) -> None:
    """What is under way in the watch's task when everything is cancelled may still arrive."""
    hand.want("a#1@3")
    await hand.until_reported("a@3=Ready")
    runner.end_session()
    hand.want("a#1@3", "b#1@3")
    await asyncio.wait_for(runner.wait_until_empty(), 5)
    assert worker.log == ["prepare a", "drop a"]
    runner.start_session(lease.seconds)
    hand.want("a#1@3", "b#1@3")
    await hand.until_reported("a@3=Ready", "b@3=Ready")
    assert worker.items["a"].owned()
    assert worker.items["b"].owned()


async def test_nothing_is_started_once_the_lease_has_run_out_by_the_clock(
    worker: Acting, hand: Hand, runner: CallbackRunner, lease: Lease
) -> None:
    """A process that slept past its Lease finds the answer to its report before it finds out."""
    hand.want("a#0@3:4")
    await until(lambda: hand.reports() == ["a@3=Active"])
    lease.left = 0.0
    hand.confirm()
    hand.want("a#0@3:4", "b#1@5")
    await turns()
    assert worker.log == ["prepare a"]
    runner.end_session()
    await asyncio.wait_for(runner.wait_until_empty(), 5)
    assert worker.log == ["prepare a", "drop a"]


async def test_tasks_spawned_while_a_primary_is_stopped_end_before_it_counts_as_released(
    worker: Acting, hand: Hand
) -> None:
    late: list[asyncio.Task[Any]] = []
    held = await primary(hand, worker)

    async def relay() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            late.append(held.spawn(asyncio.sleep(1000)))

    held.spawn(relay())
    await asyncio.sleep(0)
    hand.want("a#1@3")
    await hand.until_reported("a@3=Ready")
    assert late[0].cancelled()
    assert worker.log[-1] == "deactivate a"


async def test_tasks_spawned_in_drop_or_later_do_not_outlive_the_item(worker: Acting, hand: Hand) -> None:
    late: list[asyncio.Task[Any]] = []

    async def spawn(item: Held) -> None:
        late.append(item.spawn(asyncio.sleep(1000)))
        await asyncio.sleep(0)

    hand.want("a#1@3")
    await hand.until_reported("a@3=Ready")
    worker.acts["drop a"] = spawn
    hand.want()
    await hand.until_reported()
    late.append(worker.items["a"].spawn(asyncio.sleep(1000)))
    await until(lambda: all(task.cancelled() for task in late))
    assert len(late) == 2


async def test_a_callback_that_raises_because_it_was_cancelled_has_not_failed(
    worker: Acting, hand: Hand, runner: CallbackRunner
) -> None:
    async def convert(_: Held) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            raise RuntimeError("interrupted") from None

    runner.pause = lambda _: 1000.0
    worker.acts["prepare a"] = convert
    hand.want("a#1@3")
    await until(lambda: worker.log == ["prepare a"])
    await asyncio.sleep(0.01)
    worker.acts.clear()
    hand.want("a#1@5")
    await hand.until_reported("a@5=Ready")
    assert runner.snapshot().problems == ()


async def test_a_callback_is_cancelled_once_and_may_clean_up(worker: Acting, hand: Hand) -> None:
    tidied: list[bool] = []
    go = asyncio.Event()

    async def tidy(_: Held) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await go.wait()
            tidied.append(True)

    worker.acts["prepare a"] = tidy
    hand.want("a#1@3")
    await until(lambda: worker.log == ["prepare a"])
    await asyncio.sleep(0.01)
    for grant in range(5, 9):
        hand.want(f"a#1@{grant}")
        await asyncio.sleep(0.005)
    worker.acts.clear()
    go.set()
    await hand.until_reported("a@8=Ready")
    assert tidied == [True]


async def test_after_a_loss_deactivate_may_still_spawn_tasks_to_clean_up(
    worker: Acting, hand: Hand, runner: CallbackRunner
) -> None:
    tidied: list[bool] = []

    async def tidy() -> None:
        await asyncio.sleep(0.02)
        tidied.append(True)

    async def deactivate(item: Held) -> None:
        await item.spawn(tidy())

    await primary(hand, worker)
    worker.acts["deactivate a"] = deactivate
    runner.end_session()
    await asyncio.wait_for(runner.wait_until_empty(), 5)
    assert tidied == [True]
