"""How soon a worker hears what the leader writes, and what a worker costs.

Delivery: so many Sessions in a few processes on this machine, on the real API server. A leader gives and
takes Items one at a time, at a steady rate; measured from before its write is sent until the callback starts:
`prepare` (the watch, and one read of the Item), `activate` (the watch, and the Member's own report, which has
to be accepted first) and `drop` (the watch, and `deactivate`). The time until the leader has its answer is
shown beside it: what the API server takes of it on a machine that it shares with all the workers.

Footprint: one worker process with so many Items: resident memory, and CPU time while nothing happens.

    python -m benchmarks.delivery [--workers 100] [--rate 50] [--seconds 20] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import defaultdict
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.delivery_worker import NAMESPACE
from berth.kube import Client, Resource, load_config
from berth.testing import ControlPlane

ASSIGNMENTS = Resource("berth.dev", "v1alpha1", "assignments")
ITEMS = Resource("berth.dev", "v1alpha1", "items")


class Processes:
    """Worker processes, and what they print."""

    def __init__(self) -> None:
        self.running: list[asyncio.subprocess.Process] = []
        self.readers: list[asyncio.Task[None]] = []
        self.ready = 0
        self.seen: dict[tuple[str, str, int], float] = {}

    async def start(self, names: list[str], kubeconfig: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.delivery_worker", kubeconfig, *names,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.running.append(process)
        self.readers.append(asyncio.create_task(self.read(process)))
        return process

    async def read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            what, item, term, when = json.loads(line)
            self.ready += what == "ready"
            self.seen[what, item, term] = when

    async def until_ready(self) -> None:
        while self.ready < len(self.running):
            if any(process.returncode is not None for process in self.running):
                raise RuntimeError("a worker process has ended")
            await asyncio.sleep(0.1)

    async def end(self) -> None:
        for process in self.running:
            if process.stdin is not None:
                process.stdin.close()
        await asyncio.gather(*(process.wait() for process in self.running), *self.readers)


class Leader:
    """Writes Assignments, and remembers when."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.term = 0
        self.entries: dict[str, dict[str, str]] = defaultdict(dict)
        self.sent: dict[tuple[str, str, int], float] = {}
        self.answers: list[float] = []
        self.locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def create(self, name: str) -> None:
        body = {
            "apiVersion": "berth.dev/v1alpha1", "kind": "Assignment", "metadata": {"name": name},
            "spec": {"pool": "default", "term": 1, "items": []},
        }  # fmt: skip
        await self.client.create(ASSIGNMENTS.path(NAMESPACE), body)

    async def write(self, member: str, what: str, item: str, entry: str | None, grant: int = 0) -> int:
        """Write one change, `TERM` in `entry` standing for the new term; the term. One at a time a Member."""
        async with self.locks[member]:
            self.term += 1
            term = self.term
            if entry is None:
                del self.entries[member][item]
            elif item:
                self.entries[member][item] = entry.replace("TERM", str(term))
            self.sent[what, item, grant or term] = time.monotonic()
            value = {"pool": "default", "term": term, "items": sorted(self.entries[member].values())}
            patch = [{"op": "replace", "path": "/spec", "value": value}]
            await self.client.patch(ASSIGNMENTS.path(NAMESPACE, member), patch)
            self.answers.append(time.monotonic() - self.sent[what, item, grant or term])
            return term

    async def cycle(self, member: str, item: str) -> None:
        """Give an Item as a replica, promote it a second later, and take it a second after that."""
        grant = await self.write(member, "prepare", item, f"{item}#1@TERM")
        await asyncio.sleep(1.0)
        await self.write(member, "activate", item, f"{item}#0@{grant}:TERM")
        await asyncio.sleep(1.0)
        await self.write(member, "drop", item, None, grant)


