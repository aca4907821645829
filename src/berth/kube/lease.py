"""The state of a Lease, and the bodies that take, renew and release it. Pure: time is a parameter.

The Lease of another holder is judged only by when *this* observer last observed a renewal, on its own clock.
The times written in it are for people: clocks of machines are never compared (the rule of client-go's leader
election).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from berth.kinds.meta import LeaseSpec, OwnerReference


class LeaseState(StrEnum):
    """Who holds a Lease, as one observer knows it."""

    ABSENT = "ABSENT"
    """There is no Lease object."""
    FREE = "FREE"
    """It names no holder: it was released."""
    HELD_BY_US = "HELD_BY_US"
    """It names us."""
    HELD_BY_OTHER = "HELD_BY_OTHER"
    """It names another holder, and we have not watched it for its whole duration without a renewal."""
    EXPIRED = "EXPIRED"
    """It names another holder, who did not renew it for its whole duration while we watched."""


@dataclass(frozen=True, slots=True)
class LeaseClaim:
    """Which Lease, who claims it, and the metadata that it gets.

    `identity` must differ between processes, also between a process and its successor. `labels` and `owners`
    are written to the Lease when it is taken; owners replace those of an earlier holder.
    """

    namespace: str
    name: str
    identity: str
    labels: Mapping[str, str] | None = None
    owners: Sequence[OwnerReference] = ()

    def __str__(self) -> str:
        return f"Lease {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Observation:
    """What one observer knows of a Lease."""

    renewal: tuple[str, str, int]
    """Holder, renewTime and number of transitions; a change of any of them is a sign of life."""
    duration: float
    """Seconds."""
    since: float
    """When `renewal` was first observed, on the observer's own clock."""

    @property
    def holder(self) -> str:
        """The holder's identity, "" if there is none."""
        return self.renewal[0]

    @property
    def expires(self) -> float:
        """When it expires for this observer unless it is renewed."""
        return self.since + self.duration


def lease_spec(lease: Mapping[str, Any]) -> LeaseSpec:
    """The spec of a Lease in plain JSON values."""
    return msgspec.convert(lease.get("spec") or {}, LeaseSpec)


def observe(
    previous: Observation | None, spec: LeaseSpec | None, now: float, default_duration: float = 15.0
) -> Observation | None:
    """What is known after `spec` was read at `now`; None if there is no Lease."""
    if spec is None:
        return None
    renewal = (spec.holder_identity or "", spec.renew_time or "", spec.lease_transitions or 0)
    since = previous.since if previous is not None and previous.renewal == renewal else now
    return Observation(renewal, float(spec.lease_duration_seconds or default_duration), since)


def judge(observation: Observation | None, identity: str, now: float) -> LeaseState:
    """Who holds the Lease at `now`."""
    if observation is None:
        return LeaseState.ABSENT
    if not observation.holder:
        return LeaseState.FREE
    if observation.holder == identity:
        return LeaseState.HELD_BY_US
    return LeaseState.EXPIRED if now > observation.expires else LeaseState.HELD_BY_OTHER


def micro_time(moment: datetime) -> str:
    """A MicroTime as the API server requires it: UTC, always six digits."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def claimed(
    lease: Mapping[str, Any] | None, claim: LeaseClaim, duration: float, wall: datetime
) -> dict[str, Any]:
    """The body that takes the Lease, made from the one that was read (None: a new one).

    `duration` (seconds) is rounded up, so that nobody takes it before its holder has stopped. A change of
    holder counts as a transition. The resourceVersion is kept, so the write fails if another came first.
    """
    new: dict[str, Any] = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": claim.name, "namespace": claim.namespace},
    }
    old = new if lease is None else lease
    spec: dict[str, Any] = old.get("spec") or {}
    changes_holder = lease is not None and spec.get("holderIdentity") != claim.identity
    metadata: dict[str, Any] = dict(old["metadata"])
    if claim.labels:
        metadata["labels"] = {**(metadata.get("labels") or {}), **claim.labels}
    if claim.owners:
        # Instead of those of an earlier holder: the Lease would be deleted together with that holder's pod.
        metadata["ownerReferences"] = msgspec.to_builtins(list(claim.owners))
    now = micro_time(wall)
    taken = {
        "holderIdentity": claim.identity,
        "leaseDurationSeconds": max(1, math.ceil(duration)),
        "acquireTime": now,
        "renewTime": now,
        "leaseTransitions": (spec.get("leaseTransitions") or 0) + changes_holder,
    }
    return {**old, "metadata": metadata, "spec": {**spec, **taken}}


def renewed(lease: Mapping[str, Any], wall: datetime) -> dict[str, Any]:
    """The body that renews the Lease.

    Observers wait for a change of renewTime, so it changes even if the wall clock stands still.
    """
    now = micro_time(wall)
    if now == lease["spec"].get("renewTime"):
        now = micro_time(wall + timedelta(microseconds=1))
    return {**lease, "spec": {**lease["spec"], "renewTime": now}}


def released(lease: Mapping[str, Any], wall: datetime) -> dict[str, Any]:
    """The body that releases the Lease: without a holder, anybody may take it at once."""
    nobody = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_time(wall)}
    return {**lease, "spec": {**lease["spec"], **nobody}}
