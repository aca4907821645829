"""The controller process: it stands for election and leads every Pool while it is elected.

kopf runs it, watches the Pools and answers the probes; all else is `Controller`.
"""

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import aiohttp
import kopf
import msgspec

from berth import kube
from berth.controller.apply import Applier, Replaced
from berth.controller.follow import FollowedPool, Follower
from berth.controller.lead import Lead
from berth.controller.metrics import Metrics, endpoint
from berth.controller.publish import Publisher, Recorder
from berth.controller.reads import read_due_leases
from berth.controller.solving import PoolSolver, Rejections, SolverProcess
from berth.controller.writes import FIRST_PARALLEL
from berth.kinds import GROUP, PoolObject
from berth.pool import Notice
from berth.solve import Tuning
from berth.solve.engine import ENGINE

logger = logging.getLogger(__name__)

POLL = 2.0
"""Seconds between two attempts to list the Pools."""
LEASE_NAME = "berth-controller"
BLOCK_SECONDS = 60.0
"""Seconds that the event loop may be blocked before the lead is given up."""
STARTED = 5.0
"""Seconds after the first lists until connections are opened in advance: the start itself needs its own."""


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of a controller."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to manage; empty is all."""
    lease_namespace: str = "default"
    """The namespace of the Lease of the election."""
    lease_duration: float = 15.0
    """Seconds."""
    metrics_port: int | None = None
    problem_folder: Path | None = None
    """Folder for problems whose plans were rejected; None: `berth` in the folder for temporary files."""
    engine: str = ENGINE
    """The solver's thorough engine, `module:function`; only tests change it."""
    tuning: Tuning = field(default_factory=Tuning)
    """The solver's thresholds and budgets; only tests change them."""


class _LeadLost(Exception):  # noqa: N818 - a state, not a fault
    """The Lease of the election was lost: this ends every task that leads."""


class Controller:
    """One controller process: it always follows the cluster, and acts while it leads."""

    def __init__(self, config: kube.Config, options: Options) -> None:
        # Host name and process id are used again, so the identity of this process has a random part.
        self.identity = f"{socket.gethostname()[:180]}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        self.metrics = Metrics()
        self._options = options
        self.solver = SolverProcess(options.tuning, options.engine)
        on_request = self.metrics.on_request
        self._client = kube.Client(config, on_request=on_request, user_agent="berth-controller")
        self.recorder = Recorder(self._client, self.identity)
        self.follower = Follower(
            self._client, options.namespaces, on_pool=self._on_pool, on_unusable=self._on_unusable
        )
        self.election = kube.LeaseKeeper(
            config,
            kube.LeaseClaim(options.lease_namespace, LEASE_NAME, self.identity),
            kube.Timing.of(options.lease_duration, renew_deadline=options.lease_duration * 2 / 3),
            watchdog=BLOCK_SECONDS,
            on_request=on_request,
        )
        self._leaders: asyncio.TaskGroup | None = None
        self._aside = kube.Backoff(base=options.lease_duration, limit=40 * options.lease_duration)
        self._ready = False

    async def run(self) -> None:
        """Run until cancelled. Raises errors that a restart may repair, OSError if the port is taken."""
        async with AsyncExitStack() as stack:
            if (port := self._options.metrics_port) is not None:
                stack.enter_context(endpoint(port, self.metrics.registry, lambda: self._ready))
            stack.callback(self.solver.end)
            # They are closed in reverse order: the Lease is released while the client still works.
            await stack.enter_async_context(self._client)
            await stack.enter_async_context(self.election)
            async with asyncio.TaskGroup() as group:
                group.create_task(self.follower.run())
                group.create_task(self._stand())
                group.create_task(self._count_restarts())
                group.create_task(self._keep_connections())

    async def _stand(self) -> None:
        await self.follower.synced()
        self._ready = True
        logger.info("caches have synced; standing for election as %s", self.identity)
        while True:
            await self.election.acquire()
            lost = self.election.lost
            logger.info("leading")
            self.metrics.leading.set(1)
            self.metrics.leads.inc()
            replaced = False
            try:
                await self._lead(lost)
            except* Replaced as group:
                replaced = True
                logger.warning("stopped leading: %s", group.exceptions[0])
            finally:
                self.metrics.leading.set(0)
                self.metrics.forget_pools()
            # The TaskGroup of a lead that ends by itself swallows a cancellation that comes meanwhile.
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError
            if replaced:
                await self._stand_aside()
            else:
                self._aside.reset()
                logger.info("no longer leading: %s", self.election.lost_reason)

    async def _stand_aside(self) -> None:
        """Leave the Pools to the controller that has raised their term.

        Usually that is the next leader, and this process has not noticed yet that its Lease is lost. But if
        two installations manage one namespace, they take it from each other: without a growing pause they
        would do nothing else.
        """
        rival = self.election.held
        await self.election.release()
        pause = self._aside.next()
        if rival:
            logger.error(
                "another controller leads Pools that the holder of Lease %s/%s leads too: is Berth installed"
                " twice, with overlapping --namespace or in two namespaces? Standing aside for %.0f s",
                self._options.lease_namespace,
                LEASE_NAME,
                pause,
            )
        await asyncio.sleep(pause)

    async def _lead(self, lost: asyncio.Event) -> None:
        """Lead every Pool until the Lease is lost. Raises Replaced in a group."""
        try:
            async with asyncio.TaskGroup() as group:
                self._leaders = group
                try:
                    self.follower.restart_leases()
                    group.create_task(self.recorder.run())
                    group.create_task(read_due_leases(self._client, self.follower, self.metrics))
                    group.create_task(asyncio.to_thread(self.solver.prepare))
                    for pool in self.follower.pools.values():
                        self._on_pool(pool)
                    for informer in self.follower.informers:
                        informer.report_bad_again()  # a standby writes no Events
                    await lost.wait()
                finally:
                    self._leaders = None
                raise _LeadLost
        except* _LeadLost:
            pass

    def _on_pool(self, pool: FollowedPool) -> None:
        """Lead a Pool that is followed, if this process leads."""
        if self._leaders is None:
            return
        brain, client, deadline = pool.brain, self._client, self.election.deadline
        rejections = Rejections(brain, self.metrics, self._options.problem_folder)
        applier = Applier(
            client,
            self.follower.informer(kube.ASSIGNMENTS, brain.namespace),
            (brain.namespace, brain.name),
            self.identity,
            deadline,
            PoolSolver(self.solver, rejections),
        )
        publisher = Publisher(pool, self.follower, client, deadline, self.recorder, self.metrics)
        self._leaders.create_task(Lead(brain, applier, pool.burst, publisher.publish).run())
        self._leaders.create_task(publisher.run())

    async def _keep_connections(self) -> None:
        # In a standby too: a take-over after a quiet time takes half as long if its connections are open.
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
            await asyncio.sleep(15.0)  # about as often as Prometheus reads the counter

    def _on_unusable(self, kind: str, key: kube.Key, error: Exception) -> None:
        namespace, name = key
        if namespace and self._leaders is not None:
            self.recorder.record(namespace, Notice(kind, name, "", "Unusable", f"cannot be used: {error}"))


