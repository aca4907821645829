"""A local copy of a collection, kept up to date by a list and a watch."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Generic, Self, TypeVar

from berth.kinds.meta import HasMeta, Key, Meta
from berth.kube.client import Client
from berth.kube.decode import Bad, Decoder
from berth.kube.errors import ApiError, Backoff, ConnectionLost, Gone, RequestTimeout
from berth.kube.resource import Resource
from berth.kube.transport import Params

T = TypeVar("T", bound=HasMeta)
logger = logging.getLogger(__name__)

STEADY = 1.0
"""Seconds after which a watch without events counts as one that worked."""


class Informer(Generic[T]):
    """Lists a collection in pages, then watches it until it is cancelled.

    Run it with `async with informer:` or `group.create_task(informer.run())`.

    - `on_event(old, new)` is called in order, without waiting between, for each change of the store: `old` is
      None where an object was added, `new` where it was deleted. One that was replaced by another of its
      name is deleted, then added. The first list is reported as added before `synced` returns. An exception
      that `on_event` raises is logged and passed to `on_error`; the informer goes on.
    - `on_error(key, error)` also reports an object that does not fit `type`. The store keeps the last version
      that did fit; `bad` has the error until a good version arrives or the object is deleted.
    - A lost connection is resumed where it ended. If the server no longer knows that point (410), everything
      is listed again; the list REPLACES the store, and what is missing from it is reported as deleted.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        type: type[T],
        namespace: str | None = None,
        *,
        field_selector: str | None = None,
        on_event: Callable[[T | None, T | None], None] | None = None,
        on_error: Callable[[Key, Exception], None] | None = None,
        page_size: int = 500,
        watch_seconds: int = 300,
        inactivity: float = 90.0,
        backoff: Backoff | None = None,
    ) -> None:
        """`namespace` None means all of them. `type` is a msgspec struct with a `metadata: Meta`.

        One watch lasts `watch_seconds`, spread by up to half more. A stream that is silent for `inactivity`
        seconds, or lasts that much longer than it should, counts as dead and is resumed. The server sends a
        bookmark every minute or two.
        """
        self.resource = resource
        self.resource_version = 0
        """Everything up to this resourceVersion is in the store; 0 before the first list."""
        self.restarts = 0
        """How often a watch ended and was started again, for any reason."""
        self.failures = 0
        """How many of these restarts followed a failure; the others are normal."""
        self._client = client
        self._path = resource.path(namespace)
        self._selectors: Params = {"fieldSelector": field_selector} if field_selector else {}
        self._decoder = Decoder(type)
        self._on_event = on_event
        self._on_error = on_error
        self._page_size = page_size
        self._watch_seconds = watch_seconds
        self._inactivity = inactivity
        self._backoff = backoff or Backoff()
        self._store: dict[Key, T] = {}
        self.store: Mapping[Key, T] = MappingProxyType(self._store)
        """The objects by (namespace, name); a live view."""
        self._bad: dict[Key, Exception] = {}
        self.bad: Mapping[Key, Exception] = MappingProxyType(self._bad)
        """Objects whose newest version does not fit the struct, and why; a live view."""
        self._advanced = asyncio.Event()
        self._synced = asyncio.Event()
        self._must_list = True
        self._progress = False  # whether this watch has brought an event
        self._opened: float | None = None  # when this watch was opened
        self._limit: asyncio.Timeout | None = None  # ends the watch that is open
        self._task: asyncio.Task[None] | None = None

    async def synced(self) -> None:
        """Wait for the first list to be complete."""
        await self._synced.wait()

    async def wait_for(self, resource_version: str | int) -> None:
        """Wait until the store shows the write (of this collection) that was answered with this version."""
        while self.resource_version < int(resource_version):
            self._advanced.clear()
            await self._advanced.wait()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run(), name=f"informer {self._path}")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    def relist(self) -> None:
        """List everything again and open a new watch: for a caller who knows that this one missed an event.

        The informer itself cannot distinguish a hung watch from one in which nothing happens.
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
                # Any error: an informer that ended silently would leave its callers with an old store.
                error = failure
            self.restarts += 1
            if self._progress or (self._opened and time.monotonic() - self._opened > STEADY):
                self._backoff.reset()
            elif error is None:
                error = ConnectionLost("the watch ended immediately, without an event")
            if error is not None:
                await self._recover(error)

    async def _recover(self, error: Exception) -> None:
        """Decide whether to resume or to list again, and wait as the number of failures in a row requires."""
        # 504: the server's resourceVersion is behind ours, because it was restored from a backup.
        # 200: what answered was not the API server.
        refused = isinstance(error, ApiError) and error.status not in (200, 410, 504)
        # An ERROR event of an open watch: client-go lists again after it, too.
        resumable = isinstance(error, ConnectionLost) or (refused and self._opened is None)
        self._must_list = self._must_list or not resumable
        if isinstance(error, Gone) and self._backoff.failures == 0:
            self._backoff.failures = 1  # one 410 is normal; only repeated ones count as failures
            logger.info("%s: listing again: %s", self._path, error.message)
            return
        self.failures += 1
        delay = max(self._backoff.next(), getattr(error, "retry_after", None) or 0.0)
        level, trace = logging.INFO if self._backoff.failures < 3 else logging.WARNING, None
        if not isinstance(error, ApiError):
            level, trace = logging.ERROR, error
        logger.log(level, "%s: %s; trying again in %.1f s", self._path, error, delay, exc_info=trace)
        await asyncio.sleep(delay)

    async def _list(self) -> None:
        """Make the store equal to what the server has; an object that no page lists is gone."""
        listed: set[Key] = set()
        version = ""
        pages = self._client.pages(self._path, self._selectors, self._decoder, self._page_size, timeout=30.0)
        async for first, objects, bad, meta in pages:
            version = meta.resource_version
            if first:
                listed.clear()
            for item in objects:
                listed.add(item.metadata.key)
                self._put(item)
            for broken in bad:
                listed.add(broken.meta.key)
                self._report_bad(broken)
            await asyncio.sleep(0)  # a long list must not block the event loop
        for key in [key for key in self._store if key not in listed]:
            self._remove(key)
        for key in self._bad.keys() - listed:
            del self._bad[key]
        self._must_list = False
        self._advance(version, backwards=True)
        self._synced.set()

    async def _watch(self) -> None:
        seconds = int(self._watch_seconds * random.uniform(1.0, 1.5))
        since: Params = {"resourceVersion": self.resource_version, "timeoutSeconds": seconds}
        query = {**self._selectors, **since}
        try:
            async with (
                asyncio.timeout(seconds + self._inactivity) as self._limit,
                self._client.watch(self._path, self._decoder, query, inactivity=self._inactivity) as events,
            ):
                self._opened = time.monotonic()
                async for kind, content in events:
                    self._handle(kind, content)
        except TimeoutError:
            if not self._must_list:
                text = f"WATCH {self._path}: the server did not end it after {seconds} s"
                raise RequestTimeout(text) from None
        finally:
            self._limit = None

    def _handle(self, kind: str, content: T | Bad | str) -> None:
        self._progress = True
        if isinstance(content, str):
            self._advance(content)
            return
        meta: Meta = content.meta if isinstance(content, Bad) else content.metadata
        if kind == "DELETED":
            self._remove(meta.key)
            self._bad.pop(meta.key, None)
        elif isinstance(content, Bad):
            self._report_bad(content)
        else:
            self._put(content)
        self._advance(meta.resource_version)

    def _put(self, new: T) -> None:
        meta = new.metadata
        key = meta.key
        if self._bad:
            self._bad.pop(key, None)
        old = self._store.get(key)
        if old is not None and old.metadata.uid != meta.uid:
            self._remove(key)
            old = None
        if old is None or old.metadata.resource_version != meta.resource_version:
            self._store[key] = new
            self._emit(key, old, new)

    def _remove(self, key: Key) -> None:
        old = self._store.pop(key, None)
        if old is not None:
            self._emit(key, old, None)

    def _emit(self, key: Key, old: T | None, new: T | None) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(old, new)
        except Exception as error:
            logger.exception("%s: the event handler failed for %s/%s", self._path, *key)
            self._report(key, error)

    def report_bad_again(self) -> None:
        """Report every object that cannot be used once more, for a listener that comes later."""
        for key, error in list(self._bad.items()):
            self._report(key, error)

    def _report_bad(self, bad: Bad) -> None:
        self._bad[bad.meta.key] = bad.error
        self._report(bad.meta.key, bad.error)

    def _report(self, key: Key, error: Exception) -> None:
        if self._on_error is None:
            logger.warning("%s: %s/%s cannot be used: %s", self._path, *key, error)
            return
        try:
            self._on_error(key, error)
        except Exception:
            logger.exception("%s: the error handler failed for %s/%s", self._path, *key)

    def _advance(self, resource_version: str, *, backwards: bool = False) -> None:
        version = int(resource_version or 0)
        # Only a list may step back: the server itself did so, it was restored from a backup.
        if version and (version >= self.resource_version or backwards):
            self.resource_version = version
            self._advanced.set()
