"""Kubernetes Events for what a user must know. Sent beside the work, never in its way."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from berth.controller.state import PoolState
from berth.kinds import API_VERSION
from berth.kube import EVENTS, ApiError, Client
from berth.pool import MemberState, Outage

logger = logging.getLogger(__name__)

QUEUE = 1000
AGAIN_AFTER = 300.0
"""Seconds in which the same Event of the same object is said once."""


class Recorder:
    """Queues Events and writes them one after the other; what does not fit in the queue is dropped."""

    def __init__(self, client: Client, leader: str) -> None:
        self._client = client
        self._leader = leader
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(QUEUE)
        self._said: dict[tuple[str, ...], float] = {}

    async def run(self) -> None:
        """Write what is queued until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._client.create(EVENTS.path(event["metadata"]["namespace"]), event)
            except ApiError as error:
                logger.info("an Event was not accepted: %s", error)

    def say(
        self, kind: str, namespace: str, name: str, uid: str, reason: str, message: str, *, warn: bool = True
    ) -> None:
        """Queue an Event about an object, unless it was just said."""
        now = time.monotonic()
        key = (kind, namespace, name, reason, message)
        if now - self._said.get(key, -AGAIN_AFTER) < AGAIN_AFTER:
            return
        if len(self._said) > 10 * QUEUE:
            self._said = {k: at for k, at in self._said.items() if now - at < AGAIN_AFTER}
        self._said[key] = now
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
            "type": "Warning" if warn else "Normal",
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
            logger.info("too many Events, dropped: %s", message)

    def brake(self, state: PoolState, outage: Outage) -> None:
        """The brake of a Pool went on or off."""
        uid = state.pool.metadata.uid if state.pool else ""
        if outage.braking:
            message = (
                f"{outage.dead} of {outage.counted} Members died together: "
                "removals and moves pause until enough of them are back"
            )
            self.say("Pool", state.namespace, state.name, uid, "Paused", message)
        else:
            message = "enough Members are live again: removals and moves go on"
            self.say("Pool", state.namespace, state.name, uid, "Resumed", message, warn=False)

    def malformed(self, state: PoolState, member: MemberState) -> None:
        """An Assignment had entries that cannot be used."""
        if member.malformed and member.assignment:
            message = "entries taken out of spec.items: " + "; ".join(member.malformed[:3])
            self.say("Assignment", state.namespace, member.name, member.assignment.uid, "Malformed", message)


def timestamp() -> str:
    """Now, as Kubernetes writes the time of a condition or an Event."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
