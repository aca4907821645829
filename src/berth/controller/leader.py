"""From standing for election to leading every Pool, and back: one controller process."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from berth.controller.apply import Applier
from berth.controller.endpoint import endpoint
from berth.controller.follow import FollowedPool, Follower
from berth.controller.lead import Lead
from berth.controller.metrics import Metrics
from berth.controller.publish import Publisher
from berth.controller.reads import LeaseReaders
from berth.controller.recorder import Recorder
from berth.controller.rejected import Rejections
from berth.controller.solving import PoolSolver, SolverProcess
from berth.controller.term import Replaced
from berth.controller.writes import FIRST_PARALLEL
from berth.kinds import PoolObject
from berth.kube import ASSIGNMENTS, Backoff, Client, Config, Key, LeaseClaim, LeaseKeeper, Timing
from berth.pool import Notice
from berth.solve import Tuning
from berth.solve.apart import ENGINE

logger = logging.getLogger(__name__)

LEASE_NAME = "berth-controller"
BLOCK_SECONDS = 60.0
"""Seconds that the event loop may be blocked before the lead is given up."""
STARTED = 5.0
"""Seconds after which what belongs to a start has been sent, and connections may be opened beforehand."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a controller is run."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to look after; empty is all."""
    lease_namespace: str = "default"
    """Where the Lease of the election is."""
    lease_duration: float = 15.0
    """Seconds."""
    metrics_port: int | None = None
    problem_folder: Path | None = None
    """Where problems are saved whose plans were rejected; None: `berth` in the folder for temporary files."""
    engine: str = ENGINE
    """The solver's thorough engine, `module:function`; another one in tests only."""
    tuning: Tuning = field(default_factory=Tuning)
    """The solver's thresholds and budgets; others in tests only."""


def identity() -> str:
    """A name of this very process: host, process id and a random part, since both of those come again."""
    return f"{socket.gethostname()[:180]}_{os.getpid()}_{uuid.uuid4().hex[:8]}"


