"""This process's Member while it lives: announced, kept on the API server, drained and withdrawn."""

import asyncio
import contextlib
import logging
import time

from berth.kube import ApiError, Backoff, Client, NotFound
from berth.member.announce import announce, find_member, set_limit, withdraw
from berth.member.delivery import Delivery
from berth.member.inbox import UNUSABLE, Inbox
from berth.member.outbox import Outbox
from berth.member.settings import Settings

log = logging.getLogger("berth.member")

CHECK = 30.0
"""Seconds between looks at whether the Member is still on the API server."""


class Presence:
    """The Member on the API server, through all sessions of one process."""

    def __init__(self, client: Client, namespace: str, settings: Settings, draining: asyncio.Event) -> None:
        """`draining` is set once the process is to leave: the Member is then announced with a limit of 0."""
        self._client = client
        self._namespace = namespace
        self._settings = settings
        self._draining = draining
        self.known = False
        """Whether the Member has been announced before."""

    async def announce(self) -> str:
        """Put the Member on the API server, however long that takes, and say its uid.

        Errors that waiting does not cure are raised, but not once it has been announced before.
        """
        backoff = Backoff(base=0.2, limit=5.0)
        while True:
            limit = None if self.known else self._settings.limit
            if self._draining.is_set():
                limit = 0
            try:
                uid = await announce(self._client, self._namespace, self._settings, limit)
                self.known = True
                return uid
            except UNUSABLE as error:
                status = error.status if isinstance(error, ApiError) else 400
                stays = 400 <= status < 500 and status not in (409, 429)
                if stays and not self.known:
                    raise
                log.warning("member %s: cannot be announced: %s", self._settings.name, error)
            await asyncio.sleep(backoff.next())

    async def stay(self, inbox: Inbox) -> None:
        """Announce the Member again should it be deleted while we live; `inbox` is told whose it is."""
        name, backoff = self._settings.name, Backoff(base=0.2, limit=CHECK)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK):
                    await inbox.doubt.wait()
            inbox.doubt.clear()
            try:
                uid = await find_member(self._client, self._namespace, self._settings)
                if uid is None:
                    log.warning("member %s: was deleted, announcing it again", name)
                    uid = await self.announce()
                inbox.belong_to(uid)
                backoff.reset()
            except UNUSABLE as error:
                log.debug("member %s: cannot be read: %s", name, error)
                await asyncio.sleep(backoff.next())
                inbox.doubt.set()

    async def hand_over(self, until: float, inbox: Inbox, outbox: Outbox, delivery: Delivery) -> bool:
        """Set the limit to 0 and wait until nothing is held here; False where it still is at `until`."""
        name, backoff = self._settings.name, Backoff(base=0.1, limit=2.0)
        told, absent, again = False, False, 0.0
        left, said = -1, 0.0
        while (now := time.monotonic()) < until:
            if not told and now >= again:
                try:
                    async with asyncio.timeout(until - now):
                        await set_limit(self._client, self._namespace, self._settings, 0)
                    told = True
                except NotFound:
                    absent = True  # it may be on its way back, with the limit of before
                except (ApiError, TimeoutError) as error:
                    absent = False
                    log.warning(
                        "member %s: cannot set its limit to 0: %s", name, error or "no answer in time"
                    )
                again = time.monotonic() + backoff.next()
            if (told or absent) and inbox.empty and delivery.empty and outbox.empty:
                log.info("member %s: drained", name)
                return True
            count = len(delivery.held)
            if count != left and now - said > 1.0:
                log.info("member %s: draining, %d items left", name, count)
                left, said = count, now
            await asyncio.sleep(0.02)
        log.error("member %s: drain took too long, %d items left are dropped", name, len(delivery.held))
        return False

    async def withdraw(self) -> None:
        """Delete the Member, if that can be done while the Lease would last."""
        try:
            async with asyncio.timeout(self._settings.lease_seconds):
                await withdraw(self._client, self._namespace, self._settings)
        except (ApiError, TimeoutError) as error:
            log.warning("member %s: not deleted, it counts as dead once its Lease has expired: %s",
                        self._settings.name, error or "no answer in time")  # fmt: skip
