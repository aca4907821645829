"""The cases: a cause each, and the time until the last Assignment of its consequence is written."""

from __future__ import annotations

import asyncio
import json
import signal
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from benchmarks.scale.child import ROOT
from benchmarks.scale.objects import path
from benchmarks.scale.processes import ControllerProcess, forget_peak
from benchmarks.scale.stage import ELECTION, Stage, writes

LEASE_DURATION = 15.0
"""Seconds of the controllers' Lease: the default."""
IDLE_SECONDS = 30.0


@dataclass
class Measured:
    """One case. Times in seconds, memory in MiB."""

    case: str
    seconds: float
    """From the cause to the last write of an Assignment."""
    floor: float
    """What a bare program takes for the same objects, opening its connections included."""
    open_floor: float = 0.0
    """What it takes where its connections are open already."""
    writes: int = 0
    """Of Assignments."""
    touched: int = 0
    """Assignments that differ afterwards."""
    most: int = 0
    """Most writes of one Assignment."""
    bytes: int = 0
    rounds: int = 0
    bursts: int = 1
    """Bursts of events, as the controller reckons them, that the cause consists of."""
    controller_cpu: float = 0.0
    controller_peak: float = 0.0
    api_cpu: float = 0.0
    other: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return self.seconds / self.floor if self.floor else 0.0

    def plain(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio}


Cause = Callable[[], Awaitable[float]]


async def measure(
    stage: Stage,
    controller: ControllerProcess,
    case: str,
    cause: Cause,
    *,
    watched: ControllerProcess | None = None,
    rest: float = 1.0,
) -> Measured:
    """Bring about the cause and wait for the end of what it sets off.

    `watched` is who will act, `rest` the seconds before that in which little happens on the server.
    """
    acting = watched or controller
    timeout = 120.0 + stage.size.items / 200
    stage.observer.start_tally()
    stage.observer.defer()
    forget_peak(acting.pid)
    # A collection of the API server takes both cores for a second or more: it would decide what a case takes.
    await stage.client.collect_garbage()
    metrics, used, api = await acting.metrics(), acting.usage(), stage.api_usage()
    began = await cause()
    last = await stage.settled(timeout)
    used_after, api_after, metrics_after = acting.usage(), stage.api_usage(), await acting.metrics()
    tally = stage.observer.tally
    before = {name: spec for name, spec in tally.before.items() if spec is not None}
    after = {
        name: stage.observer.specs[name].plain() for name in tally.writes if name in stage.observer.specs
    }
    differs = {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)}
    before = {n: s for n, s in before.items() if n in differs}
    after = {n: s for n, s in after.items() if n in differs}
    floors = await stage.write_floor(before, after, runs=3, rest=rest)
    return Measured(
        case,
        last - began,
        statistics.median(floors["opening"]),
        open_floor=statistics.median(floors["open"]),
        writes=tally.writes.total(),
        touched=len(differs),
        most=max(tally.writes.values(), default=0),
        bytes=tally.bytes,
        rounds=int(metrics_after.get("berth_rounds_total", 0) - metrics.get("berth_rounds_total", 0)),
        controller_cpu=used_after.cpu - used.cpu,
        controller_peak=used_after.peak,
        api_cpu=api_after.cpu - api.cpu,
    )


async def first_placement(stage: Stage, stack: AsyncExitStack) -> tuple[Measured, ControllerProcess]:
    """Every Item at once.

    Creating 100,000 Items takes minutes, in which a leader would place them as they come. So a Lease of
    the benchmark's keeps the controller from leading until it knows all of them; the cause is the moment
    at which that Lease is given up. The (empty) Assignments are there, as after any start of Members.
    """
    async with stage.controller() as first:
        await stage.join(stage.size.members)
        await stage.until(lambda: not stage.unsettled(), "empty Assignments", 180)
        await stage.idle(first, 120)
    await stage.load.ask(
        "put_lease", namespace=stage.namespace, name=ELECTION, holder="benchmark", seconds=3600
    )
    controller = await stack.enter_async_context(stage.controller())
    _, done = await stage.add_items(stage.size.items)
    await stage.until(lambda: controller.said("caches have synced"), "filled caches", 120)
    # What was created last has been seen when the process has nothing left to do.
    used = -1.0
    while (now := controller.usage().cpu) - used > 0.1:
        used = now
        await asyncio.sleep(1.0)

    async def give_up() -> float:
        await stage.load.ask("put_lease", namespace=stage.namespace, name=ELECTION, holder="", seconds=1)
        return time.time()

    assert time.time() > done
    measured = await measure(stage, controller, "first placement", give_up)
    # Elected when it saw the Lease; then the term, then what it had not seen, then the round.
    led = controller.said("leading in term")
    if led:
        measured.other["led_before_end"] = stage.observer.tally.last - led
    return measured, controller


async def idle(stage: Stage, controller: ControllerProcess) -> Measured:
    """Nothing happens but the renewal of every Member's Lease each 10 s."""
    await stage.idle(controller, 300 + stage.size.items / 100)
    before, used, api = await controller.metrics(), controller.usage(), stage.api_usage()
    stage.observer.start_tally()
    counts = [await child.ask("count") for child in stage.sessions]
    started = time.monotonic()
    await asyncio.sleep(IDLE_SECONDS)
    seconds = time.monotonic() - started
    used_after, api_after = controller.usage(), stage.api_usage()
    after = await controller.metrics()
    renewals = sum([(await child.ask("count"))["renewals"] for child in stage.sessions])
    renewals -= sum(count["renewals"] for count in counts)
    return Measured(
        "idle",
        seconds,
        0.0,
        writes=int(writes(after) - writes(before)),
        rounds=int(after["berth_rounds_total"] - before["berth_rounds_total"]),
        controller_cpu=used_after.cpu - used.cpu,
        controller_peak=used_after.rss,
        api_cpu=api_after.cpu - api.cpu,
        other={"core": (used_after.cpu - used.cpu) / seconds, "renewals_per_second": renewals / seconds},
    )


