"""URLs and sockets for the API server."""

import contextlib
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from yarl import URL

Params = Mapping[str, str | int | bool]
"""Query parameters, not yet quoted."""


def request_url(base_url: str, path: str, query: Mapping[str, str | int | bool]) -> URL:
    """The URL of a request; `path` is used verbatim, the values of the query are quoted."""
    if not query:
        return URL(base_url + path, encoded=True)
    # yarl would not quote `+` and `,` of selectors and continue tokens.
    pairs = "&".join(f"{key}={quote(_text(value), safe='')}" for key, value in query.items())
    return URL(f"{base_url}{path}{'&' if '?' in path else '?'}{pairs}", encoded=True)


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def keepalive_socket(address: Any) -> socket.socket:
    """A socket that notices within 30 s that its peer is gone, even if nothing is sent."""
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 15),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 30_000),
        ("TCP_NODELAY", 1),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return sock
