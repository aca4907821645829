"""Runs workers, controllers and faults on a control plane, and records what happens."""

import asyncio
import contextlib
import json
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import yaml
from fault_history import Fault, Work
from fault_recorder import RECORDED, Recorder
from fault_worker import LEASE

from berth.kube import Client, lease_clock, load_config
from berth.testing import ControlPlane

HERE = Path(__file__).parent

BOUND = 30.0
"""Seconds after the last fault within which every Item is worked on again: ten Leases of 3 s."""
STALL = 1.0
"""Seconds of delay of the run itself from which on the machine is too busy for anybody to keep a Lease."""

WORKER_FAULTS = {
    "kill": 20, "stop": 16, "twin": 5, "term": 8,
    "cut": 16, "hang": 12, "unanswered": 8, "slow": 8, "silent": 10, "late": 8,
}  # fmt: skip
"""How often each kind of fault of a worker comes, relative to the others."""
LEADER_FAULTS = {
    "kill": 8, "stop": 4, "cut": 4, "hang": 3, "unanswered": 3, "slow": 2, "silent": 6, "late": 4,
}  # fmt: skip
"""Those of the leader, likewise. While one side is cut off, the other still reaches the API server."""
API_FAULTS = {"api": 1}
"""Seldom: after every second restart it refuses all Assignments for 30 s (see `start_api_server`)."""


