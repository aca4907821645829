"""Takes, renews and releases one Lease: the requests. When to send them is the keeper's business."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from berth.kinds.meta import OwnerReference
from berth.kube.client import Client
from berth.kube.errors import Conflict, NotFound
from berth.kube.lease import (
    LeaseState,
    Observation,
    claimed,
    judge,
    lease_spec,
    observe,
    released,
    renewed,
)
from berth.kube.lines import LineSplitter
from berth.kube.resource import LEASES
from berth.kube.timing import Timing, Validity, lease_clock

__all__ = ["LeaseLost", "LeaseName", "Renewer"]


class LeaseLost(Exception):  # noqa: N818 - a state, not a mistake
    """The Lease is no longer ours; the message says who has it, or why."""


@dataclass(frozen=True, slots=True)
class LeaseName:
    """Which Lease, who wants it, and what a new one is to carry."""

    namespace: str
    name: str
    identity: str
    labels: Mapping[str, str] | None = None
    owners: Sequence[OwnerReference] = ()

    def __str__(self) -> str:
        return f"Lease {self.namespace}/{self.name}"


def _wall() -> datetime:
    return datetime.now(UTC)


class Renewer:
    """Keeps what is known of one Lease between requests."""

    def __init__(
        self,
        client: Client,
        lease: LeaseName,
        timing: Timing,
        validity: Validity,
        clock: Callable[[], float] = lease_clock,
    ) -> None:
        self.observation: Observation | None = None
        self._client = client
        self._lease = lease
        self._timing = timing
        self._validity = validity
        self._clock = clock
        self._path = LEASES.path(lease.namespace, lease.name)
        self._object: dict[str, Any] | None = None

    async def look(self) -> LeaseState:
        """Read the Lease and judge it. Raises ApiError."""
        try:
            lease = await self._client.get(self._path, timeout=self._timing.attempt)
        except NotFound:
            lease = None
        return self._note(lease)

    async def try_acquire(self) -> LeaseState:
        """Take the Lease if nobody holds it: HELD_BY_US where that worked, else what stands in the way.

        A Lease that was seen to be free or to run out is not read again: the write fails where it changed.
        Raises ApiError.
        """
        state = judge(self.observation, self._lease.identity, self._clock())
        if state not in (LeaseState.FREE, LeaseState.EXPIRED) or self._object is None:
            state = await self.look()
        if state is LeaseState.HELD_BY_OTHER:
            return state
        body = claimed(
            self._object,
            self._lease.identity,
            self._timing.lease_duration,
            _wall(),
            namespace=self._lease.namespace,
            name=self._lease.name,
            labels=self._lease.labels,
            owners=self._lease.owners,
        )
        sent = self._clock()
        try:
            if state is LeaseState.ABSENT:
                path = LEASES.path(self._lease.namespace)
                lease = await self._client.create(path, body, timeout=self._timing.attempt)
            else:
                lease = await self._client.update(self._path, body, timeout=self._timing.attempt)
        except Conflict:
            # Another was quicker, or renewed it unseen, or it is gone: the next attempt reads it.
            self._object = None
            return LeaseState.HELD_BY_OTHER
        state = self._note(lease)
        return state if self._validity.begin(sent, self._clock()) else LeaseState.EXPIRED

    async def renew(self) -> None:
        """Renew the Lease once. Raises LeaseLost when it is not ours any more, ApiError when nobody knows."""
        if self._object is None:
            raise LeaseLost("it is not held")
        body = renewed(self._object, _wall())
        sent = self._clock()
        try:
            self._note(await self._client.update(self._path, body, timeout=self._timing.attempt))
        except NotFound:
            self._note(None)
            raise LeaseLost("it was deleted") from None
        except Conflict:
            # Somebody wrote it: a label, our own renewal whose answer was lost, or another holder.
            state = await self.look()
            if state is not LeaseState.HELD_BY_US:
                raise LeaseLost(self.describe()) from None
            body = renewed(self._object, _wall())
            sent = self._clock()
            self._note(await self._client.update(self._path, body, timeout=self._timing.attempt))
        if not self._validity.extend(sent, self._clock()):
            raise LeaseLost("it was not renewed in time")

    async def release(self, *, delete: bool = False) -> bool:
        """Let go of the Lease, or delete it, if it is ours; whether it was. Raises ApiError."""
        self._validity.end()
        while await self.look() is LeaseState.HELD_BY_US:
            assert self._object is not None
            meta = self._object["metadata"]
            try:
                if delete:
                    options = {
                        "preconditions": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
                    }
                    await self._client.delete(self._path, body=options, timeout=self._timing.attempt)
                else:
                    body = released(self._object, _wall())
                    await self._client.update(self._path, body, timeout=self._timing.attempt)
            except Conflict:
                continue  # a renewal that was under way came first
            except NotFound:
                break
            return True
        return False

    async def watch_freed(self, freed: Callable[[], None]) -> None:
        """Watch the Lease and call `freed` when it has no holder or is gone; ends with the watch.

        Notes each renewal when it happens: looked at now and then, the last one of a dead holder would be
        seen late, and the Lease would count as held for that much longer. Raises ApiError.
        """
        query: dict[str, str | int | bool] = {
            "watch": True,
            "fieldSelector": f"metadata.name={self._lease.name}",
            "timeoutSeconds": 300,
        }
        splitter = LineSplitter()
        async with self._client.stream(LEASES.path(self._lease.namespace), query, inactivity=330.0) as chunks:
            async for chunk in chunks:
                for line in splitter.feed(chunk):
                    event = msgspec.json.decode(line)
                    spec = event.get("object", {}).get("spec") or {}
                    what = event.get("type")
                    if what in ("ADDED", "MODIFIED"):
                        with contextlib.suppress(msgspec.ValidationError):  # the next look says what is wrong
                            self._note(event["object"])
                    elif what == "DELETED":
                        self._note(None)
                    if what == "DELETED" or not spec.get("holderIdentity"):
                        freed()

    def describe(self) -> str:
        """Who has the Lease, for people."""
        if self.observation is None:
            return "it does not exist"
        return f"held by {self.observation.holder}" if self.observation.holder else "it was released"

    def _note(self, lease: dict[str, Any] | None) -> LeaseState:
        spec = None if lease is None else lease_spec(lease)
        now = self._clock()
        self._object = lease
        self.observation = observe(self.observation, spec, now, self._timing.lease_duration)
        return judge(self.observation, self._lease.identity, now)
