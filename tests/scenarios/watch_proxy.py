"""An HTTP proxy before the API server that can hold back the watches of Leases while all else works."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import yaml
from aiohttp import web

from berth.kube import Config

ELECTION = "berth-controller"
"""The Lease of the controllers' election: what is said of Leases here is not said of it."""
HOP = {"transfer-encoding", "content-length", "content-encoding", "connection", "keep-alive", "host"}


class WatchProxy:
    """Runs in a thread of its own; speaks plain HTTP to its clients and acts as the administrator."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.hold = False
        """Whether nothing of a watch of Leases is passed on; what comes meanwhile is passed on afterwards."""
        self.refuse = False
        """Whether reads of Leases are answered with 500."""
        self.delay = 0.0
        """Seconds for which each read of Leases waits."""
        self.reads: list[str] = []
        """The paths of reads of Leases, lists included."""
        self.kubeconfig = folder / "proxied.yaml"
        self._config = config
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="watch proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        named = {"cluster": {"server": f"http://127.0.0.1:{port}"}, "user": {}}
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "proxy",
                    "clusters": [{"name": "proxy", "cluster": named["cluster"]}],
                    "users": [{"name": "proxy", "user": named["user"]}],
                    "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
                }
            )
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> int:
        self._access = await self._config.access()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._access.ssl),
            headers=dict(self._access.headers),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return int(self._runner.addresses[0][1])

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()
        await asyncio.sleep(0.3)  # connections close one step after that

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        election = request.path.endswith(ELECTION) or ELECTION in request.query.get("fieldSelector", "")
        leases = "/leases" in request.path and not election
        watch = request.query.get("watch") in ("true", "1")
        if leases and not watch and request.method == "GET":
            self.reads.append(request.path)
            await asyncio.sleep(self.delay)
            if self.refuse:
                body = {"kind": "Status", "code": 500, "reason": "InternalError", "message": "not now"}
                return web.json_response(body, status=500)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        async with self._session.request(
            request.method,
            self._access.base_url + request.raw_path,
            headers=headers,
            data=await request.read() or None,
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            response.headers.update({n: v for n, v in answer.headers.items() if n.lower() not in HOP})
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                while leases and watch and self.hold:  # noqa: ASYNC110 - set by another thread
                    await asyncio.sleep(0.02)
                await response.write(chunk)
            return response
