"""A proxy in front of the API server that breaks connections and watches; a process of its own.

    fault_proxy.py KUBECONFIG NAME...

It has one listener of plain HTTP for each name, and acts with the credentials of KUBECONFIG. It prints
`{"NAME": PORT, ...}`, then reads commands, one JSON object a line, with `name`, `mode` and `delay`.
"""

import asyncio
import contextlib
import json
import re
import sys
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from berth.kube import Access, load_config

REQUEST = re.compile(rb"[A-Z]+ (\S+) HTTP/1\.1\r\n")
WATCH = re.compile(rb"[?&]watch=(true|1)\b")


class Mode(StrEnum):
    """What a listener does with what passes through it."""

    OK = "ok"
    CUT = "cut"
    """Open connections are reset, new ones refused."""
    HANG = "hang"
    """Nothing passes; requests and answers are delivered late, when the mode changes."""
    UNANSWERED = "unanswered"
    """Requests pass, answers do not: the API server does what the client never learns of in time."""
    SLOW = "slow"
    """Each chunk is delayed."""
    SILENT = "silent"
    """Nothing of a watch passes until the mode changes; everything else works."""
    LATE = "late"
    """Each chunk of a watch is delayed; everything else works."""


class Gate:
    """One listener and its connections."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.mode = Mode.OK
        self.delay = 0.0
        self.changed = asyncio.Event()
        self.writers: set[asyncio.StreamWriter] = set()

    def set(self, mode: Mode, delay: float) -> None:
        self.mode, self.delay = mode, delay
        self.changed.set()
        self.changed = asyncio.Event()
        if mode is Mode.CUT:
            for writer in self.writers:
                writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.mode is Mode.HANG:
            await self.changed.wait()
        if self.mode is Mode.CUT:
            writer.transport.abort()
            return
        server = urlsplit(self.access.base_url)
        try:
            answers, requests = await asyncio.open_connection(
                server.hostname, server.port, ssl=self.access.ssl
            )
        except OSError:
            writer.transport.abort()
            return
        await Connection(self, reader, writer, answers, requests).run()


class Connection:
    """One connection of a client, and the one to the API server that belongs to it."""

    def __init__(
        self, gate: Gate, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter,
        from_server: asyncio.StreamReader, to_server: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        self.gate = gate
        self.from_client = from_client
        self.to_client = to_client
        self.from_server = from_server
        self.to_server = to_server
        self.watch = False

    async def run(self) -> None:
        pair = {self.to_client, self.to_server}
        self.gate.writers |= pair
        pumps = [asyncio.create_task(self.requests()), asyncio.create_task(self.answers())]
        try:
            # The end of one direction ends both: no client of HTTP closes one direction only.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            self.to_client.close()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self.gate.writers -= pair
            self.to_server.transport.abort()

    async def requests(self) -> None:
        while data := await self.from_client.read(65536):
            if head := REQUEST.match(data):
                self.watch = WATCH.search(head[1]) is not None
            while self.gate.mode is Mode.HANG:
                await self.gate.changed.wait()
            if self.gate.mode is Mode.SLOW:
                await asyncio.sleep(self.gate.delay)
            self.to_server.write(data)
            await self.to_server.drain()

    async def answers(self) -> None:
        while data := await self.from_server.read(65536):
            while self.held_back:
                await self.gate.changed.wait()
            if self.gate.mode is Mode.SLOW or (self.gate.mode is Mode.LATE and self.watch):
                await asyncio.sleep(self.gate.delay)
            self.to_client.write(data)
            await self.to_client.drain()

    @property
    def held_back(self) -> bool:
        mode = self.gate.mode
        return mode in (Mode.HANG, Mode.UNANSWERED) or (mode is Mode.SILENT and self.watch)


async def main(kubeconfig: str, names: list[str]) -> None:
    access = await load_config(Path(kubeconfig)).access()
    gates = {name: Gate(access) for name in names}
    ports = {}
    for name, gate in gates.items():
        server = await asyncio.start_server(gate.accept, "127.0.0.1", 0)
        ports[name] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    while line := await commands.readline():
        command = json.loads(line)
        gates[command["name"]].set(Mode(command["mode"]), command["delay"])


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], sys.argv[2:]))
