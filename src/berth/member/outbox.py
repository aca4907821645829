"""Writes what this Member has to say into the status of its Assignment."""

import asyncio
import logging
import time
from typing import Any

import msgspec

from berth.kube import ApiError, Backoff, Client, Forbidden, Invalid, NotFound
from berth.member.delivery import Delivery
from berth.member.inbox import UNUSABLE, Inbox
from berth.member.objects import ASSIGNMENTS, Assignment
from berth.member.report import Snapshot
from berth.member.tenure import Tenure

log = logging.getLogger("berth.member")

GATHER = 0.003
"""Seconds to gather what comes together before a write that somebody waits for."""

LAZY = 0.1
"""Seconds to gather before a write that nobody waits for."""

_REST = 1.0  # for so many times as long as a write took none follows: a slow API server gets fewer


def status_patch(session: str, snapshot: Snapshot, seen: Assignment) -> list[dict[str, Any]]:
    """The JSON patch that writes `snapshot`, if the Assignment is still the one that was `seen`.

    The test of resourceVersion does two things. It makes sure that the spec which an activation goes by
    still stands when its `Active` is written. And it makes a write whose answer was lost harmless: should
    it arrive after a later one, it changes nothing. The test of the session says that nobody else has
    taken over; the first write of a session takes over itself.
    """
    tests = [{"op": "test", "path": "/metadata/resourceVersion", "value": seen.metadata.resource_version}]
    if seen.session == session:
        tests.append({"op": "test", "path": "/status/session", "value": session})
    status: dict[str, Any] = {"session": session, "items": list(snapshot.reports)}
    if snapshot.troubles:
        status["problems"] = [
            {"item": trouble.item, "grant": trouble.grant, "message": trouble.message}
            for trouble in snapshot.troubles
        ]
    return [*tests, {"op": "add", "path": "/status", "value": status}]


class Outbox:
    """At most one write in flight, and always of the newest state."""

    def __init__(
        self, client: Client, namespace: str, name: str, session: str,
        inbox: Inbox, delivery: Delivery, tenure: Tenure,
    ) -> None:  # fmt: skip
        self._client = client
        self._path = ASSIGNMENTS.path(namespace, name, "status")
        self._session = session
        self._inbox = inbox
        self._delivery = delivery
        self._tenure = tenure
        self._dirty = asyncio.Event()
        self._urgent = asyncio.Event()
        self._written: Snapshot | None = None
        self._dirty.set()
        self._urgent.set()

    def notify(self, urgent: bool) -> None:
        """There may be something new to say; `urgent` where somebody may be waiting for it."""
        self._dirty.set()
        if urgent:
            self._urgent.set()

    @property
    def empty(self) -> bool:
        """Whether the API server was told that nothing is held here, or there is nothing to tell it in."""
        return self._inbox.current is None or (self._written is not None and not self._written.reports)

    async def write_for_ever(self) -> None:
        """Write whenever there is something new."""
        backoff = Backoff(base=0.05, limit=5.0)
        rest_until = 0.0
        while True:
            await self._dirty.wait()
            try:
                async with asyncio.timeout(LAZY):
                    await self._urgent.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(max(GATHER, rest_until - time.monotonic()))
            seen = self._inbox.current
            if seen is None:
                self._inbox.changed.clear()
                await self._inbox.changed.wait()
                continue
            self._dirty.clear()
            self._urgent.clear()
            snapshot = self._delivery.snapshot()
            if not self._worth_writing(snapshot, seen):
                continue
            if not self._tenure.valid():
                return  # whoever has the Lease now speaks for the Member
            started = time.monotonic()
            try:
                await self._write(snapshot, seen)
            except UNUSABLE as error:
                self.notify(urgent=True)
                await self._recover(error, seen, backoff)
            else:
                backoff.reset()
            rest_until = time.monotonic() + _REST * (time.monotonic() - started)

    def _worth_writing(self, snapshot: Snapshot, seen: Assignment) -> bool:
        last = self._written
        return (
            last is None
            or bool(snapshot.intents)
            or seen.session != self._session
            or (snapshot.reports, snapshot.troubles) != (last.reports, last.troubles)
        )

    async def _write(self, snapshot: Snapshot, seen: Assignment) -> None:
        patch = status_patch(self._session, snapshot, seen)
        answer = await self._client.patch(self._path, patch, "json", type=Assignment)
        self._written = snapshot
        self._delivery.written(snapshot)
        self._inbox.see(answer)

    async def _recover(
        self, error: ApiError | msgspec.DecodeError, seen: Assignment, backoff: Backoff
    ) -> None:
        """Find out what a write that failed means: mostly that the leader wrote in between."""
        if isinstance(error, Invalid | NotFound) and self._inbox.current is not seen:
            return  # the watch was quicker
        if isinstance(error, Forbidden):
            log.error("the status of the Assignment cannot be written: %s", error)
        if not isinstance(error, Invalid | NotFound) or backoff.failures > 0:
            await asyncio.sleep(backoff.next())
        else:
            backoff.next()
        try:
            await self._inbox.refresh()
        except UNUSABLE as again:
            log.debug("the Assignment cannot be read: %s", again)
            return
        if isinstance(error, Invalid) and self._inbox.current is seen:
            log.error("the API server does not accept the status of the Assignment: %s", error)
