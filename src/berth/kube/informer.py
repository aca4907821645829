"""A local copy of a collection, kept up to date by a list and a watch."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Generic, Self, TypeVar

import msgspec

from berth.kinds.meta import HasMeta, Key, Meta
from berth.kube.backoff import Backoff
from berth.kube.client import Client
from berth.kube.decode import UNKNOWN, Bad, Decoder
from berth.kube.errors import ApiError, Gone, RequestTimeout, ServerError
from berth.kube.lines import LineSplitter
from berth.kube.resource import Resource

__all__ = ["EventKind", "Informer"]

T = TypeVar("T", bound=HasMeta)
logger = logging.getLogger(__name__)

STEADY = 1.0
"""Seconds after which a watch that brought nothing counts as one that worked."""


class EventKind(StrEnum):
    """What happened to an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Informer(Generic[T]):
    """Lists a collection in pages, then watches it for ever.

    Run it with `async with informer:` or `group.create_task(informer.run())`.

    - `on_event(kind, old, new)` is called in order, without waiting between, for each change of the store:
      ADDED has no `old`, DELETED no `new`. An object that was replaced by another of its name is DELETED,
      then ADDED. When it raises, the exception is logged, given to `on_error`, and the informer goes on. The
      first list comes as ADDED too, before `synced` returns.
    - `on_error(key, error)` tells of an object that does not fit `type`, too. The store keeps the last
      version that did; `bad` has the error until a good version comes or the object goes.
    - A lost connection is resumed where it ended. Where the server no longer knows that point (410), all is
      listed again; the list REPLACES the store, and what is missing from it is reported as DELETED.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        type: type[T],
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        on_event: Callable[[EventKind, T | None, T | None], None] | None = None,
        on_error: Callable[[Key, Exception], None] | None = None,
        page_size: int = 500,
        watch_seconds: int = 300,
        inactivity: float = 90.0,
        backoff: Backoff | None = None,
    ) -> None:
        """`namespace` None is all of them. `type` is a msgspec struct with a `metadata: Meta`.

        `watch_seconds` is how long one watch is asked to last (spread by up to half more); a stream that is
        silent for `inactivity` seconds, or lasts that much longer than asked, is taken for dead. The server
        sends a bookmark every minute or two; a quiet stream that was alive is resumed at no cost.
        """
        self.resource = resource
        self.namespace = namespace
        self.relists = 0
        """How often the whole collection had to be listed again."""
        self.restarts = 0
        """How often a watch ended and was started again, for whatever reason."""
        self.failures = 0
        """How many of those were failures."""
        self._client = client
        self._path = resource.path(namespace)
        self._selectors: dict[str, str | int | bool] = {}
        if label_selector:
            self._selectors["labelSelector"] = label_selector
        if field_selector:
            self._selectors["fieldSelector"] = field_selector
        self._decoder = Decoder(type)
        self._on_event = on_event
        self._on_error = on_error
        self._page_size = page_size
        self._watch_seconds = watch_seconds
        self._inactivity = inactivity
        self._backoff = backoff or Backoff()
        self._store: dict[Key, T] = {}
        self._view = MappingProxyType(self._store)
        self._bad: dict[Key, Exception] = {}
        self._version = ""
        self._seen = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._synced = asyncio.Event()
        self._must_list = True
        self._progress = False  # whether this watch brought something
        self._opened: float | None = None  # since when this watch is open
        self._limit: asyncio.Timeout | None = None  # ends the watch that is open
        self._task: asyncio.Task[None] | None = None

    # -- what callers look at

    @property
    def store(self) -> Mapping[Key, T]:
        """The objects by (namespace, name); a live view."""
        return self._view

    @property
    def bad(self) -> Mapping[Key, Exception]:
        """Objects whose newest version does not fit the struct, and why; a live view."""
        return MappingProxyType(self._bad)

    @property
    def resource_version(self) -> int:
        """Everything up to this resourceVersion is in the store; 0 before the first list."""
        return self._seen

    @property
    def is_synced(self) -> bool:
        """Whether the first list is complete."""
        return self._synced.is_set()

    async def synced(self) -> None:
        """Wait for the first list to be complete."""
        await self._synced.wait()

    def has_seen(self, resource_version: str | int) -> bool:
        """Whether the store shows the write that answered with this resourceVersion."""
        return self._seen >= int(resource_version)

    async def wait_for(self, resource_version: str | int) -> None:
        """Wait until the store shows the write (of this collection) that answered with this version."""
        version = int(resource_version)
        if self._seen >= version:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (version, future)
        self._waiting.append(entry)
        try:
            await future
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(entry)

    # -- running

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run(), name=f"informer {self._path}")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def relist(self) -> None:
        """List everything again, by a new watch: for whoever knows that this one has missed something.

        No watch can be told from one that is silent because nothing happens.
        """
        self._must_list = True
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time())
            self._limit = None

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            self._progress, self._opened = False, None
            error: Exception | None = None
            try:
                if self._must_list:
                    await self._list()
                await self._watch()
            except Exception as failure:
                # Whatever it is: an informer that ends in silence would do more harm than one that says so.
                error = failure
            self.restarts += 1
            if self._progress or (self._opened and time.monotonic() - self._opened > STEADY):
                self._backoff.reset()
            elif error is None:
                error = ServerError(0, "EmptyWatch", "the watch ended at once, without an event")
            if error is not None:
                await self._recover(error)

    async def _recover(self, error: Exception) -> None:
        """Decide whether to resume or to list again, and wait as long as the failures in a row ask for."""
        # 504: the server's own resourceVersion is behind ours, it was restored from a backup.
        resumable = isinstance(error, ApiError) and error.status not in (410, 504)
        self._must_list = self._must_list or not resumable
        if isinstance(error, Gone) and self._backoff.failures == 0:
            self._backoff.failures = 1  # the first is no failure; a server that says it again and again is
            logger.info("%s: listing again: %s", self._path, error.message)
            return
        self.failures += 1
        delay = max(self._backoff.next(), getattr(error, "retry_after", None) or 0.0)
        level = logging.INFO if self._backoff.failures < 3 else logging.WARNING
        surprise = not isinstance(error, ApiError | msgspec.DecodeError)
        logger.log(
            logging.ERROR if surprise else level,
            "%s: %s; again in %.1f s",
            self._path,
            error,
            delay,
            exc_info=error if surprise else None,
        )
        await asyncio.sleep(delay)

    async def _list(self) -> None:
        """Make the store what the server has, page by page; whoever is missing at the end is gone."""
        first = not self._synced.is_set()
        query: dict[str, str | int | bool] = {**self._selectors, "limit": self._page_size}
        seen: set[Key] = set()
        while True:
            try:
                body = await self._client.get(self._path, query, type=bytes, timeout=30.0)
            except Gone:
                if "continue" not in query:
                    raise
                # The list took longer than the server keeps its past (5 minutes): take it in one piece, as
                # client-go does.
                query = dict(self._selectors)
                seen.clear()
                continue
            objects, bad, meta = self._decoder.page(body)
            for item in objects:
                seen.add(item.metadata.key)
                self._put(item)
            for broken in bad:
                seen.add(broken.meta.key)
                self._report_bad(broken)
            if not meta.continue_:
                break
            query["continue"] = meta.continue_
            await asyncio.sleep(0)
        for key in [key for key in self._store if key not in seen]:
            self._remove(key)
        for key in [key for key in self._bad if key not in seen]:
            del self._bad[key]
        self._must_list = False
        self._advance(meta.resource_version, backwards=True)
        if first:
            self._synced.set()
        else:
            self.relists += 1

    async def _watch(self) -> None:
        seconds = int(self._watch_seconds * random.uniform(1.0, 1.5))
        query: dict[str, str | int | bool] = {
            **self._selectors,
            "watch": True,
            "allowWatchBookmarks": True,
            "resourceVersion": self._version,
            "timeoutSeconds": seconds,
        }
        splitter = LineSplitter()
        try:
            async with (
                asyncio.timeout(seconds + self._inactivity) as self._limit,
                self._client.stream(self._path, query, inactivity=self._inactivity) as chunks,
            ):
                self._opened = time.monotonic()
                async for chunk in chunks:
                    for line in splitter.feed(chunk):
                        self._handle(line)
        except TimeoutError:
            if not self._must_list:
                text = f"WATCH {self._path}: the server did not end it after {seconds} s"
                raise RequestTimeout(text) from None
        finally:
            self._limit = None

    def _handle(self, line: bytes) -> None:
        try:
            kind, what = self._decoder.event(line)
        except ApiError:
            self._must_list = True  # the server gave up on this watch from within, as client-go sees it
            raise
        self._progress = True
        if isinstance(what, str):
            self._advance(what)
            return
        meta: Meta = what.meta if isinstance(what, Bad) else what.metadata
        if kind == "DELETED":
            self._remove(meta.key)
            self._bad.pop(meta.key, None)
        elif isinstance(what, Bad):
            self._report_bad(what)
        else:
            self._put(what)
        self._advance(meta.resource_version)

    # -- the store

    def _put(self, new: T) -> None:
        meta = new.metadata
        key = meta.key
        if self._bad:
            self._bad.pop(key, None)
        old = self._store.get(key)
        if old is None:
            self._store[key] = new
            self._emit(key, EventKind.ADDED, None, new)
        elif old.metadata.uid != meta.uid:
            self._remove(key)
            self._store[key] = new
            self._emit(key, EventKind.ADDED, None, new)
        elif old.metadata.resource_version != meta.resource_version:
            self._store[key] = new
            self._emit(key, EventKind.MODIFIED, old, new)

    def _remove(self, key: Key) -> None:
        old = self._store.pop(key, None)
        if old is not None:
            self._emit(key, EventKind.DELETED, old, None)

    def _emit(self, key: Key, kind: EventKind, old: T | None, new: T | None) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(kind, old, new)
        except Exception as error:
            logger.exception("%s: %s of %s/%s: the event's handler failed", self._path, kind, *key)
            self._tell(key, error)

    def _report_bad(self, bad: Bad) -> None:
        key = bad.meta.key if bad.meta.name else UNKNOWN
        self._bad[key] = bad.error
        self._tell(key, bad.error)

    def _tell(self, key: Key, error: Exception) -> None:
        if self._on_error is None:
            logger.warning("%s: %s/%s cannot be used: %s", self._path, *key, error)
            return
        try:
            self._on_error(key, error)
        except Exception:
            logger.exception("%s: %s/%s: the error's handler failed", self._path, *key)

    def _advance(self, resource_version: str, *, backwards: bool = False) -> None:
        if not resource_version:
            return
        version = int(resource_version)
        # Only a list may step back, when the server itself did (restored from a backup).
        if version < self._seen and not backwards:
            return
        self._version = resource_version
        self._seen = version
        for entry in [entry for entry in self._waiting if entry[0] <= version] if self._waiting else ():
            self._waiting.remove(entry)
            if not entry[1].done():
                entry[1].set_result(None)
