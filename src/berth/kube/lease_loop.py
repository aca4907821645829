"""The part of a LeaseKeeper that runs in its thread: takes a Lease, renews it and releases it."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

from berth.kube.client import Client
from berth.kube.errors import ApiError, ConnectionLost, Forbidden
from berth.kube.lease import LeaseClaim, LeaseState
from berth.kube.lease_client import LeaseClient, LeaseLost
from berth.kube.timing import Timing, Validity
from berth.kube.watchdog import Watchdog

logger = logging.getLogger(__name__)


class LeaseHeld(Exception):  # noqa: N818 - a state, like LeaseLost
    """Another process holds the Lease and renews it: two processes use one name."""

    def __init__(self, lease: str, holder: str) -> None:
        super().__init__(f"{lease} is held by {holder!r}, which is alive and renews it")
        self.holder = holder


class LeaseLoop:
    """Everything here runs on one event loop, that of the keeper's thread."""

    def __init__(
        self,
        client: Client,
        claim: LeaseClaim,
        timing: Timing,
        validity: Validity,
        watchdog: Watchdog | None,
        on_lost: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        """`on_lost` is called with the reason when a Lease that was taken is lost."""
        self._client = client
        self._claim = claim
        self._timing = timing
        self._validity = validity
        self._watchdog = watchdog
        self._on_lost = on_lost
        self._clock = clock
        self._lease = LeaseClient(client, claim, timing, validity, clock)
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
        freed = asyncio.Event()
        watching = asyncio.create_task(self._watch(freed)) if contend else None
        try:
            await self._try_until_held(contend, former, freed)
        finally:
            if watching is not None:
                watching.cancel()
        self._renewing = asyncio.create_task(self._renew_and_report())

    async def release(self, delete: bool) -> None:
        """See `LeaseKeeper.release`."""
        await self.stop_renewing()
        if self._lease.observation is None and not delete:
            return
        try:
            async with asyncio.timeout(self._timing.attempt * 2):
                if await self._lease.release(delete=delete):
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

    async def _try_until_held(self, contend: bool, former: str, freed: asyncio.Event) -> None:
        first_renewal: tuple[str, str] | None = None
        while True:
            freed.clear()
            try:
                state = await self._lease.try_acquire(former)
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
            observation = self._lease.observation
            if state is LeaseState.HELD_BY_OTHER and observation is not None:
                if observation.holder:
                    self._log_once(f"{self._claim}: {observation.holder} holds it", logging.INFO)
                    renewal = (observation.holder, observation.renew_time)
                    first_renewal = first_renewal or renewal
                    if not contend and first_renewal != renewal:
                        raise LeaseHeld(str(self._claim), observation.holder)
                # Not later than it expires: a dead leader is replaced at that very moment.
                pause = min(pause, max(0.001, observation.expires - self._clock() + 0.001))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await freed.wait()

    async def _watch(self, freed: asyncio.Event) -> None:
        """Observe a release at once. Without the right to watch, the Lease is read every `retry_period`."""
        while True:
            with contextlib.suppress(ConnectionLost):
                try:
                    await self._lease.watch(freed.set)
                except ApiError as error:
                    logger.debug("%s: cannot be watched: %s", self._claim, error)
            await asyncio.sleep(self._timing.retry_period)

    async def _renew_and_report(self) -> None:
        try:
            reason = await self._renew_until_lost()
        except asyncio.CancelledError:
            raise
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
        due = self._clock() + self._timing.retry_period
        if self._watchdog is not None:
            self._watchdog.reset()
        while True:
            pause = due - self._clock()
            if self._watchdog is not None:
                pause = min(pause, self._watchdog.period)
            await asyncio.sleep(max(0.0, pause))
            now = self._clock()
            if not self._validity.held(now):
                return problem
            if self._watchdog is not None and self._watchdog.blocked(now):
                return f"the event loop was blocked for more than {self._watchdog.limit:g} s"
            if now < due:
                continue
            try:
                async with asyncio.timeout(max(0.0, (self._validity.until() or now) - now)):
                    await self._lease.renew()
                due = now + self._timing.retry_period
            except LeaseLost as lost:
                return str(lost)
            except ApiError as error:
                problem = f"it was not renewed in time: {error}"
                logger.warning("%s: not renewed: %s", self._claim, error)
                due = self._clock() + self._timing.retry_period * random.uniform(0.2, 0.4)
            except TimeoutError:
                return problem

    def _log_once(self, text: str, level: int) -> None:
        if text != self._last_log:
            self._last_log = text
            logger.log(level, "%s", text)