class FaultRun:
    """One run; an async context manager. Everything it starts, it ends."""

    def __init__(
        self, control_plane: ControlPlane, namespace: str, folder: Path, *,
        workers: int = 8, items: int = 40, doubled: int = 0, controllers: int = 1, lease: float = LEASE,
        broken: frozenset[str] = frozenset(), careless: frozenset[str] = frozenset(), seed: int = 1,
    ) -> None:  # fmt: skip
        """The first `doubled` of the Items have two replicas."""
        self.control_plane = control_plane
        self.namespace = namespace
        self.folder = folder
        self.names = [f"w{number}" for number in range(workers)]
        self.controllers = [f"controller-{number}" for number in range(controllers)]
        self.items = [f"item-{number:03}" for number in range(items)]
        self.doubled = set(self.items[:doubled])
        self.lease = lease
        self.broken = broken
        self.careless = careless
        self.random = random.Random(seed)
        self.faults: list[Fault] = []
        self.last_fault = 0.0
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.proxy: asyncio.subprocess.Process | None = None
        self.client = Client(load_config(control_plane.kubeconfig))
        self.recorder = Recorder(self.client, namespace)
        self.busy: set[str] = set()
        self.stack = contextlib.AsyncExitStack()
        self._work: list[Work] = []
        self._read = 0  # bytes of the workers' history

    async def __aenter__(self) -> "FaultRun":
        await self.stack.enter_async_context(self.client)
        await self.create("pools", "Pool", "faults", {"handoff": "Exclusive"})
        for item in self.items:
            await self.create(
                "items", "Item", item, {"pool": "faults", "replicas": 1 + (item in self.doubled)}
            )
        await self.start_proxy()
        self.stack.push_async_callback(self.end_processes)
        for running in (self.recorder.run(), self.record_stalls()):
            self.stack.callback(asyncio.create_task(running).cancel)
        await asyncio.gather(*(self.start(name) for name in [*self.controllers, *self.names]))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stack.aclose()

    async def create(self, plural: str, kind: str, name: str, spec: dict[str, Any]) -> None:
        resource = RECORDED[plural]
        body = {"apiVersion": resource.api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}
        await self.client.create(resource.path(self.namespace), body)

    # Processes.

    async def start_proxy(self) -> None:
        kubeconfig = self.control_plane.kubeconfig
        names = [*self.names, *self.controllers]
        self.proxy = await asyncio.create_subprocess_exec(
            sys.executable, str(HERE / "fault_proxy.py"), str(kubeconfig), *names,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self.proxy.stdout is not None
        ports = json.loads(await self.proxy.stdout.readline())
        config = yaml.safe_load(await asyncio.to_thread(kubeconfig.read_text))
        for name, port in ports.items():
            config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{port}"}
            await asyncio.to_thread((self.folder / f"{name}.kubeconfig").write_text, yaml.safe_dump(config))

    async def start(self, name: str) -> None:
        kubeconfig = str(self.folder / f"{name}.kubeconfig")
        if name in self.controllers:
            arguments = [
                "-c", "from berth.cli import main; main()", "controller", "--kubeconfig", kubeconfig,
                "--namespace", self.namespace, "--lease-duration", "3",
                "--problem-folder", str(self.folder / "problems"),
            ]  # fmt: skip
        else:
            arguments = [
                str(HERE / "fault_worker.py"), name, self.namespace, kubeconfig,
                str(self.folder / "history"), str(self.lease), *(["broken"] if name in self.broken else []),
                *(["careless"] if name in self.careless else []),
            ]  # fmt: skip
        with self.log(name).open("ab") as log:
            self.processes[name] = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL
            )

    def log(self, name: str) -> Path:
        """The output of every process of that name."""
        return self.folder / f"{name}.log"

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
        """That many faults, one every `pace` seconds or so, several at a time; returns when all are over."""
        kinds = [(places, kind) for places, table in self.tables() for kind in table]
        weights = [weight for _, table in self.tables() for weight in table.values()]
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                if number % 100 == 0:
                    print(f"{number} of {count} faults", flush=True)
                places, kind = self.random.choices(kinds, weights)[0]
                while (place := self.free(places)) is None:  # noqa: ASYNC110 - polled
                    await asyncio.sleep(0.05)
                self.busy.add(place)
                group.create_task(self.fault(kind, place, self.random.random()))
                await asyncio.sleep(self.random.uniform(0.2, 2 * pace - 0.2))
        self.last_fault = lease_clock()

    def tables(self) -> list[tuple[str, dict[str, int]]]:
        return [("workers", WORKER_FAULTS), ("leader", LEADER_FAULTS), ("api", API_FAULTS)]

    def free(self, places: str) -> str | None:
        """A place that has no other fault now; half of the workers always have none."""
        if places == "api":
            return None if "api" in self.busy else "api"
        if places == "leader":
            leader = self.leader()
            return None if leader in self.busy else leader
        free = [name for name in self.names if name not in self.busy]
        return self.random.choice(free) if len(free) > len(self.names) // 2 else None

    def leader(self) -> str:
        """The controller that the Lease of the election names, else any."""
        holder = self.recorder.holder("berth-controller").split("_")
        for name in self.controllers:
            if len(holder) > 2 and holder[-2] == str(self.processes[name].pid):
                return name
        return self.random.choice(self.controllers)

    async def fault(self, kind: str, place: str, dice: float) -> None:
        start = lease_clock()
        try:
            await self.one(kind, place, dice)
        finally:
            self.busy.discard(place)
        self.faults.append(Fault(kind, place, start, lease_clock()))

    async def one(self, kind: str, place: str, dice: float) -> None:
        seconds = dice * 2.5 * LEASE
        if kind == "kill":
            await self.restart(place, signal.SIGKILL)
        elif kind == "term":
            await self.restart(place, signal.SIGTERM)
        elif kind == "stop":
            process = self.processes[place]
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            process.send_signal(signal.SIGCONT)
        elif kind == "twin":
            await self.replace_stopped(place)
        elif kind == "api":
            await asyncio.to_thread(self.control_plane.restart_api_server)
        else:
            delay = 1.0 + 3.0 * dice if kind == "late" else 0.02 + 0.4 * dice
            await self.set_proxy(place, kind, delay)
            await asyncio.sleep(seconds)
            await self.set_proxy(place, "ok")

    async def replace_stopped(self, name: str) -> None:
        """Stop a process until another under its name has its Lease, and let it go on beside that one."""
        old = self.processes[name]
        old.send_signal(signal.SIGSTOP)
        try:
            before = self.recorder.holder(name)
            await self.start(name)
            waited = lease_clock()
            while self.recorder.holder(name) == before and lease_clock() < waited + BOUND:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await asyncio.sleep(self.random.random() * LEASE)
            old.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.5)
        finally:
            old.kill()
            await old.wait()

    async def record_stalls(self) -> None:
        """Record as faults when this machine was too busy to run a task of this process."""
        while True:
            start = lease_clock()
            await asyncio.sleep(0.1)
            if lease_clock() - start > STALL:
                self.faults.append(Fault("stall", "machine", start, lease_clock()))

    # What happened.

    def counts(self) -> Counter[str]:
        """How often each kind of fault came."""
        return Counter(
            f"leader {each.kind}" if each.place in self.controllers else each.kind
            for each in self.faults
            if each.place != "machine"
        )

    async def working(self, seconds: float) -> float:
        """Wait until every Item was worked on since now, for so many seconds; how long that took."""
        started = lease_clock()
        position = len(self.work())
        worked: set[str] = set()
        while True:
            work = self.work()
            worked |= {each.item for each in work[position:] if each.time > started}
            position = len(work)
            missing = sorted(set(self.items) - worked)
            if not missing:
                return lease_clock() - started
            assert lease_clock() - started < seconds, f"after {seconds} s nobody works on {missing}"
            await asyncio.sleep(0.2)

    def work(self) -> list[Work]:
        """All work so far; a list that grows."""
        path = self.folder / "history"
        if path.exists():
            with path.open("rb") as history:
                history.seek(self._read)
                *lines, _ = history.read().split(b"\n")
            self._read += sum(len(line) + 1 for line in lines)
            for line in lines:
                each = json.loads(line)
                work = Work(each["item"], each["session"], each["epoch"], each["time"], each["pid"])
                self._work.append(work)
        return self._work


@contextlib.asynccontextmanager
async def started(*args: Any, **options: Any) -> AsyncIterator[FaultRun]:
    """A run in which every Item is worked on."""
    async with FaultRun(*args, **options) as run:
        await run.working(60.0)
        yield run
