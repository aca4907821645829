"""Holds a Lease from a thread of its own, so that a busy event loop does not delay a renewal."""

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Self, TypeVar

from berth.kinds.meta import OwnerReference
from berth.kube.client import Client, RequestHook
from berth.kube.config import Config
from berth.kube.errors import ApiError, ConnectionLost, Forbidden
from berth.kube.lease import LeaseState
from berth.kube.renewer import LeaseLost, LeaseName, Renewer
from berth.kube.timing import Timing, Validity, lease_clock
from berth.kube.watchdog import Watchdog

__all__ = ["LeaseHeld", "LeaseKeeper"]

R = TypeVar("R")
logger = logging.getLogger(__name__)


class LeaseHeld(Exception):  # noqa: N818 - a state, like LeaseLost
    """Another process holds the Lease and renews it: two of them run under one name."""

    def __init__(self, lease: str, holder: str) -> None:
        super().__init__(f"{lease} is held by {holder!r}, which is alive and renews it")
        self.holder = holder


class LeaseKeeper:
    """Takes a Lease and renews it until it is released or lost; an async context manager.

    `held` looks at the clock each time, so it is False at the first look after the process or the machine
    stood still for longer than the Lease. A Lease that was lost stays lost until `acquire` is called again.
    """

    def __init__(
        self,
        config: Config,
        namespace: str,
        name: str,
        identity: str,
        *,
        timing: Timing | None = None,
        watchdog: float | None = None,
        labels: Mapping[str, str] | None = None,
        owners: Sequence[OwnerReference] = (),
        on_request: RequestHook | None = None,
        clock: Callable[[], float] = lease_clock,
    ) -> None:
        """`identity` must differ between processes, also between a process and its successor.

        `watchdog`: seconds that the caller's event loop may be blocked before the Lease is given up for lost.
        `labels` and `owners` go on the Lease as it is taken; owners replace those of an earlier holder.
        """
        self.lease = LeaseName(namespace, name, identity, labels, owners)
        self.timing = timing or Timing.of()
        self.lost_reason = ""
        """Why the Lease was lost last; "" while it is held."""
        self._config = config
        self._on_request = on_request
        self._clock = clock
        self._validity = Validity(self.timing)
        self._watchdog = None if watchdog is None else Watchdog(watchdog)
        self._lost = asyncio.Event()
        self._lost.set()
        self._home: asyncio.AbstractEventLoop | None = None
        self._guard: asyncio.Task[None] | None = None
        self._abandoned = False
        # Below: touched by the keeper's own thread only, once it runs.
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._renewer: Renewer | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._said = ""

    # -- the caller's side

    async def __aenter__(self) -> Self:
        self._home = asyncio.get_running_loop()
        ready: asyncio.Future[None] = self._home.create_future()
        self._thread = threading.Thread(
            target=self._run_thread, args=(ready,), name=f"lease-{self.lease.name}", daemon=True
        )
        self._thread.start()
        await ready
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            if not self._abandoned:
                await self.release()
        finally:
            if self._loop is not None and self._stop is not None:
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._stop.set)
            if self._thread is not None:
                await asyncio.to_thread(self._thread.join, self.timing.renew_deadline)
                self._thread = None

    @property
    def held(self) -> bool:
        """Whether the Lease is surely ours, at this moment, by the clock."""
        return self._validity.held(self._clock())

    @property
    def lost(self) -> asyncio.Event:
        """Set when the Lease that the last `acquire` took is over. Each `acquire` makes a new event."""
        return self._lost

    @property
    def holder(self) -> str:
        """The identity that was last seen in the Lease; "" for nobody."""
        observation = self._renewer.observation if self._renewer is not None else None
        return observation.holder if observation is not None else ""

    @property
    def transitions(self) -> int:
        """How often the Lease has changed hands, as last seen."""
        observation = self._renewer.observation if self._renewer is not None else None
        return observation.transitions if observation is not None else 0

    @property
    def valid_until(self) -> float:
        """The same as `deadline()`."""
        return self.deadline()

    def deadline(self) -> float:
        """Until when the Lease is surely ours, on `time.monotonic`'s clock; in the past when it is not held.

        The time at which the last successful renewal was SENT, plus the Lease's duration, less the margin.
        """
        now = time.monotonic()
        until = self._validity.deadline() if self.held else None
        return now - 1.0 if until is None else now + (until - self._clock())

    async def acquire(self, *, contend: bool = True, timeout: float | None = None) -> None:
        """Take the Lease; returns when it is held.

        Where somebody else holds it: with `contend` wait for as long as it takes. Without, wait only until it
        is clear whether that holder is alive (at most its Lease's duration) and raise LeaseHeld if it is;
        errors that waiting does not cure (Forbidden, a missing namespace) are raised too. With `timeout`
        raise TimeoutError.
        """
        if not self.held:
            self._set_lost("it was not renewed in time", self._lost)
            async with asyncio.timeout(timeout):
                await self._call(self._acquire(contend))
        if self._lost.is_set():
            self.lost_reason = ""
            self._lost = asyncio.Event()
            if self._guard is not None:
                self._guard.cancel()
            self._guard = asyncio.create_task(self._watch_clock(self._lost))

    async def release(self, *, delete: bool = False) -> None:
        """Stop renewing and let go of the Lease (or delete it), so that another may take it at once.

        End all work that relies on the Lease first. Best effort: where the API server does not answer in time
        the Lease expires by itself.
        """
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None
        if self._thread is not None and self._thread.is_alive():
            await self._call(self._release(delete))
        self._set_lost("it was released", self._lost)

    async def abandon(self) -> None:
        """Stop renewing, and leave the Lease to expire by itself.

        For a holder whose work goes on although it was asked to end: nobody may take over before that time.
        """
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None
        self._abandoned = True
        if self._thread is not None and self._thread.is_alive():
            await self._call(self._stop_renewing())
        self._set_lost("it was abandoned", self._lost)

    async def _call(self, work: Coroutine[Any, Any, R]) -> R:
        if self._loop is None or self._thread is None:
            work.close()
            raise RuntimeError(f"{self.lease}: used outside of its `async with`")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _watch_clock(self, lost: asyncio.Event) -> None:
        """Notice the end by our own clock, even if the thread should hang."""
        while not lost.is_set():
            until = self._validity.until()
            if not self.held or until is None:
                self._set_lost("it was not renewed in time", lost)
                return
            await asyncio.sleep(max(0.001, until - self._clock()))

    def _set_lost(self, reason: str, lost: asyncio.Event) -> None:
        if not lost.is_set():
            self.lost_reason = self.lost_reason or reason
            lost.set()

    # -- the thread's side

    def _run_thread(self, ready: "asyncio.Future[None]") -> None:
        try:
            asyncio.run(self._serve(ready))
        except Exception as error:
            logger.exception("%s: its thread ended", self.lease)
            self._validity.end()
            if self._home is not None:
                with contextlib.suppress(RuntimeError):
                    self._home.call_soon_threadsafe(_fail, ready, error)

    async def _serve(self, ready: "asyncio.Future[None]") -> None:
        assert self._home is not None
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with Client(
            self._config,
            timeout=self.timing.attempt,
            attempts=1,
            connections=2,
            on_request=self._on_request,
        ) as client:
            self._renewer = Renewer(client, self.lease, self.timing, self._validity, self._clock)
            self._home.call_soon_threadsafe(_resolve, ready)
            await self._stop.wait()
            await self._stop_renewing()

    async def _acquire(self, contend: bool) -> None:
        await self._stop_renewing()
        assert self._renewer is not None
        freed = asyncio.Event()
        watching = asyncio.create_task(self._watch_freed(freed)) if contend else None
        try:
            await self._try_until_held(self._renewer, contend, freed)
        finally:
            if watching is not None:
                watching.cancel()
        self._renewing = asyncio.create_task(self._keep(self._renewer))

    async def _try_until_held(self, renewer: Renewer, contend: bool, freed: asyncio.Event) -> None:
        first: str | None = None
        while True:
            freed.clear()
            try:
                state = await renewer.try_acquire()
            except ApiError as error:
                if not contend and not isinstance(error, ConnectionLost) and error.status < 429:
                    raise
                level = logging.ERROR if isinstance(error, Forbidden) else logging.WARNING
                self._say(f"{self.lease}: cannot be taken: {error}", level)
                state = LeaseState.ABSENT
            if state is LeaseState.HELD_BY_US:
                self._say(f"{self.lease}: {self.lease.identity} holds it", logging.INFO)
                return
            seen = renewer.observation
            if state is LeaseState.HELD_BY_OTHER and seen is not None and seen.holder:
                self._say(f"{self.lease}: {seen.holder} holds it", logging.INFO)
                first = first or f"{seen.holder} {seen.renew_time}"
                if not contend and first != f"{seen.holder} {seen.renew_time}":
                    raise LeaseHeld(str(self.lease), seen.holder)
            pause = self.timing.retry_period * random.uniform(0.8, 1.2)
            if state is LeaseState.HELD_BY_OTHER and seen is not None:
                # Not later than when it runs out: a dead leader is replaced in that very moment.
                left = seen.since + seen.duration - self._clock()
                pause = min(pause, max(0.001, left + 0.001))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await freed.wait()

    async def _watch_freed(self, freed: asyncio.Event) -> None:
        """Make a take-over prompt; without the right to watch, the Lease is looked at every retry_period."""
        assert self._renewer is not None
        while True:
            with contextlib.suppress(ConnectionLost):
                try:
                    await self._renewer.watch_freed(freed.set)
                except ApiError as error:
                    logger.debug("%s: cannot be watched: %s", self.lease, error)
            await asyncio.sleep(self.timing.retry_period)

    async def _keep(self, renewer: Renewer) -> None:
        try:
            reason = await self._renew_until_lost(renewer)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            logger.exception("%s: the renewal failed", self.lease)
            reason = f"the renewal failed: {error!r}"
        self._validity.end()
        logger.warning("%s: lost: %s", self.lease, reason)
        self._said = ""
        self._tell_home(reason)

    async def _renew_until_lost(self, renewer: Renewer) -> str:
        """Renew every retry_period, more often after a failure; the reason why that ended."""
        problem = "it was not renewed in time"
        due = self._clock() + self.timing.retry_period
        if self._watchdog is not None:
            self._watchdog.reset()
        assert self._home is not None
        while True:
            pause = due - self._clock()
            if self._watchdog is not None:
                pause = min(pause, self._watchdog.period)
            await asyncio.sleep(max(0.0, pause))
            now = self._clock()
            if not self._validity.held(now):
                return problem
            if self._watchdog is not None and self._watchdog.blocked(self._home, now):
                return f"the event loop was blocked for more than {self._watchdog.limit:g} s"
            if now < due:
                continue
            try:
                async with asyncio.timeout(max(0.0, (self._validity.until() or now) - now)):
                    await renewer.renew()
                due = now + self.timing.retry_period
            except LeaseLost as lost:
                return str(lost)
            except ApiError as error:
                problem = f"it was not renewed in time: {error}"
                logger.warning("%s: not renewed: %s", self.lease, error)
                due = self._clock() + self.timing.retry_period * random.uniform(0.2, 0.4)
            except TimeoutError:
                return problem

    async def _release(self, delete: bool) -> None:
        await self._stop_renewing()
        if self._renewer is None or (self._renewer.observation is None and not delete):
            return
        try:
            async with asyncio.timeout(self.timing.attempt * 2):
                if await self._renewer.release(delete=delete):
                    logger.info("%s: %s", self.lease, "deleted" if delete else "released")
        except (ApiError, TimeoutError) as error:
            logger.warning(
                "%s: not released, it expires by itself: %s", self.lease, error or "no answer in time"
            )

    async def _stop_renewing(self) -> None:
        self._validity.end()
        if self._renewing is not None:
            self._renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewing
            self._renewing = None

    def _tell_home(self, reason: str) -> None:
        if self._home is not None:
            with contextlib.suppress(RuntimeError):  # the caller's loop is closed: nobody is left to tell
                self._home.call_soon_threadsafe(self._set_lost, reason, self._lost)

    def _say(self, text: str, level: int) -> None:
        if text != self._said:
            self._said = text
            logger.log(level, "%s", text)


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: "asyncio.Future[None]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
