"""The client and the cache of a controller in the model: requests end when, and as, the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from protocol_objects import shown

from berth.kube import Conflict, DeadlinePassed

if TYPE_CHECKING:
    from protocol_leader import Leader


@dataclass
class Request:
    """A request under way: `act` makes it happen on the server."""

    leader: Leader
    what: str
    act: Callable[[], Any]
    reads: bool
    answer: asyncio.Future[Any]


@dataclass
class Network:
    """Requests that were sent and not answered yet, and such as are given up but may still arrive."""

    holder: Leader | None = None
    """Who was elected last."""
    pending: list[Request] = field(default_factory=list)
    late: list[Request] = field(default_factory=list)


class FakeClient:
    """The part of the client that a Pool's loop uses."""

    def __init__(self, leader: Leader) -> None:
        self._leader = leader

    async def _send(self, what: str, act: Callable[[], Any], *, reads: bool = False) -> Any:
        leader = self._leader
        future = asyncio.get_running_loop().create_future()

        def happen() -> Any:
            if leader.world.pool is None and leader.network.holder is not leader:
                # Without a Pool nothing but its own clock stops a leader that was replaced.
                raise DeadlinePassed(what)
            return act()

        leader.network.pending.append(Request(leader, what, happen, reads, future))
        return await future

    async def get(self, path: str, params: Any = None, *, type: Any = None, deadline: Any = None) -> Any:
        world = self._leader.world
        if "/pools/" in path:
            return await self._send("get pool", lambda: shown(world.need_pool()), reads=True)
        name = path.rsplit("/", 1)[1]
        if "/leases/" in path:
            return await self._send(f"get lease {name}", lambda: shown(world.need_lease(name)), reads=True)
        return await self._send(f"get {name}", lambda: shown(world.need_assignment(name)), reads=True)

    async def list(
        self, path: str, *, type: Any = None, metadata_only: bool = False, deadline: Any = None
    ) -> Any:
        world = self._leader.world
        need = world.need_lease if "/leases" in path else world.need_assignment
        there = world.stores["leases" if "/leases" in path else "assignments"]
        return await self._send(f"list {path}", lambda: [shown(need(name)) for name in there], reads=True)

    async def create(self, path: str, body: Any, *, type: Any = None, deadline: Any = None) -> Any:
        world = self._leader.world
        if body["kind"] == "Pool":

            def make() -> Any:
                world.create_pool()
                return shown(world.need_pool())

            return await self._send("create pool", make)
        meta = body["metadata"]

        def act() -> Any:
            owner = meta["ownerReferences"][0]["uid"]
            return shown(world.create_assignment(meta["name"], owner, body["spec"]))

        return await self._send(f"create {meta['name']}", act)

    async def patch(
        self, path: str, patch: Any, kind: str = "json", type: Any = None, deadline: Any = None
    ) -> Any:
        leader, world = self._leader, self._leader.world
        if "/pools/" in path:

            def act_pool() -> Any:
                if kind == "merge":
                    world.take_over(leader.name, patch)
                else:
                    world.raise_term(leader.name, patch)
                return shown(world.need_pool())

            return await self._send(f"term {patch}", act_pool)
        name = path.rsplit("/", 1)[1]
        generation = patch[1]["value"]
        claims = leader.claims.get((name, generation), {})
        limit = leader.limits.get((name, generation), 0)
        exclusive = leader.exclusive

        def act() -> Any:
            return shown(world.patch_assignment(leader.name, name, patch, claims, limit, exclusive))

        return await self._send(f"patch {name} {patch[2]['value']}", act)

    async def delete(self, path: str, body: Any = None, *, deadline: Any = None) -> Any:
        world, name = self._leader.world, path.rsplit("/", 1)[1]

        def act() -> None:
            there = world.assignments.get(name)
            if there is None:
                return
            wanted = body["preconditions"]
            if (there.uid, str(there.resource_version)) != (wanted["uid"], wanted["resourceVersion"]):
                raise Conflict(409, "Conflict", name)
            world.put("assignments", name, None)
            if world.pool is None:
                world.forget_epochs()

        return await self._send(f"delete {name}", act)


class FakeInformer:
    """The leader's cache of Assignments, as far as its loop asks for it."""

    def __init__(self, leader: Leader) -> None:
        self._leader = leader
        self.waiting: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def store(self) -> dict[tuple[str, str], Any]:
        there = self._leader.stores["assignments"].values()
        return {
            ("ns", one.name): SimpleNamespace(metadata=SimpleNamespace(resource_version=one.resource_version))
            for one in there
        }

    async def wait_for(self, version: int) -> None:
        while self._leader.seen["assignments"] < version:
            await self.until(version)

    async def until(self, version: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((version, future))
        await future

    def advance(self) -> None:
        """Wake those whose version is seen now."""
        seen = self._leader.seen["assignments"]
        for version, future in [w for w in self.waiting if w[0] <= seen]:
            self.waiting.remove((version, future))
            if not future.done():
                future.set_result(None)
