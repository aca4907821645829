"""An asynchronous client of the API server: paths and JSON in, structs or JSON out."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, Self, TypedDict, Unpack

import aiohttp
import msgspec
from typing_extensions import TypeVar

from berth.kube.backoff import backoff_delay
from berth.kube.config import Access, Config
from berth.kube.errors import (
    ApiError,
    ConfigError,
    ConnectionLost,
    DeadlinePassed,
    RequestTimeout,
    ServerError,
    TooManyRequests,
    Unauthorized,
    error_from_response,
)
from berth.kube.pages import Page
from berth.kube.resource import resource_of
from berth.kube.transport import Params, keepalive_socket, request_url

__all__ = ["Client", "Deadline", "Params", "RequestHook"]

T = TypeVar("T", default=Any)
Deadline = float | Callable[[], float]
"""A time on `time.monotonic`'s clock, or a function that gives it anew before each attempt."""
RequestHook = Callable[[str, str, int, float], None]


class Options(TypedDict, total=False):
    """What every writing verb takes, see Client."""

    timeout: float | None
    deadline: Deadline | None
    idempotent: bool


PATCH_TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_NEVER_ROUND = 1e9  # aiohttp rounds timeouts above this up to whole seconds, past a Lease's deadline


class Client:
    """Talks to one API server over a pool of connections; an async context manager.

    Verbs return what `type` (or `decoder`) asks for: a struct, `bytes` for the answer as it came, plain JSON
    values without it. Bodies may be `bytes`, or anything that msgspec encodes.

    Each attempt ends within `timeout` seconds. An attempt that surely changed nothing (429 and 5xx with a
    Retry-After, a refused connection) is repeated for every verb; others only where repeating is harmless
    (reads, or `idempotent=True`). Repeats stop after `retry_for` seconds in all. With a `deadline` nothing is
    sent, waited for or repeated past it.
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
        """`connections` bounds the requests under way; watches have connections of their own.

        `on_request(verb, resource, code, seconds)` is called after each attempt; code 0 is no answer.
        """
        self.config = config
        self.timeout = timeout
        self.retry_for = retry_for
        self.attempts = attempts
        self.on_request = on_request
        self._connections = connections
        self._user_agent = user_agent
        self._requests: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None
        self._rng = random.Random()

    async def __aenter__(self) -> Self:
        self._requests = self._session(self._connections)
        self._streams = self._session(0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for session in (self._requests, self._streams):
            if session is not None:
                await session.close()
        self._requests = self._streams = None

    def _session(self, limit: int) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=limit, keepalive_timeout=60.0, ttl_dns_cache=10, socket_factory=keepalive_socket
        )
        return aiohttp.ClientSession(
            connector=connector,
            # Compression costs the API server and us more time than it saves inside a cluster.
            headers={
                "User-Agent": self._user_agent,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            raise_for_status=False,
        )

    async def get(
        self,
        path: str,
        params: Params | None = None,
        *,
        type: type[T] | None = None,
        decoder: "msgspec.json.Decoder[T] | None" = None,
        timeout: float | None = None,
        deadline: Deadline | None = None,
    ) -> T:
        """Read an object or one page of a list."""
        body = await self.request("GET", path, params, timeout=timeout, deadline=deadline, idempotent=True)
        return _decoded(body, type, decoder)

    async def list(
        self,
        path: str,
        params: Params | None = None,
        *,
        type: type[T] | None = None,
        limit: int = 500,
        timeout: float | None = None,
        deadline: Deadline | None = None,
    ) -> "list[T]":
        """Read a whole collection, page by page, each object as `type`."""
        page_type: Any = Page[type if type is not None else Any]  # type: ignore[misc]
        decoder = msgspec.json.Decoder(page_type)
        items: list[T] = []
        query: dict[str, str | int | bool] = {**(params or {}), "limit": limit}
        while True:
            page = await self.get(path, query, decoder=decoder, timeout=timeout, deadline=deadline)
            items.extend(page.items or ())
            if not page.metadata.continue_:
                return items
            query["continue"] = page.metadata.continue_

    async def create(
        self,
        path: str,
        body: Any,
        params: Params | None = None,
        *,
        type: type[T] | None = None,
        decoder: "msgspec.json.Decoder[T] | None" = None,
        **options: Unpack[Options],
    ) -> T:
        """Create an object in the collection at `path`; Conflict (reason AlreadyExists) where it exists."""
        answer = await self.request("POST", path, params, body, **options)
        return _decoded(answer, type, decoder)

    async def update(
        self,
        path: str,
        body: Any,
        params: Params | None = None,
        *,
        type: type[T] | None = None,
        decoder: "msgspec.json.Decoder[T] | None" = None,
        **options: Unpack[Options],
    ) -> T:
        """Replace an object; with a resourceVersion in `body`, Conflict where another write came first."""
        answer = await self.request("PUT", path, params, body, **options)
        return _decoded(answer, type, decoder)

    async def patch(
        self,
        path: str,
        body: Any,
        kind: Literal["json", "merge", "apply"] = "json",
        params: Params | None = None,
        *,
        type: type[T] | None = None,
        decoder: "msgspec.json.Decoder[T] | None" = None,
        **options: Unpack[Options],
    ) -> T:
        """Change an object by a JSON patch, a merge patch or a server-side apply (give `fieldManager`)."""
        answer = await self.request(
            "PATCH",
            path,
            params,
            body,
            content_type=PATCH_TYPES[kind],
            **options,
        )
        return _decoded(answer, type, decoder)

    async def delete(
        self,
        path: str,
        params: Params | None = None,
        body: Any = None,
        **options: Unpack[Options],
    ) -> bytes:
        """Delete an object; `body` may be DeleteOptions with preconditions."""
        return await self.request("DELETE", path, params, body, **options)

    async def request(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        body: Any = None,
        *,
        content_type: str = "application/json",
        timeout: float | None = None,
        deadline: Deadline | None = None,
        idempotent: bool = False,
    ) -> bytes:
        """Send a request and return the answer's body; raises ApiError. The verbs above are made of this."""
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        give_up = time.monotonic() + self.retry_for
        refreshed = False
        failures = 0
        while True:
            attempt = self._time_left(path, timeout or self.timeout, deadline)
            access = await self._access(path, attempt)
            try:
                return await self._attempt(method, path, params, data, content_type, attempt, access)
            except Unauthorized as error:
                if refreshed:
                    raise
                refreshed = True
                if await self._refresh(access, error) is access:
                    raise
            except (TooManyRequests, ServerError, ConnectionLost) as error:
                failures += 1
                delay = self._delay(error, failures, idempotent)
                if delay is None or failures >= self.attempts:
                    raise
                resume = time.monotonic() + delay
                if resume >= give_up or (deadline is not None and resume >= _at(deadline)):
                    raise
                await asyncio.sleep(delay)

    def _delay(self, error: ApiError, failures: int, idempotent: bool) -> float | None:
        """Seconds until the request may be sent again; None where that could do harm."""
        if error.retry_after is not None:
            # Spread: many clients get the same answer at the same time.
            return error.retry_after + 0.25 * self._rng.random()
        unchanged = isinstance(error, TooManyRequests) or (
            isinstance(error, ConnectionLost) and not error.maybe_done
        )
        if idempotent or unchanged:
            return backoff_delay(failures, 0.05, 5.0, self._rng.random())
        return None

    async def _access(self, path: str, timeout: float) -> Access:
        try:
            async with asyncio.timeout(timeout):
                return await self.config.access()
        except TimeoutError:
            raise RequestTimeout(
                f"{path}: the credentials took longer than {timeout:.1f} s", maybe_done=False
            ) from None

    async def _refresh(self, access: Access, error: Unauthorized) -> Access:
        try:
            async with asyncio.timeout(self.timeout):
                return await self.config.refresh(access)
        except (ConfigError, OSError, TimeoutError) as cause:
            raise Unauthorized(
                401, error.reason, f"{error.message}; no fresh credentials: {cause}"
            ) from cause

    @staticmethod
    def _time_left(path: str, timeout: float, deadline: Deadline | None) -> float:
        if deadline is None:
            return timeout
        left = _at(deadline) - time.monotonic()
        if left <= 0.0:
            raise DeadlinePassed(f"{path}: no time left before the deadline")
        return min(timeout, left)

    async def _attempt(
        self,
        method: str,
        path: str,
        params: Params | None,
        data: bytes | None,
        content_type: str,
        timeout: float,
        access: Access,
    ) -> bytes:
        if self._requests is None:
            raise RuntimeError("Client is used outside of its `async with`")
        query = dict(params) if params else {}
        if method != "GET":
            # Bounds the write on the server too: it must not happen long after we gave up on it.
            query["timeout"] = f"{max(1, round(timeout * 1000))}ms"
        headers = dict(access.headers)
        if data is not None:
            headers["Content-Type"] = content_type
        started = time.monotonic()
        code = 0
        try:
            async with self._requests.request(
                method,
                request_url(access.base_url, path, query),
                data=data,
                headers=headers,
                ssl=access.ssl,
                server_hostname=access.server_hostname,
                proxy=access.proxy,
                timeout=aiohttp.ClientTimeout(total=timeout, ceil_threshold=_NEVER_ROUND),
                allow_redirects=False,
            ) as response:
                body = await response.read()
                code = response.status
                if code >= 300:
                    retry_after = response.headers.get("Retry-After")
                    raise error_from_response(code, response.reason or "", body, retry_after)
                return body
        except (aiohttp.ClientError, OSError) as error:
            raise _lost(error, method, path, timeout) from error
        finally:
            if self.on_request is not None:
                self.on_request(method, resource_of(path), code, time.monotonic() - started)

    @contextlib.asynccontextmanager
    async def stream(
        self,
        path: str,
        params: Params | None = None,
        *,
        connect: float | None = None,
        inactivity: float = 90.0,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a watch: an iterator of chunks as they arrive, cut anywhere.

        `connect` bounds the time until the answer begins, `inactivity` the silence between chunks. Raises
        ApiError; the iterator raises ConnectionLost when the stream breaks and ends when the server ends it.
        """
        if self._streams is None:
            raise RuntimeError("Client is used outside of its `async with`")
        connect = connect or self.timeout
        refreshed = False
        while True:
            access = await self._access(path, connect)
            started = time.monotonic()
            code = 0
            try:
                async with asyncio.timeout(connect):
                    response = await self._streams.get(
                        request_url(access.base_url, path, dict(params or {})),
                        headers=access.headers,
                        ssl=access.ssl,
                        server_hostname=access.server_hostname,
                        proxy=access.proxy,
                        timeout=aiohttp.ClientTimeout(
                            total=None, sock_read=inactivity, ceil_threshold=_NEVER_ROUND
                        ),
                        allow_redirects=False,
                    )
                    code = response.status
                    body = await response.read() if code >= 300 else b""
            except (aiohttp.ClientError, OSError) as error:
                raise _lost(error, "WATCH", path, connect) from error
            finally:
                if self.on_request is not None:
                    self.on_request("WATCH", resource_of(path), code, time.monotonic() - started)
            if code < 300:
                break
            refusal = error_from_response(
                code, response.reason or "", body, response.headers.get("Retry-After")
            )
            if not isinstance(refusal, Unauthorized) or refreshed:
                raise refusal
            refreshed = True
            if await self._refresh(access, refusal) is access:
                raise refusal
        try:
            yield _chunks(response, path, inactivity)
        finally:
            response.close()


async def _chunks(response: aiohttp.ClientResponse, path: str, inactivity: float) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, OSError) as error:
        raise _lost(error, "WATCH", path, inactivity) from error


def _lost(error: Exception, method: str, path: str, timeout: float) -> ConnectionLost:
    maybe_done = not isinstance(error, aiohttp.ClientConnectorError)
    if isinstance(error, TimeoutError):
        return RequestTimeout(f"{method} {path}: no answer within {timeout:.1f} s", maybe_done=maybe_done)
    return ConnectionLost(f"{method} {path}: {type(error).__name__}: {error}", maybe_done=maybe_done)


def _at(deadline: Deadline) -> float:
    return deadline() if callable(deadline) else deadline


def _decoded(body: bytes, type_: type[T] | None, decoder: "msgspec.json.Decoder[T] | None") -> T:
    if decoder is not None:
        return decoder.decode(body)
    if type_ is None:
        plain: T = msgspec.json.decode(body)
        return plain
    if type_ is bytes:
        return body  # type: ignore[return-value]
    value: T = msgspec.json.decode(body, type=type_)
    return value
