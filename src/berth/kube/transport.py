"""One HTTP request, or one watch, at a time: credentials, timeouts, and errors of one family."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from berth.kube.config import Access, Config
from berth.kube.errors import ConfigError, ConnectionLost, RequestTimeout, Unauthorized, error_from_response
from berth.kube.resource import resource_of
from berth.kube.wire import Params, keepalive_socket, request_url

RequestHook = Callable[[str, str, int, float], None]

KEEPALIVE = 60.0
"""Seconds that a connection stays open unused; the API server closes it after 90."""
_NEVER_ROUND = 1e9  # aiohttp would round longer timeouts up to whole seconds, past a Lease's deadline


class Transport:
    """A pool of connections to one API server. The only retry here is the one after a 401."""

    def __init__(
        self, config: Config, timeout: float, user_agent: str, on_request: RequestHook | None
    ) -> None:
        self.on_request = on_request
        self._config = config
        self._timeout = timeout
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Create the pool; call it on the event loop that uses it."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEEPALIVE, ttl_dns_cache=10, socket_factory=keepalive_socket
            ),
            # Inside a cluster, compression costs both sides more time than it saves.
            headers={
                "User-Agent": self._user_agent,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def access(self, path: str, timeout: float) -> Access:
        """The credentials for the next request."""
        try:
            async with asyncio.timeout(timeout):
                return await self._config.access()
        except TimeoutError:
            message = f"{path}: the credentials took longer than {timeout:.1f} s"
            raise RequestTimeout(message, maybe_done=False) from None

    async def refresh(self, refused: Access, error: Unauthorized) -> None:
        """Load other credentials than those that got a 401; raises Unauthorized if there are none."""
        cause: Exception | None = None
        try:
            async with asyncio.timeout(self._timeout):
                if await self._config.refresh(refused) != refused:
                    return
        except (ConfigError, OSError) as failure:
            cause = failure
        text = f"{error.message}; no fresh credentials: {cause}" if cause else error.message
        raise Unauthorized(401, error.reason, text) from cause

    async def send(
        self,
        method: str,
        path: str,
        params: Params | None,
        data: bytes | None,
        content_type: str,
        timeout: float,
        access: Access,
        accept: str | None = None,
    ) -> bytes:
        """Send one request and return the body of the answer, within `timeout` seconds. Raises ApiError."""
        query = dict(params) if params else {}
        if method != "GET":
            # Bounds the write on the server too: it must not happen long after the client gave up.
            query["timeout"] = f"{max(1, round(timeout * 1000))}ms"
        headers = dict(access.headers)
        if data is not None:
            headers["Content-Type"] = content_type
        if accept is not None:
            headers["Accept"] = accept
        started = time.monotonic()
        code = 0
        limit = aiohttp.ClientTimeout(total=timeout, ceil_threshold=_NEVER_ROUND)
        try:
            async with await self._open(
                method, path, query, access, timeout=limit, data=data, headers=headers
            ) as answer:
                body = await answer.read()
                code = answer.status
                if code >= 300:
                    raise error_from_response(
                        code, answer.reason or "", body, answer.headers.get("Retry-After")
                    )
                return body
        except (aiohttp.ClientError, OSError) as error:
            raise _lost(error, method, path, timeout) from error
        finally:
            self._count(method, path, code, started)

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, params: Params | None, connect: float, inactivity: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a watch, see Client.stream."""
        opening = asyncio.ensure_future(self._open_stream(path, params, connect, inactivity))
        try:
            answer = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # Python 3.11 leaks a connection that is cancelled between connecting and the TLS handshake.
            await asyncio.wait({opening}, timeout=0.5)
            if not opening.done():
                opening.cancel()
            elif opening.exception() is None:
                opening.result().close()
            raise
        try:
            yield _chunks(answer, path, inactivity)
        finally:
            answer.close()

    async def _open_stream(
        self, path: str, params: Params | None, connect: float, inactivity: float
    ) -> aiohttp.ClientResponse:
        limit = aiohttp.ClientTimeout(total=None, sock_read=inactivity, ceil_threshold=_NEVER_ROUND)
        refreshed = False
        while True:
            access = await self.access(path, connect)
            started = time.monotonic()
            code = 0
            try:
                async with asyncio.timeout(connect):
                    answer = await self._open(
                        "GET", path, dict(params or {}), access, timeout=limit, headers=access.headers
                    )
                    code = answer.status
                    if code < 300:
                        return answer
                    body = await answer.read()
            except (aiohttp.ClientError, OSError) as error:
                raise _lost(error, "WATCH", path, connect) from error
            finally:
                self._count("WATCH", path, code, started)
            refusal = error_from_response(code, answer.reason or "", body, answer.headers.get("Retry-After"))
            if not isinstance(refusal, Unauthorized) or refreshed:
                raise refusal
            refreshed = True
            await self.refresh(access, refusal)

    async def _open(
        self, method: str, path: str, query: Params, access: Access, **options: Any
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("Client is used outside of its `async with`")
        return await self._session.request(
            method,
            request_url(access.base_url, path, query),
            ssl=access.ssl,
            server_hostname=access.server_hostname,
            proxy=access.proxy,
            allow_redirects=False,
            **options,
        )

    def _count(self, verb: str, path: str, code: int, started: float) -> None:
        if self.on_request is not None:
            self.on_request(verb, resource_of(path), code, time.monotonic() - started)


async def _chunks(answer: aiohttp.ClientResponse, path: str, inactivity: float) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, OSError) as error:
        raise _lost(error, "WATCH", path, inactivity) from error


def _lost(error: Exception, method: str, path: str, timeout: float) -> ConnectionLost:
    maybe_done = not isinstance(error, aiohttp.ClientConnectorError)
    if isinstance(error, TimeoutError):
        return RequestTimeout(f"{method} {path}: no answer within {timeout:.1f} s", maybe_done=maybe_done)
    return ConnectionLost(f"{method} {path}: {type(error).__name__}: {error}", maybe_done=maybe_done)
