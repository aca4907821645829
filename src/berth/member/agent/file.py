"""Drives a worker by a JSON file that is replaced atomically, so that a reader never sees a partial one."""

import asyncio
import contextlib
import logging
import os
import tempfile
from pathlib import Path

import msgspec

from berth.member.agent.completion import run_to_completion
from berth.member.agent.message import Message, demoted, message
from berth.member.held import Held
from berth.member.worker import Worker

log = logging.getLogger("berth.agent")


class FileWorker(Worker):
    """A Worker that writes its Items to a file: `{"items": [...]}`, sorted by name."""

    def __init__(self, path: Path, *, settle: float = 1.0) -> None:
        """The reader of the file gets `settle` seconds to release an Item that was removed from it or is no
        longer primary, before that counts as done.
        """
        self._path = path
        self._settle = settle
        self._items: dict[str, Message] = {}
        self._version = 0
        self._written = 0
        self._lock = asyncio.Lock()

    async def prepare(self, item: Held) -> None:
        """Put it into the file as a replica."""
        await self._set(item.name, message(item))

    async def activate(self, item: Held) -> None:
        """Put it into the file as primary."""
        await self._set(item.name, message(item))

    async def deactivate(self, item: Held) -> None:
        """Put it into the file as a replica again, and give the reader time."""
        await self._set(item.name, demoted(item))
        await asyncio.sleep(self._settle)

    async def drop(self, item: Held) -> None:
        """Remove it from the file, and give the reader time."""
        await self._set(item.name, None)
        await asyncio.sleep(self._settle)

    async def clear(self) -> None:
        """Write a file without Items. Raises OSError."""
        self._items.clear()
        self._version += 1
        await self._flush(self._version)

    async def _set(self, name: str, what: Message | None) -> None:
        if what is None:
            self._items.pop(name, None)
        else:
            self._items[name] = what
        self._version += 1
        await self._flush(self._version)

    async def _flush(self, version: int) -> None:
        """Return once a file of that version, or a later one, is in place: one write for many changes."""
        async with self._lock:
            if self._written >= version:
                return
            await self._write()

    async def _write(self) -> None:
        newest, content = self._version, self._content()
        # It must end even if it is cancelled, because a newer file may be written next.
        _, cancelled = await run_to_completion(asyncio.to_thread(replace, self._path, content))
        self._written = newest
        if cancelled:
            raise asyncio.CancelledError

    def _content(self) -> bytes:
        body = {"items": [self._items[name] for name in sorted(self._items)]}
        return msgspec.json.encode(body) + b"\n"

    async def compare(self) -> None:
        """Write the file again if another process has changed or removed it. Raises OSError."""
        async with self._lock:
            if self._written < self._version or await asyncio.to_thread(_read, self._path) == self._content():
                return
            if self._written == self._version:
                log.warning("%s was changed or removed by another process, written again", self._path)
                await self._write()

    async def keep_in_sync(self, interval: float) -> None:
        """`compare` every `interval` seconds."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.compare()
            except OSError as error:
                log.warning("%s cannot be kept up to date: %s", self._path, error)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def replace(path: Path, content: bytes) -> None:
    """Replace the file `path` atomically by one with this content. Raises OSError."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
