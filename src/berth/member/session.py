"""A Member's life: announced under a Lease, given Items, drained, withdrawn; announced anew after a loss."""

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping
from enum import Enum, auto
from functools import partial
from typing import Self, Unpack

from berth.kube import (
    Backoff,
    Client,
    Config,
    LeaseHeld,
    LeaseKeeper,
    Timing,
    load_config,
)
from berth.member.announce import NameTaken, labels, owners, read_data, release_for
from berth.member.delivery import Delivery
from berth.member.held import Held
from berth.member.inbox import UNUSABLE, Inbox
from berth.member.outbox import Outbox
from berth.member.presence import Presence
from berth.member.settings import Options, Settings
from berth.member.tenure import Tenure
from berth.member.worker import Worker

log = logging.getLogger("berth.member")

STOP_GRACE = 5.0
"""Seconds that callbacks have to end when the session stops at once."""

LOOK = 0.25
"""Seconds between looks at the clock: after a machine was suspended no timer says how long that took."""


class Outcome(Enum):
    """How a session ended."""

    DRAINED = auto()
    """Everything was handed over; Member and Lease are deleted."""
    OVERDUE = auto()
    """The drain took too long; what was left has been dropped, Member and Lease are deleted."""
    STOPPED = auto()
    """It was stopped at once; the Lease is released."""
    LOST = auto()
    """The Lease was lost; everything was cancelled."""


