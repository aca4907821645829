"""A replicated cache: each shard has a primary that takes writes, and replicas that serve reads.

    python examples/cache/cache.py --log log/ --port 8080

An Item is a shard. The primary appends writes to the shard's log (a file here; a topic of a message broker
elsewhere), each with its epoch; everybody who holds the shard replays the log into memory. `prepare` returns
once the shard is caught up, so a replica counts as ready only when it can serve, and promotions cost nothing.

    PUT  /SHARD/KEY   at the primary: stores the body; elsewhere 409
    GET  /SHARD/KEY   at any holder; 404 without such a key, 421 where the shard is not held
"""

import argparse
import asyncio
import fcntl
import json
import logging
import os
from pathlib import Path

from aiohttp import web

import berth

log = logging.getLogger("cache")


class Log:
    """A shard's writes in order: lines of `[epoch, key, value]`. One of an older epoch is refused."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a+b")  # noqa: SIM115 - open as long as the shard is held
        self._read = 0

    def close(self) -> None:
        self._file.close()

    def append(self, epoch: int, key: str, value: str) -> bool:
        """Add a write; False, and nothing is written, where a newer epoch has written before."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            if epoch < self._newest():
                return False
            os.write(self._file.fileno(), json.dumps([epoch, key, value]).encode() + b"\n")
            return True
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def unread(self) -> list[tuple[int, str, str]]:
        """The writes since the last call."""
        self._file.seek(self._read)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        return [tuple(json.loads(line)) for line in whole.splitlines()]

    def _newest(self) -> int:
        """The epoch of the last write. (A real log would keep it aside.)"""
        self._file.seek(0)
        lines = self._file.read().splitlines()
        return int(json.loads(lines[-1])[0]) if lines else 0


class Shard:
    """What is held of one shard."""

    def __init__(self, item: berth.Held, log: Log) -> None:
        self.item = item
        self.log = log
        self.values: dict[str, str] = {}

    def catch_up(self) -> None:
        for _, key, value in self.log.unread():
            self.values[key] = value


class Cache(berth.Worker):
    """Replays the logs of its shards; the primary of a shard may write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shards: dict[str, Shard] = {}

    async def prepare(self, item: berth.Held) -> None:
        shard = Shard(item, Log(self.folder / f"{item.name}.log"))
        shard.catch_up()
        self.shards[item.name] = shard
        item.spawn(self.follow(shard))

    async def follow(self, shard: Shard) -> None:
        while True:
            shard.catch_up()
            await asyncio.sleep(0.1)

    async def activate(self, item: berth.Held) -> None:
        self.shards[item.name].catch_up()  # what the last primary wrote before it stopped

    async def drop(self, item: berth.Held) -> None:
        if shard := self.shards.pop(item.name, None):
            shard.log.close()

    async def get(self, request: web.Request) -> web.Response:
        shard = self.shards.get(request.match_info["shard"])
        if shard is None:
            return web.Response(status=421, text="this shard is not held here\n")
        value = shard.values.get(request.match_info["key"])
        return web.Response(status=404) if value is None else web.Response(text=value)

    async def put(self, request: web.Request) -> web.Response:
        shard = self.shards.get(request.match_info["shard"])
        value = await request.text()
        if shard is None or not shard.item.active():
            return web.Response(status=409, text="not the primary of this shard\n")
        if not shard.log.append(shard.item.epoch, request.match_info["key"], value):
            return web.Response(status=409, text="another primary has taken over\n")
        shard.catch_up()
        return web.Response(status=204)


def main() -> None:
    parser = argparse.ArgumentParser(description="A replicated cache; see the top of this file.")
    parser.add_argument("--log", type=Path, required=True, help="the folder of the logs")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    arguments.log.mkdir(exist_ok=True)
    cache = Cache(arguments.log)

    async def serve() -> None:
        app = web.Application()
        app.add_routes([web.get("/{shard}/{key}", cache.get), web.put("/{shard}/{key}", cache.put)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", arguments.port).start()
        try:
            await berth.serve(cache)
        finally:
            await runner.cleanup()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