async def rolling(stage: Stage, controller: ControllerProcess) -> Measured:
    """A tenth of the Members is replaced: the new ones join, the old ones drain, all at once."""
    await stage.join(stage.size.tenth)
    await stage.settled(300)
    old = stage.members[: stage.size.tenth]
    # The new ones count as joined before: what is measured is the drain.
    measured = await measure(stage, controller, "rolling update of 10%", lambda: stage.drain(old))
    await stage.forget(old)
    return measured


async def leader_killed(
    stage: Stage, stack: AsyncExitStack, leader: ControllerProcess
) -> tuple[Measured, ControllerProcess]:
    """SIGKILL for the leader and a Member deleted in the same moment; counted from the Lease's expiry."""
    standby = await stack.enter_async_context(stage.controller())
    await stage.until(lambda: standby.said("caches have synced"), "a standby", 180)
    await stage.idle(leader, 120)
    await asyncio.sleep(2)

    async def cause() -> float:
        await leader.stop(signal.SIGKILL)
        lease = await stage.client.get(path(stage.namespace, "leases", ELECTION))
        await stage.kill([stage.members[0]])
        renewed = datetime.fromisoformat(lease["spec"]["renewTime"].replace("Z", "+00:00"))
        return renewed.timestamp() + LEASE_DURATION

    measured = await measure(stage, leader, "leader killed", cause, watched=standby, rest=LEASE_DURATION)
    led = standby.said("leading in term")
    if led:
        measured.other["led_before_end"] = stage.observer.tally.last - led
    return measured, standby


async def cold_start(
    stage: Stage, stack: AsyncExitStack, leader: ControllerProcess
) -> tuple[Measured, ControllerProcess]:
    """A controller starts where everything is placed; the floor lists the same objects, as a process too."""
    await stage.idle(leader, 300 + stage.size.items / 100)
    await leader.stop()
    walls, lists = [], []
    for _ in range(3):
        await stage.client.collect_garbage()
        started = time.perf_counter()
        bare = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.scale.bare_list", str(stage.plane.kubeconfig), stage.namespace,
            stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        out, _ = await bare.communicate()
        walls.append(time.perf_counter() - started)
        lists.append(json.loads(out)["seconds"])
    stage.observer.start_tally()
    await stage.client.collect_garbage()
    api = stage.api_usage()
    controller = await stack.enter_async_context(stage.controller())
    filled = await stage.until(lambda: controller.said("caches have synced"), "filled caches", 300)
    led = await stage.until(lambda: controller.said("leading in term"), "a leader", 120)

    async def rounds() -> float:
        return (await controller.metrics()).get("berth_rounds_total", 0.0)

    await stage.until(rounds, "a round", 120)
    done = time.time()
    used = controller.usage()
    measured = Measured(
        "cold start",
        done - controller.started,
        statistics.median(walls),
        rounds=int(await rounds()),
        controller_cpu=used.cpu,
        controller_peak=used.peak,
        api_cpu=stage.api_usage().cpu - api.cpu,
        other={
            "caches_filled": filled - controller.started,
            "leading": led - controller.started,
            "bare_list_alone": statistics.median(lists),
        },
    )
    await stage.idle(controller, 300 + stage.size.items / 100)
    measured.other["rss_after"] = controller.usage().rss
    measured.writes = stage.observer.tally.writes.total()
    return measured, controller


async def events(stage: Stage, controller: ControllerProcess, note: Callable[[Measured], None]) -> None:
    """The events of a fleet that is led, in an order in which each leaves it whole for the next.

    Afterwards it has one Member more.
    """

    async def join() -> float:
        return (await stage.join(1))[1]

    note(await measure(stage, controller, "one Member joins", join))
    await stage.idle(controller, 300)
    # More than half of them at once would be a matter for the brake.
    some = min(10, stage.size.members // 2)
    for case, count in (("one Member lost", 1), (f"{some} Members lost", some)):
        victims = stage.members[:count]
        note(await measure(stage, controller, case, lambda victims=victims: stage.lose(victims)))
        await stage.forget(victims)
        await stage.join(count)
        await stage.settled(300)
        await stage.idle(controller, 300)
    note(await rolling(stage, controller))
    await stage.settled(300)
    await stage.idle(controller, 300)
    new: list[str] = []

    async def add() -> float:
        names, at = await stage.add_items(stage.size.more)
        new.extend(names)
        return at

    async def delete() -> float:
        return await stage.delete_items(new)

    for case, change in (("added", add), ("deleted", delete)):
        measured = await measure(stage, controller, f"{stage.size.more:,} Items {case}", change)
        measured.bursts = await stage.load.ask("bursts")
        note(measured)
        await stage.idle(controller, 300)


async def all_cases(stage: Stage, show: Callable[[Measured], None]) -> list[Measured]:
    """Every case of one controller after the other."""
    found: list[Measured] = []

    def note(measured: Measured) -> None:
        found.append(measured)
        show(measured)

    async with AsyncExitStack() as stack:
        measured, controller = await first_placement(stage, stack)
        note(measured)
        note(await idle(stage, controller))
        measured, controller = await cold_start(stage, stack, controller)
        note(measured)
        await events(stage, controller, note)
        measured, controller = await leader_killed(stage, stack, controller)
        note(measured)
    return found
