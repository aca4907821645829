"""Kubernetes Events for what a user must know. Sent beside the work, never in its way."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from berth.kinds import API_VERSION
from berth.kube import EVENTS, ApiError, Client
from berth.pool import Notice

logger = logging.getLogger(__name__)

QUEUE = 1000
AGAIN_AFTER = 300.0
"""Seconds in which the same Event of the same object is recorded once."""


class Recorder:
    """Queues Events and writes them one after the other; what does not fit in the queue is dropped."""

    def __init__(self, client: Client, leader: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._leader = leader
        self._clock = clock
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(QUEUE)
        self._recorded: dict[tuple[str, ...], float] = {}

    async def run(self) -> None:
        """Write what is queued until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._client.create(EVENTS.path(event["metadata"]["namespace"]), event)
            except ApiError as error:
                logger.info("the API server refused an Event: %s", error)

    def record(self, namespace: str, notice: Notice) -> None:
        """Queue an Event about an object, unless it was just recorded."""
        now = self._clock()
        kind, name, uid, reason, message, warning = notice
        key = (kind, namespace, name, reason, message)
        if now - self._recorded.get(key, -AGAIN_AFTER) < AGAIN_AFTER:
            return
        if len(self._recorded) > 10 * QUEUE:
            self._recorded = {k: at for k, at in self._recorded.items() if now - at < AGAIN_AFTER}
        self._recorded[key] = now
        stamp = timestamp()
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{name[:200]}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": kind,
                "namespace": namespace,
                "name": name,
                "uid": uid,
            },
            "reason": reason,
            "message": message[:1000],
            "type": "Warning" if warning else "Normal",
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "source": {"component": "berth"},
            "reportingComponent": "berth.dev/controller",
            "reportingInstance": self._leader[:128],
        }
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            logger.info("too many Events; dropping: %s", message)


def timestamp() -> str:
    """Now, as Kubernetes writes the time of a condition or an Event."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
