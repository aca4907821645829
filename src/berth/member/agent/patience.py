"""Work that must not be left half done."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


async def to_its_end(work: Coroutine[Any, Any, R]) -> tuple[R, bool]:
    """Run `work` to its end, also when cancelled meanwhile; its result, and whether that was so.

    Whoever calls it has to go on being cancelled then. What `work` raises is raised.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    return task.result(), cancelled
