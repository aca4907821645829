"""The client and the cache of a controller in the exploration."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from explore_values import Request

if TYPE_CHECKING:
    from explore_process import Process


class Client:
    """The part of the client that a Pool's loop uses: every request waits for its answer."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def _send(self, what: str, name: str = "", body: tuple[Any, ...] = ()) -> Any:
        process = self._process
        answer = process.loop.create_future()
        claims = process.claims.get(name, frozenset()) if what == "patch" else frozenset()
        process.requests.append((Request(process.sent, what, name, body, claims), answer))
        process.sent += 1
        return await answer

    async def get(self, path: str, **_: Any) -> Any:
        return await self._send("get pool" if "/pools/" in path else "get", path.rsplit("/", 1)[1])

    async def list(self, path: str, **_: Any) -> Any:
        return await self._send("list")

    async def create(self, path: str, body: Any, **_: Any) -> Any:
        return await self._send("create", body["metadata"]["name"], _spec(body["spec"]))

    async def patch(self, path: str, patch: Any, kind: str = "json", **_: Any) -> Any:
        if kind == "merge":
            known, status = patch["metadata"]["resourceVersion"], patch["status"]
            return await self._send("take over", body=(int(known), status["term"], status["leader"]))
        if "/pools/" in path:
            return await self._send("raise term", body=(patch[1]["value"], patch[2]["value"]))
        body = (patch[1]["value"], *_spec(patch[2]["value"]))
        return await self._send("patch", path.rsplit("/", 1)[1], body)


def _spec(spec: dict[str, Any]) -> tuple[Any, ...]:
    return spec["term"], tuple(spec["items"]), spec.get("session", "")


class Informer:
    """The cache of Assignments, as far as a Pool's loop asks for it.

    Versions are counted anew from each snapshot: what was written after the last look is one ahead of it.
    """

    def __init__(self) -> None:
        self.seen = 0
        self.names: set[str] = set()
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def store(self) -> dict[tuple[str, str], Any]:
        return {
            ("ns", name): SimpleNamespace(metadata=SimpleNamespace(resource_version=0)) for name in self.names
        }

    async def wait_for(self, version: int) -> None:
        while self.seen < version:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    def advance(self) -> None:
        """The watch has caught up."""
        self.seen += 1
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.set_result(None)
