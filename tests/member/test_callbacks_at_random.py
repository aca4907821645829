"""Random leaders, workers that fail, and losses: what a worker hears always makes sense."""

import asyncio
import itertools
import logging
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from berth.kinds import Entry
from berth.member.callbacks import CallbackRunner
from berth.member.worker import Held, PlainError, Worker

ITEMS = ("a", "b", "c")

# What may come before what, for one Item; an attempt that raised may be repeated.
BEFORE = {
    "prepare": {None, "drop", "prepare", "deactivate"},
    "activate": {"prepare", "deactivate"},
    "deactivate": {"activate", "deactivate"},
    "drop": {"prepare", "deactivate", "drop"},
}


class Strict(Worker):
    """Notes where callbacks of an Item overlap, or come in an order that makes no sense."""

    def __init__(self, dice: list[int]) -> None:
        self.dice = itertools.cycle(dice or [0])
        self.last: dict[str, str | None] = defaultdict(lambda: None)
        self.ok: dict[str, bool] = defaultdict(lambda: True)
        self.running: set[str] = set()
        self.wrong: list[str] = []
        self.calm = False

    async def call(self, what: str, item: Held) -> None:
        last, ok = self.last[item.name], self.ok[item.name]
        if item.name in self.running:
            self.wrong.append(f"{item.name}: {what} while {last} runs")
        if last not in BEFORE[what]:
            self.wrong.append(f"{item.name}: {what} after {last}")
        if what == "activate" and not (ok and item.owned() and item.primary):
            self.wrong.append(f"{item.name}: activate after {last}, which ended {ok}; {item}")
        self.last[item.name], self.ok[item.name] = what, False
        self.running.add(item.name)
        try:
            for _ in range(next(self.dice) % 4):
                await asyncio.sleep(0)
            if not self.calm and next(self.dice) % 5 == 1:
                raise PlainError("by chance")
            self.ok[item.name] = True
        finally:
            self.running.discard(item.name)

    async def prepare(self, item: Held) -> None:
        await self.call("prepare", item)

    async def activate(self, item: Held) -> None:
        await self.call("activate", item)

    async def deactivate(self, item: Held) -> None:
        await self.call("deactivate", item)

    async def drop(self, item: Held) -> None:
        await self.call("drop", item)


moves = st.one_of(
    st.tuples(
        st.just("entry"), st.sampled_from(ITEMS), st.sampled_from(["gone", "replica", "primary", "new"])
    ),
    st.tuples(st.just("pass"), st.integers(1, 6)),
    st.tuples(st.just("confirm")),
    st.tuples(st.just("lose")),
    st.tuples(st.just("crash"), st.sampled_from(ITEMS)),
)


async def crash() -> None:
    raise PlainError("a task, by chance")


async def play(script: list[tuple[object, ...]], dice: list[int], concurrency: int) -> None:
    worker = Strict(dice)
    term = itertools.count(1)
    entries: dict[str, Entry] = {}
    async with CallbackRunner(worker, concurrency=concurrency, pause=lambda _: 0.0) as runner:
        runner.start_session(lambda: 1000.0)
        for move in script:
            match move:
                case ("entry", str(name), "gone"):
                    entries.pop(name, None)
                case ("entry", str(name), kind):
                    old = entries.get(name)
                    grant = old.grant if old is not None and kind != "new" else next(term)
                    primary = kind == "primary"
                    entries[name] = Entry(name, 0 if primary else 1, grant, next(term) if primary else 0)
                case ("pass", int(times)):
                    for _ in range(times):
                        await asyncio.sleep(0)
                case ("confirm",):
                    runner.confirm(runner.snapshot())
                case ("lose",):
                    runner.end_session()
                    runner.start_session(lambda: 1000.0)
                case ("crash", str(name)):
                    if name in runner.held:
                        runner.held[name].spawn(crash())
            if move[0] == "entry":
                runner.set_target(entries.values())
            reported = {text.partition("@")[0] for text in runner.snapshot().reports}
            assert {name for name, held in runner.held.items() if held.primary} <= reported
        worker.calm = True
        runner.set_target(entries.values())
        wanted = [
            f"{entry.name}@{entry.grant}={'Active' if entry.primary else 'Ready'}"
            for entry in sorted(entries.values())
        ]
        for _ in range(400):
            snapshot = runner.snapshot()
            runner.confirm(snapshot)
            await asyncio.sleep(0)
            held = runner.held
            done = held.keys() == entries.keys() and all(
                held[name].primary == entries[name].primary for name in held
            )
            if list(snapshot.reports) == wanted and done and not worker.running and not snapshot.problems:
                break
        else:
            raise AssertionError(f"{snapshot} instead of {wanted}")
    assert worker.wrong == []


@settings(max_examples=300, deadline=None)
@given(st.lists(moves, max_size=40), st.lists(st.integers(0, 19), max_size=30), st.sampled_from([1, 2, 8]))
def test_whatever_happens_callbacks_come_in_order_and_end_at_the_target(
    script: list[tuple[object, ...]], dice: list[int], concurrency: int
) -> None:
    logging.getLogger("berth.member").setLevel(logging.CRITICAL)
    try:
        asyncio.run(play(script, dice, concurrency))
    finally:
        logging.getLogger("berth.member").setLevel(logging.NOTSET)
