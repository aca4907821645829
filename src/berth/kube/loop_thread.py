"""An event loop in a thread of its own, and how another thread notices that a loop is blocked."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

R = TypeVar("R")

STEPS = 4
"""How many answers a loop owes its Watchdog when it counts as blocked."""


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
            raise RuntimeError(
                f"the thread {self._name} does not run: use it inside of `with` or `async with`"
            )
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call_soon(self, call: Callable[[], object]) -> None:
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


class Watchdog:
    """Sends a ping to a loop every `period` seconds; the loop is blocked when it owes `STEPS` answers.

    Counting unanswered pings instead of seconds makes a process that was stopped as a whole (SIGSTOP, a
    suspended machine) owe one answer, not all.
    """

    def __init__(self, limit: float, loop: asyncio.AbstractEventLoop) -> None:
        """`limit`: seconds for which `loop` may be blocked."""
        self.limit = limit
        self.period = limit / STEPS
        self._loop = loop
        self._owed = 0
        self._due = 0.0

    def reset(self) -> None:
        """Forget unanswered pings."""
        self._owed = 0

    def blocked(self, now: float) -> bool:
        """Whether the loop owes too many answers; sends another ping if one is due."""
        if now < self._due:
            return False
        self._due = now + self.period
        if self._owed >= STEPS:
            return True
        self._owed += 1
        with contextlib.suppress(RuntimeError):  # a closed loop answers nothing
            self._loop.call_soon_threadsafe(self.reset)
        return False
