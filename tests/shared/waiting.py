"""Waiting for a condition, in a coroutine and in a thread."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

Explain = str | Callable[[], object]
"""What is said where a condition did not come true."""


def _message(explain: Explain, seconds: float) -> str:
    return f"not within {seconds:g} s: {explain() if callable(explain) else explain}"


async def until(condition: Callable[[], object], explain: Explain = "", seconds: float = 40.0) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, _message(explain, seconds)
        await asyncio.sleep(0.005)


def eventually(look: Callable[[], Any], explain: Explain = "", seconds: float = 90.0) -> Any:
    """Look until the answer is true, and give that answer; generous, for a machine that is busy."""
    end = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < end, _message(explain, seconds)
        time.sleep(0.05)
    return answer


def run_until_idle(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until no callback is ready: each of its tasks then waits for something from outside."""
    while True:
        loop.call_soon(loop.stop)
        loop.run_forever()
        # asyncio has no public name for the queue of callbacks that are ready.
        if not loop._ready:  # type: ignore[attr-defined]
            return
