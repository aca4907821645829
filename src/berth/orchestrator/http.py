"""Workers in any language that serve `/items` over HTTP, the protocol of `berth agent --http`."""

from collections.abc import Callable, Mapping
from typing import Generic, Self, cast
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from berth.orchestrator.model import T, W

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer; a longer one is an error."""


class _Listing(msgspec.Struct):
    items: list[str]


class HttpCommunicator(Generic[W, T]):
    """Calls workers that serve PUT and DELETE `/items/NAME` and GET `/items` (docs/orchestrator.md).

    Use it as an async context manager, or call `aclose` at the end. Calls raise OSError or
    aiohttp.ClientError for an answer other than 2xx or none, ValueError for an answer that is invalid.
    """

    def __init__(
        self,
        *,
        url: Callable[[W], str] | None = None,
        name: Callable[[T], str] | None = None,
        task: Callable[[str], T] | None = None,
        data: Callable[[T], Mapping[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        """Workers are base URLs (`http://10.0.0.7:8080`) and tasks are names; for other types, `url` maps a
        worker to its base URL, `name` a task to its name, unique among the tasks, and `task` a name back.

        `data` maps a task to the strings that the worker gets with it. `headers` are sent with every request,
        for example an Authorization. A `session` is used instead of an own one, and not closed.
        """
        self._url = url if url is not None else cast("Callable[[W], str]", str)
        self._name = name if name is not None else cast("Callable[[T], str]", str)
        self._task = task if task is not None else cast("Callable[[str], T]", str)
        self._data = data
        self._headers = dict(headers or {})
        self._session = session
        self._owns_session = session is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; a later call opens new ones."""
        if self._owns_session and self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def list(self, worker: W) -> tuple[T, ...]:
        """GET /items. Raises ValueError if the body is not `{"items": [NAME, ...]}`."""
        body = await self._request("GET", URL(self._base(worker), encoded=True))
        try:
            names = msgspec.json.decode(body, type=_Listing).items
        except ValueError:
            text = 'the answer to GET /items is not {"items": ["NAME", ...]}'
            raise ValueError(f"{text}: {_short(body)}") from None
        return tuple(self._task(name) for name in names)

    async def add(self, worker: W, task: T) -> None:
        """PUT /items/NAME with `{"name": NAME}`, and `data` if there is any."""
        name = self._name(task)
        body: dict[str, object] = {"name": name}
        if self._data is not None:
            body["data"] = dict(self._data(task))
        await self._request("PUT", self._item(worker, name), body)

    async def remove(self, worker: W, task: T) -> None:
        """DELETE /items/NAME; a 404 counts as success."""
        await self._request("DELETE", self._item(worker, self._name(task)), missing_ok=True)

    async def _request(
        self, method: str, url: URL, body: dict[str, object] | None = None, *, missing_ok: bool = False
    ) -> bytes:
        async with self._opened().request(
            method, url, json=body, headers=self._headers, allow_redirects=False
        ) as response:
            content = bytearray()
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > MAX_ANSWER:
                    raise ValueError(f"{method} {url}: the answer is longer than {MAX_ANSWER} bytes")
            if 200 <= response.status < 300 or (missing_ok and response.status == 404):
                return bytes(content)
            raise OSError(f"{method} {url}: {response.status} {response.reason}: {_short(content)}")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or (self._owns_session and self._session.closed):
            # Without a bound on connections and without timeouts: the orchestrator bounds both, and a request
            # that waited for a connection would use up the time of a healthy worker.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
            )
        return self._session

    def _base(self, worker: W) -> str:
        return self._url(worker).rstrip("/") + "/items"

    def _item(self, worker: W, name: str) -> URL:
        if name in ("", ".", ".."):
            raise ValueError(f"{name!r} cannot be the name of a task: it is not a path segment of a URL")
        return URL(f"{self._base(worker)}/{quote(name, safe='')}", encoded=True)


def _short(content: bytes | bytearray) -> str:
    text = content[:200].decode("utf-8", "replace").strip()
    return text or "(empty)"
