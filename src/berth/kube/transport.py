"""One HTTP request, or one watch, at a time: credentials, timeouts, and errors of one family."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from berth.kube.config import Access, Config
from berth.kube.errors import ConfigError, ConnectionLost, RequestTimeout, Unauthorized, error_from_response
from berth.kube.resource import resource_of

Params = Mapping[str, str | int | bool]
"""Query parameters, not yet quoted."""

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
                limit=0, keepalive_timeout=KEEPALIVE, ttl_dns_cache=10, socket_factory=_keepalive_socket
            ),
            # Inside a cluster, compression costs both sides more time than it saves.
            headers={
                "User-Agent": self._user_agent,
                "Accept": "application/json",
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def exchange(
        self,
        verb: str,
        path: str,
        params: Params | None,
        time_left: Callable[[], float],
        inactivity: float | None = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request, after a 401 again with fresh credentials, and return the answer. Raises ApiError.

        `time_left` is called for the timeout, in seconds, once the credentials are there. The body has been
        read, unless the answer is a stream: with `inactivity`.
        """
        if self._session is None:
            raise RuntimeError("Client is used outside of its `async with`")
        method = "GET" if verb == "WATCH" else verb
        access, refreshed = await self._access(path, time_left()), False
        while True:
            timeout, query = time_left(), dict(params or {})
            if method != "GET":
                # Bounds the write on the server too: it must not happen long after the client gave up.
                query["timeout"] = f"{max(1, round(timeout * 1000))}ms"
            started, code = time.monotonic(), 0
            total = timeout if inactivity is None else None
            try:
                answer = await self._session.request(
                    method,
                    request_url(access.base_url, path, query),
                    data=data,
                    headers={**access.headers, **(headers or {})},
                    timeout=aiohttp.ClientTimeout(total, sock_read=inactivity, ceil_threshold=_NEVER_ROUND),
                    ssl=access.ssl,
                    server_hostname=access.server_hostname,
                    proxy=access.proxy,
                    allow_redirects=False,
                )
                if inactivity is None or answer.status >= 300:
                    body = await answer.read()
                code = answer.status
            except (aiohttp.ClientError, OSError) as error:
                raise _lost(error, verb, path, timeout) from error
            finally:
                if self.on_request is not None:
                    self.on_request(verb, resource_of(path), code, time.monotonic() - started)
            if code < 300:
                return answer
            refusal = error_from_response(code, answer.reason or "", body, answer.headers.get("Retry-After"))
            if refreshed or not isinstance(refusal, Unauthorized):
                raise refusal
            access, refreshed = await self._refresh(access, refusal), True

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, params: Params | None, connect: float, inactivity: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a watch: a context manager whose value iterates over chunks as they arrive, split anywhere.

        `connect` bounds the seconds until the answer starts, `inactivity` the silence between chunks. Raises
        ApiError; the iterator raises ConnectionLost when the stream breaks and ends when the server ends it.
        """
        opening = asyncio.create_task(self.exchange("WATCH", path, params, lambda: connect, inactivity))
        try:
            async with asyncio.timeout(connect):
                answer = await asyncio.shield(opening)
        except (asyncio.CancelledError, TimeoutError) as error:
            # Python 3.11 leaks a connection that is cancelled between connecting and the TLS handshake.
            await asyncio.wait({opening}, timeout=0.5)
            if not opening.done():
                opening.cancel()
            elif opening.exception() is None:
                opening.result().close()
            if isinstance(error, TimeoutError):
                raise _lost(error, "WATCH", path, connect) from None
            raise
        try:
            yield _chunks(answer, path, inactivity)
        finally:
            answer.close()

    async def _access(self, path: str, timeout: float) -> Access:
        try:
            async with asyncio.timeout(timeout):
                return await self._config.access()
        except TimeoutError:
            message = f"{path}: the credentials took longer than {timeout:.1f} s"
            raise RequestTimeout(message, maybe_done=False) from None

    async def _refresh(self, refused: Access, error: Unauthorized) -> Access:
        """Other credentials than those that got a 401; raises Unauthorized if there are none."""
        cause: Exception | None = None
        try:
            async with asyncio.timeout(self._timeout):
                fresh = await self._config.refresh(refused)
                if fresh != refused:
                    return fresh
        except (ConfigError, OSError) as failure:
            cause = failure
        text = f"{error.message}; no fresh credentials: {cause}" if cause else error.message
        raise Unauthorized(401, error.reason, text) from cause


def request_url(base_url: str, path: str, query: Params) -> URL:
    """The URL of a request; `path` is used verbatim, the values of the query are quoted."""
    texts = {key: str(value).lower() if isinstance(value, bool) else value for key, value in query.items()}
    separator = ("&" if "?" in path else "?") if texts else ""
    # yarl would not quote `+` and `,` of selectors and continue tokens.
    return URL(f"{base_url}{path}{separator}{urlencode(texts, safe='', quote_via=quote)}", encoded=True)


def _keepalive_socket(address: Any) -> socket.socket:
    """A socket that notices within 30 s that its peer is gone, even if nothing is sent."""
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 15),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 30_000),
    ):
        if (option := getattr(socket, name, None)) is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return sock


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
