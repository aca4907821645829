"""Watches this Member's one Assignment."""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from berth.kinds import Entry, parse_entry
from berth.kube import ApiError, Backoff, Client, NotFound
from berth.kube.decode import Bad, Decoder
from berth.kube.watch import watch
from berth.member.objects import ASSIGNMENTS, Assignment

log = logging.getLogger("berth.member")

UNUSABLE = (ApiError, msgspec.DecodeError)
"""How a request ends that is to be tried again: with an error, or with what something else has answered."""

_SILENCE = 75.0  # seconds; the API server sends a bookmark every minute


_decoder = Decoder(Assignment)


class Inbox:
    """The newest Assignment that was seen, and the stream that it comes by.

    It is watched by `metadata.name`, which the API server serves from an index; it need not exist yet.
    What is seen by the way (in the answer to a write) is taken in too, and never goes back.
    One that is owned by an earlier Member of this name counts as none: what it lists was meant for
    another process, and the leader is about to replace it. So does one that is for another session of
    this Member: the epochs in it are that session's.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        aim: Callable[[list[Entry]], None],
        *,
        session: str = "",
        on_taken: Callable[[], None] = lambda: None,
        resync: float = 30.0,
    ) -> None:
        """`aim` is called with the entries whenever they may have changed; none when the Assignment is gone.
        `session` is our own; `on_taken` is called first when entries that were ours become another's.
        Every `resync` seconds the Assignment is read afresh, in case a dead connection swallows events.
        """
        self._client = client
        self._namespace = namespace
        self._name = name
        self._session = session
        self._aim = aim
        self._on_taken = on_taken
        self._resync = resync
        self._entries: tuple[str, ...] = ()
        self._version = 0
        self._newest: Assignment | None = None
        self._member = ""
        self._waits_for = ""  # the session whose entries were found in the place of our own
        self.current: Assignment | None = None
        """What stands now; None where there is no Assignment of this Member."""
        self.changed = asyncio.Event()
        """Set whenever `current` changes; cleared by who waits for it."""
        self.doubt = asyncio.Event()
        """Set when the Assignment was deleted, or turns out to be another Member's: is this Member still
        there? Cleared by who waits for it."""

    @property
    def empty(self) -> bool:
        """Whether nothing is wanted here."""
        return self.current is None or not self.current.spec.items

    def belong_to(self, uid: str) -> None:
        """Say the uid of this Member; it changes when the Member is deleted and made again."""
        if uid != self._member:
            self._member = uid
            self._settle()

    def see(self, new: Assignment) -> None:
        """Take in an Assignment, unless a newer one was seen."""
        if _version(new) > self._version:
            self._newest, self._version = new, _version(new)
            self._settle()

    def gone(self, version: int) -> None:
        """Take in that there is none, at that resourceVersion."""
        if self._newest is not None and version > self._version:
            self._newest, self._version = None, version
            self._settle()

    def _settle(self) -> None:
        """Make `current` what counts of what was seen."""
        old, new = self.current, self._newest
        if new is not None and new.of_another(self._member):
            log.info("assignment %s: it is an earlier Member's, waiting for our own", self._name)
            new = None
        if new is None and (self._newest is not None or old is not None):
            self.doubt.set()
        if self._is_taken(new):
            if old is not None:
                self._on_taken()
            new = None
        if new is old:
            return
        self.current = new
        entries = () if new is None else new.spec.items
        if old is None or new is None or entries != self._entries:
            self._entries = entries
            self._aim(_read(entries))
        self.changed.set()

    def _is_taken(self, new: Assignment | None) -> bool:
        """Whether the entries are another session's; says so once for each."""
        if new is None or not new.for_another(self._session):
            self._waits_for = ""
            return False
        other = new.spec.session or ""
        if other != self._waits_for:
            self._waits_for = other
            log.info(
                "assignment %s: its entries are for session %s, waiting for the leader", self._name, other
            )
        return True

    async def refresh(self) -> None:
        """Read it now. Raises ApiError, DecodeError."""
        path = ASSIGNMENTS.path(self._namespace, self._name)
        before, version = self._newest, self._version
        try:
            new = await self._client.get(path, type=Assignment)
            if _version(new) < version == self._version:
                # A read is never older than what was seen before it: the server was restored from a backup.
                log.warning("assignment %s: the API server has gone back, following it", self._name)
                self._version = 0
            self.see(new)
        except NotFound:
            # The answer has no resourceVersion; what came by the watch meanwhile is newer.
            if before is not None and self._newest is before:
                self.gone(self._version + 1)

    async def watch(self) -> None:
        """Watch for ever; raises nothing that waiting may cure."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_for_ever())
            group.create_task(self._refresh_for_ever())

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._resync)
            try:
                await self.refresh()
            except UNUSABLE as error:
                log.debug("assignment %s: cannot be read: %s", self._name, error)

    async def _watch_for_ever(self) -> None:
        backoff = Backoff(base=0.1, limit=5.0)
        while True:
            try:
                await self._watch_once(backoff)
            except UNUSABLE as error:
                log.log(
                    logging.WARNING if backoff.failures > 2 else logging.INFO,
                    "assignment %s: the watch broke: %s", self._name, error,
                )  # fmt: skip
            await asyncio.sleep(backoff.next())

    async def _watch_once(self, backoff: Backoff) -> None:
        # Without a resourceVersion a watch begins with what is there, so nothing is to be listed before,
        # and nothing to be resumed: it is one object.
        query = {"fieldSelector": f"metadata.name={self._name}"}
        before = self._newest
        path = ASSIGNMENTS.path(self._namespace)
        async with watch(self._client, path, _decoder, query, inactivity=_SILENCE) as events:
            if before is not None:
                # No event would report that it was deleted while nobody watched.
                await self.refresh()
            async for kind, content in events:
                if isinstance(content, ApiError):
                    raise content
                if isinstance(content, Bad):
                    raise content.error
                if isinstance(content, Assignment) and kind == "DELETED":
                    self.gone(_version(content))
                elif isinstance(content, Assignment):
                    self.see(content)
                backoff.reset()


def _version(assignment: Assignment) -> int:
    """resourceVersions of one kind are comparable numbers (KEP-5504)."""
    return int(assignment.metadata.resource_version or 0)


def _read(texts: tuple[str, ...]) -> list[Entry]:
    """The entries that can be read; one that cannot stops nothing else."""
    entries: list[Entry] = []
    for text in texts:
        try:
            entries.append(parse_entry(text))
        except ValueError as error:
            log.error("%s: left out", error)
    return entries
