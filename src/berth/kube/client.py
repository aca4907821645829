"""An asynchronous client of the API server: paths and JSON in, structs or JSON out."""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, Unpack

import msgspec

from berth.kube.config import Config
from berth.kube.decode import Bad, Decoder, ListMeta
from berth.kube.errors import (
    ApiError,
    Backoff,
    ConnectionLost,
    DeadlinePassed,
    Gone,
    ServerError,
    TooManyRequests,
    not_understood,
)
from berth.kube.transport import KEEPALIVE, Params, RequestHook, Transport

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

ANY: Any = Any
"""The type of an answer as plain JSON values."""

Deadline = float | Callable[[], float]
"""A time on the clock of `time.monotonic`, or a function that is called for it before each attempt."""


class WriteOptions(TypedDict, total=False):
    """Options of every writing verb, see Client."""

    deadline: Deadline | None
    idempotent: bool


METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Client:
    """Talks to one API server over a pool of connections; an async context manager.

    Verbs return the answer as `type`: a struct, `bytes` for the raw answer, or plain JSON values without it.
    Bodies may be `bytes`, or anything that msgspec encodes.

    Each attempt ends within `timeout` seconds. An attempt that certainly changed nothing (429, 5xx with a
    Retry-After, a refused connection) is repeated for every verb; others only if repeating is harmless
    (reads, or `idempotent=True`). Repeats stop `retry_for` seconds after the first attempt. With a `deadline`
    nothing is sent, awaited or repeated past it.
    """

    def __init__(
        self,
        config: Config,
        *,
        timeout: float = 10.0,
        retry_for: float = 30.0,
        attempts: int = 6,
        connections: int = 64,
        on_request: RequestHook | None = None,
        user_agent: str = "berth",
    ) -> None:
        """`connections` bounds the requests in flight; others wait their turn. Watches do not count.

        `on_request(verb, resource, code, seconds)` is called after each attempt; code 0 means no answer.
        """
        self.config = config
        self.timeout = timeout
        self.retry_for = retry_for
        self.attempts = attempts
        self._slots = asyncio.Semaphore(connections)
        self._transport = Transport(config, timeout, user_agent, on_request)

    async def __aenter__(self) -> Self:
        self._transport.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._transport.close()

    async def get(
        self,
        path: str,
        params: Params | None = None,
        *,
        type: type[T] = ANY,
        deadline: Deadline | None = None,
    ) -> T:
        """Read an object or one page of a list."""
        return _decoded(await self.request("GET", path, params, deadline=deadline, idempotent=True), type)

    async def list(
        self,
        path: str,
        params: Params | None = None,
        *,
        type: type[T] = ANY,
        metadata_only: bool = False,
        deadline: Deadline | None = None,
    ) -> "list[T]":
        """Read a whole collection, page by page, each object as `type`, or its metadata only."""
        items: list[T] = []
        headers = {"Accept": METADATA_LIST} if metadata_only else {}
        pages = self.pages(path, params, Decoder(type), headers=headers, deadline=deadline)
        async for first, objects, bad, _ in pages:
            if bad:
                raise not_understood(bad[0].error, path)
            if first:
                items.clear()
            items.extend(objects)
        return items

    async def pages(
        self, path: str, params: Params | None, decoder: Decoder[T], limit: int = 500, **options: Any
    ) -> AsyncIterator[tuple[bool, Sequence[T], Sequence[Bad], ListMeta]]:
        """Read a whole collection: for each page whether it is the first, then what `Decoder.page` returns.

        A first page that comes later starts the list again: forget what came before it. `options` are those
        of `request`.
        """
        query: dict[str, str | int | bool] = {**(params or {}), "limit": limit}
        first = True
        while True:
            try:
                body = await self.request("GET", path, query, idempotent=True, **options)
            except Gone:
                if "continue" not in query:
                    raise
                # The list took longer than the server keeps its past (5 minutes). Like client-go, read the
                # collection in one piece instead.
                query, first = dict(params or {}), True
                continue
            try:
                objects, bad, meta = decoder.page(body)
            except msgspec.DecodeError as error:
                raise not_understood(error, body) from error
            yield first, objects, bad, meta
            if not meta.continue_:
                return
            query["continue"], first = meta.continue_, False

    @contextlib.asynccontextmanager
    async def watch(
        self, path: str, decoder: Decoder[T], params: Params, *, inactivity: float
    ) -> AsyncIterator[AsyncIterator[tuple[str, T | Bad | str]]]:
        """Watch a collection: a context manager whose value iterates over what `Decoder.events` gives.

        Bookmarks are asked for, so a stream that is silent for `inactivity` seconds (90 or more) is dead.
        Raises ApiError, also while iterating; the iterator ends when the server ends the watch.
        """
        query = {**params, "watch": True, "allowWatchBookmarks": True}
        async with self._transport.stream(path, query, self.timeout, inactivity) as chunks:
            yield decoder.events(chunks)

    async def create(
        self, path: str, body: Any, *, type: type[T] = ANY, **options: Unpack[WriteOptions]
    ) -> T:
        """Create an object in the collection at `path`; Conflict (reason AlreadyExists) if it exists."""
        return _decoded(await self.request("POST", path, body=body, **options), type)

    async def update(
        self, path: str, body: Any, *, type: type[T] = ANY, **options: Unpack[WriteOptions]
    ) -> T:
        """Replace an object; with a resourceVersion in `body`, Conflict if another write came first."""
        return _decoded(await self.request("PUT", path, body=body, **options), type)

    async def patch(
        self,
        path: str,
        body: Any,
        kind: Literal["json", "merge"] = "json",
        *,
        type: type[T] = ANY,
        **options: Unpack[WriteOptions],
    ) -> T:
        """Change an object by a JSON patch or a merge patch."""
        headers = {"Content-Type": f"application/{kind}-patch+json"}
        return _decoded(await self.request("PATCH", path, body=body, headers=headers, **options), type)

    async def delete(self, path: str, *, body: Any = None, **options: Unpack[WriteOptions]) -> bytes:
        """Delete an object; `body` may be DeleteOptions with preconditions."""
        return await self.request("DELETE", path, body=body, **options)

    async def request(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        deadline: Deadline | None = None,
        idempotent: bool = False,
    ) -> bytes:
        """Send a request and return the body of the answer. The verbs above use this. Raises ApiError."""
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)

        until = deadline if callable(deadline) else lambda: math.inf if deadline is None else deadline

        def time_left() -> float:
            left = until() - time.monotonic()
            if left <= 0.0:
                raise DeadlinePassed(f"{path}: no time left before the deadline")
            return min(timeout or self.timeout, left)

        give_up = time.monotonic() + self.retry_for
        backoff = Backoff(0.05, 5.0)
        while True:
            try:
                async with self._slot(path, until):
                    answer = await self._transport.exchange(
                        method, path, params, time_left, data=data, headers=headers
                    )
                    return await answer.read()
            except (TooManyRequests, ServerError, ConnectionLost) as error:
                delay = backoff.next()
                if error.retry_after is not None:
                    # With jitter: many clients get the same answer at the same time.
                    delay = error.retry_after + random.uniform(0.0, 0.25)
                elif not idempotent and _maybe_done(error):
                    raise
                resume = time.monotonic() + delay
                if backoff.failures >= self.attempts or resume >= min(give_up, until()):
                    raise
                await asyncio.sleep(delay)

    async def keep_open(self, count: int) -> None:
        """Keep `count` connections open while nothing is sent, until cancelled.

        Requests do not share connections, so a burst after a pause would have to open one for each request.
        """
        # Never repeated: a refusal has opened the connection too, and a server that is down is left alone.
        while True:
            exchanges = (
                self._transport.exchange("GET", "/version", None, lambda: self.timeout) for _ in range(count)
            )
            # Errors are ignored: the next real request finds out by itself.
            await asyncio.gather(*exchanges, return_exceptions=True)
            await asyncio.sleep(KEEPALIVE / 2)  # well before the pool closes them

    @contextlib.asynccontextmanager
    async def _slot(self, path: str, until: Callable[[], float]) -> AsyncIterator[None]:
        """Wait for one of the `connections`; this time does not count towards the request's timeout."""
        if not self._slots.locked():  # a timeout costs a tenth of a request
            await self._slots.acquire()
        else:
            try:
                async with asyncio.timeout(until() - time.monotonic()):
                    await self._slots.acquire()
            except TimeoutError:
                raise DeadlinePassed(f"{path}: no free connection before the deadline") from None
        try:
            yield
        finally:
            self._slots.release()


def _maybe_done(error: ApiError) -> bool:
    """Whether the server may have carried out the request that failed."""
    return not isinstance(error, TooManyRequests) and getattr(error, "maybe_done", True)


def _decoded(body: bytes, type_: type[T]) -> T:
    if type_ is bytes:
        return body  # type: ignore[return-value]
    try:
        value: T = msgspec.json.decode(body, type=type_)
        return value
    except msgspec.DecodeError as error:
        raise not_understood(error, body) from error
