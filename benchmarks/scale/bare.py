"""The least that any client has to do: one request after another, a few at a time, nothing else.

It loads the API server, and it is the floor: what it takes to write the controller's final objects is
what no controller can go below by much.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec

from berth.kube import load_config

PARALLEL = 32
"""Requests under way at once, where load is made."""
PAGE = 500
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
AGAIN = {429, 500, 502, 503, 504}


class Request(NamedTuple):
    method: str
    path: str
    body: Any = None
    content_type: str = "application/json"


class Refused(Exception):  # noqa: N818 - an answer, not a fault of ours
    """The API server said no."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:300]}")
        self.status = status


class Bare:
    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base

    async def send(self, request: Request) -> bytes:
        data = None if request.body is None else msgspec.json.encode(request.body)
        headers = {"Content-Type": request.content_type} if data is not None else {}
        async with self.session.request(
            request.method, self.base + request.path, data=data, headers=headers
        ) as answer:
            body = await answer.read()
            if answer.status >= 300:
                raise Refused(answer.status, body.decode(errors="replace"))
            return body

    async def get(self, path: str) -> Any:
        return json.loads(await self.send(Request("GET", path)))

    async def collect_garbage(self) -> None:
        """Let the API server collect its garbage now."""
        await self.send(Request("GET", "/debug/pprof/heap?gc=1"))

    async def all(
        self, requests: Iterable[Request], parallel: int = PARALLEL, *, patient: bool = False
    ) -> list[float]:
        """Send all; seconds from the first request to each answer, in the order of the answers.

        `patient`: repeats what fails for a while, and takes "exists already" and "gone already" for done;
        otherwise the first refusal is raised.
        """
        answers: list[float] = []
        todo = iter(requests)
        send = self.persist if patient else self.send

        async def worker() -> None:
            for request in todo:
                await send(request)
                answers.append(time.perf_counter() - started)

        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(parallel):
                group.create_task(worker())
        return answers

    async def persist(self, request: Request, seconds: float = 120.0) -> None:
        until = time.monotonic() + seconds
        while True:
            try:
                await self.send(request)
                return
            except Refused as error:
                if (request.method, error.status) in (("POST", 409), ("DELETE", 404)):
                    return
                # 422 too: an API server that has just started may not know its policies' kinds yet.
                if error.status not in AGAIN | {403, 422} or time.monotonic() > until:
                    raise
            except (aiohttp.ClientError, OSError):
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(0.25)

    async def list(self, collection: str, page: int = PAGE) -> list[dict[str, Any]]:
        """All objects of a collection, page by page, one after the other."""
        found: list[dict[str, Any]] = []
        more = ""
        while True:
            query = f"?limit={page}" + (f"&continue={more}" if more else "")
            answer = await self.get(collection + query)
            found += answer["items"] or []
            more = answer["metadata"].get("continue", "")
            if not more:
                return found


@contextlib.asynccontextmanager
async def bare(kubeconfig: Path) -> AsyncIterator[Bare]:
    """A client with the credentials of a kubeconfig."""
    access = await load_config(kubeconfig).access()
    connector = aiohttp.TCPConnector(ssl=access.ssl, limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield Bare(session, access.base_url)