class _EndlessDelays:
    """Delays between kopf's attempts to reach the API server: kopf gives up when they end, so they do not."""

    def __iter__(self) -> Iterator[float]:
        delay = 0.5
        while True:
            yield delay
            delay = min(10.0, delay * 1.5)


async def serve(config: kube.Config, options: Options, liveness: str | None = None) -> None:
    """Run a controller in the running event loop until SIGTERM or SIGINT. Raises SystemExit if it fails.

    `liveness` is a URL to answer probes at.
    """
    controller = Controller(config, options)
    controller.solver.prepare()  # before there are other threads and connections, so that it can be forked
    await _pools_served(config, options.namespaces)
    stop = asyncio.Event()
    registry = kopf.OperatorRegistry()
    work = asyncio.create_task(controller.run())
    # kopf has to stop when the controller has ended, and waits 5 s for its own task that waits for this flag.
    work.add_done_callback(lambda _: stop.set())

    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.error_backoffs = _EndlessDelays()
    settings.networking.connect_timeout = 5
    settings.watching.inactivity_timeout = 90
    settings.watching.server_timeout = 300

    @kopf.on.cleanup(registry=registry)
    async def end(**_: Any) -> None:
        # In this handler, because kopf waits for and then cancels all tasks that are left after it.
        work.cancel()
        await asyncio.wait({work})

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return await connection(config)

    @kopf.on.probe(id="leading", registry=registry)
    def leading(**_: Any) -> bool:
        return controller.election.held

    @kopf.on.event(GROUP, kube.POOLS.version, kube.POOLS.plural, registry=registry)
    async def pool(event: kopf.RawEvent, **_: Any) -> None:
        observed = msgspec.convert(dict(event["object"]), PoolObject, strict=False)
        controller.follower.put_pool(observed, deleted=event["type"] == "DELETED")

    await kopf.operator(
        registry=registry,
        settings=settings,
        # By default kopf looks up the name of the user, and the user id of a pod has no name.
        identity=cast(Any, "berth"),
        standalone=True,
        clusterwide=not options.namespaces,
        namespaces=options.namespaces,
        liveness_endpoint=liveness,
        stop_flag=stop,
    )
    if not work.cancelled() and (error := work.exception()) is not None:
        trace = None if isinstance(error, OSError) else error  # a port in use is not a defect
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        logger.critical("the controller failed and stops: %s", error, exc_info=trace)
        raise SystemExit(1)


async def _pools_served(config: kube.Config, namespaces: Sequence[str]) -> None:
    """Wait until Pools can be listed: kopf looks for the kind only once, at its start, and exits at a 404."""
    logged = ""
    async with kube.Client(config, user_agent="berth-controller") as client:
        for namespace in namespaces or (None,):
            while True:
                try:
                    await client.get(kube.POOLS.path(namespace), {"limit": "1"})
                    break
                except kube.ApiError as error:
                    if str(error) != logged:
                        logged = str(error)
                        text = "waiting until Pools can be listed (are the CRDs installed?): %s"
                        logger.warning(text, logged)
                await asyncio.sleep(POLL)


async def connection(config: kube.Config) -> kopf.AiohttpSession:
    """The access that Berth's own client uses, in kopf's form; kopf loads it again when it expires."""
    access = await config.access()
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=access.ssl),
        headers=dict(access.headers),
        proxy=access.proxy,
    )
    expiration = None
    if access.refresh_after is not None:
        expiration = datetime.now(UTC) + timedelta(seconds=access.refresh_after)
    return kopf.AiohttpSession(
        server=access.base_url,
        aiohttp_session=session,
        default_namespace=access.namespace,
        expiration=expiration,
    )
