"""Communicators: for workers that serve `/items` over HTTP, and for workers in memory, in users' tests."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Self, cast
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from berth.orchestrator.model import T, W

MAX_ANSWER = 64 * 1024 * 1024  # bytes of an answer; a longer one is an error


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


OPERATIONS = frozenset({"list", "add", "remove"})


@dataclass(slots=True)
class _Worker(Generic[T]):
    tasks: dict[T, None] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    blocked: frozenset[str] = frozenset()
    healed: asyncio.Event = field(default_factory=asyncio.Event)


class InMemoryCommunicator(Generic[W, T]):
    """A communicator whose workers are dictionaries. The first call to a worker creates it.

    `fail` and `block` make calls to a worker raise or hang, `heal` ends both. `calls["add"]`,
    `calls["remove"]` and `calls["list"]` count the calls, also those that fail.
    """

    def __init__(self, latency: float = 0.0) -> None:
        """`latency`: seconds that each call takes; with 0 it returns without yielding to other tasks."""
        self.latency = latency
        self.calls: Counter[str] = Counter()
        self._workers: defaultdict[W, _Worker[T]] = defaultdict(_Worker)

    def tasks(self, worker: W) -> set[T]:
        """The tasks that the worker runs."""
        return set(self._workers[worker].tasks)

    def assign(self, worker: W, tasks: Iterable[T]) -> None:
        """Make the worker run exactly these tasks, without calls."""
        self._workers[worker].tasks = dict.fromkeys(tasks)

    def forget(self, worker: W) -> None:
        """Remove a worker and its tasks, like a crash; the next call creates it anew, empty."""
        self.heal(worker)
        self._workers.pop(worker, None)

    def fail(self, worker: W, *operations: str, error: Exception | None = None) -> None:
        """Make calls to the worker raise `error`: the named ones (`"list"`, `"add"`, `"remove"`), or all."""
        state = self._workers[worker]
        failure = error if error is not None else ConnectionError(f"{worker!r} is down")
        state.errors |= dict.fromkeys(_checked(operations), failure)

    def block(self, worker: W, *operations: str) -> None:
        """Make calls to the worker, the named ones or all, hang until it is healed or they are cancelled."""
        self._workers[worker].blocked |= _checked(operations)

    def heal(self, worker: W) -> None:
        """End `fail` and `block`; hanging calls continue."""
        state = self._workers[worker]
        state.errors, state.blocked = {}, frozenset()
        state.healed.set()
        state.healed = asyncio.Event()

    async def list(self, worker: W) -> tuple[T, ...]:
        """The tasks that the worker runs."""
        return tuple((await self._called(worker, "list")).tasks)

    async def add(self, worker: W, task: T) -> None:
        """Start the task on the worker, unless it already runs there."""
        (await self._called(worker, "add")).tasks[task] = None

    async def remove(self, worker: W, task: T) -> None:
        """Stop the task on the worker, if it runs there."""
        (await self._called(worker, "remove")).tasks.pop(task, None)

    async def _called(self, worker: W, operation: str) -> _Worker[T]:
        """Count the call, and let it take as long or fail as it is set up to."""
        state = self._workers[worker]
        self.calls[operation] += 1
        if self.latency:
            await asyncio.sleep(self.latency)
        if operation in state.blocked:
            await state.healed.wait()
        if operation in state.errors:
            raise state.errors[operation]
        return state


def _checked(operations: tuple[str, ...]) -> frozenset[str]:
    unknown = set(operations) - OPERATIONS
    if unknown:
        raise ValueError(f"operations are {sorted(OPERATIONS)}; got {sorted(unknown)}")
    return frozenset(operations) or OPERATIONS
