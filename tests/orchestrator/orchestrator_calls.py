"""Calls of a Communicator that do not answer."""

from __future__ import annotations

import asyncio
import contextlib
import time

LONG = 60.0
"""A timeout that a busy machine never reaches, for tests that do not wait for it."""


def deaf(release: asyncio.Event, log: list[str]):
    """A call that swallows every cancellation until it is released (or a test that failed must end)."""

    async def call(*arguments):
        log.append("started")
        latest = time.monotonic() + 25
        while not release.is_set() and time.monotonic() < latest:
            with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                await asyncio.wait_for(release.wait(), 25)
        log.append("ended")
        return ["late"]

    return call