class Session:
    """Holds Items as one Member, and has a worker do their work. An async context manager.

        async with berth.Session(worker, pool="feeds", limit=100) as session:
            ...
            await session.drain()

    Entering announces the Member, waiting until the API server has it, and raises `NameTaken` where
    another live process has the name. After a loss of the Lease it announces itself again by itself, under a
    new `id`, holding nothing. Leaving without a drain stops at once: what is held is cancelled and the Lease
    released, so that others may take over without waiting for it to expire.
    """

    def __init__(self, worker: Worker, **options: Unpack[Options]) -> None:
        """For the options see `Settings`. Raises `SettingsError`."""
        self.settings = Settings.of(options)
        self.id = ""
        """The session's id, the holder of the Lease; empty until announced."""
        self._worker = worker
        self._config: Config | None = None
        self._delivery: Delivery | None = None
        self._outbox: Outbox | None = None
        self._tenure: Tenure | None = None
        self._main: asyncio.Task[Outcome] | None = None
        self._announced = asyncio.Event()
        self._draining = asyncio.Event()
        self._stopping = asyncio.Event()
        self._drain_until = 0.0
        self._over = ""  # the session that was lost last, if nothing of it goes on

    async def __aenter__(self) -> Self:
        self._config = await asyncio.to_thread(load_config, self.settings.kubeconfig)
        self._main = asyncio.create_task(self._run(), name=f"berth:session:{self.settings.name}")
        announced = asyncio.create_task(self._announced.wait())
        try:
            await asyncio.wait({self._main, announced}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._end()
            raise
        finally:
            announced.cancel()
        if not self._announced.is_set():
            await self._main  # raises why
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._end()

    async def _end(self) -> None:
        self.stop()
        if self._main is not None:
            await asyncio.shield(self._main)

    # For everybody.

    @property
    def namespace(self) -> str:
        """The namespace of the Member."""
        return self.settings.namespace or (self._config.namespace if self._config is not None else "")

    @property
    def held(self) -> Mapping[str, Held]:
        """The Items that are here now, by name."""
        return {} if self._delivery is None else self._delivery.held

    @property
    def live(self) -> bool:
        """Whether the Lease is surely held at this moment."""
        return self._tenure is not None and self._tenure.valid()

    @property
    def left(self) -> float:
        """Seconds for which the Lease is surely held from now; 0 when it is not."""
        return 0.0 if self._tenure is None else self._tenure.left

    @property
    def asked_to_end(self) -> bool:
        """Whether it was asked to drain or to stop."""
        return self._draining.is_set() or self._stopping.is_set()

    async def wait(self) -> Outcome:
        """Wait until the session has ended; raises what ended it, if that was an error."""
        if self._main is None:
            raise RuntimeError("Session is used outside of its `async with`")
        return await asyncio.shield(self._main)

    async def drain(self, seconds: float | None = None) -> Outcome:
        """Hand everything over, then withdraw the Member: its limit becomes 0, and the session ends when
        nothing is held here any more, or after `seconds` (by default `drain_seconds`).
        """
        self.ask_to_drain(seconds)
        return await self.wait()

    def ask_to_drain(self, seconds: float | None = None) -> None:
        """Begin what `drain` does, without waiting for its end."""
        if not self._draining.is_set():
            allowed = self.settings.drain_seconds if seconds is None else seconds
            self._drain_until = time.monotonic() + allowed
            self._draining.set()

    def stop(self) -> None:
        """End at once: cancel what is held and release the Lease. `wait` says when that is done."""
        self._stopping.set()

    # The life of it.

    async def _run(self) -> Outcome:
        assert self._config is not None
        agent = f"berth-member/{self.settings.name}"
        # A connection that died in silence must not hold up a report for longer than need be.
        patience = min(10.0, max(2.0, self.settings.lease_seconds / 2))
        async with Client(self._config, timeout=patience, connections=16, user_agent=agent) as client:
            reader = partial(read_data, client, self.namespace) if self.settings.read_data else None
            async with Delivery(
                self._worker,
                read_data=reader,
                concurrency=self.settings.concurrency,
                on_change=self._changed,
            ) as delivery:
                self._delivery = delivery
                presence = Presence(client, self.namespace, self.settings, self._draining)
                while (outcome := await self._live_once(client, presence, delivery)) is Outcome.LOST:
                    log.warning("member %s: announcing itself again", self.settings.name)
                return outcome

    def _changed(self, urgent: bool) -> None:
        if self._outbox is not None:
            self._outbox.notify(urgent)

    async def _live_once(self, client: Client, presence: Presence, delivery: Delivery) -> Outcome:
        """One session, from taking the Lease to losing it or giving it up."""
        settings = self.settings
        self.id = f"{settings.name[:200]}_{uuid.uuid4().hex[:12]}"
        async with self._keeper() as keeper:
            taking = asyncio.create_task(self._take(client, keeper), name="berth:take")
            if not await self._unless_asked_to_end(taking):
                return self._cut_short()
            tenure = Tenure(lambda: keeper.deadline() - time.monotonic() if keeper.held else 0.0)
            self._tenure = tenure
            outcome, clean = Outcome.STOPPED, False
            try:
                outcome = await self._work(client, presence, delivery, keeper, tenure)
            finally:
                try:
                    clean = await self._let_go(delivery, outcome)
                finally:
                    if not clean and outcome is not Outcome.LOST:
                        # A callback goes on all the same, so nobody may take over before the Lease has
                        # expired: also when we are cancelled while we wait for it.
                        await keeper.abandon()
            if outcome is Outcome.LOST:
                self._over = self.id if clean else ""
                log.warning("member %s: lease lost: %s", settings.name, keeper.lost_reason or "it ran out")
            elif clean and outcome is not Outcome.STOPPED:
                await presence.withdraw()
                await keeper.release(delete=True)
            return outcome

    def _keeper(self) -> LeaseKeeper:
        assert self._config is not None
        seconds = self.settings.lease_seconds
        return LeaseKeeper(
            self._config,
            self.namespace,
            self.settings.name,
            self.id,
            timing=Timing.of(seconds, renew_deadline=seconds * 0.8, retry_period=seconds / 3),
            watchdog=self.settings.block_seconds,
            labels=labels(self.settings),
            owners=owners(self.settings),
        )

    async def _take(self, client: Client, keeper: LeaseKeeper) -> None:
        backoff = Backoff(base=0.2, limit=5.0)
        if self._over:
            # Our last session could not release its Lease, but nothing of it goes on: no need to wait.
            await release_for(client, self.namespace, self.settings.name, self._over)
            self._over = ""
        while True:
            try:
                return await keeper.acquire(contend=self.settings.wait)
            except LeaseHeld as error:
                raise NameTaken(
                    f"Member {self.namespace}/{self.settings.name} is held by session {error.holder!r}, "
                    "which is alive: stop that process, choose another name, or give wait=True"
                ) from error
            except UNUSABLE as error:
                if not self._known:
                    raise
                # What worked once will work again: an API server that starts refuses much for a moment.
                log.warning("member %s: cannot take the Lease: %s", self.settings.name, error)
            await asyncio.sleep(backoff.next())

    async def _unless_asked_to_end(self, task: asyncio.Task[None]) -> bool:
        """Wait for `task`; False, and it is cancelled, when the session is asked to end before."""
        asked = [asyncio.create_task(event.wait()) for event in (self._stopping, self._draining)]
        try:
            while not task.done():
                late = time.monotonic() >= self._drain_until
                # Once announced there is a Member to withdraw: try for as long as a drain may take.
                if self._stopping.is_set() or (self._draining.is_set() and (late or not self._known)):
                    return False
                waited = {task, *(each for each in asked if not each.done())}
                await asyncio.wait(waited, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
            await task
            return True
        finally:
            for each in (task, *asked):
                each.cancel()
            await asyncio.gather(task, *asked, return_exceptions=True)

    @property
    def _known(self) -> bool:
        """Whether the Member has been announced before."""
        return self._announced.is_set()

    def _cut_short(self) -> Outcome:
        """How a session ends that was asked to before it had its Lease."""
        if self._stopping.is_set():
            return Outcome.STOPPED
        return Outcome.OVERDUE if self._known else Outcome.DRAINED

    async def _work(
        self, client: Client, presence: Presence, delivery: Delivery, keeper: LeaseKeeper, tenure: Tenure
    ) -> Outcome:
        """Do what the Assignment says until there is a reason to end. The caller lets go of what is held."""
        name = self.settings.name
        inbox = Inbox(
            client, self.namespace, name, delivery.aim, session=self.id, on_taken=delivery.take_away
        )
        outbox = Outbox(client, self.namespace, name, self.id, inbox, delivery, tenure)
        delivery.begin(tenure)

        async def serve() -> Outcome:
            inbox.belong_to(await presence.announce())
            self._outbox = outbox
            self._announced.set()
            log.info("member %s: announced as session %s", name, self.id)
            async with asyncio.TaskGroup() as group:
                group.create_task(inbox.watch())
                group.create_task(outbox.write_for_ever())
                group.create_task(presence.stay(inbox))
            return Outcome.LOST

        async def when(event: asyncio.Event, outcome: Outcome) -> Outcome:
            await event.wait()
            return outcome

        async def run_out() -> Outcome:
            while tenure.valid():  # noqa: ASYNC110 - nothing tells of a clock that has jumped
                await asyncio.sleep(LOOK)
            return Outcome.LOST

        async def drained() -> Outcome:
            await self._draining.wait()
            clean = await presence.hand_over(self._drain_until, inbox, outbox, delivery)
            return Outcome.DRAINED if clean else Outcome.OVERDUE

        reasons = [
            asyncio.create_task(when(keeper.lost, Outcome.LOST), name="berth:lost"),
            asyncio.create_task(run_out(), name="berth:run-out"),
            asyncio.create_task(when(self._stopping, Outcome.STOPPED), name="berth:stop"),
            asyncio.create_task(drained(), name="berth:drain"),
            asyncio.create_task(serve(), name="berth:serve"),
        ]
        try:
            await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
            return await next(task for task in reasons if task.done())
        finally:
            tenure.end()
            delivery.lose()  # before anything else may run
            self._outbox = None
            for task in reasons:
                task.cancel()
            await asyncio.gather(*reasons, return_exceptions=True)

    async def _let_go(self, delivery: Delivery, outcome: Outcome) -> bool:
        """Wait until what was cancelled has ended; whether it has."""
        grace = self.settings.lease_seconds if outcome is Outcome.LOST else STOP_GRACE
        try:
            async with asyncio.timeout(grace):
                await delivery.settled()
        except TimeoutError:
            log.error(
                "member %s: %d items are still not let go of after %.0f s: %s", self.settings.name,
                len(delivery.held), grace, ", ".join(sorted(delivery.held)[:10]),
            )  # fmt: skip
            return False
        return True
