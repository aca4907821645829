"""Watches the Assignments of one namespace: what was written, how often, how much, when last."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from benchmarks.scale.bare import Bare
from benchmarks.scale.history import History, Truth
from benchmarks.scale.objects import path
from berth.kube.decode import LineSplitter


class Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""


class Spec(msgspec.Struct):
    pool: str = "default"
    term: int = 0
    items: list[str] = []

    def plain(self) -> dict[str, Any]:
        return {"pool": self.pool, "term": self.term, "items": self.items}


class Status(msgspec.Struct):
    session: str = ""
    items: list[str] = []


class Seen(msgspec.Struct):
    metadata: Meta
    spec: Spec = msgspec.field(default_factory=Spec)
    status: Status = msgspec.field(default_factory=Status)


class Event(msgspec.Struct):
    type: str
    object: Seen


class Page(msgspec.Struct):
    metadata: Meta
    items: list[Seen]


EVENT = msgspec.json.Decoder(Event)
PAGE = msgspec.json.Decoder(Page)


@dataclass
class Tally:
    """What was written since `since` (seconds since the epoch)."""

    since: float
    writes: Counter[str] = field(default_factory=Counter)
    """Writes of `spec` by Assignment, creations and deletions included."""
    bytes: int = 0
    """Of the specs as JSON."""
    last: float = 0.0
    before: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """`spec` of each written Assignment as it was before, None where it did not exist."""


async def lines(client: Bare, collection: str, version: str = "") -> AsyncIterator[bytes]:
    """What a watch of the collection says, a line each. Raises aiohttp.ClientError."""
    url = f"{client.base}{collection}?watch=1&allowWatchBookmarks=1&resourceVersion={version}"
    # A bookmark comes each minute or so: a watch that is silent for longer has been forgotten.
    limit = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=100)
    async with client.session.get(url, read_bufsize=2**20, timeout=limit) as answer:
        answer.raise_for_status()
        splitter = LineSplitter()
        async for chunk in answer.content.iter_any():
            for line in splitter.feed(chunk):
                yield line


class Observer:
    def __init__(self, client: Bare, namespace: str, truth: Truth, reported: bool) -> None:
        self.client = client
        self.at = time.time()
        """When what is being looked at was heard, in seconds since the epoch."""
        self.heard = self.at
        """When anything was heard last."""
        self.history = History(truth, lambda: self.at, reported)
        self.specs: dict[str, Spec] = {}
        self.tally = Tally(time.time())
        self.relists = 0
        """How often a part of the history was lost (the API server had forgotten it)."""
        self._path = path(namespace, "assignments")
        self._known: dict[str, tuple[str, int]] = {}
        self._version = ""
        self._deferred: list[tuple[float, bytes]] | None = None

    @property
    def deferring(self) -> bool:
        """Whether what is heard is kept for later."""
        return self._deferred is not None

    def defer(self) -> None:
        """Only keep what is heard until `catch_up`: checking takes the cores from what is measured."""
        self._deferred = []
        self.heard = time.time()

    def catch_up(self) -> None:
        """Look at what was kept."""
        kept, self._deferred = self._deferred or [], None
        for at, line in kept:
            self._look(at, line)

    def start_tally(self) -> None:
        """Count anew from now."""
        self.tally = Tally(time.time())

    def loads(self) -> dict[str, int]:
        """Entries by Assignment, now."""
        return {name: len(spec.items) for name, spec in self.specs.items()}

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                if not self._version:
                    await self._list()
                await self._watch()
            self.catch_up()  # the next watch begins where this one has ended
            await asyncio.sleep(0.1)

    async def _list(self) -> None:
        limit = aiohttp.ClientTimeout(total=30)
        async with self.client.session.get(self.client.base + self._path, timeout=limit) as answer:
            answer.raise_for_status()
            page = PAGE.decode(await answer.read())
        self._version = page.metadata.resource_version
        self.at = self.heard = time.time()
        there = {each.metadata.name for each in page.items}
        for name in [name for name in self.specs if name not in there]:
            self._count(name, self.at, 0)
            del self.specs[name], self._known[name]
        for each in page.items:
            self._take(each, self.at)
        self.history.rebuild(
            (each.metadata.name, each.spec.items, each.spec.term, each.status.items) for each in page.items
        )
        self.relists += 1

    async def _watch(self) -> None:
        try:
            async for line in lines(self.client, self._path, self._version):
                self._line(line)
        except aiohttp.ClientResponseError as error:
            if error.status == 410:
                self._version = ""
            raise

    def _line(self, line: bytes) -> None:
        self.heard = time.time()
        if line.startswith(b'{"type":"ERROR"'):
            self._version = ""
            raise aiohttp.ClientError(f"the watch ended: {line[:200].decode()}")
        if self._deferred is not None:
            self._deferred.append((self.heard, line))
        else:
            self._look(self.heard, line)

    def _look(self, at: float, line: bytes) -> None:
        self.at = at
        event = EVENT.decode(line)
        self._version = event.object.metadata.resource_version
        if event.type == "DELETED":
            self._gone(event.object.metadata.name)
        elif event.type != "BOOKMARK":
            self._put(event.object, at)

    def _put(self, seen: Seen, at: float) -> None:
        name, spec, reports = seen.metadata.name, seen.spec, seen.status.items
        if self._take(seen, at):
            self.history.assignment(name, spec.items, spec.term, reports)
        else:
            self.history.reports(name, reports)

    def _take(self, seen: Seen, at: float) -> bool:
        meta = seen.metadata
        key = (meta.uid, meta.generation)
        if self._known.get(meta.name) == key:
            return False
        self._known[meta.name] = key
        self._count(meta.name, at, len(msgspec.json.encode(seen.spec)))
        self.specs[meta.name] = seen.spec
        return True

    def _gone(self, name: str) -> None:
        self._count(name, self.at, 0)
        self.specs.pop(name, None)
        self._known.pop(name, None)
        self.history.gone(name)

    def _count(self, name: str, at: float, size: int) -> None:
        tally = self.tally
        if name not in tally.before:
            old = self.specs.get(name)
            tally.before[name] = old.plain() if old else None
        tally.writes[name] += 1
        tally.bytes += size
        tally.last = max(tally.last, at)
