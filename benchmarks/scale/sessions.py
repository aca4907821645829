"""Simulated Sessions, hundreds in one process: renew Leases, watch Assignments, report what they hold.

Each Session watches exactly its own Assignment by `metadata.name`, as a real one does, so the API server
has as many watches, connections and status writes as in a cluster of that size.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path

import aiohttp
import msgspec

from benchmarks.scale import objects
from benchmarks.scale.bare import MERGE, Bare, Refused, Request, bare
from benchmarks.scale.child import serve
from benchmarks.scale.objects import path

PERIOD = 10.0
"""Seconds between two renewals of a Lease."""


class Spec(msgspec.Struct):
    items: list[str] = []


class Meta(msgspec.Struct, rename="camel"):
    generation: int = 0
    uid: str = ""


class Assignment(msgspec.Struct):
    metadata: Meta
    spec: Spec = msgspec.field(default_factory=Spec)


class Event(msgspec.Struct):
    type: str
    object: Assignment


DECODER = msgspec.json.Decoder(Event)


class Sessions:
    def __init__(self, client: Bare, namespace: str, duration: int) -> None:
        self.client = client
        self.namespace = namespace
        self.duration = duration
        self.names: dict[str, float] = {}
        """Sessions that run, and when each Lease was last renewed."""
        self.watches: dict[str, asyncio.Task[None]] = {}
        self.reports = self.renewals = 0
        self.latest = 0.0
        """Longest time between two renewals of a Lease, in seconds."""

    async def start(self, names: list[str], reported: bool) -> float:
        """Take a Lease for each, and begin to watch where they report."""
        await self.client.all(
            (
                Request("POST", path(self.namespace, "leases"), objects.lease(n, self.id(n), self.duration))
                for n in names
            ),
            patient=True,
        )
        now = time.monotonic()
        for number, name in enumerate(names):
            self.names[name] = now - PERIOD * number / len(names)
            if reported:
                self.watches[name] = asyncio.create_task(self.watch(name))
        return time.time()

    async def lose(self, names: list[str], seconds: int) -> float:
        """Renew once more for `seconds`, then never again; the time when all of them have expired."""
        await self.stop(names)
        body = {"spec": {"renewTime": objects.micro_time(), "leaseDurationSeconds": seconds}}
        await self.client.all(
            (Request("PATCH", path(self.namespace, "leases", n), body, MERGE) for n in names), patient=True
        )
        return time.time() + seconds

    async def stop(self, names: list[str]) -> float:
        """End Sessions without a word."""
        tasks = []
        for name in names:
            self.names.pop(name, None)
            if (task := self.watches.pop(name, None)) is not None:
                task.cancel()
                tasks.append(task)
        if tasks:
            await asyncio.wait(tasks)
        return time.time()

    async def count(self) -> dict[str, float]:
        """What was done so far."""
        return {"reports": self.reports, "renewals": self.renewals, "latest": self.latest}

    def id(self, name: str) -> str:
        return f"session-{name}"

    async def renew(self) -> None:
        """Renew all Leases in turn, until cancelled."""
        gate = asyncio.Semaphore(16)

        async def one(name: str) -> None:
            async with gate:
                last = self.names.get(name)
                if last is None:
                    return
                body = {"spec": {"renewTime": objects.micro_time()}}
                with contextlib.suppress(Refused, aiohttp.ClientError, OSError):
                    await self.client.send(
                        Request("PATCH", path(self.namespace, "leases", name), body, MERGE)
                    )
                    if name in self.names:
                        now = time.monotonic()
                        self.latest = max(self.latest, now - last)
                        self.names[name] = now
                        self.renewals += 1
                        return
            busy.discard(name)  # try again soon

        busy: set[str] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                now = time.monotonic()
                due = [n for n, last in self.names.items() if now - last >= PERIOD and n not in busy]
                for name in due:
                    busy.add(name)
                    group.create_task(one(name)).add_done_callback(lambda _, n=name: busy.discard(n))
                await asyncio.sleep(0.05)

    async def watch(self, name: str) -> None:
        """Report everything that the Assignment lists as ready, each time it changes."""
        where = path(self.namespace, "assignments")
        url = f"{self.client.base}{where}?watch=1&fieldSelector=metadata.name%3D{name}"
        seen: tuple[str, int] = ("", 0)
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with self.client.session.get(url, read_bufsize=2**16) as answer:
                    tail = b""
                    async for chunk in answer.content.iter_any():
                        *lines, tail = (tail + chunk).split(b"\n")
                        if lines:  # the last one: an older state is of no interest
                            seen = await self.look(name, lines[-1], seen)
            await asyncio.sleep(0.5)

    async def look(self, name: str, line: bytes, seen: tuple[str, int]) -> tuple[str, int]:
        """Report what an event shows, unless `seen` (uid and generation) was that already."""
        with contextlib.suppress(msgspec.DecodeError):
            event = DECODER.decode(line)
            meta = event.object.metadata
            if event.type != "DELETED" and (meta.uid, meta.generation) != seen:
                while not await self.report(name, event.object.spec.items):  # noqa: ASYNC110
                    await asyncio.sleep(0.25)
                return meta.uid, meta.generation
        return seen

    async def report(self, name: str, entries: list[str]) -> bool:
        """False where it should be tried again."""
        reports = []
        for entry in entries:
            item, _, rest = entry.partition("#")
            slot, _, terms = rest.partition("@")
            phase = "Active" if slot == "0" else "Ready"
            reports.append(f"{item}@{terms.partition(':')[0]}={phase}")
        body = {"status": {"session": self.id(name), "items": reports}}
        where = path(self.namespace, "assignments", name, "status")
        try:
            await self.client.send(Request("PATCH", where, body, MERGE))
        except Refused as error:
            return error.status == 404
        self.reports += 1
        return True


async def main(kubeconfig: Path, namespace: str, duration: int) -> None:
    async with bare(kubeconfig) as client:
        sessions = Sessions(client, namespace, duration)
        renewing = asyncio.create_task(sessions.renew())
        names = ("start", "lose", "stop", "count")
        await serve({name: getattr(sessions, name) for name in names})
        renewing.cancel()
        await sessions.stop(list(sessions.names))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
