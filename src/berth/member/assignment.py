"""The one Assignment of this Member: watched for its entries, and its status written with the reports."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from berth.kinds import AssignmentObject, Entry, parse_entry
from berth.kube import (
    ASSIGNMENTS,
    ApiError,
    Backoff,
    Bad,
    Client,
    Decoder,
    Forbidden,
    Invalid,
    NotFound,
    not_understood,
)
from berth.member.callbacks import CallbackRunner, Snapshot
from berth.member.tasks import wait_at_most
from berth.member.worker import SecondsLeft

log = logging.getLogger("berth.member")

URGENT_DELAY = 0.003  # seconds to batch reports before a write that the leader may be waiting for
LAZY_DELAY = 0.1  # seconds to batch reports before any other write
_REST = 1.0  # pause after a write, as a multiple of its duration: a slow API server gets fewer writes
_SILENCE = 75.0  # seconds; the API server sends a bookmark every minute
_decoder = Decoder(AssignmentObject)


@dataclass(eq=False)
class AssignmentWatch:
    """The newest Assignment of this Member, from its watch and from the answers to our own writes.

    It is watched by `metadata.name`, which the API server serves from an index; it need not exist yet.
    An Assignment that is owned by an earlier Member of this name counts as absent: its entries are for
    another process, and the leader is about to replace it. So does one that is for another session of this
    Member: the epochs in it belong to that session.
    """

    client: Client
    namespace: str
    name: str
    session: str  # the id of our own session
    on_entries: Callable[[list[Entry]], None]
    """Called with the entries when they may have changed, with none if there is no Assignment."""
    on_taken: Callable[[], None] = lambda: None  # called first when our entries become another session's
    resync: float = 30.0  # seconds between reads of the Assignment, in case a dead connection loses events
    current: AssignmentObject | None = field(default=None, init=False)
    """The Assignment that counts; None if this Member has none."""
    changed: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    """Set whenever `current` changes; cleared by the task that waits for it."""
    member_doubt: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    """Set when the Assignment was deleted or belongs to another Member: this Member may be gone as well.
    Cleared by the task that waits for it."""
    _newest: AssignmentObject | None = field(default=None, init=False)
    _version: int = field(default=0, init=False)
    _member: str = field(default="", init=False)
    _other_session: str = field(default="", init=False)  # whose entries were found instead of our own

    @property
    def empty(self) -> bool:
        """Whether this Member is to hold nothing."""
        return self.current is None or not self.current.spec.items

    def set_member(self, uid: str) -> None:
        """Set the uid of this Member; it changes when the Member is deleted and created again."""
        if uid != self._member:
            self._member = uid
            self._update()

    def observe(self, new: AssignmentObject) -> None:
        """Take over an Assignment that was read, unless a newer one is known."""
        if _version(new) > self._version:
            self._newest, self._version = new, _version(new)
            self._update()

    def observe_deleted(self, version: int) -> None:
        """Record that there is none at that resourceVersion, unless a newer one is known."""
        if self._newest is not None and version > self._version:
            self._newest, self._version = None, version
            self._update()

    def _update(self) -> None:
        """Derive `current` from the newest Assignment, and report what changed."""
        old, new = self.current, self._newest
        if new is not None and new.of_another(self._member):
            log.info("assignment %s: it belongs to an earlier Member, waiting for our own", self.name)
            new = None
        if new is None and (self._newest is not None or old is not None):
            self.member_doubt.set()
        if self._is_taken(new):
            if old is not None:
                self.on_taken()
            new = None
        if new is old:
            return
        self.current = new
        if old is None or new is None or new.spec.items != old.spec.items:
            self.on_entries(_parsed(() if new is None else new.spec.items))
        self.changed.set()

    def _is_taken(self, new: AssignmentObject | None) -> bool:
        """Whether the entries are for another session; logged once for each session."""
        other = (new.spec.session or "") if new is not None and new.for_another(self.session) else ""
        if other and other != self._other_session:
            text = "assignment %s: its entries are for session %s, waiting for the leader"
            log.info(text, self.name, other)
        self._other_session = other
        return bool(other)

    async def refresh(self) -> None:
        """Read it now. Raises ApiError."""
        before, version = self._newest, self._version
        try:
            path = ASSIGNMENTS.path(self.namespace, self.name)
            new = await self.client.get(path, type=AssignmentObject)
            if _version(new) < version == self._version:
                # A read is never older than what was read before, unless the server was restored.
                log.warning("assignment %s: the API server was restored from a backup", self.name)
                self._version = 0
            self.observe(new)
        except NotFound:
            # The answer has no resourceVersion; an event that arrived meanwhile is newer.
            if before is not None and self._newest is before:
                self.observe_deleted(self._version + 1)

    async def run(self) -> None:
        """Watch until cancelled. Errors of the API server are logged and retried."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_watching())
            group.create_task(self._keep_reading())

    async def _keep_reading(self) -> None:
        while True:
            await asyncio.sleep(self.resync)
            try:
                await self.refresh()
            except ApiError as error:
                log.debug("assignment %s: cannot be read: %s", self.name, error)

    async def _keep_watching(self) -> None:
        backoff = Backoff(base=0.1, limit=5.0)
        while True:
            try:
                await self._watch_once(backoff)
            except ApiError as error:
                level = logging.WARNING if backoff.failures > 2 else logging.INFO
                log.log(level, "assignment %s: the watch broke: %s", self.name, error)
            await asyncio.sleep(backoff.next())

    async def _watch_once(self, backoff: Backoff) -> None:
        # A watch without a resourceVersion starts with the current object, so it needs no list before it
        # and no version to resume from.
        query = {"fieldSelector": f"metadata.name={self.name}"}
        before = self._newest
        path = ASSIGNMENTS.path(self.namespace)
        async with self.client.watch(path, _decoder, query, inactivity=_SILENCE) as events:
            if before is not None:
                await self.refresh()  # no event reports that it was deleted before the watch was opened
            async for kind, content in events:
                if isinstance(content, Bad):
                    raise not_understood(content.error, self.name)
                if isinstance(content, AssignmentObject) and kind == "DELETED":
                    self.observe_deleted(_version(content))
                elif isinstance(content, AssignmentObject):
                    self.observe(content)
                backoff.reset()


def _version(assignment: AssignmentObject) -> int:
    """resourceVersions of one kind are comparable numbers (KEP-5504)."""
    return int(assignment.metadata.resource_version or 0)


def _parsed(texts: tuple[str, ...]) -> list[Entry]:
    """The entries that can be parsed; a malformed one does not affect the others."""
    entries: list[Entry] = []
    for text in texts:
        try:
            entries.append(parse_entry(text))
        except ValueError as error:
            log.error("%s: the entry is ignored", error)
    return entries


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
    lease_left: SecondsLeft
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
        """Write whenever there is something new to report, while the Lease is held."""
        backoff = Backoff(base=0.05, limit=5.0)
        rest_until = 0.0
        while True:
            await self._dirty.wait()
            await wait_at_most(LAZY_DELAY, self._urgent)
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
            if self.lease_left() <= 0.0:
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
