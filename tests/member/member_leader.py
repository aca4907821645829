"""A leader's hand on the API server: writes Assignments as the controller does, and reads them."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from berth import Session, Worker
from berth.kube import LEASES, Client, Conflict, NotFound, Resource, load_config
from berth.testing import ControlPlane

ASSIGNMENTS = Resource("berth.dev", "v1alpha1", "assignments")
MEMBERS = Resource("berth.dev", "v1alpha1", "members")
ITEMS = Resource("berth.dev", "v1alpha1", "items")


class Leader:
    """Gives Items to Members by hand; an async context manager."""

    def __init__(self, control_plane: ControlPlane, namespace: str) -> None:
        self.kubeconfig = control_plane.kubeconfig
        self.namespace = namespace
        self.client = Client(load_config(control_plane.kubeconfig))

    async def __aenter__(self) -> "Leader":
        await self.client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.client.__aexit__(*exc)

    async def item(self, name: str, **data: str) -> None:
        body = {
            "apiVersion": "berth.dev/v1alpha1", "kind": "Item",
            "metadata": {"name": name, "namespace": self.namespace}, "spec": {"data": data},
        }  # fmt: skip
        try:
            await self.client.create(ITEMS.path(self.namespace), body)
        except Conflict:
            await self.client.patch(ITEMS.path(self.namespace, name), {"spec": {"data": data}}, "merge")

    async def give(self, member: str, *entries: str, owner: str = "") -> None:
        """Make these the entries of the Member's Assignment, and see to it that their Items exist.

        Where there is none, the new one is owned by a Member of that name with the uid `owner`, if given.
        """
        for entry in entries:
            name = entry.partition("#")[0]
            if await self.read(ITEMS, name) is None:
                await self.item(name)
        term = max([1, *(int(n) for e in entries for n in e.partition("@")[2].split(":"))])
        there = await self.read(ASSIGNMENTS, member)
        if there is None:
            body = {
                "apiVersion": "berth.dev/v1alpha1", "kind": "Assignment",
                "metadata": {"name": member, "namespace": self.namespace, "ownerReferences": [
                    {"apiVersion": "berth.dev/v1alpha1", "kind": "Member", "name": member, "uid": owner}
                ] if owner else []},
                "spec": {"pool": "default", "term": term, "items": sorted(entries)},
            }  # fmt: skip
            await self.client.create(ASSIGNMENTS.path(self.namespace), body)
            return
        term = max(term, there["spec"]["term"])
        patch = [
            {"op": "test", "path": "/metadata/generation", "value": there["metadata"]["generation"]},
            {"op": "replace", "path": "/spec", "value": {
                "pool": "default", "term": term, "items": sorted(entries)}},
        ]  # fmt: skip
        await self.client.patch(ASSIGNMENTS.path(self.namespace, member), patch)

    async def read(self, resource: Resource, name: str) -> dict[str, Any] | None:
        try:
            return await self.client.get(resource.path(self.namespace, name))
        except NotFound:
            return None

    async def uid(self, member: str) -> str:
        return str(((await self.read(MEMBERS, member)) or {}).get("metadata", {}).get("uid", ""))

    async def status(self, member: str) -> dict[str, Any]:
        return ((await self.read(ASSIGNMENTS, member)) or {}).get("status") or {}

    async def reports(self, member: str) -> list[str]:
        return (await self.status(member)).get("items", [])

    async def until_limit(self, member: str, limit: int, seconds: float = 20.0) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while ((await self.read(MEMBERS, member)) or {}).get("spec", {}).get("limit") != limit:
            assert loop.time() < end, f"waited {seconds} s in vain for a limit of {limit}"
            await asyncio.sleep(0.02)

    async def lease(self, name: str) -> dict[str, Any] | None:
        return await self.read(LEASES, name)

    async def until_renewed(self, name: str, times: int, seconds: float = 20.0) -> None:
        """Wait until the Lease was renewed so often."""
        async with asyncio.timeout(seconds):
            for _ in range(times):
                before = await self.lease(name)
                while await self.lease(name) == before:  # noqa: ASYNC110 - the API server is asked
                    await asyncio.sleep(0.02)

    async def until_reported(self, member: str, *reports: str, seconds: float = 20.0) -> None:
        await self.until(lambda status: status.get("items", []) == list(reports), member, seconds)

    async def until(
        self, condition: Callable[[dict[str, Any]], bool], member: str, seconds: float = 20.0
    ) -> dict[str, Any]:
        """Wait until the status of a Member's Assignment is so."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not condition(status := await self.status(member)):
            assert loop.time() < end, f"waited {seconds} s in vain: {json.dumps(status)}"
            await asyncio.sleep(0.02)
        return status


def session_of(worker: Worker, leader: Leader, name: str = "w", **options: Any) -> Session:
    """A Session of that name, in the leader's namespace, with a short Lease."""
    settings = {"lease_seconds": 3.0, "limit": 10, "zone": "z", **options}
    return Session(worker, name=name, namespace=leader.namespace, kubeconfig=leader.kubeconfig, **settings)
