"""Work that must not be interrupted."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


async def run_to_completion(work: Coroutine[Any, Any, R]) -> tuple[R, bool]:
    """Run `work` to its end even if this task is cancelled; its result, and whether it was cancelled.

    The caller then has to raise CancelledError. Raises what `work` raises.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    return task.result(), cancelled
