"""Reads the Leases that have to be read: only a read can prove that a holder is dead, or the later of two.

A watch may be late, silent or hung while all else works. What a read shows counts: a renewal is a renewal,
and the watch that has not shown it is started again. Where a read fails nobody dies, and it is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from berth.controller.follow import Follower
from berth.controller.metrics import Metrics
from berth.kinds import LeaseObject
from berth.kube import LEASES, ApiError, Backoff, Client, Deadline, NotFound

logger = logging.getLogger(__name__)

MAX_GETS = 4
"""Up to this many Leases are read one by one; more of them by one list of their namespace."""
READ_TIMEOUT = 5.0
"""Seconds after which a read has failed."""
AGAIN_AFTER = 1.0
"""Seconds until Leases are read again of which a read has settled nothing."""
RESCAN = 5.0
"""Seconds between two checks for Leases to read, besides those that follow when one runs out."""

Found = dict[str, LeaseObject | ApiError | None]
"""What reads have shown by name; None: there is no such Lease."""
Sleep = Callable[[float], Awaitable[None]]


async def read_leases(
    client: Client, namespace: str, names: Collection[str], deadline: Deadline, max_gets: int = MAX_GETS
) -> Found:
    """Read these Leases of a namespace: a few one by one, more by one list."""
    if len(names) <= max_gets:
        reads = [_get(client, namespace, name, deadline) for name in names]
        return dict(zip(names, await asyncio.gather(*reads), strict=True))
    try:
        leases = await client.list(LEASES.path(namespace), type=LeaseObject, deadline=deadline)
    except ApiError as error:
        return dict.fromkeys(names, error)
    return dict.fromkeys(names, None) | {lease.metadata.name: lease for lease in leases}


async def _get(
    client: Client, namespace: str, name: str, deadline: Deadline
) -> LeaseObject | ApiError | None:
    try:
        return await client.get(LEASES.path(namespace, name), type=LeaseObject, deadline=deadline)
    except NotFound:
        return None
    except ApiError as error:
        return error


class LeaseReader:
    """Reads the Leases of one namespace that have to be read."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        due: Callable[[], Collection[str]],
        put: Callable[[str, LeaseObject | None, float], bool],
        on_silent: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        backoff: Backoff | None = None,
        max_gets: int = MAX_GETS,
    ) -> None:
        """`due` names the Leases to read; `put(name, lease, started)` takes what a read has shown.

        `put` returns whether the watch had missed a renewal; then `on_silent` is called.
        """
        self._client = client
        self._namespace = namespace
        self._due = due
        self._put = put
        self._on_silent = on_silent
        self._clock = clock
        self._sleep = sleep
        self._backoff = backoff or Backoff(limit=5.0)
        self._max_gets = max_gets
        self._running = False

    def start(self, group: asyncio.TaskGroup) -> None:
        """Start to read if there is something to read, unless that is under way."""
        if not self._running and self._due():
            self._running = True
            group.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self.read()
        finally:
            self._running = False

    async def read(self) -> None:
        """Read until there is nothing left to read."""
        self._backoff.reset()
        while names := sorted(self._due()):
            started = self._clock()
            found = await read_leases(
                self._client, self._namespace, names, started + READ_TIMEOUT, self._max_gets
            )
            self._take(found, names, started)
            errors = [answer for answer in found.values() if isinstance(answer, ApiError)]
            if errors:
                failed = [name for name in names if isinstance(found[name], ApiError)]
                delay = max(self._backoff.next(), *(error.retry_after or 0.0 for error in errors))
                logger.warning(
                    "namespace=%s %d Leases (%s) seem to have expired but cannot be read; their Members count"
                    " as live, next attempt in %.1f s: %s",
                    self._namespace,
                    len(errors),
                    ", ".join(failed)[:200],
                    delay,
                    errors[0],
                )
                await self._sleep(delay)
                continue
            self._backoff.reset()
            if not set(names).isdisjoint(self._due()):
                await self._sleep(AGAIN_AFTER)

    def _take(self, found: Found, names: Collection[str], started: float) -> None:
        missed = set()
        for name, lease in found.items():
            if not isinstance(lease, ApiError) and self._put(name, lease, started):
                missed.add(name)
        # Of others that a list shows an event may still be on its way.
        if silent := sorted(missed.intersection(names)):
            logger.warning(
                "namespace=%s the watch of Leases is late or silent: it missed renewals of %d Leases (%s);"
                " listing all Leases again",
                self._namespace,
                len(silent),
                ", ".join(silent[:3]),
            )
            self._on_silent()


class LeaseReaders:
    """Reads Leases of all namespaces while this process leads; none waits for another namespace."""

    def __init__(self, client: Client, follower: Follower, metrics: Metrics) -> None:
        self._client = client
        self._follower = follower
        self._metrics = metrics
        self._readers: dict[str, LeaseReader] = {}

    async def run(self) -> None:
        """Read until cancelled."""
        follower = self._follower
        async with asyncio.TaskGroup() as group:
            while True:
                follower.reads_due.clear()
                for namespace in follower.namespaces:
                    self._reader(namespace).start(group)
                try:
                    async with asyncio.timeout(RESCAN):
                        await follower.reads_due.wait()
                except TimeoutError:
                    pass

    def _reader(self, namespace: str) -> LeaseReader:
        reader = self._readers.get(namespace)
        if reader is None:
            reader = self._readers[namespace] = LeaseReader(
                self._client,
                namespace,
                partial(self._follower.leases_to_read, namespace),
                partial(self._follower.put_lease_read, namespace),
                partial(self._on_silent, namespace),
            )
        return reader

    def _on_silent(self, namespace: str) -> None:
        self._metrics.watch_silent.inc()
        self._follower.informer(LEASES, namespace).relist()
