"""The requests about one Lease: read, take, renew, release, watch."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from berth.kube.client import Client
from berth.kube.decode import Decoder
from berth.kube.errors import ApiError, Conflict, NotFound
from berth.kube.lease import (
    LeaseClaim,
    LeaseState,
    Observation,
    claimed,
    judge,
    lease_spec,
    observe,
    released,
    renewed,
)
from berth.kube.resource import LEASES
from berth.kube.timing import Timing, Validity, lease_clock
from berth.kube.watching import watch
from berth.kube.wire import Params

_decoder = Decoder(dict[str, Any])


class LeaseLost(Exception):  # noqa: N818 - a state, not a mistake
    """The Lease is no longer ours; the message names the holder or the reason."""


def _wall() -> datetime:
    return datetime.now(UTC)


class LeaseClient:
    """Sends the requests about one Lease, and keeps what their answers show. `validity` follows them."""

    def __init__(
        self,
        client: Client,
        claim: LeaseClaim,
        timing: Timing,
        validity: Validity,
        clock: Callable[[], float] = lease_clock,
    ) -> None:
        self.observation: Observation | None = None
        self._client = client
        self._claim = claim
        self._timing = timing
        self._validity = validity
        self._clock = clock
        self._path = LEASES.path(claim.namespace, claim.name)
        self._object: dict[str, Any] | None = None

    async def read(self) -> LeaseState:
        """Read the Lease and judge it. Raises ApiError."""
        try:
            lease = await self._client.get(self._path, timeout=self._timing.attempt)
        except NotFound:
            lease = None
        return self._observe(lease)

    async def try_acquire(self, former: str = "") -> LeaseState:
        """Take the Lease if nobody holds it: HELD_BY_US if that worked, else the state that prevented it.

        `former` names a holder that has certainly ended. A Lease that was observed to be free or to expire
        is not read again: the write fails if it has changed. Raises ApiError.
        """
        state = judge(self.observation, self._claim.identity, self._clock())
        if state not in (LeaseState.FREE, LeaseState.EXPIRED) or self._object is None:
            state = await self.read()
        ended = former and self.observation is not None and self.observation.holder == former
        if state is LeaseState.HELD_BY_OTHER and not ended:
            return state
        body = claimed(self._object, self._claim, self._timing.lease_duration, _wall())
        sent = self._clock()
        try:
            if self._object is None:
                path = LEASES.path(self._claim.namespace)
                lease = await self._client.create(path, body, timeout=self._timing.attempt)
            else:
                lease = await self._client.update(self._path, body, timeout=self._timing.attempt)
        except Conflict:
            # Another holder was faster, or renewed it unobserved, or it is gone: the next attempt reads it.
            self._object = None
            return LeaseState.HELD_BY_OTHER
        state = self._observe(lease)
        return state if self._validity.start(sent, self._clock()) else LeaseState.EXPIRED

    async def renew(self) -> None:
        """Renew the Lease once. Raises LeaseLost if it is no longer ours, ApiError if that is unknown."""
        if self._object is None:
            raise LeaseLost("it is not held")
        try:
            sent = await self._write_renewal(self._object)
        except NotFound:
            self._observe(None)
            raise LeaseLost("it was deleted") from None
        except Conflict:
            # Somebody wrote it: a label, our own renewal whose answer was lost, or another holder.
            state = await self.read()
            if state is not LeaseState.HELD_BY_US or self._object is None:
                raise LeaseLost(self._describe()) from None
            sent = await self._write_renewal(self._object)
        if not self._validity.extend(sent, self._clock()):
            raise LeaseLost("it was not renewed in time")

    async def _write_renewal(self, lease: dict[str, Any]) -> float:
        """Write a renewal; when it was sent."""
        body, sent = renewed(lease, _wall()), self._clock()
        self._observe(await self._client.update(self._path, body, timeout=self._timing.attempt))
        return sent

    async def release(self, *, delete: bool = False) -> bool:
        """Release the Lease, or delete it, if it is ours; returns whether it was. Raises ApiError."""
        self._validity.end()
        while await self.read() is LeaseState.HELD_BY_US:
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
                continue  # a renewal that was in flight came first
            except NotFound:
                break
            return True
        return False

    async def watch(self, on_free: Callable[[], None]) -> None:
        """Watch the Lease, and call `on_free` when it has no holder or is gone; returns when the watch ends.

        Renewals are observed when they happen. With polling alone, the last renewal of a dead holder would
        be observed late, and the Lease would count as held for that much longer. Raises ApiError.
        """
        query: Params = {"fieldSelector": f"metadata.name={self._claim.name}", "timeoutSeconds": 300}
        path = LEASES.path(self._claim.namespace)
        async with watch(self._client, path, _decoder, query, inactivity=330.0) as events:
            async for kind, lease in events:
                if isinstance(lease, ApiError):
                    raise lease
                if not isinstance(lease, dict):
                    continue  # a bookmark, or what the next read reports as unreadable
                gone = kind == "DELETED"
                with contextlib.suppress(msgspec.ValidationError):  # the next read reports it
                    self._observe(None if gone else lease)
                if gone or not (lease.get("spec") or {}).get("holderIdentity"):
                    on_free()

    def _describe(self) -> str:
        """Who has the Lease, for people."""
        if self.observation is None:
            return "it does not exist"
        return f"held by {self.observation.holder}" if self.observation.holder else "it was released"

    def _observe(self, lease: dict[str, Any] | None) -> LeaseState:
        spec = None if lease is None else lease_spec(lease)
        now = self._clock()
        self._object = lease
        self.observation = observe(self.observation, spec, now, self._timing.lease_duration)
        return judge(self.observation, self._claim.identity, now)
