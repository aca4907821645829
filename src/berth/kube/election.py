"""Leader election: of several candidates, at most one leads."""

from collections.abc import Callable

from berth.kube.config import Config
from berth.kube.keeper import LeaseKeeper
from berth.kube.timing import Timing, lease_clock
from berth.kube.transport import RequestHook


class Election(LeaseKeeper):
    """One candidate for a Lease; an async context manager.

    ```python
    async with Election(config, "berth-system", "berth-controller", identity) as election:
        while True:
            await election.acquired()
            lost = election.lost       # an asyncio.Event; `lost_reason` is the reason afterwards
            ...                        # work while election.leading; requests with deadline=election.deadline
    ```

    The Lease is renewed from a thread of its own. `leading` reads the clock, so it is False immediately after
    the process stood still. A candidate that lost the lead stands again when `acquired` is awaited again.
    `release`, or leaving the block, releases the Lease, and the next candidate takes over at once.
    Pass `deadline` itself to requests, not its value: it is called before each attempt.

    It needs the verbs get, create and update on leases; with watch as well, the next leader need not poll.
    """

    def __init__(
        self,
        config: Config,
        namespace: str,
        name: str,
        identity: str,
        *,
        lease_duration: float = 15.0,
        watchdog: float | None = 60.0,
        on_request: RequestHook | None = None,
        clock: Callable[[], float] = lease_clock,
    ) -> None:
        """`lease_duration` in seconds; a leader gives up after two thirds of it without a renewal.

        `watchdog`: seconds that the event loop may be blocked before the lead is given up (None: any number).
        """
        super().__init__(
            config,
            namespace,
            name,
            identity,
            timing=Timing.of(lease_duration, lease_duration * 2 / 3),
            watchdog=watchdog,
            on_request=on_request,
            clock=clock,
        )
        self.identity = identity

    async def acquired(self) -> None:
        """Stand for election; returns once this candidate leads, immediately if it already does."""
        await self.acquire(contend=True)

    @property
    def leading(self) -> bool:
        """Whether this candidate certainly leads at this moment, by the clock."""
        return self.held
