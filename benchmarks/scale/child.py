"""Processes that work beside the benchmark: a command a line in, an answer a line out."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
LINE = 64 * 2**20
"""Longest command in bytes: the Assignments of the largest fleet fit in it."""

Handler = Callable[..., Awaitable[Any]]


class ChildError(Exception):
    """A command failed in the other process."""


class Child:
    """A process of `python -m MODULE ARGS`; one command at a time."""

    def __init__(self, module: str, *args: str) -> None:
        self._command = [sys.executable, "-m", module, *args]
        self._gate = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, limit=LINE, cwd=ROOT
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def ask(self, command: str, **arguments: Any) -> Any:
        """Run a command there; what it returns. Raises ChildError."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        async with self._gate:
            process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        if not line:
            raise ChildError(f"{self._command[2]} ended during {command}")
        answer = json.loads(line)
        if "error" in answer:
            raise ChildError(f"{command}: {answer['error']}")
        return answer["result"]


async def serve(handlers: dict[str, Handler]) -> None:
    """In the child: answer commands until the input ends."""
    commands = asyncio.StreamReader(limit=LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    while line := await commands.readline():
        command = json.loads(line)
        try:
            answer = {"result": await handlers[command.pop("do")](**command)}
        except Exception as error:  # told to the parent, whatever it is
            answer = {"error": f"{type(error).__name__}: {error}"}
            if isinstance(error, ExceptionGroup):
                answer["error"] += f": {error.exceptions[0]}"
        print(json.dumps(answer), flush=True)
