"""Leader election: of several candidates, at most one leads."""

import asyncio
from collections.abc import Callable
from typing import Self

from berth.kube.client import Client, RequestHook
from berth.kube.config import Config
from berth.kube.keeper import LeaseKeeper
from berth.kube.timing import Timing, lease_clock

__all__ = ["Election"]


class Election:
    """One candidate for a Lease; an async context manager.

    ```python
    async with Election(config, "berth-system", "berth-controller", identity) as election:
        while True:
            await election.acquired()
            lost = election.lost
            ...                        # work while election.leading; requests with deadline=election.deadline
    ```

    The Lease is renewed from a thread of its own. `leading` looks at the clock, so it is False at the first
    look after the process stood still; once lost, the candidate stands again only when `acquired` is awaited
    again. Leaving the block releases the Lease, and the next candidate takes over at once.

    It needs the verbs get, create and update on leases; with watch too the next one need not poll.
    """

    def __init__(
        self,
        access: Client | Config,
        namespace: str,
        name: str,
        identity: str,
        *,
        lease_duration: float = 15.0,
        renew_deadline: float | None = None,
        retry_period: float | None = None,
        margin: float | None = None,
        watchdog: float | None = 60.0,
        on_request: RequestHook | None = None,
        clock: Callable[[], float] = lease_clock,
    ) -> None:
        """All periods in seconds, see Timing; the deadline is two thirds of the duration by default.

        `watchdog`: a leader whose event loop is blocked for so long gives up the lead (None: never).
        `on_request`: as the Client takes it, but called from the thread that keeps the Lease.
        """
        self._keeper = LeaseKeeper(
            access.config if isinstance(access, Client) else access,
            namespace,
            name,
            identity,
            timing=Timing.of(
                lease_duration,
                lease_duration * 2 / 3 if renew_deadline is None else renew_deadline,
                retry_period,
                margin,
            ),
            watchdog=watchdog,
            on_request=on_request,
            clock=clock,
        )
        self.identity = identity

    async def __aenter__(self) -> Self:
        await self._keeper.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._keeper.__aexit__(*exc)

    async def acquired(self) -> None:
        """Stand for election; returns when we lead (at once when we do already)."""
        await self._keeper.acquire(contend=True)

    async def release(self) -> None:
        """Stop leading and let the next one take over at once. End the work of a leader first."""
        await self._keeper.release()

    @property
    def leading(self) -> bool:
        """Whether we surely lead, at this moment, by the clock."""
        return self._keeper.held

    @property
    def lost(self) -> asyncio.Event:
        """Set when the lead that the last `acquired` gained is over. Take it anew after each `acquired`."""
        return self._keeper.lost

    @property
    def lost_reason(self) -> str:
        """Why the lead was lost last; "" while leading."""
        return self._keeper.lost_reason

    @property
    def holder(self) -> str:
        """Who leads, as last seen; "" for nobody."""
        return self._keeper.holder

    @property
    def transitions(self) -> int:
        """How often the lead has changed hands."""
        return self._keeper.transitions

    def deadline(self) -> float:
        """Until when we surely lead, on `time.monotonic`'s clock; in the past when we do not lead.

        Give the method itself to requests (`client.patch(..., deadline=election.deadline)`), then each
        attempt looks at it anew.
        """
        return self._keeper.deadline()
