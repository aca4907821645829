"""The load generator, a process of its own: creates, changes and deletes objects fast; writes the floor."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.scale import objects
from benchmarks.scale.bare import JSON_PATCH, MERGE, Bare, Request, bare
from benchmarks.scale.child import serve
from benchmarks.scale.objects import path
from berth.controller.follow import LONGEST, QUIET
from berth.controller.writes import MAX_PARALLEL


class Load:
    def __init__(self, client: Bare, kubeconfig: Path) -> None:
        self.client = client
        self.kubeconfig = kubeconfig
        self.answers: list[float] = []
        """When each request of the last command was answered, in seconds after its first one."""

    async def create_items(self, namespace: str, names: list[str], replicas: int) -> float:
        """Seconds since the epoch when the last one was accepted, as from each of these."""
        requests = (Request("POST", path(namespace, "items"), objects.item(n, replicas)) for n in names)
        return await self._sent(requests)

    async def scale_items(self, namespace: str, names: list[str], replicas: int) -> float:
        body = {"spec": {"replicas": replicas}}
        return await self._sent(Request("PATCH", path(namespace, "items", n), body, MERGE) for n in names)

    async def create_members(
        self, namespace: str, zones: dict[str, str], limit: int, reported: bool, leased: bool
    ) -> float:
        """`zones`: the zone of each, by name."""
        return await self._sent(
            Request(
                "POST",
                path(namespace, "members"),
                objects.member(n, zone, limit, reported=reported, leased=leased),
            )
            for n, zone in zones.items()
        )

    async def limit_members(self, namespace: str, names: list[str], limit: int) -> float:
        body = {"spec": {"limit": limit}}
        return await self._sent(Request("PATCH", path(namespace, "members", n), body, MERGE) for n in names)

    async def delete(self, namespace: str, plural: str, names: list[str]) -> float:
        return await self._sent(Request("DELETE", path(namespace, plural, n)) for n in names)

    async def clean(self, namespace: str) -> float:
        """Delete all that the benchmark has made in the namespace."""
        for plural in ("items", "members", "assignments", "pools", "leases"):
            await self.client.persist(Request("DELETE", path(namespace, plural)))
        return time.time()

    async def create_pool(self, namespace: str, spec: dict[str, Any]) -> float:
        """A Pool whose term is set, so that the admission policy has something to compare with."""
        await self.client.persist(Request("POST", path(namespace, "pools"), objects.pool("default", spec)))
        body = {"status": {"term": 1, "leader": "nobody"}}
        await self.client.persist(
            Request("PATCH", path(namespace, "pools", "default", "status"), body, MERGE)
        )
        return time.time()

    async def put_lease(self, namespace: str, name: str, holder: str, seconds: int) -> float:
        await self.client.persist(
            Request("POST", path(namespace, "leases"), objects.lease(name, holder, seconds))
        )
        spec = objects.lease(name, holder, seconds)["spec"]
        await self.client.persist(Request("PATCH", path(namespace, "leases", name), {"spec": spec}, MERGE))
        return time.time()

    async def floor(
        self, namespace: str, before: dict[str, Any], after: dict[str, Any], runs: int, rest: float
    ) -> Any:
        """Seconds to write the specs `after` (by name) over those `before`: runs that open their own
        connections, as a program does and the controller after a rest, and runs that find them open.

        What is not in `before` is created, what is not in `after` deleted. A JSON patch each, as the
        controller writes them, as many at once, and after as many seconds of rest as the case began with.
        The namespace must be out of the controller's view.
        """
        seconds: dict[str, list[float]] = {"opening": [], "open": []}
        for run in range(2 * runs):
            names = {name: f"run-{run}-{name}" for name in before.keys() | after.keys()}
            await self.client.all(
                Request("POST", path(namespace, "assignments"), objects.assignment(names[n], spec))
                for n, spec in before.items()
            )
            work = []
            for name in before.keys() | after.keys():
                one = path(namespace, "assignments", names[name])
                if name not in after:
                    work.append(Request("DELETE", one))
                elif name not in before:
                    made = objects.assignment(names[name], after[name])
                    work.append(Request("POST", path(namespace, "assignments"), made))
                else:
                    patch = [{"op": "replace", "path": "/spec", "value": after[name]}]
                    work.append(Request("PATCH", one, patch, JSON_PATCH))
            await self.client.collect_garbage()
            await asyncio.sleep(rest)
            if run % 2:
                seconds["open"].append(max(await self.client.all(work, MAX_PARALLEL), default=0.0))
            else:
                async with bare(self.kubeconfig) as fresh:
                    seconds["opening"].append(max(await fresh.all(work, MAX_PARALLEL), default=0.0))
            await self.client.send(Request("DELETE", path(namespace, "assignments")))
        return seconds

    async def bursts(self) -> int:
        """How many bursts of events the answers to the last command were."""
        return bursts(self.answers)

    async def _sent(self, requests: Any) -> float:
        self.answers = await self.client.all(requests, patient=True)
        return time.time()


def bursts(times: list[float], quiet: float = QUIET, longest: float = LONGEST) -> int:
    """In how many bursts, as the controller reckons them, events at these times (ascending) come."""
    count, began, last = 0, -math.inf, -math.inf
    for at in times:
        if at - last > quiet or at - began > longest:
            count, began = count + 1, at
        last = at
    return count


async def main(kubeconfig: Path) -> None:
    async with bare(kubeconfig) as client:
        load = Load(client, kubeconfig)
        names = ("create_items", "scale_items", "create_members", "limit_members", "delete", "clean")
        names += ("create_pool", "put_lease", "floor", "bursts")
        await serve({name: getattr(load, name) for name in names})


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
