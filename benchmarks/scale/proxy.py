"""A proxy before the API server that can refuse everything, with 429 and 503 in turn; its own process.

It listens on plain HTTP on loopback and adds the administrator's credentials, so that whoever uses it needs
none. Refusing cuts the watches that are open, too, as a load balancer does that loses its back ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
from pathlib import Path

from aiohttp import web
from yarl import URL

from benchmarks.scale.bare import Bare, bare
from benchmarks.scale.child import serve

HOP = {"connection", "transfer-encoding", "content-length", "host", "keep-alive"}
REFUSALS = ((429, "TooManyRequests"), (503, "ServiceUnavailable"))


class Proxy:
    def __init__(self, client: Bare) -> None:
        self.client = client
        self.refusing = False
        self.refused = 0
        self.open: set[asyncio.Task[None]] = set()
        self.turns = itertools.count()

    async def refuse(self, on: bool) -> int:
        """Begin or end to refuse; how many requests were refused so far."""
        self.refusing = on
        if on:
            for task in self.open:
                task.cancel()
        return self.refused

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.refusing:
            self.refused += 1
            code, reason = REFUSALS[next(self.turns) % 2]
            status = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "reason": reason,
                "code": code,
            }
            return web.json_response(status, status=code, headers={"Retry-After": "1"})
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP}
        url = self.client.base + request.raw_path
        body = await request.read() or None
        async with self.client.session.request(
            request.method, URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
        ) as answer:
            back = web.StreamResponse(
                status=answer.status,
                headers={k: v for k, v in answer.headers.items() if k.lower() not in HOP},
            )
            task = asyncio.current_task()
            if "watch" in request.query and task is not None:
                self.open.add(task)
                task.add_done_callback(self.open.discard)
            with contextlib.suppress(ConnectionError):  # whoever asked has gone
                await back.prepare(request)
                async for chunk in answer.content.iter_any():
                    await back.write(chunk)
                await back.write_eof()
            return back


async def main(kubeconfig: Path, port: int) -> None:
    async with bare(kubeconfig) as client:
        proxy = Proxy(client)
        app = web.Application(client_max_size=2**27)
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await serve({"refuse": proxy.refuse})
        await runner.cleanup()


def kubeconfig_of(port: int) -> str:
    """A kubeconfig (JSON is YAML) of the proxy at `port`."""
    named = {"cluster": {"server": f"http://127.0.0.1:{port}"}, "name": "proxy"}
    context = {"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [named],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [context],
            "current-context": "proxy",
        }
    )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
