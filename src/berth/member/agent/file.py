"""Drives a worker by a JSON file that is replaced atomically, so that a reader never sees a partial one."""

import asyncio
import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from berth.member.agent.worker import AgentWorker, log, message
from berth.member.steps import Callback
from berth.member.tasks import run_to_completion
from berth.member.worker import Held


class FileWorker(AgentWorker):
    """A Worker that writes its Items to a file: `{"items": [...]}`, sorted by name."""

    def __init__(self, path: Path, *, settle: float = 1.0) -> None:
        """The reader of the file gets `settle` seconds to release an Item that was removed from it or is no
        longer primary, before that counts as done.
        """
        self._path = path
        self._settle = settle
        self._items: dict[str, dict[str, Any]] = {}
        self._version = 0
        self._written = 0
        self._lock = asyncio.Lock()

    async def call(self, callback: Callback, item: Held) -> None:
        """Put the Item into the file, or remove it; the reader gets time to release it."""
        if callback is Callback.DROP:
            self._items.pop(item.name, None)
        else:
            self._items[item.name] = message(callback, item)
        await self._flush()
        if callback in (Callback.DEACTIVATE, Callback.DROP):
            await asyncio.sleep(self._settle)

    async def clear(self) -> None:
        """Write a file without Items. Raises OSError."""
        self._items.clear()
        await self._flush()

    async def compare(self) -> None:
        """Write the file again if another process has changed or removed it. Raises OSError."""
        async with self._lock:
            content = self._content()
            found = await asyncio.to_thread(lambda: self._path.exists() and self._path.read_bytes())
            if self._written == self._version and found != content:
                log.warning("%s was changed or removed by another process, written again", self._path)
                await self._write()

    async def _flush(self) -> None:
        """Return once a file with the present Items, or later ones, is in place: one write serves many."""
        self._version += 1
        version = self._version
        async with self._lock:
            if self._written < version:
                await self._write()

    async def _write(self) -> None:
        async def write() -> None:
            version = self._version
            await asyncio.to_thread(replace, self._path, self._content())
            self._written = version

        # It must end even if it is cancelled, because a newer file may be written next.
        await run_to_completion(write())

    def _content(self) -> bytes:
        body = {"items": [self._items[name] for name in sorted(self._items)]}
        return msgspec.json.encode(body) + b"\n"


def replace(path: Path, content: bytes) -> None:
    """Replace the file `path` atomically by one with this content. Raises OSError."""
    with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", dir=path.parent, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(file.name)
            raise
