"""Reads the Leases that have to be read: only a read proves that a holder is dead, or is the later of two.

A watch may be late, silent or hung while everything else works. The result of a read counts: a renewal is a
renewal, and a watch that has not shown it is restarted. A failed read declares nobody dead; it is retried.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from berth import kube
from berth.controller.follow import Clock, Follower, Sleep
from berth.controller.metrics import Metrics
from berth.kinds import LeaseObject

logger = logging.getLogger(__name__)

MAX_GETS = 4
"""Up to this many Leases are read one by one; more are read by one list of the namespace."""
READ_TIMEOUT = 5.0
"""Seconds after which a read has failed."""
AGAIN_AFTER = 1.0
"""Seconds until Leases are read again whose read decided nothing."""
RESCAN = 5.0
"""Seconds between two checks for Leases to read, besides the check after each expiry."""

Found = dict[str, LeaseObject | kube.ApiError | None]
"""The results of reads by name; None: there is no such Lease."""


@dataclass
class LeaseReader:
    """Reads the Leases of one namespace that have to be read."""

    client: kube.Client
    namespace: str
    due: Callable[[], Collection[str]]
    """Names the Leases to read."""
    put: Callable[[str, LeaseObject | None, float], bool]
    """Gets the result of each read and when it started; returns whether the watch missed a renewal."""
    on_silent: Callable[[], None]
    """Called after reads for which `put` returned True."""
    clock: Clock = time.monotonic
    sleep: Sleep = asyncio.sleep
    backoff: kube.Backoff = field(default_factory=lambda: kube.Backoff(limit=5.0))
    max_gets: int = MAX_GETS
    _reading: asyncio.Task[None] | None = None

    def start(self, group: asyncio.TaskGroup) -> None:
        """Start to read if a Lease has to be read, unless a read is under way."""
        if (self._reading is None or self._reading.done()) and self.due():
            self._reading = group.create_task(self.read())

    async def read(self) -> None:
        """Read until no Lease has to be read any more."""
        self.backoff.reset()
        while names := sorted(self.due()):
            started = self.clock()
            found = await self._find(names, started + READ_TIMEOUT)
            self._pass_on(found, names, started)
            errors = {name: answer for name, answer in found.items() if isinstance(answer, kube.ApiError)}
            if errors:
                delay = max(self.backoff.next(), *(error.retry_after or 0.0 for error in errors.values()))
                logger.warning(
                    "namespace=%s %d Leases (%s) seem to have expired but cannot be read; their Members count"
                    " as live, next attempt in %.1f s: %s",
                    self.namespace,
                    len(errors),
                    ", ".join(errors)[:200],
                    delay,
                    next(iter(errors.values())),
                )
                await self.sleep(delay)
                continue
            self.backoff.reset()
            if not set(names).isdisjoint(self.due()):
                await self.sleep(AGAIN_AFTER)

    async def _find(self, names: Collection[str], deadline: float) -> Found:
        """Read these Leases; a list shows the others of the namespace too."""
        if len(names) <= self.max_gets:
            reads = [self._get(name, deadline) for name in names]
            return dict(zip(names, await asyncio.gather(*reads), strict=True))
        path = kube.LEASES.path(self.namespace)
        try:
            leases = await self.client.list(path, type=LeaseObject, deadline=deadline)
        except kube.ApiError as error:
            return dict.fromkeys(names, error)
        return dict.fromkeys(names, None) | {lease.metadata.name: lease for lease in leases}

    async def _get(self, name: str, deadline: float) -> LeaseObject | kube.ApiError | None:
        path = kube.LEASES.path(self.namespace, name)
        try:
            return await self.client.get(path, type=LeaseObject, deadline=deadline)
        except kube.NotFound:
            return None
        except kube.ApiError as error:
            return error

    def _pass_on(self, found: Found, names: Collection[str], started: float) -> None:
        missed = set()
        for name, lease in found.items():
            if not isinstance(lease, kube.ApiError) and self.put(name, lease, started):
                missed.add(name)
        # For the others in a list, the event may still be on its way.
        if silent := sorted(missed.intersection(names)):
            logger.warning(
                "namespace=%s the watch of Leases is late or silent: it missed renewals of %d Leases (%s);"
                " listing all Leases again",
                self.namespace,
                len(silent),
                ", ".join(silent[:3]),
            )
            self.on_silent()


async def read_due_leases(client: kube.Client, follower: Follower, metrics: Metrics) -> None:
    """Read Leases until cancelled, while this process leads; no namespace waits for another."""
    readers: dict[str, LeaseReader] = {}

    def on_silent(namespace: str) -> None:
        metrics.watch_silent.inc()
        follower.informer(kube.LEASES, namespace).relist()

    async with asyncio.TaskGroup() as group:
        while True:
            follower.reads_due.clear()
            for namespace in {namespace for namespace, _ in follower.pools}:
                if namespace not in readers:
                    readers[namespace] = LeaseReader(
                        client,
                        namespace,
                        partial(follower.leases_to_read, namespace),
                        partial(follower.put_lease_read, namespace),
                        partial(on_silent, namespace),
                    )
                readers[namespace].start(group)
            with suppress(TimeoutError):
                async with asyncio.timeout(RESCAN):
                    await follower.reads_due.wait()
