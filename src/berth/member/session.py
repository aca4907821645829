"""The life of a Member: announced under a Lease, given Items, drained, withdrawn."""

import asyncio
import contextlib
import logging
import signal
import time
import uuid
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import partial
from typing import Self, Unpack, cast

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
from berth.member.assignment import AssignmentWatch, StatusReporter
from berth.member.callbacks import CallbackRunner
from berth.member.registration import MemberRegistration, NameTaken
from berth.member.settings import Options, Settings
from berth.member.tasks import first, when
from berth.member.worker import Held, SecondsLeft, Worker

log = logging.getLogger("berth.member")

STOP_GRACE = 5.0  # seconds for callbacks to end when the session stops immediately
CLOCK_PERIOD = 0.25
"""Seconds between checks of the clock: timers do not count the time for which a machine was suspended."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Outcome(Enum):
    """How a session ended. The value is the exit code of its process."""

    DRAINED = 0
    """Everything was handed over; Member and Lease are deleted."""
    OVERDUE = 1
    """The drain took too long; the other Items were dropped, Member and Lease are deleted."""
    STOPPED = 143
    """It was stopped immediately; the Lease is released."""
    LOST = -1
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
        self.namespace = self.settings.namespace or ""
        """The namespace of the Member; known once the Session has been entered."""
        self._worker = worker
        self._config: Config | None = None
        self._runner: CallbackRunner | None = None
        self._reporter: StatusReporter | None = None
        self._lease_left: SecondsLeft = lambda: 0.0
        self._main: asyncio.Task[Outcome] | None = None
        self._entered = asyncio.Event()  # set when the Member has been announced, or never will be
        self._draining = asyncio.Event()
        self._stopping = asyncio.Event()
        self._drain_until = 0.0
        self._former = ""  # the session that was lost last, if nothing of it is still running

    async def __aenter__(self) -> Self:
        self._config = await asyncio.to_thread(load_config, self.settings.kubeconfig)
        self.namespace = self.namespace or self._config.namespace
        self._main = asyncio.create_task(self._run(), name=f"berth:session:{self.settings.name}")
        self._main.add_done_callback(lambda _: self._entered.set())
        try:
            await self._entered.wait()
        except asyncio.CancelledError:
            await self._end()
            raise
        if self._main.done():
            await self._main  # raises the reason
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._end()

    async def _end(self) -> None:
        self.stop()
        if self._main is not None:
            await asyncio.shield(self._main)

    @property
    def held(self) -> Mapping[str, Held]:
        """The Items that are held here now, by name."""
        return cast("Mapping[str, Held]", {} if self._runner is None else self._runner.held)

    @property
    def live(self) -> bool:
        """Whether the Lease is certainly held at this moment."""
        return self.left > 0.0

    @property
    def left(self) -> float:
        """Seconds for which the Lease is certainly still held; 0.0 if it is not."""
        return self._lease_left()

    async def wait(self) -> Outcome:
        """Wait until the session has ended. Raises the error that ended it, if there was one."""
        if self._main is None:
            raise RuntimeError("Session is used outside of its `async with`")
        return await asyncio.shield(self._main)

    async def wait_until_ending(self) -> None:
        """Wait until the session was asked to drain or to stop."""
        await first(self._draining.wait(), self._stopping.wait())

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
        name = self.settings.name
        self.id = f"{name[:200]}_{uuid.uuid4().hex[:12]}"
        async with self._keeper() as keeper:
            early: Outcome | None = await first(
                self._take(keeper, registration.known),
                when(self._stopping, Outcome.STOPPED),
                self._drained_without_lease(registration.known),
            )
            if early is not None:
                return early
            self._lease_left = lambda: max(0.0, keeper.deadline() - time.monotonic())
            outcome, clean = Outcome.STOPPED, False
            try:
                outcome = await self._work(client, registration, runner, keeper)
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
                log.warning("member %s: lease lost: %s", name, keeper.lost_reason or "it expired")
            elif clean and outcome is not Outcome.STOPPED:
                await registration.withdraw()
                await keeper.release(delete=True)
            return outcome

    def _keeper(self) -> LeaseKeeper:
        assert self._config is not None
        settings, seconds = self.settings, self.settings.lease_seconds
        # For people and for the admission policy. A label value is shorter than a name may be.
        labels = {"berth.dev/member": settings.name[:63].rstrip("-.")}
        return LeaseKeeper(
            self._config,
            LeaseClaim(self.namespace, settings.name, self.id, labels, settings.owners),
            Timing.of(seconds, renew_deadline=seconds * 0.8, retry_period=seconds / 3),
            watchdog=settings.block_seconds,
        )

    async def _take(self, keeper: LeaseKeeper, known: bool) -> None:
        """Take the Lease. Once the Member was announced (`known`), retry until that succeeds."""
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
                if not known:
                    raise
                # It worked before: an API server refuses many requests while it starts.
                log.warning("member %s: cannot take the Lease: %s", self.settings.name, error)
            await asyncio.sleep(backoff.next())

    async def _drained_without_lease(self, known: bool) -> Outcome:
        """Wait until a drain ends the attempt to take the Lease."""
        await self._draining.wait()
        if not known:
            return Outcome.DRAINED
        # There is a Member to withdraw: keep trying for as long as the drain may take.
        await asyncio.sleep(self._drain_until - time.monotonic())
        return Outcome.OVERDUE

    async def _work(
        self, client: Client, registration: MemberRegistration, runner: CallbackRunner, keeper: LeaseKeeper
    ) -> Outcome:
        """Follow the Assignment until there is a reason to end; callbacks may then still run."""
        name, lease_left = self.settings.name, self._lease_left
        watch = AssignmentWatch(
            client, self.namespace, name, self.id, on_entries=runner.set_target, on_taken=runner.revoke
        )
        reporter = StatusReporter(client, watch, runner, lease_left)
        runner.start_session(lease_left)

        async def follow() -> Outcome:
            watch.set_member(await registration.announce())
            self._reporter = reporter
            self._entered.set()
            log.info("member %s: announced as session %s", name, self.id)
            async with asyncio.TaskGroup() as group:
                group.create_task(watch.run())
                group.create_task(reporter.run())
                group.create_task(registration.keep_announced(watch))
            return Outcome.LOST

        async def expired() -> Outcome:
            while lease_left() > 0.0:  # noqa: ASYNC110 - nothing signals that a clock has jumped
                await asyncio.sleep(CLOCK_PERIOD)
            return Outcome.LOST

        async def drained() -> Outcome:
            await self._draining.wait()
            clean = await registration.hand_over(self._drain_until, watch, reporter, runner)
            return Outcome.DRAINED if clean else Outcome.OVERDUE

        def end() -> None:
            runner.end_session()
            self._lease_left, self._reporter = lambda: 0.0, None

        return await first(
            when(keeper.lost, Outcome.LOST),
            expired(),
            when(self._stopping, Outcome.STOPPED),
            drained(),
            follow(),
            on_end=end,
        )

    async def _wait_until_released(self, runner: CallbackRunner, outcome: Outcome) -> bool:
        """Wait until the cancelled callbacks have ended; False if some have not in time."""
        grace = self.settings.lease_seconds if outcome is Outcome.LOST else STOP_GRACE
        try:
            async with asyncio.timeout(grace):
                await runner.wait_until_empty()
        except TimeoutError:
            text = "member %s: the callbacks of %d items have not ended after %.0f s: %s"
            items = sorted(runner.held)
            log.error(text, self.settings.name, len(items), grace, ", ".join(items[:10]))
            return False
        return True


async def serve(worker: Worker, **options: Unpack[Options]) -> None:
    """Hold Items as one Member until SIGTERM or SIGINT, and call `worker` for each of them.

        asyncio.run(berth.serve(Feeds(), pool="feeds", limit=100))

    The options are described by `berth.member.Settings`. The first signal drains: the Member's limit becomes
    0, its Items are handed over, it is deleted, and this returns. If that takes longer than `drain_seconds`,
    the remaining Items are dropped and SystemExit(1) is raised. A second signal ends it immediately: all
    callbacks are cancelled, the Lease is released, and SystemExit(143) is raised. A third one has its
    default effect.

    Raises `SettingsError`, `NameTaken`, and the ApiError or ConfigError that prevents the start.
    """
    session = Session(worker, **options)
    with ending_by_signals(session):
        async with session:
            outcome = await session.wait()
    if outcome.value:
        raise SystemExit(outcome.value)


@contextlib.contextmanager
def ending_by_signals(session: Session) -> Iterator[None]:
    """Let the first SIGTERM or SIGINT drain the session, and the second stop it."""
    loop = asyncio.get_running_loop()

    received = 0

    def restore() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    def on_signal() -> None:
        nonlocal received
        received += 1
        if received == 1:
            log.info("received a signal: draining; a second one ends immediately")
            session.ask_to_drain()
        else:
            log.warning("received a second signal: ending immediately")
            restore()
            session.stop()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        restore()
