"""Holds a Lease from a thread of its own, so that a busy event loop does not delay a renewal."""

import asyncio
import contextlib
import math
import time
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from berth.kube.client import Client
from berth.kube.config import Config
from berth.kube.lease import LeaseClaim
from berth.kube.lease_loop import LeaseLoop
from berth.kube.loop_thread import LoopThread, Watchdog
from berth.kube.timing import Timing, Validity, lease_clock
from berth.kube.transport import RequestHook

R = TypeVar("R")


class LeaseKeeper:
    """Takes a Lease and renews it until it is released or lost; an async context manager.

    With it several candidates elect a leader:

        claim = LeaseClaim("berth-system", "berth-controller", identity)
        async with LeaseKeeper(config, claim, Timing.of(15.0)) as lease:
            while True:
                await lease.acquire()
                lost = lease.lost          # an asyncio.Event; `lost_reason` is the reason afterwards
                ...                        # work while lease.held; requests with deadline=lease.deadline

    `held` reads the clock each time, so it is False on the first check after the process or the machine
    stood still for longer than the Lease. A Lease that was lost stays lost until `acquire` is called again.
    Releasing it, or leaving the block, lets the next candidate take over at once. Pass `deadline` itself to
    requests, not its value: it is called before each attempt.

    It needs the verbs get, create and update on leases; with watch as well, a candidate need not poll.
    Everything here runs on the caller's event loop; the requests are sent by a LeaseLoop in another thread.
    """

    def __init__(
        self,
        config: Config,
        claim: LeaseClaim,
        timing: Timing,
        *,
        watchdog: float = math.inf,
        on_request: RequestHook | None = None,
    ) -> None:
        """`watchdog`: seconds that the running event loop may be blocked before the Lease is given up.

        `on_request` is as for the Client, but called from the keeper's thread.
        """
        self.lost_reason = ""
        """Why the Lease was last lost; "" while it is held."""
        self._timing = timing
        self._validity = Validity(timing)
        self.lost = asyncio.Event()
        """Set when the Lease that the last `acquire` took is lost. Each `acquire` creates a new event."""
        self.lost.set()
        self._abandoned = False
        self._thread = LoopThread(f"lease-{claim.name}")
        client = Client(config, timeout=timing.attempt, attempts=1, connections=2, on_request=on_request)
        home = asyncio.get_running_loop()

        def on_lost(reason: str) -> None:
            with contextlib.suppress(RuntimeError):  # the caller's loop is closed
                home.call_soon_threadsafe(self._set_lost, reason)

        guard = Watchdog(watchdog, home)
        self._loop = LeaseLoop(client, claim, timing, self._validity, guard, on_lost)

    async def __aenter__(self) -> Self:
        self._thread.start()
        try:
            await self._call(self._loop.open())
        except BaseException:
            self._thread.stop()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            if not self._abandoned:
                await self.release()
        finally:
            await asyncio.to_thread(self._close)  # goes on although this task may be cancelled again

    def _close(self) -> None:
        with contextlib.suppress(RuntimeError, TimeoutError):  # the thread has ended, or hangs
            self._thread.submit(self._loop.close()).result(self._timing.renew_deadline)
        self._thread.stop(self._timing.renew_deadline)

    @property
    def held(self) -> bool:
        """Whether the Lease is certainly ours at this moment, by the clock."""
        return self._validity.held(lease_clock())

    def deadline(self) -> float:
        """Until when the Lease is certainly ours, on the clock of `time.monotonic`; in the past if not held.

        The time at which the last successful renewal was SENT, plus the Lease's duration, minus the margin.
        """
        now = time.monotonic()
        until = self._validity.deadline() if self.held else None
        return now - 1.0 if until is None else now + (until - lease_clock())

    async def acquire(self, *, contend: bool = True, former: str = "") -> None:
        """Take the Lease; returns when it is held, immediately if it already is.

        If another holder has it: with `contend` wait for as long as it takes. Without, wait only until it is
        clear whether that holder is alive (at most its Lease's duration) and raise LeaseHeld if so; errors
        that waiting does not cure (Forbidden, a missing namespace) are raised too. `former` is the identity
        of a holder that has certainly ended: the Lease is taken from it at once.
        """
        if not self.held:
            self._set_lost("it was not renewed in time")
            await self._call(self._loop.acquire(contend, former))
        if self.lost.is_set():
            self.lost_reason, self.lost = "", asyncio.Event()
            if not self.held:  # it was lost again before this loop came here
                self._set_lost("it was not renewed in time")

    async def release(self, *, delete: bool = False) -> None:
        """Stop renewing and release the Lease (or delete it), so that another process may take it at once.

        End all work that relies on the Lease first. If the API server does not answer in time, the Lease
        expires by itself.
        """
        if self._thread.running:
            await self._call(self._loop.release(delete))
        self._set_lost("it was released")

    async def abandon(self) -> None:
        """Stop renewing, and leave the Lease to expire by itself.

        For a holder whose work continues although it was asked to end: nobody may take over before that time.
        """
        self._abandoned = True
        if self._thread.running:
            await self._call(self._loop.stop_renewing())
        self._set_lost("it was abandoned")

    async def _call(self, work: Coroutine[Any, Any, R]) -> R:
        return await asyncio.wrap_future(self._thread.submit(work))

    def _set_lost(self, reason: str) -> None:
        if not self.lost.is_set():
            self.lost_reason = reason
            self.lost.set()