class Controller:
    """One controller process: follows the cluster always, acts while it leads. An async context manager."""

    def __init__(self, config: Config, options: Options) -> None:
        self._config = config
        self._options = options
        self._stack = AsyncExitStack()
        self._leaders: asyncio.TaskGroup | None = None
        self._follow: list[asyncio.Task[None]] = []
        self._leading: list[asyncio.Task[None]] = []
        self.identity = identity()
        self.metrics = Metrics()
        self._aside = Backoff(base=options.lease_duration, limit=40 * options.lease_duration)
        self._ready = False
        self.failed: asyncio.Future[None] | None = None
        """Done with an exception when something broke that a restart may repair."""

    async def __aenter__(self) -> Self:
        options = self._options
        if options.metrics_port is not None:
            self._stack.enter_context(
                endpoint(options.metrics_port, self.metrics.registry, lambda: self._ready)
            )
        self._client = await self._stack.enter_async_context(
            Client(self._config, on_request=self.metrics.on_request, user_agent="berth-controller")
        )
        self.recorder = Recorder(self._client, self.identity)
        self.follower = await self._stack.enter_async_context(
            Follower(self._client, options.namespaces, on_pool=self._on_pool, on_unusable=self._on_unusable)
        )
        self._election = await self._stack.enter_async_context(
            LeaseKeeper(
                self._config,
                LeaseClaim(options.lease_namespace, LEASE_NAME, self.identity),
                Timing.of(options.lease_duration, renew_deadline=options.lease_duration * 2 / 3),
                watchdog=BLOCK_SECONDS,
                on_request=self.metrics.on_request,
            )
        )
        self.failed = asyncio.get_running_loop().create_future()
        for coroutine in (
            self.follower.watch_time(),
            self._stand(),
            self._count_restarts(),
            self._keep_connections(),
        ):
            task = asyncio.create_task(coroutine)
            task.add_done_callback(self._on_done)
            self._follow.append(task)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._follow:
            task.cancel()
        await asyncio.gather(*self._follow, return_exceptions=True)
        # Leaves in reverse: the Lease is released first, while the client still works.
        await self._stack.aclose()

    def put_pool(self, pool: PoolObject, deleted: bool) -> None:
        """Pass a Pool to its brain."""
        self.follower.put_pool(pool, deleted)

    @property
    def leading(self) -> bool:
        """Whether this process leads now."""
        return self._election.held

    async def _stand(self) -> None:
        await self.follower.synced()
        self._ready = True
        logger.info("caches have synced; standing for election as %s", self.identity)
        while True:
            await self._election.acquire()
            lost = self._election.lost
            logger.info("leading")
            self.metrics.leading.set(1)
            self.metrics.leads.inc()
            replaced: list[Exception] = []
            try:
                await self._lead(lost)
            except* Replaced as group:
                replaced = [e for e in group.exceptions if isinstance(e, Exception)]
                logger.warning("stopped leading: %s", replaced[0])
            finally:
                self.metrics.leading.set(0)
                self.metrics.forget_pools()
            if replaced:
                await self._stand_aside()
            else:
                self._aside.reset()
                logger.info("no longer leading: %s", self._election.lost_reason)

    async def _stand_aside(self) -> None:
        """Yield the Pools to the controller that has raised their term.

        Usually that is the next leader, and this process has only not noticed yet that its Lease is gone. But
        if two installations manage one namespace, they take it from each other: without a growing pause they
        would do nothing else.
        """
        rival = self._election.held
        await self._election.release()
        pause = self._aside.next()
        if rival:
            logger.error(
                "another controller leads Pools that the holder of Lease %s/%s leads, too: is Berth installed"
                " twice, with overlapping --namespace or in two namespaces? Standing aside for %.0f s",
                self._options.lease_namespace,
                LEASE_NAME,
                pause,
            )
        await asyncio.sleep(pause)

    async def _lead(self, lost: asyncio.Event) -> None:
        options = self._options
        self._solver = SolverProcess(options.tuning, options.engine)
        try:
            await self._lead_pools(lost)
        finally:
            self._solver.end()

    async def _lead_pools(self, lost: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            self._leaders = group
            try:
                self.follower.restart_leases()
                readers = LeaseReaders(self._client, self.follower, self.metrics)
                others = (self.recorder.run(), readers.run(), self._solver.prepare())
                self._leading = [group.create_task(other) for other in others]
                for pool in self.follower.pools.values():
                    self._lead_pool(pool)
                await lost.wait()
            finally:
                self._leaders = None
            for task in self._leading:
                task.cancel()

    def _lead_pool(self, pool: FollowedPool) -> None:
        assert self._leaders is not None
        brain, client, deadline = pool.brain, self._client, self._election.deadline
        rejections = Rejections(brain, self.metrics, self._options.problem_folder)
        applier = Applier(
            client,
            self.follower.informer(ASSIGNMENTS, brain.namespace),
            (brain.namespace, brain.name),
            self.identity,
            deadline,
            PoolSolver(self._solver, rejections),
        )
        publisher = Publisher(pool, self.follower, client, deadline, self.recorder, self.metrics)
        lead = Lead(brain, applier, pool.burst, publisher.publish)
        self._leading += [self._leaders.create_task(each.run()) for each in (lead, publisher)]

    async def _keep_connections(self) -> None:
        # A standby too: a takeover after a rest takes half the time where its writes find them open.
        await self.follower.synced()
        await asyncio.sleep(STARTED)
        await self._client.keep_open(FIRST_PARALLEL)

    async def _count_restarts(self) -> None:
        counted: dict[int, int] = {}
        while True:
            for i, informer in enumerate(self.follower.informers):
                counter = self.metrics.watch_restarts.labels(informer.resource.plural)
                counter.inc(informer.restarts - counted.get(i, 0))
                counted[i] = informer.restarts
            await asyncio.sleep(15.0)

    def _on_pool(self, pool: FollowedPool) -> None:
        if self._leaders is not None:
            self._lead_pool(pool)

    def _on_unusable(self, kind: str, key: Key, error: Exception) -> None:
        namespace, name = key
        if namespace and self._leaders is not None:
            self.recorder.record(namespace, Notice(kind, name, "", "Unusable", f"cannot be used: {error}"))

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self.failed is None or self.failed.done():
            return
        error = task.exception()
        self.failed.set_exception(error or RuntimeError("a task of the controller ended unexpectedly"))
