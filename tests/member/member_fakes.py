"""A worker that writes down what happens to it, and a leader's hand to aim a CallbackRunner with."""

import asyncio
from collections import defaultdict

from waiting import until

from berth.kinds import parse_entry
from berth.member.callbacks import CallbackRunner
from berth.member.worker import Held, Worker


class Recorder(Worker):
    """Records each callback; can be made to wait or to fail in any of them."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.running: dict[str, int] = defaultdict(int)
        self.max_at_once = 0
        self.gates: dict[str, asyncio.Event] = {}
        self.failures: dict[str, list[BaseException]] = {}
        self.items: dict[str, Held] = {}

    def hold(self, call: str) -> asyncio.Event:
        """Make `call` ("prepare a") wait for the event."""
        gate = self.gates[call] = asyncio.Event()
        return gate

    def fail(self, call: str, *errors: BaseException) -> None:
        """Make the next calls of `call` raise these."""
        self.failures[call] = list(errors)

    async def _note(self, what: str, item: Held) -> None:
        call = f"{what} {item.name}"
        detail = f"@{item.epoch}" if what == "activate" else ""
        self.items[item.name] = item
        assert self.running[item.name] == 0, f"two callbacks of {item.name} at once"
        self.running[item.name] += 1
        self.max_at_once = max(self.max_at_once, sum(self.running.values()))
        try:
            self.log.append(f"{call}{detail}")
            if call in self.gates:
                await self.gates[call].wait()
            else:
                await asyncio.sleep(0)
            if self.failures.get(call):
                raise self.failures[call].pop(0)
        except asyncio.CancelledError:
            self.log.append(f"cancelled {call}")
            raise
        finally:
            self.running[item.name] -= 1

    async def prepare(self, item: Held) -> None:
        await self._note("prepare", item)

    async def activate(self, item: Held) -> None:
        await self._note("activate", item)

    async def deactivate(self, item: Held) -> None:
        await self._note("deactivate", item)

    async def drop(self, item: Held) -> None:
        await self._note("drop", item)


class Hand:
    """Aims a CallbackRunner, and confirms what it reports as an API server would."""

    def __init__(self, runner: CallbackRunner) -> None:
        self.runner = runner

    def want(self, *entries: str) -> None:
        self.runner.set_target(parse_entry(text) for text in entries)

    def confirm(self) -> None:
        self.runner.confirm(self.runner.snapshot())

    def reports(self) -> list[str]:
        return list(self.runner.snapshot().reports)

    async def until_reported(self, *reports: str) -> None:
        """Confirm what is reported until it is this."""
        await until(lambda: (self.confirm(), self.reports() == list(reports))[1], lambda: str(self.reports()))


async def turns(count: int = 100) -> None:
    """Let every task that waits for no event and for no time go on to where it does."""
    for _ in range(count):
        await asyncio.sleep(0)
