"""Drives a worker by HTTP: PUT and DELETE `/items/NAME`, and a periodic GET `/items`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Self
from urllib.parse import quote
from weakref import WeakValueDictionary

import aiohttp
import msgspec
from yarl import URL

from berth.member.agent.worker import AgentWorker, WorkerError, log, message
from berth.member.steps import Callback
from berth.member.worker import Held, SecondsLeft

VALID_HEADER = "Berth-Valid-For"
"""A header of every request: for how many seconds after it was sent the Lease is certainly held."""


class _Listing(msgspec.Struct):
    items: list[str]


class HttpWorker(AgentWorker):
    """A Worker that passes its callbacks to an HTTP server. An async context manager."""

    def __init__(self, url: str, *, timeout: float = 60.0, valid_for: SecondsLeft = lambda: 0.0) -> None:
        """`url` is the base URL of the server; a request, so also a `prepare`, may take `timeout` seconds.

        `valid_for` returns the seconds for which the Lease is certainly held.
        """
        self._base = url.rstrip("/")
        self._timeout = timeout
        self._valid_for = valid_for
        self._http: aiohttp.ClientSession | None = None
        self._held: dict[str, Held] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._touched: set[str] = set()
        self.reachable = False

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=128), timeout=aiohttp.ClientTimeout(total=self._timeout)
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._http is not None:
            await self._http.close()

    async def call(self, callback: Callback, item: Held) -> None:
        """PUT the Item, as a replica or as primary, or DELETE it."""
        async with self._changing(item.name):
            if callback is Callback.DROP:
                await self._delete(item.name)
                self._held.pop(item.name, None)
            else:
                await self._request("PUT", f"/items/{quote(item.name, safe='')}", message(callback, item))
                self._held[item.name] = item

    async def clear(self) -> None:
        """DELETE all Items that the worker lists, left by an earlier agent. Raises WorkerError."""
        for name in await self.list():
            log.info("item %s: the worker still had it, deleted", name)
            await self._delete(name)

    async def list(self) -> list[str]:
        """GET the names of the Items that the worker has. Raises WorkerError."""
        answered = False
        try:
            names = msgspec.json.decode(await self._request("GET", "/items"), type=_Listing).items
            answered = True
            return names
        except ValueError as error:
            raise WorkerError(f'GET {self._base}/items: not {{"items": [NAME, ...]}}: {error}') from error
        finally:
            self.reachable = answered

    async def compare(self) -> None:
        """GET its list, and repair the differences from what is held. Raises WorkerError.

        An Item that the worker has lost, for example by a restart, is sent again; one that it should not have
        is deleted there. Items that change meanwhile are left to the next time.
        """
        self._touched = set(self._locks)
        listed = set(await self.list())
        for name in self._held.keys() - listed - self._touched:
            self._held[name].spawn(_missing())
        for name in listed - self._held.keys() - self._touched:
            log.warning("item %s: the worker has it but should not, deleted", name)
            async with self._changing(name):
                if name not in self._held:
                    await self._delete(name)

    @contextlib.asynccontextmanager
    async def _changing(self, name: str) -> AsyncIterator[None]:
        """One change of an Item at a time; records that it changed."""
        self._touched.add(name)
        async with self._locks.setdefault(name, asyncio.Lock()):
            yield

    async def _delete(self, name: str) -> None:
        await self._request("DELETE", f"/items/{quote(name, safe='')}", missing=True)

    async def _request(
        self, method: str, path: str, body: dict[str, Any] | None = None, missing: bool = False
    ) -> bytes:
        if self._http is None:
            raise RuntimeError("HttpWorker is used outside of its `async with`")
        headers = {VALID_HEADER: f"{self._valid_for():.3f}"}
        url = URL(self._base + path, encoded=True)
        try:
            async with self._http.request(
                method, url, json=body, headers=headers, allow_redirects=False
            ) as answer:
                content = await answer.read()
        except TimeoutError as error:
            raise WorkerError(f"{method} {url}: no answer within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise WorkerError(f"{method} {url}: {error}") from error
        if 200 <= answer.status < 300 or (missing and answer.status == 404):
            return content
        text = content[:300].decode("utf-8", "replace").strip()
        raise WorkerError(f"{method} {url}: {answer.status} {answer.reason}: {text or 'no message'}")


async def _missing() -> None:
    raise WorkerError("the worker no longer lists it")
