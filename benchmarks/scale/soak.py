"""The soak: steady churn, Members that come, go and die, API server restarts; then everything is compared."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.scale.drift import drift
from benchmarks.scale.processes import ControllerProcess
from benchmarks.scale.stage import Stage

SAMPLE = 2.0
"""Seconds between two looks at the memory."""


@dataclass
class Soaked:
    """What came of a soak. Times in seconds, memory in MiB."""

    seconds: float
    events: dict[str, int] = field(default_factory=dict)
    rss: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the start, MiB)."""
    drift: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    checked: int = 0
    """Changes of entries that were checked."""
    writes: int = 0
    relists: int = 0
    """How often the observer had to list anew, so that a part of the history was not checked."""
    controller_cpu: float = 0.0
    settled: float = 0.0
    """From the end of the churn until all was as it should be."""

    def quarter(self, number: int) -> float:
        """Median memory of a quarter (1 to 4)."""
        end = self.rss[-1][0]
        low, high = end * (number - 1) / 4, end * number / 4
        return statistics.median([mib for at, mib in self.rss if low <= at <= high] or [0.0])

    @property
    def growth(self) -> float:
        """Memory of the last quarter against the second."""
        return self.quarter(4) / self.quarter(2) - 1.0

    def plain(self) -> dict[str, Any]:
        return asdict(self) | {"second_quarter": self.quarter(2), "last_quarter": self.quarter(4)}


class Churn:
    """Random events, such that the fleet stays about as large as it is."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self.rng = random.Random(seed)
        self.counts: dict[str, int] = {}
        self.scaled: list[str] = []

    async def step(self) -> None:
        """One event."""
        events: list[tuple[Callable[[], Awaitable[Any]], int]] = [
            (self.replace_items, 8),
            (self.scale, 4),
            (self.replace_member, 2),
            (self.lose_member, 1),
            (self.drain_member, 1),
        ]
        event = self.rng.choices([e for e, _ in events], [w for _, w in events])[0]
        await event()
        name = event.__name__
        self.counts[name] = self.counts.get(name, 0) + 1

    async def replace_items(self) -> None:
        """Some Items go, as many new ones come."""
        count = self.rng.randint(1, max(1, self.stage.size.items // 200))
        names = self.rng.sample(sorted(self.stage.truth.replicas), count)
        self.scaled = [name for name in self.scaled if name not in set(names)]
        await self.stage.delete_items(names)
        await self.stage.add_items(count)

    async def scale(self) -> None:
        """Some Items get a third replica; those of the last time lose it again."""
        if self.scaled:
            await self.stage.scale_items(self.scaled, self.stage.size.replicas)
        some = self.rng.sample(sorted(self.stage.truth.replicas), max(1, self.stage.size.items // 500))
        self.scaled = some
        await self.stage.scale_items(some, self.stage.size.replicas + 1)

    async def replace_member(self) -> None:
        """A Member is deleted, another joins."""
        await self.stage.forget([self.rng.choice(self.stage.members)])
        await self.stage.join(1)

    async def lose_member(self) -> None:
        """A Member's Lease runs out; later it is cleared away and another joins."""
        victim = self.rng.choice(self.stage.members)
        at = await self.stage.lose([victim], seconds=2)
        await asyncio.sleep(max(0.0, at - time.time()) + 1)
        await self.stage.forget([victim])
        await self.stage.join(1)

    async def drain_member(self) -> None:
        """A Member drains for a few seconds, leaves, and another joins."""
        victim = self.rng.choice(self.stage.members)
        await self.stage.drain([victim])
        await asyncio.sleep(3)
        await self.stage.forget([victim])
        await self.stage.join(1)


async def soak(
    stage: Stage, seconds: float, *, restarts: int = 3, seed: int = 1, say: Callable[[str], None] = print
) -> Soaked:
    """Churn for `seconds` with `restarts` restarts of the API server spread over them."""
    dump = stage.folder / "caches.json"
    os.environ["BERTH_SCALE_DUMP"] = str(dump)
    result = Soaked(seconds)
    async with stage.controller(module="benchmarks.scale.hosted") as controller:
        await stage.join(stage.size.members)
        await stage.add_items(stage.size.items)
        await stage.settled(300 + stage.size.items / 50)
        await stage.idle(controller, 120 + stage.size.items / 50)
        stage.observer.start_tally()
        relists, cpu = stage.observer.relists, controller.usage().cpu
        churn, started = Churn(stage, seed), time.monotonic()
        sampling = asyncio.create_task(_sample(controller, result.rss, started))
        due = [started + seconds * (i + 1) / (restarts + 1) for i in range(restarts)]
        try:
            while time.monotonic() - started < seconds:
                if due and time.monotonic() >= due[0]:
                    due.pop(0)
                    say(f"{time.monotonic() - started:.0f} s: the API server restarts")
                    await asyncio.to_thread(stage.plane.restart_api_server)
                    churn.counts["restart_api_server"] = churn.counts.get("restart_api_server", 0) + 1
                await churn.step()
                if controller.ended is not None:
                    raise RuntimeError(f"the controller ended with {controller.ended}")
        finally:
            sampling.cancel()
        ended = time.time()
        result.settled = max(0.0, await stage.settled(180) - ended)
        await stage.idle(controller, 120 + stage.size.items / 50)
        await asyncio.sleep(1)
        controller.signal(signal.SIGUSR1)
        await stage.until(dump.exists, "a dump of the caches")
        result.drift = await drift(stage.client, stage.namespace, json.loads(dump.read_text()))
        result.writes = stage.observer.tally.writes.total()
        result.relists = stage.observer.relists - relists
        result.controller_cpu = controller.usage().cpu - cpu
    result.events = churn.counts
    result.checked = stage.observer.history.checked
    result.violations = stage.observer.history.violations
    return result


async def _sample(controller: ControllerProcess, samples: list[tuple[float, float]], started: float) -> None:
    while True:
        samples.append((time.monotonic() - started, controller.usage().rss))
        await asyncio.sleep(SAMPLE)
