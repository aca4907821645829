"""The process: kopf runs it, watches the Pools and answers the probes; the rest is `Controller`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import aiohttp
import kopf
import msgspec

from berth.controller.leader import Controller, Options
from berth.kinds import GROUP, PoolObject
from berth.kube import POOLS, ApiError, Client, Config

logger = logging.getLogger(__name__)

POLL = 2.0
"""Seconds between two attempts to list the Pools."""


class _Patience:
    """Delays between kopf's attempts to reach the API server, without an end: it will be back."""

    def __iter__(self) -> Iterator[float]:
        delay = 0.5
        while True:
            yield delay
            delay = min(10.0, delay * 1.5)


async def serve(config: Config, options: Options, liveness: str | None = None) -> None:
    """Run a controller in the running event loop until SIGTERM or SIGINT. Raises SystemExit if it fails.

    `liveness` is a URL to answer probes at.
    """
    await _pools_served(config, options.namespaces)
    stop = asyncio.Event()
    registry = kopf.OperatorRegistry()
    controller = Controller(config, options)
    work = asyncio.create_task(controller.run())
    # kopf ends with the controller; and it would wait five seconds for whatever still waits for this flag.
    work.add_done_callback(lambda _: stop.set())

    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.networking.error_backoffs = _Patience()
    settings.networking.connect_timeout = 5
    settings.watching.inactivity_timeout = 90
    settings.watching.server_timeout = 300

    @kopf.on.cleanup(registry=registry)
    async def end(**_: Any) -> None:
        # Here, as kopf would wait in vain for tasks that are left when it ends.
        work.cancel()
        await asyncio.wait({work})

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return await connection(config)

    @kopf.on.probe(id="leading", registry=registry)
    def leading(**_: Any) -> bool:
        return controller.leading

    @kopf.on.event(GROUP, POOLS.version, POOLS.plural, registry=registry)
    async def pool(event: kopf.RawEvent, **_: Any) -> None:
        observed = msgspec.convert(dict(event["object"]), PoolObject, strict=False)
        controller.follower.put_pool(observed, deleted=event["type"] == "DELETED")

    await kopf.operator(
        registry=registry,
        settings=settings,
        # Without it kopf looks up the user's name, and the user id of a pod has none.
        identity=cast(Any, "berth"),
        standalone=True,
        clusterwide=not options.namespaces,
        namespaces=options.namespaces,
        liveness_endpoint=liveness,
        stop_flag=stop,
    )
    if not work.cancelled() and (error := work.exception()) is not None:
        trace = None if isinstance(error, OSError) else error  # a port that is taken is no defect
        logger.critical("the controller failed and is stopping: %s", error, exc_info=trace)
        raise SystemExit(1)


async def _pools_served(config: Config, namespaces: Sequence[str]) -> None:
    """Wait until Pools can be listed: kopf looks for the kind once, at its start, and ends at a 404."""
    logged = ""
    async with Client(config, user_agent="berth-controller") as client:
        for namespace in namespaces or (None,):
            while True:
                try:
                    await client.get(POOLS.path(namespace), {"limit": "1"})
                    break
                except ApiError as error:
                    if str(error) != logged:
                        logged = str(error)
                        text = "waiting until Pools can be listed (are the CRDs installed?): %s"
                        logger.warning(text, logged)
                await asyncio.sleep(POLL)


async def connection(config: Config) -> kopf.AiohttpSession:
    """The access that our own client uses, in kopf's form; kopf loads it again when it expires."""
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
