"""The stage of a run: a control plane, a namespace, the load generator, Sessions, and who watches."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.scale import objects
from benchmarks.scale.bare import Bare, Refused, bare
from benchmarks.scale.child import Child
from benchmarks.scale.history import Truth
from benchmarks.scale.objects import path
from benchmarks.scale.observer import Observer, lines
from benchmarks.scale.processes import ControllerProcess, Usage, usage
from benchmarks.scale.sizes import Size
from berth.testing import ControlPlane

ELECTION = "berth-controller"
SESSION_LEASE = 30
"""Seconds that the Lease of a simulated Session lasts."""
POLL = 0.05


class NotSettled(Exception):  # noqa: N818 - what was seen, for the one who runs the benchmark
    """The fleet did not become what it should be in time."""


@dataclass
class Stage:
    """Where a run takes place, and what should be true of it."""

    plane: ControlPlane
    client: Bare
    load: Child
    sessions: list[Child]
    observer: Observer
    truth: Truth
    size: Size
    namespace: str
    floor: str
    """Namespace of the bare writes, which no controller sees."""
    folder: Path
    reported: bool = False
    members: list[str] = field(default_factory=list)
    """Members that live, by name."""
    zones: dict[str, str] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)
    """Members that drain."""
    born: int = 0
    """Members made so far."""
    made: int = 0
    """Items made so far."""
    limit: int = 0
    watching: asyncio.Task[None] | None = None
    """The observer at work."""
    logs: Path | None = None
    """Where the controllers' logs are kept; thrown away with the stage where not given."""

    # ---- doing -----------------------------------------------------------------------------

    async def join(self, count: int) -> tuple[list[str], float]:
        """New Members and their Sessions; their names, and when the last of them was live."""
        names = [objects.member_name(self.born + i) for i in range(count)]
        self.born += count
        self.truth.limits.update(dict.fromkeys(names, self.limit))
        # Zones stay of one size: where one had more than half, spreading would come before balance.
        sizes = Counter(dict.fromkeys(objects.ZONES, 0))
        sizes.update(self.zones[name] for name in self.members)
        for name in names:
            self.zones[name] = min(objects.ZONES, key=lambda zone: sizes[zone])
            sizes[self.zones[name]] += 1
        await self.load.ask(
            "create_members",
            namespace=self.namespace,
            zones={name: self.zones[name] for name in names},
            limit=self.limit,
            reported=self.reported,
            leased=True,
        )
        starts = await asyncio.gather(
            *(
                child.ask("start", names=part, reported=self.reported)
                for child, part in zip(self.sessions, self._parts(names), strict=True)
                if part
            )
        )
        self.members += names
        return names, max(starts)

    async def lose(self, names: list[str], seconds: int = 3) -> float:
        """Let the Leases of these Members run out; when the controller can know it."""
        for name in names:
            self.members.remove(name)
        # Before they expire already: whatever is taken from them from now on is recovery.
        self.truth.died.update(dict.fromkeys(names, time.time() + seconds))
        at = await asyncio.gather(
            *(
                child.ask("lose", names=part, seconds=seconds)
                for child, part in zip(self.sessions, self._parts(names), strict=True)
                if part
            )
        )
        return float(max(at))

    async def kill(self, names: list[str]) -> float:
        """Delete Members and end their Sessions; when the last one was gone."""
        for name in names:
            if name in self.members:
                self.members.remove(name)
        self.leaving.difference_update(names)
        self.truth.died.update(dict.fromkeys(names, time.time()))
        at = await self.load.ask("delete", namespace=self.namespace, plural="members", names=names)
        for child, part in zip(self.sessions, self._parts(names), strict=True):
            if part:
                await child.ask("stop", names=part)
        return float(at)

    async def forget(self, names: list[str]) -> None:
        """Clear away what is left of Members that were lost or killed."""
        await self.kill(names)
        await self.load.ask("delete", namespace=self.namespace, plural="leases", names=names)

    async def drain(self, names: list[str]) -> float:
        """Set the limit of these Members to 0; when the last one was changed."""
        self.leaving.update(names)
        at = await self.load.ask("limit_members", namespace=self.namespace, names=names, limit=0)
        return float(at)

    async def add_items(self, count: int) -> tuple[list[str], float]:
        """New Items; their names, and when the last one was accepted."""
        names = [objects.item_name(self.made + i) for i in range(count)]
        self.made += count
        replicas = self.size.replicas
        at = await self.load.ask("create_items", namespace=self.namespace, names=names, replicas=replicas)
        self.truth.replicas.update(dict.fromkeys(names, replicas))
        return names, float(at)

    async def delete_items(self, names: list[str]) -> float:
        for name in names:
            self.truth.replicas.pop(name, None)
        return float(await self.load.ask("delete", namespace=self.namespace, plural="items", names=names))

    async def scale_items(self, names: list[str], replicas: int) -> float:
        for name in names:  # while they change, the lower number binds, from either side
            old = self.truth.replicas[name]
            self.truth.replicas[name] = min(old, replicas)
            self.truth.raised[name] = (time.time() + 3600, min(old, replicas))
        at = await self.load.ask("scale_items", namespace=self.namespace, names=names, replicas=replicas)
        for name in names:
            self.truth.raised[name] = (time.time(), self.truth.raised[name][1])
        self.truth.replicas.update(dict.fromkeys(names, replicas))
        return float(at)

    async def write_floor(
        self, before: dict[str, Any], after: dict[str, Any], runs: int, rest: float
    ) -> dict[str, list[float]]:
        """Seconds of each run of the bare program, see Load.floor; watched as the controller's writes are."""

        async def listen() -> None:
            async for _ in lines(self.client, path(self.floor, "assignments")):
                pass

        listening = asyncio.create_task(listen())
        try:
            answer: dict[str, list[float]] = await self.load.ask(
                "floor", namespace=self.floor, before=before, after=after, runs=runs, rest=rest
            )
        finally:
            listening.cancel()
            await asyncio.wait({listening})
        return answer

    @contextlib.asynccontextmanager
    async def controller(self, **options: Any) -> AsyncIterator[ControllerProcess]:
        """A controller for the namespace."""
        kubeconfig = options.pop("kubeconfig", self.plane.kubeconfig)
        log = (self.logs or self.folder) / f"controller-{time.time_ns()}.log"
        async with ControllerProcess(kubeconfig, self.namespace, log, **options) as process:
            yield process

    def api_usage(self) -> Usage:
        return usage(self.plane.pids["kube-apiserver"])

    # ---- waiting ---------------------------------------------------------------------------

    def unsettled(self) -> str:
        """What is not as it should be, counted by Member; empty when all is."""
        loads = self.observer.loads()
        staying = [name for name in self.members if name not in self.leaving]
        wanted = sum(self.truth.replicas.values())
        missing = [name for name in self.members if name not in loads]
        if missing:
            return f"{len(missing)} Members have no Assignment"
        here = sum(loads[name] for name in staying)
        elsewhere = sum(loads.values()) - here
        if here != wanted or elsewhere:
            return f"{here} of {wanted} entries are on live Members, {elsewhere} elsewhere"
        low, high = wanted // len(staying), -(-wanted // len(staying))
        if any(not low <= loads[name] <= high for name in staying):
            values = [loads[name] for name in staying]
            return f"loads from {min(values)} to {max(values)} instead of {low} to {high}"
        return ""

    async def settled(self, timeout: float, quiet: float = 1.0) -> float:
        """Wait until all is as it should be and nothing was written for a while; when it became so.

        Raises NotSettled.
        """
        until = time.monotonic() + timeout
        while True:
            if self.watching is not None and self.watching.done():
                await self.watching  # raises what ended it
            if self.observer.deferring and time.time() - self.observer.heard >= quiet:
                self.observer.catch_up()
            why = self.unsettled()
            if self.observer.deferring:
                why = "there is no end of writes"
            if not why and time.time() - self.observer.tally.last >= quiet:
                wrong = self.observer.history.wrong_items()
                if not wrong:
                    return self.observer.tally.last
                why = f"{len(wrong)} Items are not as they should be, {wrong[0]} one of them"
                await asyncio.sleep(1.0)
            if time.monotonic() > until:
                raise NotSettled(f"after {timeout:.0f} s: {why}")
            await asyncio.sleep(POLL)

    async def idle(self, controller: ControllerProcess, timeout: float, quiet: float = 1.5) -> None:
        """Wait until the controller writes nothing, statuses included. Raises NotSettled."""
        until = time.monotonic() + timeout
        before = -1.0
        while (now := writes(await controller.metrics())) != before:
            before = now
            if time.monotonic() > until:
                raise NotSettled(f"the controller still writes after {timeout:.0f} s")
            await asyncio.sleep(quiet)

    async def until(self, condition: Callable[[], Any], what: str, timeout: float = 60.0) -> Any:
        """Poll until the condition holds; its value. Raises NotSettled."""
        end = time.monotonic() + timeout
        while True:
            value = condition()
            if isinstance(value, Awaitable):
                value = await value
            if value:
                return value
            if time.monotonic() > end:
                raise NotSettled(f"{what}: not within {timeout:.0f} s")
            await asyncio.sleep(POLL)

    async def pool(self) -> dict[str, Any]:
        """The Pool's status."""
        with contextlib.suppress(Refused):
            found = await self.client.get(path(self.namespace, "pools", "default"))
            return dict(found.get("status") or {})
        return {}

    def _parts(self, names: list[str]) -> list[list[str]]:
        """Names by the process that has their Sessions."""
        count = len(self.sessions)
        return [[n for n in names if int(n.rsplit("-", 1)[1]) % count == i] for i in range(count)]


