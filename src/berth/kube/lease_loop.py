"""The part of a LeaseKeeper that runs in its thread: takes a Lease, renews it and releases it."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from berth.kube.client import Client
from berth.kube.decode import Decoder
from berth.kube.errors import ApiError, Conflict, ConnectionLost, Forbidden, NotFound
from berth.kube.lease import (
    LeaseClaim,
    LeaseState,
    Observation,
    claimed,
    judge,
    lease_spec,
    observe,
    released,
    renewed,
)
from berth.kube.loop_thread import Watchdog
from berth.kube.resource import LEASES
from berth.kube.timing import Timing, Validity, lease_clock
from berth.kube.transport import Params

logger = logging.getLogger(__name__)
_decoder = Decoder(dict[str, Any])


class LeaseHeld(Exception):  # noqa: N818 - a state, not a mistake
    """Another process holds the Lease and renews it: two processes use one name."""

    def __init__(self, lease: str, holder: str) -> None:
        super().__init__(f"{lease} is held by {holder!r}, which is alive and renews it")
        self.holder = holder


class LeaseLost(Exception):  # noqa: N818 - a state, not a mistake
    """The Lease is no longer ours; the message names the holder or the reason."""


class LeaseLoop:
    """Sends the requests about one Lease, and keeps what their answers show. `validity` follows them.

    Everything here runs on one event loop, that of the keeper's thread.
    """

    def __init__(
        self,
        client: Client,
        claim: LeaseClaim,
        timing: Timing,
        validity: Validity,
        watchdog: Watchdog,
        on_lost: Callable[[str], None],
    ) -> None:
        """`on_lost` is called with the reason when a Lease that was taken is lost."""
        self.observation: Observation | None = None
        self.freed = asyncio.Event()
        """Set when the watch shows that the Lease has no holder."""
        self._client = client
        self._claim = claim
        self._timing = timing
        self._validity = validity
        self._watchdog = watchdog
        self._on_lost = on_lost
        self._collection = LEASES.path(claim.namespace)
        self._path = LEASES.path(claim.namespace, claim.name)
        self._object: dict[str, Any] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._last_log = ""

    async def open(self) -> None:
        """Open the connections."""
        await self._client.__aenter__()

    async def close(self) -> None:
        """Stop renewing and close the connections."""
        await self.stop_renewing()
        await self._client.__aexit__()

    async def acquire(self, contend: bool, former: str) -> None:
        """See `LeaseKeeper.acquire`."""
        await self.stop_renewing()
        watching = asyncio.create_task(self.watch()) if contend else None
        try:
            await self._try_until_held(contend, former)
        finally:
            if watching is not None:
                watching.cancel()
        self._renewing = asyncio.create_task(self._renew_and_report())

    async def release(self, delete: bool) -> None:
        """See `LeaseKeeper.release`."""
        await self.stop_renewing()
        if self.observation is None and not delete:
            return
        try:
            async with asyncio.timeout(self._timing.attempt * 2):
                if await self._release_if_ours(delete):
                    logger.info("%s: %s", self._claim, "deleted" if delete else "released")
        except (ApiError, TimeoutError) as error:
            problem = error or "no answer in time"
            logger.warning("%s: could not be released and will expire: %s", self._claim, problem)

    async def stop_renewing(self) -> None:
        """Stop renewing; the Lease counts as not held from now on."""
        self._validity.end()
        if self._renewing is not None:
            self._renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewing
            self._renewing = None

    async def _try_until_held(self, contend: bool, former: str) -> None:
        first_renewal: tuple[str, str, int] | None = None
        while True:
            self.freed.clear()
            try:
                state = await self.try_acquire(former)
            except ApiError as error:
                if not contend and not isinstance(error, ConnectionLost) and error.status < 429:
                    raise
                level = logging.ERROR if isinstance(error, Forbidden) else logging.WARNING
                self._log_once(f"{self._claim}: cannot be taken: {error}", level)
                state = LeaseState.ABSENT
            if state is LeaseState.HELD_BY_US:
                self._log_once(f"{self._claim}: {self._claim.identity} holds it", logging.INFO)
                return
            pause = self._timing.retry_period * random.uniform(0.8, 1.2)
            if state is LeaseState.HELD_BY_OTHER and self.observation is not None:
                if holder := self.observation.holder:
                    self._log_once(f"{self._claim}: {holder} holds it", logging.INFO)
                    first_renewal = first_renewal or self.observation.renewal
                    if not contend and first_renewal != self.observation.renewal:
                        raise LeaseHeld(str(self._claim), holder)
                # Not later than it expires: a dead leader is replaced at that very moment.
                pause = min(pause, max(0.001, self.observation.expires - lease_clock() + 0.001))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.freed.wait()

    async def try_acquire(self, former: str = "") -> LeaseState:
        """Take the Lease if nobody holds it: HELD_BY_US if that worked, else the state that prevented it.

        `former` names a holder that has certainly ended. A Lease that was observed to be free or to expire
        is not read again: the write fails if it has changed. Raises ApiError.
        """
        state = judge(self.observation, self._claim.identity, lease_clock())
        if state not in (LeaseState.FREE, LeaseState.EXPIRED) or self._object is None:
            state = await self._read()
        ended = former and self.observation is not None and self.observation.holder == former
        if state is LeaseState.HELD_BY_OTHER and not ended:
            return state
        body = claimed(self._object, self._claim, self._timing.lease_duration, datetime.now(UTC))
        sent = lease_clock()
        try:
            if self._object is None:
                lease = await self._client.create(self._collection, body)
            else:
                lease = await self._client.update(self._path, body)
        except Conflict:
            # Another holder was faster, or renewed it unobserved, or it is gone: the next attempt reads it.
            self._object = None
            return LeaseState.HELD_BY_OTHER
        state = self._observe(lease)
        return state if self._validity.start(sent, lease_clock()) else LeaseState.EXPIRED

    async def watch(self) -> None:
        """Observe renewals when they happen, and set `freed` when the Lease has no holder, until cancelled.

        With polling alone, the last renewal of a dead holder would be observed late, and the Lease would
        count as held for that much longer. Without the right to watch, it is read every `retry_period`.
        """
        query: Params = {"fieldSelector": f"metadata.name={self._claim.name}", "timeoutSeconds": 300}
        while True:
            try:
                async with self._client.watch(self._collection, _decoder, query, inactivity=330.0) as events:
                    async for kind, lease in events:
                        # Others are bookmarks, or what the next read reports as unreadable.
                        if isinstance(lease, dict):
                            self._observe_event(None if kind == "DELETED" else lease)
            except ApiError as error:
                logger.debug("%s: cannot be watched: %s", self._claim, error)
            await asyncio.sleep(self._timing.retry_period)

    def _observe_event(self, lease: dict[str, Any] | None) -> None:
        with contextlib.suppress(msgspec.ValidationError):  # the next read reports it
            if self._observe(lease) in (LeaseState.ABSENT, LeaseState.FREE):
                self.freed.set()

    async def _renew_and_report(self) -> None:
        try:
            reason = await self._renew_until_lost()
        except Exception as error:
            logger.exception("%s: the renewal failed", self._claim)
            reason = f"the renewal failed: {error!r}"
        self._validity.end()
        logger.warning("%s: lost: %s", self._claim, reason)
        self._last_log = ""
        self._on_lost(reason)

    async def _renew_until_lost(self) -> str:
        """Renew every `retry_period`, more often after a failure; the reason why that ended."""
        problem = "it was not renewed in time"
        due = lease_clock() + self._timing.retry_period
        self._watchdog.reset()
        while True:
            await asyncio.sleep(max(0.0, min(due - lease_clock(), self._watchdog.period)))
            now = lease_clock()
            if not self._validity.held(now):
                return problem
            if self._watchdog.blocked(now):
                return f"the event loop was blocked for more than {self._watchdog.limit:g} s"
            if now < due:
                continue
            try:
                async with asyncio.timeout(max(0.0, (self._validity.until() or now) - now)):
                    await self._renew()
                due = now + self._timing.retry_period
            except LeaseLost as lost:
                return str(lost)
            except ApiError as error:
                problem = f"it was not renewed in time: {error}"
                logger.warning("%s: not renewed: %s", self._claim, error)
                due = lease_clock() + self._timing.retry_period * random.uniform(0.2, 0.4)
            except TimeoutError:
                return problem

    async def _renew(self) -> None:
        """Renew the Lease once. Raises LeaseLost if it is no longer ours, ApiError if that is unknown."""
        try:
            sent = await self._write_renewal()
        except NotFound:
            self._observe(None)
            raise LeaseLost("it was deleted") from None
        except Conflict:
            # Somebody wrote it: a label, our own renewal whose answer was lost, or another holder.
            if await self._read() is not LeaseState.HELD_BY_US:
                holder = self.observation.holder if self.observation is not None else ""
                raise LeaseLost(f"held by {holder}" if holder else "it was released or deleted") from None
            sent = await self._write_renewal()
        if not self._validity.extend(sent, lease_clock()):
            raise LeaseLost("it was not renewed in time")

    async def _write_renewal(self) -> float:
        """Write a renewal; when it was sent."""
        assert self._object is not None
        body, sent = renewed(self._object, datetime.now(UTC)), lease_clock()
        self._observe(await self._client.update(self._path, body))
        return sent

    async def _release_if_ours(self, delete: bool) -> bool:
        """Release the Lease, or delete it, if it is ours; returns whether it was. Raises ApiError."""
        while await self._read() is LeaseState.HELD_BY_US:
            assert self._object is not None
            try:
                if delete:
                    same = {key: self._object["metadata"][key] for key in ("uid", "resourceVersion")}
                    options = {"preconditions": same}
                    await self._client.delete(self._path, body=options)
                else:
                    body = released(self._object, datetime.now(UTC))
                    await self._client.update(self._path, body)
                return True
            except Conflict:
                continue  # a renewal that was in flight came first
            except NotFound:
                break
        return False

    async def _read(self) -> LeaseState:
        """Read the Lease and judge it. Raises ApiError."""
        try:
            return self._observe(await self._client.get(self._path))
        except NotFound:
            return self._observe(None)

    def _observe(self, lease: dict[str, Any] | None) -> LeaseState:
        spec = None if lease is None else lease_spec(lease)
        now = lease_clock()
        self._object = lease
        self.observation = observe(self.observation, spec, now, self._timing.lease_duration)
        return judge(self.observation, self._claim.identity, now)

    def _log_once(self, text: str, level: int) -> None:
        if text != self._last_log:
            self._last_log = text
            logger.log(level, "%s", text)
