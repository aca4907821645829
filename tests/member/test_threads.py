"""Workers with threads, without a cluster."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from member_fakes import Hand
from waiting import until

import berth
from berth.member.callbacks import CallbackRunner
from berth.member.threads import _InThreads


class Slow(berth.sync.Worker):
    def __init__(self) -> None:
        self.log: list[str] = []
        self.go = threading.Event()
        self.held: berth.sync.Held | None = None
        self.over: list[bool] = []

    def prepare(self, item: berth.sync.Held) -> None:
        self.held = item
        self.log.append("prepare")
        while not item.cancelled and not self.go.wait(0.01):
            pass
        self.log.append("prepared" if self.go.is_set() else "given up")

    def activate(self, item: berth.sync.Held) -> None:
        self.log.append(f"activate {item.primary} {item.active()}")
        threading.Thread(target=lambda: self.over.append(item.wait_over(10))).start()

    def drop(self, item: berth.sync.Held) -> None:
        self.log.append(f"drop {item.owned()}")


def delivery_to(worker: Slow, pool: ThreadPoolExecutor) -> CallbackRunner:
    runner = CallbackRunner(_InThreads(worker, pool))
    runner.start_session(lambda: 1000.0)
    return runner


async def test_a_callback_that_is_no_longer_wanted_notices_and_is_waited_for() -> None:
    worker = Slow()
    with ThreadPoolExecutor(4) as pool:
        async with delivery_to(worker, pool) as runner:
            hand = Hand(runner)
            hand.want("a#1@3")
            await until(lambda: worker.log == ["prepare"])
            hand.want()
            await hand.until_reported()
            assert worker.log == ["prepare", "given up", "drop True"]


async def test_threads_learn_at_once_that_an_item_was_taken_away() -> None:
    worker = Slow()
    worker.go.set()
    with ThreadPoolExecutor(4) as pool:
        async with delivery_to(worker, pool) as runner:
            hand = Hand(runner)
            hand.want("a#0@3:4")
            await until(lambda: (hand.confirm(), "activate True True" in worker.log)[1])
            runner.end_session()
            await until(lambda: worker.over == [True])
            await asyncio.wait_for(runner.wait_until_empty(), 5)
            assert worker.held is not None
            assert worker.held.lost
            assert worker.log[-1] == "drop False"


async def test_a_callback_that_raises_stop_iteration_fails_and_is_tried_again() -> None:
    """A future cannot carry that one."""

    class Eager(berth.sync.Worker):
        tries = 0

        def prepare(self, item: berth.sync.Held) -> None:
            self.tries += 1
            if self.tries == 1:
                next(iter(()))

    with ThreadPoolExecutor(4) as pool:
        async with CallbackRunner(_InThreads(Eager(), pool), pause=lambda _: 0.2) as runner:
            runner.start_session(lambda: 1000.0)
            hand = Hand(runner)
            hand.want("a#1@3")
            await until(lambda: runner.snapshot().problems, seconds=3)
            assert "StopIteration" in runner.snapshot().problems[0].message
            await hand.until_reported("a@3=Ready")
