"""The load generator, a process of its own: creates, changes and deletes objects fast; writes the floor."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.scale import objects
from benchmarks.scale.bare import JSON_PATCH, MERGE, Bare, Request, bare
from benchmarks.scale.child import serve
from benchmarks.scale.objects import path


class Load:
    def __init__(self, client: Bare) -> None:
        self.client = client

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

    async def floor(self, namespace: str, before: dict[str, Any], after: dict[str, Any], runs: int) -> Any:
        """Seconds to write the specs `after` (by name) over those `before`, each run by itself.

        What is not in `before` is created, what is not in `after` deleted. A JSON patch each, as the
        controller writes them. The namespace must be out of the controller's view.
        """
        seconds = []
        for run in range(runs):
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
            seconds.append(await self.client.all(work))
            await self.client.send(Request("DELETE", path(namespace, "assignments")))
        return seconds

    async def _sent(self, requests: Any) -> float:
        await self.client.all(requests, patient=True)
        return time.time()


async def main(kubeconfig: Path) -> None:
    async with bare(kubeconfig) as client:
        load = Load(client)
        names = ("create_items", "scale_items", "create_members", "limit_members", "delete", "clean")
        await serve({name: getattr(load, name) for name in (*names, "create_pool", "put_lease", "floor")})


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
