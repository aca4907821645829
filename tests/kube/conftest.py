"""A scripted API server, for what the real one cannot be made to do, and a proxy that breaks connections."""

import asyncio
import contextlib
import json
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from aiohttp import web

from berth.kube import Access, Config, Meta, load_config
from berth.testing import ControlPlane

# The tests of this folder share helpers, which importlib mode does not find by itself.
sys.path.insert(0, str(Path(__file__).parent))

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CUT = object()
END = object()


class Thing(msgspec.Struct, frozen=True, gc=False):
    metadata: Meta
    data: dict[str, str] = {}


@dataclass
class Seen:
    verb: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class FakeApi:
    """Answers by script (`api.script(verb, ...)`: the next requests of that verb), else by default.

    Verbs: list, watch, get, and the HTTP methods of writes. A watch by default sends what is put into
    `events` (bytes; END ends it properly, CUT breaks the connection).
    """

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    rv: int = 10
    scripts: dict[str, list[Handler]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    events: "asyncio.Queue[Any]" = field(default_factory=asyncio.Queue)
    url: str = ""
    Thing: Any = Thing
    CUT: Any = CUT
    END: Any = END

    def script(self, verb: str, *handlers: Handler | web.StreamResponse) -> None:
        for handler in handlers:
            self.scripts.setdefault(verb, []).append(handler if callable(handler) else _answering(handler))

    def put(self, *objects: dict[str, Any]) -> None:
        for obj in objects:
            self.objects[obj["metadata"]["name"]] = obj
            self.rv = max(self.rv, int(obj["metadata"]["resourceVersion"]))

    def count(self, verb: str) -> int:
        return sum(1 for seen in self.seen if seen.verb == verb)

    def last(self, verb: str) -> Seen:
        return [seen for seen in self.seen if seen.verb == verb][-1]

    def config(self, load: Callable[[], Access] | None = None) -> Config:
        return Config(load or self.access)

    def access(self, token: str = "t", refresh_after: float | None = None) -> Access:
        return Access(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"},
            ssl=_PLAIN,
            server_hostname=None,
            proxy=None,
            namespace="ns",
            refresh_after=refresh_after,
        )

    def thing(self, name: str, rv: int, uid: str = "", **data: Any) -> dict[str, Any]:
        metadata = {"name": name, "namespace": "ns", "uid": uid or f"uid-{name}", "resourceVersion": str(rv)}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    def event(self, kind: str, obj: dict[str, Any]) -> bytes:
        return json.dumps({"type": kind, "object": obj}).encode() + b"\n"

    def status(self, code: int, reason: str, headers: dict[str, str] | None = None) -> web.Response:
        body = {"kind": "Status", "code": code, "reason": reason, "message": f"it is {reason}"}
        return web.json_response(body, status=code, headers=headers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        verb = request.method
        if verb == "GET":
            parts = request.path.split("/")
            watching, named = request.query.get("watch") == "true", len(parts) > 6
            verb = "watch" if watching else "get" if named else "list"
        self.seen.append(
            Seen(verb, request.path, dict(request.query), dict(request.headers), await request.read())
        )
        queue = self.scripts.get(verb)
        if queue:
            return await queue.pop(0)(request)
        if verb == "list":
            return self.page(list(self.objects.values()))
        if verb == "watch":
            return await self.watch(request)
        return web.json_response(self.thing("x", self.rv))

    def page(self, items: list[dict[str, Any]], more: str = "", rv: int | None = None) -> web.Response:
        metadata = {"resourceVersion": str(rv or self.rv), "continue": more}
        return web.json_response({"kind": "List", "metadata": metadata, "items": items})

    async def watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            what = await self.events.get()
            if what is END:
                return response
            if what is CUT:
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(what)


_PLAIN = ssl.create_default_context()


def _answering(response: web.StreamResponse) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return response

    return answer


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    fake = FakeApi()
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{tail:.*}", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


@dataclass
class Proxy:
    """A TCP proxy before the real API server, so that a test can cut and refuse connections."""

    target: tuple[str, int]
    port: int = 0
    refusing: bool = False
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self, refuse: bool = False) -> None:
        """Break every connection; with `refuse`, new ones too until `allow`."""
        self.refusing = refuse
        for writer in list(self._writers):
            writer.transport.abort()

    def allow(self) -> None:
        self.refusing = False

    def config(self, config: Config) -> Config:
        """The same access, through the proxy."""

        def load() -> Access:
            return replace(config._access, base_url=f"https://127.0.0.1:{self.port}")

        return Config(load)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_connection(*self.target)
        pair = {writer, up_writer}
        self._writers |= pair
        try:
            await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
        finally:
            self._writers -= pair
            for one in pair:
                one.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@pytest.fixture
def config(control_plane: ControlPlane) -> Config:
    """The administrator's access to the real API server."""
    return load_config(control_plane.kubeconfig)


@pytest.fixture
async def proxy(config: Config) -> AsyncIterator[Proxy]:
    address = urlsplit(config.base_url)
    proxy = Proxy((address.hostname or "", address.port or 443))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    yield proxy
    server.close()
    proxy.cut()
    await asyncio.sleep(0)
