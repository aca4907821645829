"""Ways to wait: for the first of several coroutines, for an event, for work that must not be interrupted."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


async def first(*works: Coroutine[Any, Any, R], on_end: Callable[[], None] = lambda: None) -> R:
    """The result of the coroutine that ends first; the others are cancelled and waited for.

    `on_end` is called as soon as one has ended, or this is cancelled, before any other task runs.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return await next(task for task in tasks if task.done())
    finally:
        on_end()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def when(event: asyncio.Event, result: R) -> R:
    """Wait for the event, and return `result`."""
    await event.wait()
    return result


async def wait_at_most(seconds: float, event: asyncio.Event) -> None:
    """Wait for the event, for `seconds` at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def run_to_completion(work: Awaitable[R], on_cancel: Callable[[], None] = lambda: None) -> R:
    """Run `work` to its end even if this task is cancelled meanwhile, and raise CancelledError only then.

    `on_cancel` is called at each cancellation. Raises what `work` raises.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
            on_cancel()
    result = task.result()
    if cancelled:
        raise asyncio.CancelledError
    return result
