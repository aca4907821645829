"""Sessions for workers written with threads: each callback runs in a thread of a pool."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar, Unpack

from berth.kube import LoopThread
from berth.member.session import Outcome
from berth.member.session import Session as AioSession
from berth.member.session import serve as aio_serve
from berth.member.settings import Options
from berth.member.steps import Callback
from berth.member.tasks import run_to_completion
from berth.member.worker import Adapter, HeldItem

R = TypeVar("R")


class Held(HeldItem):
    """One Item, from its `prepare` to the end of its `drop`. Thread-safe. See `berth.Held`."""

    event_type = threading.Event
    _over: threading.Event
    _cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether the running callback should return soon, because its result is no longer wanted.

        A thread cannot be interrupted: a long `prepare` or `activate` should check this.
        """
        return self._cancelled or self._over.is_set()

    def wait_over(self, seconds: float | None = None) -> bool:
        """Sleep until the Item is no longer held here, or for `seconds`; returns whether it is over."""
        return self._over.wait(seconds)


class Worker:
    """Like `berth.Worker`, with plain methods, each called in a thread."""

    def prepare(self, item: Held) -> None:
        """Load what the Item needs. Returning means that it is ready here."""

    def activate(self, item: Held) -> None:
        """Start working as the Item's primary, then return; `item.epoch` is the fencing token."""

    def deactivate(self, item: Held) -> None:
        """Stop working as primary. Once this has returned, another Member may start."""

    def drop(self, item: Held) -> None:
        """Release what the Item uses: it is no longer on this Member."""


class _InThreads(Adapter):
    held_type = Held

    def __init__(self, worker: Worker, pool: ThreadPoolExecutor) -> None:
        self._worker = worker
        self._pool = pool

    async def call(self, callback: Callback, item: Held) -> None:
        def cancel() -> None:
            item._cancelled = True

        item._cancelled = False
        function = getattr(self._worker, callback)
        running = asyncio.get_running_loop().run_in_executor(self._pool, _called, function, item)
        # If it is cancelled the thread keeps running, so the Item is busy here until it has ended.
        await run_to_completion(running, on_cancel=cancel)


def _called(function: Callable[[Held], None], item: Held) -> None:
    try:
        function(item)
    except StopIteration as error:
        # A future cannot carry a StopIteration: the callback would appear never to end.
        raise RuntimeError("the callback raised StopIteration: an iterator was exhausted") from error


def _pool(options: Options) -> ThreadPoolExecutor:
    # `concurrency` bounds prepare and activate; as many deactivate and drop may run beside them.
    concurrency = options.setdefault("concurrency", 16)
    return ThreadPoolExecutor(2 * concurrency, thread_name_prefix="berth")


def serve(worker: Worker, **options: Unpack[Options]) -> None:
    """Like `berth.serve`, to be called in the main thread. `concurrency` defaults to 16."""
    with _pool(options) as pool:
        asyncio.run(aio_serve(_InThreads(worker, pool), **options))


class Session:
    """Like `berth.Session`, for programs without an event loop: a context manager with its own thread.

    with berth.sync.Session(worker, pool="feeds", limit=100) as session:
        ...
        session.drain()
    """

    def __init__(self, worker: Worker, **options: Unpack[Options]) -> None:
        """The options are described by `berth.member.Settings`; `concurrency` defaults to 16.

        Raises `SettingsError`; entering raises what entering a `berth.Session` raises.
        """
        self._pool = _pool(options)
        self._session = AioSession(_InThreads(worker, self._pool), **options)
        self._thread = LoopThread("berth-session")

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._call(self._session.__aenter__())
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._call(self._session.__aexit__(None, None, None))
        finally:
            self._close()

    @property
    def id(self) -> str:
        """The id of the session, the holder of its Lease."""
        return self._session.id

    @property
    def live(self) -> bool:
        """Whether the Lease is certainly held at this moment."""
        return self._session.live

    def wait(self, seconds: float | None = None) -> Outcome:
        """Wait until the session has ended, `seconds` at most.

        Raises the error that ended it, if there was one, or TimeoutError.
        """
        return self._thread.submit(self._session.wait()).result(seconds)

    def drain(self, seconds: float | None = None) -> Outcome:
        """Hand everything over and withdraw the Member; see `berth.Session.drain`."""
        return self._call(self._session.drain(seconds))

    def stop(self) -> None:
        """End immediately; `wait` returns when that is done."""
        self._thread.call_soon(self._session.stop)

    def _call(self, work: Coroutine[Any, Any, R]) -> R:
        return self._thread.submit(work).result()

    def _close(self) -> None:
        self._thread.stop()
        self._pool.shutdown()