async def deliver(
    plane: ControlPlane, workers: int, processes: int, rate: float, seconds: float
) -> dict[str, Any]:
    names = [f"w{number:04}" for number in range(workers)]
    items = [f"item-{number:04}" for number in range(int(rate * 4) + 1)]
    group = Processes()
    async with Client(load_config(plane.kubeconfig)) as client:
        leader = Leader(client)
        for item in items:
            body = {
                "apiVersion": "berth.dev/v1alpha1",
                "kind": "Item",
                "metadata": {"name": item},
                "spec": {},
            }
            await client.create(ITEMS.path(NAMESPACE), body)
        for name in names:
            await leader.create(name)
        for number in range(processes):
            await group.start(names[number::processes], str(plane.kubeconfig))
        await group.until_ready()
        await asyncio.sleep(3.0)
        dice = random.Random(1)
        begun, count = time.monotonic(), 0
        async with asyncio.TaskGroup() as cycles:
            while time.monotonic() - begun < seconds:
                # A cycle is three writes; an Item comes round again when its last cycle is long over.
                item = items[count % len(items)]
                cycles.create_task(leader.cycle(dice.choice(names), item))
                count += 1
                await asyncio.sleep(max(0.0, begun + count * 3 / rate - time.monotonic()))
        await asyncio.sleep(2.0)
        await group.end()
    figures: dict[str, Any] = {"the write's answer": summary(leader.answers, len(leader.sent))}
    for what in ("prepare", "activate", "drop"):
        sent = {key: when for key, when in leader.sent.items() if key[0] == what}
        late = [group.seen[key] - when for key, when in sent.items() if key in group.seen]
        figures[what] = summary(late, len(sent))
    return figures


def summary(seconds: list[float], expected: int) -> dict[str, Any]:
    late = np.array(seconds) * 1000
    return {
        "writes": expected, "missed": expected - len(late),
        "p50_ms": float(np.percentile(late, 50)), "p99_ms": float(np.percentile(late, 99)),
        "max_ms": float(late.max()),
    }  # fmt: skip


async def footprint(plane: ControlPlane, count: int, seconds: float) -> dict[str, float]:
    async with Client(load_config(plane.kubeconfig)) as client:
        leader = Leader(client)
        await leader.create("big")
        for number in range(count):
            name = f"big-{number:05}"
            body = {
                "apiVersion": "berth.dev/v1alpha1",
                "kind": "Item",
                "metadata": {"name": name},
                "spec": {},
            }
            await client.create(ITEMS.path(NAMESPACE), body)
            leader.entries["big"][name] = f"{name}#0@1:1"
        group = Processes()
        process = await group.start(["big"], str(plane.kubeconfig))
        await group.until_ready()
        begun = time.monotonic()
        await leader.write("big", "all", "", "")
        while sum(key[0] == "activate" for key in group.seen) < count:  # noqa: ASYNC110 - read from a pipe
            await asyncio.sleep(0.05)
        filled = time.monotonic() - begun
        await asyncio.sleep(3.0)
        worker = psutil.Process(process.pid)
        before = worker.cpu_times()
        await asyncio.sleep(seconds)
        after = worker.cpu_times()
        memory = worker.memory_info().rss
        await group.end()
    used = after.user + after.system - before.user - before.system
    return {
        "items": count,
        "fill_s": filled,
        "rss_mb": memory / 1e6,
        "idle_cpu_percent": 100 * used / seconds,
    }


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    with ControlPlane() as plane:
        plane.apply_crds()
        plane.create_namespace(NAMESPACE)
        delivery = await deliver(
            plane, arguments.workers, arguments.processes, arguments.rate, arguments.seconds
        )
        cost = await footprint(plane, arguments.items, 30.0)
    return {"workers": arguments.workers, "writes_per_second": arguments.rate, "delivery": delivery,
            "footprint": cost}  # fmt: skip


def show(figures: dict[str, Any]) -> None:
    table = Table(
        title=f"From the leader's write to the callback: {figures['workers']} workers, "
        f"{figures['writes_per_second']:g} writes/s"
    )
    for column in ("until", "writes", "missed", "median ms", "99% ms", "max ms"):
        table.add_column(column, justify="left" if column == "until" else "right")
    for what, row in figures["delivery"].items():
        values = (f"{row[name]:.1f}" for name in ("p50_ms", "p99_ms", "max_ms"))
        table.add_row(what, str(row["writes"]), str(row["missed"]), *values)
    cost = figures["footprint"]
    console = Console()
    console.print(table)
    console.print(
        f"One worker with {cost['items']} Items: active after {cost['fill_s']:.1f} s, "
        f"{cost['rss_mb']:.0f} MB, {cost['idle_cpu_percent']:.2f}% of a core while idle"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Delivery and footprint of workers.")
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--processes", type=int, default=4, help="that the workers are spread over")
    parser.add_argument("--rate", type=float, default=50.0, help="writes of the leader a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--items", type=int, default=1000, help="of the worker whose footprint is taken")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments))
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures)


if __name__ == "__main__":
    main()
