"""The state of a Lease, and the bodies that take, renew and release it. Pure: time is a parameter.

The Lease of another holder is judged only by when *this* observer last observed a renewal, on its own clock.
The times written in it are for people: clocks of machines are never compared (the rule of client-go's leader
election).
"""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
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
class Observation:
    """What one observer knows of a Lease: its fields, and since when (own clock, s) they have not changed."""

    holder: str
    renew_time: str
    transitions: int
    duration: float
    since: float

    @property
    def expires(self) -> float:
        """When it expires for this observer unless it is renewed."""
        return self.since + self.duration


@dataclass(frozen=True, slots=True)
class LeaseClaim:
    """Which Lease, the identity that claims it, and the metadata that it gets."""

    namespace: str
    name: str
    identity: str
    labels: Mapping[str, str] | None = None
    owners: Sequence[OwnerReference] = ()

    def __str__(self) -> str:
        return f"Lease {self.namespace}/{self.name}"


def lease_spec(lease: Mapping[str, Any]) -> LeaseSpec:
    """The spec of a Lease in plain JSON values."""
    return msgspec.convert(lease.get("spec") or {}, LeaseSpec)


def observe(
    previous: Observation | None, spec: LeaseSpec | None, now: float, default_duration: float = 15.0
) -> Observation | None:
    """What is known after `spec` was read at `now`; None if there is no Lease."""
    if spec is None:
        return None
    new = Observation(
        holder=spec.holder_identity or "",
        renew_time=spec.renew_time or "",
        transitions=spec.lease_transitions or 0,
        duration=float(spec.lease_duration_seconds or default_duration),
        since=now,
    )
    if previous is None or _fields(previous) != _fields(new):
        return new
    return Observation(*_fields(new), new.duration, previous.since)


def _fields(observation: Observation) -> tuple[str, str, int]:
    return observation.holder, observation.renew_time, observation.transitions


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
    now = micro_time(wall)
    if lease is None:
        body: dict[str, Any] = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": claim.name, "namespace": claim.namespace},
            "spec": {"leaseTransitions": 0},
        }
    else:
        body = deepcopy(dict(lease))
        spec = lease_spec(body)
        body["spec"] = body.get("spec") or {}
        transitions = spec.lease_transitions or 0
        body["spec"]["leaseTransitions"] = transitions + (spec.holder_identity != claim.identity)
    if claim.labels:
        body["metadata"]["labels"] = (body["metadata"].get("labels") or {}) | dict(claim.labels)
    if claim.owners:
        # Instead of those of an earlier holder: the Lease would be deleted together with that holder's pod.
        body["metadata"]["ownerReferences"] = msgspec.to_builtins(list(claim.owners))
    body["spec"] |= {
        "holderIdentity": claim.identity,
        "leaseDurationSeconds": max(1, math.ceil(duration)),
        "acquireTime": now,
        "renewTime": now,
    }
    return body


def renewed(lease: Mapping[str, Any], wall: datetime) -> dict[str, Any]:
    """The body that renews the Lease.

    Observers wait for a change of renewTime, so it changes even if the wall clock stands still.
    """
    body = deepcopy(dict(lease))
    now = micro_time(wall)
    if now == body["spec"].get("renewTime"):
        now = micro_time(wall + timedelta(microseconds=1))
    body["spec"]["renewTime"] = now
    return body


def released(lease: Mapping[str, Any], wall: datetime) -> dict[str, Any]:
    """The body that releases the Lease: without a holder, anybody may take it at once."""
    body = deepcopy(dict(lease))
    body["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_time(wall)}
    return body