def writes(metrics: dict[str, float]) -> float:
    """Requests of a controller that change something, Leases aside."""
    return sum(
        value
        for key, value in metrics.items()
        if key.startswith("berth_requests_total:")
        and not key.endswith(":leases")
        and key.split(":")[1] in ("POST", "PUT", "PATCH", "DELETE")
    )


@contextlib.asynccontextmanager
async def stage(
    plane: ControlPlane,
    size: Size,
    *,
    namespace: str = "scale",
    reported: bool = False,
    item_status: str = "Full",
    logs: Path | None = None,
    clean: bool = True,
) -> AsyncIterator[Stage]:
    """Make a stage on a control plane that runs; `clean`: delete all in the end, which takes a while."""
    floor = f"{namespace}-floor"
    for name in (namespace, floor):
        await asyncio.to_thread(plane.create_namespace, name)
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="berth-scale-")))
        client = await stack.enter_async_context(bare(plane.kubeconfig))
        truth = Truth()
        observer = Observer(client, namespace, truth, reported)
        watching = asyncio.create_task(observer.run())
        load = await stack.enter_async_context(Child("benchmarks.scale.load", str(plane.kubeconfig)))
        sessions = [
            await stack.enter_async_context(
                Child("benchmarks.scale.sessions", str(plane.kubeconfig), namespace, str(SESSION_LEASE))
            )
            for _ in range(size.processes)
        ]
        one = Stage(
            plane, client, load, sessions, observer, truth, size, namespace, floor, folder, reported,
            limit=size.limit,
            watching=watching,
            logs=logs,
        )  # fmt: skip
        for where in (namespace, floor):
            await load.ask("create_pool", namespace=where, spec={"itemStatus": item_status})
        try:
            yield one
        finally:
            watching.cancel()
            await asyncio.wait({watching})
            for where in (namespace, floor) if clean else ():
                await load.ask("clean", namespace=where)
