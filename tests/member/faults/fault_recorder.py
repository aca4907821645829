"""Records every version of every object of a namespace, directly from the API server."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from berth.kube import LEASES, ApiError, Client, Decoder, Gone, Resource, lease_clock

BERTH = [Resource("berth.dev", "v1alpha1", name) for name in ("items", "members", "pools", "assignments")]
DECODER = Decoder(dict[str, Any])
RECORDED = {resource.plural: resource for resource in [*BERTH, LEASES]}


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one object."""

    number: int
    """Its resourceVersion; those of different kinds are comparable."""
    at: float
    """When the recorder received it, by the boot clock."""
    kind: str
    """The plural, as in the path."""
    name: str
    object: Mapping[str, Any] | None
    """None where it was deleted."""
    gap: bool = False
    """Whether versions before this one may be missing."""


class Recorder:
    """Follows all recorded kinds; `versions` is what it has received, and `holder` who holds a Lease now."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self.versions: list[Version] = []
        self.known: dict[str, dict[str, Mapping[str, Any]]] = {kind: {} for kind in RECORDED}
        self.listed: set[str] = set()

    async def run(self) -> None:
        """Record until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in RECORDED:
                group.create_task(self.follow(kind))

    def holder(self, lease: str) -> str:
        found = self.known["leases"].get(lease, {})
        return str(found.get("spec", {}).get("holderIdentity") or "")

    async def follow(self, kind: str) -> None:
        since = ""
        while True:
            try:
                since = since or await self.list(kind)
                async for event, found in self.watch(kind, since):
                    since = self.note(kind, event, found)
            except Gone:
                since = ""
            except ApiError:
                pass  # the API server is away
            await asyncio.sleep(0.1)

    async def list(self, kind: str) -> str:
        """Record what is there now, after a gap unless it is the first time; gives the list's version."""
        answer: Any = await self.client.get(RECORDED[kind].path(self.namespace))
        gap = kind in self.listed
        self.listed.add(kind)
        version: str = answer["metadata"]["resourceVersion"]
        listed = {each["metadata"]["name"]: each for each in answer["items"]}
        for name in self.known[kind].keys() - listed.keys():
            self.add(kind, name, int(version), None, gap)
        for name, found in listed.items():
            self.add(kind, name, int(found["metadata"]["resourceVersion"]), found, gap)
        return version

    async def watch(self, kind: str, since: str) -> AsyncIterator[tuple[str, Any]]:
        path, query = RECORDED[kind].path(self.namespace), {"resourceVersion": since}
        async with self.client.watch(path, DECODER, query, inactivity=90.0) as events:
            async for event in events:
                yield event

    def note(self, kind: str, event: str, found: Any) -> str:
        """Record an event of a watch; gives its resourceVersion."""
        if event == "BOOKMARK":
            return str(found)
        meta = found["metadata"]
        self.add(kind, meta["name"], int(meta["resourceVersion"]), None if event == "DELETED" else found)
        return str(meta["resourceVersion"])

    def add(
        self, kind: str, name: str, number: int, found: Mapping[str, Any] | None, gap: bool = False
    ) -> None:
        if found is None:
            self.known[kind].pop(name, None)
        else:
            found["metadata"].pop("managedFields", None)
            self.known[kind][name] = found
        self.versions.append(Version(number, lease_clock(), kind, name, found, gap))
