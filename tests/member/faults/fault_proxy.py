"""A TCP proxy whose connections can be cut, made to hang, and slowed; a process of its own.

One listener for each name of the command line, all to the one target. It prints `{"NAME": PORT, ...}`, then
reads commands, one JSON object a line: `{"name": NAME, "mode": "ok" | "cut" | "hang" | "slow", "delay": S}`.
`cut` resets what is open and refuses what is new; `hang` swallows everything in silence.
"""

import asyncio
import contextlib
import json
import sys


class Gate:
    """One listener and its connections."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.mode = "ok"
        self.delay = 0.0
        self.changed = asyncio.Event()
        self.writers: set[asyncio.StreamWriter] = set()

    def set(self, mode: str, delay: float) -> None:
        self.mode, self.delay = mode, delay
        self.changed.set()
        self.changed = asyncio.Event()
        if mode == "cut":
            for writer in self.writers:
                writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "cut":
            writer.transport.abort()
            return
        while self.mode == "hang":
            await self.changed.wait()
        try:
            up_reader, up_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, up_writer}
        self.writers |= pair
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.pump(reader, up_writer))
                group.create_task(self.pump(up_reader, writer))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.writers -= pair
            for each in pair:
                each.transport.abort()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            while self.mode == "hang":
                await self.changed.wait()
            if self.mode == "slow":
                await asyncio.sleep(self.delay)
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()
        # The other direction ends when its side does.


async def main(host: str, port: int, names: list[str]) -> None:
    gates = {name: Gate(host, port) for name in names}
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
        gates[command["name"]].set(command["mode"], command.get("delay", 0.0))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
