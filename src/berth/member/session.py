"""The life of a Member: announced under a Lease, given Items, drained, withdrawn."""

import asyncio
import logging
import time
import uuid
from collections.abc import Mapping
from enum import Enum, auto
from functools import partial
from typing import Self, Unpack

from berth.kinds import ItemWithData
from berth.kube import (
    ITEMS,
    ApiError,
    Backoff,
    Client,
    Config,
    LeaseClaim,
    LeaseHeld,
    LeaseKeeper,
    NotFound,
    Timing,
    load_config,
)
from berth.member.assignment_watch import AssignmentWatch
from berth.member.callbacks import CallbackRunner
from berth.member.held import Held
from berth.member.registration import MemberRegistration, NameTaken, lease_labels, owners
from berth.member.settings import Options, Settings
from berth.member.status_reporter import StatusReporter
from berth.member.tenure import Tenure
from berth.member.worker import Worker

log = logging.getLogger("berth.member")

STOP_GRACE = 5.0
"""Seconds for callbacks to end when the session stops immediately."""

CLOCK_PERIOD = 0.25
"""Seconds between checks of the clock: timers do not count the time for which a machine was suspended."""


class Outcome(Enum):
    """How a session ended."""

    DRAINED = auto()
    """Everything was handed over; Member and Lease are deleted. Exit code 0."""
    OVERDUE = auto()
    """The drain took too long; the other Items were dropped, Member and Lease are deleted. Exit code 1."""
    STOPPED = auto()
    """It was stopped immediately; the Lease is released. Exit code 143."""
    LOST = auto()
    """The Lease was lost; everything was cancelled. A Session then starts again by itself."""


