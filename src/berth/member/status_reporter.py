"""Writes the reports of this Member to the status of its Assignment."""

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from berth.kinds import AssignmentObject
from berth.kube import ASSIGNMENTS, ApiError, Backoff, Client, Forbidden, Invalid, NotFound
from berth.member.assignment_watch import AssignmentWatch
from berth.member.callbacks import CallbackRunner, Snapshot
from berth.member.held import Tenure

log = logging.getLogger("berth.member")

URGENT_DELAY = 0.003
"""Seconds to batch reports before a write that the leader may be waiting for."""

LAZY_DELAY = 0.1
"""Seconds to batch reports before any other write."""

_REST = 1.0  # pause after a write, as a multiple of its duration: a slow API server gets fewer writes


def status_patch(session: str, snapshot: Snapshot, current: AssignmentObject) -> list[dict[str, Any]]:
    """The JSON patch that writes `snapshot`, if the Assignment is still `current`.

    The test of the resourceVersion ensures that the spec is unchanged when `Active` is written for an
    activation. It also makes a write whose answer was lost harmless: if it arrives after a later one, it
    changes nothing. The test of the session ensures that no other session has taken over; the first write of
    a session takes over itself.
    """
    tests = [{"op": "test", "path": "/metadata/resourceVersion", "value": current.metadata.resource_version}]
    if current.status.session == session:
        tests.append({"op": "test", "path": "/status/session", "value": session})
    status: dict[str, Any] = {"session": session, "items": list(snapshot.reports)}
    if snapshot.problems:
        status["problems"] = msgspec.to_builtins(snapshot.problems)
    return [*tests, {"op": "add", "path": "/status", "value": status}]


@dataclass(eq=False)
class StatusReporter:
    """Has at most one write in flight, always of the newest state."""

    client: Client
    watch: AssignmentWatch
    runner: CallbackRunner
    tenure: Tenure
    _dirty: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _urgent: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _written: Snapshot | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.notify(urgent=True)

    def notify(self, urgent: bool) -> None:
        """There may be something new to report; `urgent` if the leader may be waiting for it."""
        self._dirty.set()
        if urgent:
            self._urgent.set()

    @property
    def empty(self) -> bool:
        """Whether the last report says that nothing is held here, or there is no Assignment to report in."""
        return self.watch.current is None or (self._written is not None and not self._written.reports)

    async def run(self) -> None:
        """Write whenever there is something new to report, until the tenure ends."""
        backoff = Backoff(base=0.05, limit=5.0)
        rest_until = 0.0
        while True:
            await self._dirty.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAZY_DELAY):
                    await self._urgent.wait()
            await asyncio.sleep(max(URGENT_DELAY, rest_until - time.monotonic()))
            current = self.watch.current
            if current is None:
                self.watch.changed.clear()
                await self.watch.changed.wait()
                continue
            self._dirty.clear()
            self._urgent.clear()
            snapshot = self.runner.snapshot()
            if not self._worth_writing(snapshot, current):
                continue
            if not self.tenure.valid():
                return  # the present holder of the Lease reports for the Member
            started = time.monotonic()
            try:
                await self._write(snapshot, current)
            except ApiError as error:
                self.notify(urgent=True)
                await self._recover(error, current, backoff)
            else:
                backoff.reset()
            rest_until = time.monotonic() + _REST * (time.monotonic() - started)

    def _worth_writing(self, snapshot: Snapshot, current: AssignmentObject) -> bool:
        last = self._written
        return (
            last is None
            or bool(snapshot.intents)
            or current.status.session != self.watch.session
            or (snapshot.reports, snapshot.problems) != (last.reports, last.problems)
        )

    async def _write(self, snapshot: Snapshot, current: AssignmentObject) -> None:
        path = ASSIGNMENTS.path(self.watch.namespace, self.watch.name, "status")
        patch = status_patch(self.watch.session, snapshot, current)
        answer = await self.client.patch(path, patch, "json", type=AssignmentObject)
        self._written = snapshot
        self.runner.confirm(snapshot)
        self.watch.observe(answer)

    async def _recover(self, error: ApiError, current: AssignmentObject, backoff: Backoff) -> None:
        """Find out why a write failed: usually the leader has written in between."""
        if isinstance(error, Invalid | NotFound) and self.watch.current is not current:
            return  # the watch has already shown the newer one
        if isinstance(error, Forbidden):
            log.error("the status of the Assignment cannot be written: %s", error)
        delay = backoff.next()
        if not isinstance(error, Invalid | NotFound) or backoff.failures > 1:
            await asyncio.sleep(delay)
        try:
            await self.watch.refresh()
        except ApiError as again:
            log.debug("the Assignment cannot be read: %s", again)
            return
        if isinstance(error, Invalid) and self.watch.current is current:
            log.error("the API server does not accept the status of the Assignment: %s", error)
