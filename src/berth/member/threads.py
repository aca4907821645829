"""The same for workers written with threads: each callback runs in a thread of a pool."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from berth.member import held as aio
from berth.member import worker as aio_worker
from berth.member.serve import serve as aio_serve
from berth.member.session import Outcome
from berth.member.session import Session as AioSession
from berth.member.settings import Options

R = TypeVar("R")


class Held:
    """One Item, from its `prepare` to the end of its `drop`; may be used from any thread."""

    def __init__(self, item: aio.Held) -> None:
        self._item = item
        self._over = threading.Event()
        self._cancelled = threading.Event()
        item.on_over(self._over.set)

    def __repr__(self) -> str:
        return repr(self._item)

    @property
    def name(self) -> str:
        """The Item's name."""
        return self._item.name

    @property
    def slot(self) -> int:
        """Its slot in the Assignment: 0 for the primary; replicas count from 1."""
        return self._item.slot

    @property
    def primary(self) -> bool:
        """True from the start of `activate` to the end of `deactivate`."""
        return self._item.primary

    @property
    def epoch(self) -> int:
        """The fencing token; for a replica its grant."""
        return self._item.epoch

    @property
    def grant(self) -> int:
        """The term in which the Item was given to this Member."""
        return self._item.grant

    @property
    def data(self) -> Mapping[str, str]:
        """The Item's `spec.data`, as read before `prepare`."""
        return self._item.data

    @property
    def lost(self) -> bool:
        """Whether it was taken away: the Lease was lost, or the session ended at once."""
        return self._item.lost

    @property
    def left(self) -> float:
        """Seconds for which this is surely ours if the Lease were not renewed again."""
        return self._item.left

    def owned(self) -> bool:
        """Whether this Member surely still holds the Item, by the clock."""
        return self._item.owned()

    def active(self) -> bool:
        """Whether this Member surely still holds the Item and works as its primary."""
        return self._item.active()

    @property
    def cancelled(self) -> bool:
        """Whether the callback that runs now is to return soon, because it is no longer wanted.

        A thread cannot be interrupted: a `prepare` or `activate` that takes long should look at this.
        """
        return self._cancelled.is_set() or self._over.is_set()

    def wait_over(self, seconds: float | None = None) -> bool:
        """Sleep until the Item is no longer owned here, or for `seconds`; whether it is over."""
        return self._over.wait(seconds)


class Worker:
    """As `berth.Worker`, with plain methods, each called in a thread."""

    def prepare(self, item: Held) -> None:
        """Load what the Item needs; returning means that it is ready here."""

    def activate(self, item: Held) -> None:
        """Begin to work as the Item's primary; `item.epoch` is the fencing token. Returns once begun."""

    def deactivate(self, item: Held) -> None:
        """Stop working as primary; once this has returned, another Member may start."""

    def drop(self, item: Held) -> None:
        """Let go of the Item: it is gone from here."""


class _InThreads(aio_worker.Worker):
    def __init__(self, worker: Worker, pool: ThreadPoolExecutor) -> None:
        self._worker = worker
        self._pool = pool
        self._views: dict[str, tuple[aio.Held, Held]] = {}

    async def prepare(self, item: aio.Held) -> None:
        await self._call(self._worker.prepare, item)

    async def activate(self, item: aio.Held) -> None:
        await self._call(self._worker.activate, item)

    async def deactivate(self, item: aio.Held) -> None:
        await self._call(self._worker.deactivate, item)

    async def drop(self, item: aio.Held) -> None:
        await self._call(self._worker.drop, item)
        self._views.pop(item.name, None)

    def _view(self, item: aio.Held) -> Held:
        known = self._views.get(item.name)
        if known is None or known[0] is not item:
            known = self._views[item.name] = (item, Held(item))
        return known[1]

    async def _call(self, function: Callable[[Held], None], item: aio.Held) -> None:
        view = self._view(item)
        view._cancelled.clear()
        running = asyncio.get_running_loop().run_in_executor(self._pool, _called, function, view)
        cancelled = False
        while True:
            try:
                await asyncio.shield(running)
                break
            except asyncio.CancelledError:
                # The thread goes on, and so the Item is busy here until it has ended.
                cancelled = True
                view._cancelled.set()
        if cancelled:
            raise asyncio.CancelledError


def _called(function: Callable[[Held], None], view: Held) -> None:
    try:
        function(view)
    except StopIteration as error:
        # No future can carry it: nobody would ever hear that the callback has ended.
        raise RuntimeError("StopIteration: an iterator had nothing more to give") from error


def _pool(options: Options) -> ThreadPoolExecutor:
    # `concurrency` bounds prepare and activate; as many again may deactivate and drop beside them.
    concurrency = options.setdefault("concurrency", 16)
    return ThreadPoolExecutor(2 * concurrency, thread_name_prefix="berth")


def serve(worker: Worker, **options: Unpack[Options]) -> None:
    """As `berth.serve`: hold Items until SIGTERM or SIGINT. To be called in the main thread."""
    with _pool(options) as pool:
        asyncio.run(aio_serve(_InThreads(worker, pool), **options))


class Session:
    """As `berth.Session`, for programs without an event loop: a context manager with a thread of its own.

    with berth.sync.Session(worker, pool="feeds", limit=100) as session:
        ...
        session.drain()
    """

    def __init__(self, worker: Worker, **options: Unpack[Options]) -> None:
        """For the options see `berth.member.Settings`. Raises `SettingsError`."""
        self._pool = _pool(options)
        self._session = AioSession(_InThreads(worker, self._pool), **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="berth-session", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._call(self._session.__aenter__())
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._call(self._session.__aexit__(None, None, None))
        finally:
            self._close()

    @property
    def id(self) -> str:
        """The session's id, the holder of the Lease."""
        return self._session.id

    @property
    def live(self) -> bool:
        """Whether the Lease is surely held at this moment."""
        return self._session.live

    def wait(self, seconds: float | None = None) -> Outcome:
        """Wait until the session has ended; raises what ended it, or TimeoutError."""
        return self._submit(self._session.wait()).result(seconds)

    def drain(self, seconds: float | None = None) -> Outcome:
        """Hand everything over and withdraw the Member; see `berth.Session.drain`."""
        return self._call(self._session.drain(seconds))

    def stop(self) -> None:
        """End at once; `wait` says when that is done."""
        self._loop.call_soon_threadsafe(self._session.stop)

    def _submit(self, work: Coroutine[Any, Any, R]) -> "Future[R]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _call(self, work: Coroutine[Any, Any, R]) -> R:
        return self._submit(work).result()

    def _close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self._pool.shutdown()
