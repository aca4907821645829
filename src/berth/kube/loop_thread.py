"""An event loop in a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

R = TypeVar("R")


class LoopThread:
    """Runs coroutines for other threads between `start` and `stop`. It does not keep the process alive."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(self._loop,), name=self._name, daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, R]) -> "Future[R]":
        """Run `work` in the thread. Raises RuntimeError if it is not running."""
        if self._loop is None or not self.running:
            work.close()
            raise RuntimeError(f"the thread {self._name} is not running")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call_soon(self, call: Any) -> None:
        """Call `call` in the thread, if it is running."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(call)

    def stop(self, timeout: float | None = None) -> None:
        """Cancel everything in the thread and wait up to `timeout` seconds for its end."""
        if self._thread is not None and self._loop is not None:
            self.call_soon(self._loop.stop)
            self._thread.join(timeout)
            self._thread = None

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.get_loop().run_forever()