class Session:
    """Holds Items as one Member, and calls a worker for each of them. An async context manager.

        async with berth.Session(worker, pool="feeds", limit=100) as session:
            ...
            await session.drain()

    Entering announces the Member and waits until the API server has it. After a loss of the Lease the Session
    announces itself again, under a new `id`, holding nothing. Leaving without a drain stops immediately:
    the callbacks of held Items are cancelled and the Lease is released, so that other Members may take over
    without waiting for it to expire.

    Entering raises `NameTaken` if another live process has the name, `SettingsError` if the Member belongs to
    another Pool, and the ApiError or ConfigError that prevents the start.
    """

    def __init__(self, worker: Worker, **options: Unpack[Options]) -> None:
        """The options are described by `berth.member.Settings`. Raises `SettingsError`."""
        self.settings = Settings.of(options)
        self.id = ""
        """The id of the session, the holder of its Lease; empty until it is announced."""
        self._worker = worker
        self._config: Config | None = None
        self._runner: CallbackRunner | None = None
        self._reporter: StatusReporter | None = None
        self._tenure: Tenure | None = None
        self._main: asyncio.Task[Outcome] | None = None
        self._announced = asyncio.Event()
        self._draining = asyncio.Event()
        self._stopping = asyncio.Event()
        self._drain_until = 0.0
        self._former = ""  # the session that was lost last, if nothing of it is still running

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
            await self._main  # raises the reason
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._end()

    async def _end(self) -> None:
        self.stop()
        if self._main is not None:
            await asyncio.shield(self._main)

    @property
    def namespace(self) -> str:
        """The namespace of the Member."""
        return self.settings.namespace or (self._config.namespace if self._config is not None else "")

    @property
    def held(self) -> Mapping[str, Held]:
        """The Items that are held here now, by name."""
        return {} if self._runner is None else self._runner.held

    @property
    def live(self) -> bool:
        """Whether the Lease is certainly held at this moment."""
        return self._tenure is not None and self._tenure.valid()

    @property
    def left(self) -> float:
        """Seconds for which the Lease is certainly still held; 0.0 if it is not."""
        return 0.0 if self._tenure is None else self._tenure.left

    @property
    def asked_to_end(self) -> bool:
        """Whether it was asked to drain or to stop."""
        return self._draining.is_set() or self._stopping.is_set()

    async def wait(self) -> Outcome:
        """Wait until the session has ended. Raises the error that ended it, if there was one."""
        if self._main is None:
            raise RuntimeError("Session is used outside of its `async with`")
        return await asyncio.shield(self._main)

    async def drain(self, seconds: float | None = None) -> Outcome:
        """Hand everything over, then withdraw the Member: its limit becomes 0, and the session ends when
        nothing is held here, or after `seconds` (by default `drain_seconds`). Raises as `wait` does.
        """
        self.ask_to_drain(seconds)
        return await self.wait()

    def ask_to_drain(self, seconds: float | None = None) -> None:
        """Start a drain, without waiting for its end."""
        if not self._draining.is_set():
            allowed = self.settings.drain_seconds if seconds is None else seconds
            self._drain_until = time.monotonic() + allowed
            self._draining.set()

    def stop(self) -> None:
        """End immediately: cancel the callbacks and release the Lease. `wait` returns when that is done."""
        self._stopping.set()

    async def _run(self) -> Outcome:
        assert self._config is not None
        agent = f"berth-member/{self.settings.name}"
        # A connection that died silently must not delay a report for long.
        patience = min(10.0, max(2.0, self.settings.lease_seconds / 2))
        async with Client(self._config, timeout=patience, connections=16, user_agent=agent) as client:
            reader = partial(self._read_data, client) if self.settings.read_data else None
            async with CallbackRunner(
                self._worker, read_data=reader, concurrency=self.settings.concurrency, on_change=self._changed
            ) as runner:
                self._runner = runner
                registration = MemberRegistration(client, self.namespace, self.settings, self._draining)
                while (outcome := await self._run_session(client, registration, runner)) is Outcome.LOST:
                    log.warning("member %s: announcing itself again", self.settings.name)
                return outcome

    async def _read_data(self, client: Client, item: str) -> dict[str, str]:
        """The `spec.data` of an Item. Raises LookupError if there is no such Item, ApiError."""
        try:
            return (await client.get(ITEMS.path(self.namespace, item), type=ItemWithData)).spec.data
        except NotFound:
            raise LookupError(f"there is no Item {self.namespace}/{item}") from None

    def _changed(self, urgent: bool) -> None:
        if self._reporter is not None:
            self._reporter.notify(urgent)

    async def _run_session(
        self, client: Client, registration: MemberRegistration, runner: CallbackRunner
    ) -> Outcome:
        """One session, from taking the Lease to losing or releasing it."""
        settings = self.settings
        self.id = f"{settings.name[:200]}_{uuid.uuid4().hex[:12]}"
        async with self._keeper() as keeper:
            taking = asyncio.create_task(self._take(keeper), name="berth:take")
            if not await self._unless_asked_to_end(taking):
                return self._early_outcome()
            tenure = Tenure(lambda: keeper.deadline() - time.monotonic() if keeper.held else 0.0)
            self._tenure = tenure
            outcome, clean = Outcome.STOPPED, False
            try:
                outcome = await self._work(client, registration, runner, keeper, tenure)
            finally:
                try:
                    clean = await self._wait_until_released(runner, outcome)
                finally:
                    if not clean and outcome is not Outcome.LOST:
                        # A callback is still running, so nobody may take over before the Lease has expired,
                        # also if we are cancelled while we wait for it.
                        await keeper.abandon()
            if outcome is Outcome.LOST:
                self._former = self.id if clean else ""
                log.warning("member %s: lease lost: %s", settings.name, keeper.lost_reason or "it expired")
            elif clean and outcome is not Outcome.STOPPED:
                await registration.withdraw()
                await keeper.release(delete=True)
            return outcome

    def _keeper(self) -> LeaseKeeper:
        assert self._config is not None
        seconds = self.settings.lease_seconds
        labels, owned_by = lease_labels(self.settings), owners(self.settings)
        return LeaseKeeper(
            self._config,
            LeaseClaim(self.namespace, self.settings.name, self.id, labels, owned_by),
            Timing.of(seconds, renew_deadline=seconds * 0.8, retry_period=seconds / 3),
            watchdog=self.settings.block_seconds,
        )

    async def _take(self, keeper: LeaseKeeper) -> None:
        backoff = Backoff(base=0.2, limit=5.0)
        while True:
            try:
                # The Lease of our own last session is taken at once if nothing of that session still runs.
                await keeper.acquire(contend=self.settings.wait, former=self._former)
                self._former = ""
                return
            except LeaseHeld as error:
                raise NameTaken(
                    f"Member {self.namespace}/{self.settings.name} is held by session {error.holder!r}, "
                    "which is alive: stop that process, choose another name, or give wait=True"
                ) from error
            except ApiError as error:
                if not self._known:
                    raise
                # It worked before: an API server refuses many requests while it starts.
                log.warning("member %s: cannot take the Lease: %s", self.settings.name, error)
            await asyncio.sleep(backoff.next())

    async def _unless_asked_to_end(self, task: asyncio.Task[None]) -> bool:
        """Wait for `task`; False, and it is cancelled, if the session is asked to end before."""
        asked = [asyncio.create_task(event.wait()) for event in (self._stopping, self._draining)]
        try:
            while not task.done():
                late = time.monotonic() >= self._drain_until
                # Once announced, there is a Member to withdraw: keep trying for as long as a drain may take.
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

    def _early_outcome(self) -> Outcome:
        """The outcome of a session that was asked to end before it had its Lease."""
        if self._stopping.is_set():
            return Outcome.STOPPED
        return Outcome.OVERDUE if self._known else Outcome.DRAINED

    async def _work(
        self,
        client: Client,
        registration: MemberRegistration,
        runner: CallbackRunner,
        keeper: LeaseKeeper,
        tenure: Tenure,
    ) -> Outcome:
        """Follow the Assignment until there is a reason to end; callbacks may then still run."""
        name = self.settings.name
        watch = AssignmentWatch(
            client, self.namespace, name, runner.set_target, session=self.id, on_taken=runner.revoke
        )
        reporter = StatusReporter(client, self.namespace, name, self.id, watch, runner, tenure)
        runner.start_session(tenure)

        async def serve() -> Outcome:
            watch.set_member(await registration.announce())
            self._reporter = reporter
            self._announced.set()
            log.info("member %s: announced as session %s", name, self.id)
            async with asyncio.TaskGroup() as group:
                group.create_task(watch.run())
                group.create_task(reporter.run())
                group.create_task(registration.keep_announced(watch))
            return Outcome.LOST

        async def when(event: asyncio.Event, outcome: Outcome) -> Outcome:
            await event.wait()
            return outcome

        async def expired() -> Outcome:
            while tenure.valid():  # noqa: ASYNC110 - nothing signals that a clock has jumped
                await asyncio.sleep(CLOCK_PERIOD)
            return Outcome.LOST

        async def drained() -> Outcome:
            await self._draining.wait()
            clean = await registration.hand_over(self._drain_until, watch, reporter, runner)
            return Outcome.DRAINED if clean else Outcome.OVERDUE

        reasons = [
            asyncio.create_task(when(keeper.lost, Outcome.LOST), name="berth:lost"),
            asyncio.create_task(expired(), name="berth:expired"),
            asyncio.create_task(when(self._stopping, Outcome.STOPPED), name="berth:stop"),
            asyncio.create_task(drained(), name="berth:drain"),
            asyncio.create_task(serve(), name="berth:serve"),
        ]
        try:
            await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
            return await next(task for task in reasons if task.done())
        finally:
            tenure.end()
            runner.end_session()  # before any other task runs
            self._reporter = None
            for task in reasons:
                task.cancel()
            await asyncio.gather(*reasons, return_exceptions=True)

    async def _wait_until_released(self, runner: CallbackRunner, outcome: Outcome) -> bool:
        """Wait until the cancelled callbacks have ended; False if some have not in time."""
        grace = self.settings.lease_seconds if outcome is Outcome.LOST else STOP_GRACE
        try:
            async with asyncio.timeout(grace):
                await runner.wait_until_empty()
        except TimeoutError:
            log.error(
                "member %s: the callbacks of %d items have not ended after %.0f s: %s", self.settings.name,
                len(runner.held), grace, ", ".join(sorted(runner.held)[:10]),
            )  # fmt: skip
            return False
        return True
