"""Runs workers, a controller and faults on a control plane, and records what happens."""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from fault_history import Seen, Work
from fault_worker import LEASE

from berth.kube import ApiError, Client, Resource, lease_clock, load_config
from berth.testing import ControlPlane

HERE = Path(__file__).parent
ASSIGNMENTS = Resource("berth.dev", "v1alpha1", "assignments")
ITEMS = Resource("berth.dev", "v1alpha1", "items")
POOLS = Resource("berth.dev", "v1alpha1", "pools")

BOUND = 30.0
"""Seconds after the last fault within which every Item is worked on again: ten Leases of 3 s."""

FAULTS = {
    "kill": 20, "stop": 20, "cut": 20, "hang": 15, "slow": 10, "term": 8,
    "controller": 8, "api": 2,
}  # fmt: skip
"""How often each kind of fault comes, relative to the others."""


@dataclass
class Record:
    """What a run leaves."""

    work: list[Work] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    healed: float = 0.0


class FaultRun:
    """One run; an async context manager. Everything it starts, it ends."""

    def __init__(
        self, control_plane: ControlPlane, namespace: str, folder: Path, *,
        workers: int = 8, items: int = 40, doubled: int = 0, lease: float = LEASE,
        broken: frozenset[str] = frozenset(), careless: frozenset[str] = frozenset(), seed: int = 1,
    ) -> None:  # fmt: skip
        """The first `doubled` of the Items have two replicas."""
        self.control_plane = control_plane
        self.namespace = namespace
        self.folder = folder
        self.names = [f"w{number}" for number in range(workers)]
        self.items = [f"item-{number:03}" for number in range(items)]
        self.doubled = set(self.items[:doubled])
        self.lease = lease
        self.broken = broken
        self.careless = careless
        self.random = random.Random(seed)
        self.record = Record()
        self.read = 0  # bytes of the workers' history
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.proxy: asyncio.subprocess.Process | None = None
        self.client = Client(load_config(control_plane.kubeconfig))
        self.busy: set[str] = set()
        self.stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "FaultRun":
        await self.stack.enter_async_context(self.client)
        await self.create(POOLS, "faults", {"handoff": "Exclusive"})
        for item in self.items:
            await self.create(ITEMS, item, {"pool": "faults", "replicas": 1 + (item in self.doubled)})
        await self.start_proxy()
        self.stack.push_async_callback(self.end_processes)
        watching = asyncio.create_task(self.watch_assignments())
        self.stack.callback(watching.cancel)
        await self.start("controller")
        await asyncio.gather(*(self.start(name) for name in self.names))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stack.aclose()

    async def create(self, resource: Resource, name: str, spec: dict[str, Any]) -> None:
        kind = {"items": "Item", "pools": "Pool"}[resource.plural]
        body = {"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}
        await self.client.create(resource.path(self.namespace), body)

    # Processes.

    async def start_proxy(self) -> None:
        target = urlsplit(self.control_plane.url)
        self.proxy = await asyncio.create_subprocess_exec(
            sys.executable, str(HERE / "fault_proxy.py"), str(target.hostname), str(target.port), *self.names,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self.proxy.stdout is not None
        ports = json.loads(await self.proxy.stdout.readline())
        config = yaml.safe_load(await asyncio.to_thread(self.control_plane.kubeconfig.read_text))
        for name, port in ports.items():
            config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
            await asyncio.to_thread((self.folder / f"{name}.kubeconfig").write_text, yaml.safe_dump(config))

    async def start(self, name: str) -> None:
        if name == "controller":
            arguments = [
                "-c", "from berth.cli import main; main()", "controller",
                "--kubeconfig", str(self.control_plane.kubeconfig),
                "--namespace", self.namespace, "--lease-duration", "3",
            ]  # fmt: skip
        else:
            arguments = [
                str(HERE / "fault_worker.py"), name, self.namespace, str(self.folder / f"{name}.kubeconfig"),
                str(self.folder / "history"), str(self.lease), *(["broken"] if name in self.broken else []),
                *(["careless"] if name in self.careless else []),
            ]  # fmt: skip
        with open(self.folder / f"{name}.log", "ab") as log:  # noqa: ASYNC230 - opened, not read
            self.processes[name] = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL
            )

    async def restart(self, name: str, number: int) -> None:
        process = self.processes[name]
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        await process.wait()
        await self.start(name)

    async def end_processes(self) -> None:
        for process in [*self.processes.values(), *([self.proxy] if self.proxy else [])]:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def set_proxy(self, name: str, mode: str, delay: float = 0.0) -> None:
        assert self.proxy is not None
        assert self.proxy.stdin is not None
        command = {"name": name, "mode": mode, "delay": delay}
        self.proxy.stdin.write(json.dumps(command).encode() + b"\n")
        await self.proxy.stdin.drain()

    # Faults.

    async def inject(self, count: int, pace: float = 0.8) -> None:
        """That many faults, one every `pace` seconds or so, several at a time; then all is healed."""
        kinds, weights = list(FAULTS), list(FAULTS.values())
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                kind = self.random.choices(kinds, weights)[0]
                place = self.free(kind)
                while place is None:
                    await asyncio.sleep(0.05)
                    place = self.free(kind)
                self.busy.add(place)
                group.create_task(self.fault(kind, place, self.random.random()))
                await asyncio.sleep(self.random.uniform(0.2, 2 * pace - 0.2))
        self.record.healed = lease_clock()

    def free(self, kind: str) -> str | None:
        """A place that has no other fault now; some always are without."""
        if kind in ("controller", "api"):
            return kind if kind not in self.busy else None
        free = [name for name in self.names if name not in self.busy]
        return self.random.choice(free) if len(free) > len(self.names) // 2 else None

    async def fault(self, kind: str, place: str, dice: float) -> None:
        try:
            await self.one(kind, place, dice)
        finally:
            self.busy.discard(place)
        self.record.faults[kind] += 1

    async def one(self, kind: str, place: str, dice: float) -> None:
        if kind == "kill" or kind == "controller":
            await self.restart(place, signal.SIGKILL)
        elif kind == "term":
            await self.restart(place, signal.SIGTERM)
        elif kind == "stop":
            pid = self.processes[place].pid
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(dice * 2.5 * LEASE)
            os.kill(pid, signal.SIGCONT)
        elif kind == "api":
            await asyncio.to_thread(self.control_plane.restart_api_server)
        else:
            await self.set_proxy(place, kind, 0.02 + 0.4 * dice)
            await asyncio.sleep(dice * 2.5 * LEASE)
            await self.set_proxy(place, "ok")

    # What happened.

    async def working(self, seconds: float) -> float:
        """Wait until every Item was worked on since now, for so many seconds; how long that took."""
        begun = lease_clock()
        while True:
            worked = {each.item for each in self.work() if each.time > begun}
            if worked >= set(self.items):
                return lease_clock() - begun
            missing = sorted(set(self.items) - worked)
            assert lease_clock() - begun < seconds, f"after {seconds} s nobody works on {missing}"
            await asyncio.sleep(0.2)

    def work(self) -> list[Work]:
        """All work so far."""
        path = self.folder / "history"
        if path.exists():
            with path.open("rb") as history:
                history.seek(self.read)
                *lines, _ = history.read().split(b"\n")
            self.read += sum(len(line) + 1 for line in lines)
            for line in lines:
                each = json.loads(line)
                work = Work(each["item"], each["session"], each["epoch"], each["time"], each["pid"])
                self.record.work.append(work)
        return list(self.record.work)

    async def watch_assignments(self) -> None:
        """Note every version of every Assignment."""
        query: dict[str, str | int | bool] = {"watch": True}
        while True:
            tail = b""
            with contextlib.suppress(ApiError):
                async with self.client.stream(ASSIGNMENTS.path(self.namespace), query) as chunks:
                    async for chunk in chunks:
                        *lines, tail = (tail + chunk).split(b"\n")
                        for line in lines:
                            self.note(json.loads(line))
            await asyncio.sleep(0.2)

    def note(self, event: dict[str, Any]) -> None:
        if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
            found = event["object"]
            entries = None if event["type"] == "DELETED" else tuple(found["spec"].get("items") or ())
            meta = found["metadata"]
            self.record.seen.append(Seen(int(meta["resourceVersion"]), meta["name"], entries))


@contextlib.asynccontextmanager
async def started(*args: Any, **options: Any) -> AsyncIterator[FaultRun]:
    """A run that has begun: every Item is worked on."""
    async with FaultRun(*args, **options) as run:
        await run.working(60.0)
        yield run
