"""Holds a Lease from a thread of its own, so that a busy event loop does not delay a renewal."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Self, TypeVar

from berth.kinds.meta import OwnerReference
from berth.kube.client import Client
from berth.kube.config import Config
from berth.kube.lease import LeaseClaim
from berth.kube.lease_loop import LeaseLoop
from berth.kube.loop_thread import LoopThread
from berth.kube.timing import Timing, Validity, lease_clock
from berth.kube.transport import RequestHook
from berth.kube.watchdog import Watchdog

R = TypeVar("R")


class LeaseKeeper:
    """Takes a Lease and renews it until it is released or lost; an async context manager.

    Everything here runs on the caller's event loop; the requests are sent by a LeaseLoop in another thread.
    `held` reads the clock each time, so it is False on the first check after the process or the machine
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

        `watchdog`: seconds that the caller's event loop may be blocked before the Lease is given up.
        `labels` and `owners` are written to the Lease when it is taken; owners replace those of an earlier
        holder. `on_request` is as for the Client, but called from the keeper's thread.
        """
        self.claim = LeaseClaim(namespace, name, identity, labels, owners)
        self.timing = timing or Timing.of()
        self.lost_reason = ""
        """Why the Lease was last lost; "" while it is held."""
        self._client = Client(
            config, timeout=self.timing.attempt, attempts=1, connections=2, on_request=on_request
        )
        self._clock = clock
        self._validity = Validity(self.timing)
        self._block_seconds = watchdog
        self._lost = asyncio.Event()
        self._lost.set()
        self._guard: asyncio.Task[None] | None = None
        self._abandoned = False
        self._thread = LoopThread(f"lease-{name}")
        self._lease: LeaseLoop | None = None

    async def __aenter__(self) -> Self:
        home = asyncio.get_running_loop()

        def on_lost(reason: str) -> None:
            with contextlib.suppress(RuntimeError):  # the caller's loop is closed
                home.call_soon_threadsafe(self._set_lost, reason, self._lost)

        watchdog = None if self._block_seconds is None else Watchdog(self._block_seconds, home)
        lease = LeaseLoop(
            self._client, self.claim, self.timing, self._validity, watchdog, on_lost, self._clock
        )
        self._thread.start()
        try:
            await self._call(lease.open())
        except BaseException:
            self._thread.stop()
            raise
        self._lease = lease
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            if not self._abandoned:
                await self.release()
        finally:
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with contextlib.suppress(RuntimeError, TimeoutError):  # the thread has ended, or hangs
            self._thread.submit(self._loop().close()).result(self.timing.renew_deadline)
        self._thread.stop(self.timing.renew_deadline)

    @property
    def held(self) -> bool:
        """Whether the Lease is certainly ours at this moment, by the clock."""
        return self._validity.held(self._clock())

    @property
    def lost(self) -> asyncio.Event:
        """Set when the Lease that the last `acquire` took is lost. Each `acquire` creates a new event."""
        return self._lost

    def deadline(self) -> float:
        """Until when the Lease is certainly ours, on the clock of `time.monotonic`; in the past if not held.

        The time at which the last successful renewal was SENT, plus the Lease's duration, minus the margin.
        """
        now = time.monotonic()
        until = self._validity.deadline() if self.held else None
        return now - 1.0 if until is None else now + (until - self._clock())

    async def acquire(self, *, contend: bool = True, former: str = "", timeout: float | None = None) -> None:
        """Take the Lease; returns when it is held.

        If another holder has it: with `contend` wait for as long as it takes. Without, wait only until it is
        clear whether that holder is alive (at most its Lease's duration) and raise LeaseHeld if so; errors
        that waiting does not cure (Forbidden, a missing namespace) are raised too. `former` is the identity
        of a holder that has certainly ended: the Lease is taken from it at once. After `timeout` seconds
        raise TimeoutError.
        """
        if not self.held:
            self._set_lost("it was not renewed in time", self._lost)
            async with asyncio.timeout(timeout):
                await self._call(self._loop().acquire(contend, former))
        if self._lost.is_set():
            self.lost_reason = ""
            self._lost = asyncio.Event()
            self._stop_guard()
            self._guard = asyncio.create_task(self._watch_clock(self._lost))

    async def release(self, *, delete: bool = False) -> None:
        """Stop renewing and release the Lease (or delete it), so that another process may take it at once.

        End all work that relies on the Lease first. If the API server does not answer in time, the Lease
        expires by itself.
        """
        self._stop_guard()
        if self._thread.running:
            await self._call(self._loop().release(delete))
        self._set_lost("it was released", self._lost)

    async def abandon(self) -> None:
        """Stop renewing, and leave the Lease to expire by itself.

        For a holder whose work continues although it was asked to end: nobody may take over before that time.
        """
        self._stop_guard()
        self._abandoned = True
        if self._thread.running:
            await self._call(self._loop().stop_renewing())
        self._set_lost("it was abandoned", self._lost)

    def _loop(self) -> LeaseLoop:
        if self._lease is None:
            raise RuntimeError(f"{self.claim}: used outside of its `async with`")
        return self._lease

    async def _call(self, work: Coroutine[Any, Any, R]) -> R:
        return await asyncio.wrap_future(self._thread.submit(work))

    async def _watch_clock(self, lost: asyncio.Event) -> None:
        """Notice the end by the caller's own clock, even if the thread hangs."""
        while not lost.is_set():
            until = self._validity.until()
            if not self.held or until is None:
                self._set_lost("it was not renewed in time", lost)
                return
            await asyncio.sleep(max(0.001, until - self._clock()))

    def _stop_guard(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None

    def _set_lost(self, reason: str, lost: asyncio.Event) -> None:
        if not lost.is_set():
            self.lost_reason = self.lost_reason or reason
            lost.set()
