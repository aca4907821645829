"""The port for machines that look at this process: `/metrics` for Prometheus, `/readyz` for the kubelet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: probes and scrapes come every few seconds."""


@contextmanager
def endpoint(port: int, registry: CollectorRegistry, ready: Callable[[], bool]) -> Iterator[int]:
    """Serve `registry` and `ready` from a thread of its own, all addresses; yields the port.

    `/readyz` answers 200 while `ready()` holds, else 503. Port 0 takes a free one. Raises OSError.
    """
    metrics = make_wsgi_app(registry)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path in ("/metrics", "/"):
            body: Iterable[bytes] = metrics(environ, start_response)
            return body
        if path == "/readyz":
            status, text = ("200 OK", b"ok\n") if ready() else ("503 Service Unavailable", b"not ready\n")
        else:
            status, text = "404 Not Found", b"there are /metrics and /readyz\n"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [text]

    server = make_server("", port, application, _Server, _Quiet)
    thread = Thread(target=server.serve_forever, name="endpoint", daemon=True)
    thread.start()
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
