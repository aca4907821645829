"""What a Lease says and what may be done with it. Pure: time is a parameter.

A Lease of somebody else is judged only by when *this* observer last saw it renewed, on its own clock; the
times written in it are for people (the rule of client-go's leader election: clocks of machines are never
compared).
"""

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from berth.kinds.lease import LeaseSpec
from berth.kinds.meta import OwnerReference

__all__ = [
    "LeaseSpec",
    "LeaseState",
    "Observation",
    "claimed",
    "judge",
    "lease_spec",
    "micro_time",
    "observe",
    "released",
    "renewed",
]


class LeaseState(StrEnum):
    """Whose a Lease is, as one observer sees it."""

    ABSENT = "ABSENT"
    """There is no Lease object."""
    FREE = "FREE"
    """Nobody is named as its holder: it was released."""
    HELD_BY_US = "HELD_BY_US"
    """We are named."""
    HELD_BY_OTHER = "HELD_BY_OTHER"
    """Somebody else is named, and we have not watched it unrenewed for its whole duration."""
    EXPIRED = "EXPIRED"
    """Somebody else is named, and did not renew it for its whole duration while we watched."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one observer knows of a Lease: its holder, and since when (own clock, s) it has not changed."""

    holder: str
    renew_time: str
    transitions: int
    duration: float
    since: float


def lease_spec(lease: Mapping[str, Any]) -> LeaseSpec:
    """The spec of a Lease in plain JSON values."""
    return msgspec.convert(lease.get("spec") or {}, LeaseSpec)


def observe(
    previous: Observation | None, spec: LeaseSpec | None, now: float, default_duration: float = 15.0
) -> Observation | None:
    """What is known after having seen `spec` (None: no such object) at `now`."""
    if spec is None:
        return None
    holder, renew_time = spec.holder_identity or "", spec.renew_time or ""
    transitions = spec.lease_transitions or 0
    unchanged = previous is not None and (previous.holder, previous.renew_time, previous.transitions) == (
        holder,
        renew_time,
        transitions,
    )
    since = previous.since if previous is not None and unchanged else now
    return Observation(
        holder, renew_time, transitions, float(spec.lease_duration_seconds or default_duration), since
    )


def judge(observation: Observation | None, identity: str, now: float) -> LeaseState:
    """Whose the Lease is at `now`."""
    if observation is None:
        return LeaseState.ABSENT
    if not observation.holder:
        return LeaseState.FREE
    if observation.holder == identity:
        return LeaseState.HELD_BY_US
    if now - observation.since > observation.duration:
        return LeaseState.EXPIRED
    return LeaseState.HELD_BY_OTHER


def micro_time(moment: datetime) -> str:
    """A MicroTime as the API server wants it: UTC, always six digits."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def claimed(
    lease: Mapping[str, Any] | None,
    identity: str,
    duration: float,
    wall: datetime,
    *,
    namespace: str = "",
    name: str = "",
    labels: Mapping[str, str] | None = None,
    owners: Sequence[OwnerReference] = (),
) -> dict[str, Any]:
    """The Lease to write in order to take it, from the one that was read (None: a new one).

    `duration` (seconds) is rounded up, so that nobody takes it before we let go. A change of holder counts as
    a transition; the object's resourceVersion is kept, so the write fails where another came first.
    """
    now = micro_time(wall)
    if lease is None:
        body: dict[str, Any] = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"leaseTransitions": 0},
        }
    else:
        body = deepcopy(dict(lease))
        spec = lease_spec(body)
        body["spec"] = body.get("spec") or {}
        transitions = spec.lease_transitions or 0
        body["spec"]["leaseTransitions"] = transitions + (spec.holder_identity != identity)
    if labels:
        body["metadata"]["labels"] = (body["metadata"].get("labels") or {}) | dict(labels)
    if owners:
        # Not those of an earlier holder: the Lease would be deleted together with that one's pod.
        body["metadata"]["ownerReferences"] = msgspec.to_builtins(list(owners))
    body["spec"] |= {
        "holderIdentity": identity,
        "leaseDurationSeconds": max(1, math.ceil(duration)),
        "acquireTime": now,
        "renewTime": now,
    }
    return body


def renewed(lease: Mapping[str, Any], wall: datetime) -> dict[str, Any]:
    """The Lease to write in order to renew it.

    Observers look for a change of renewTime, so it changes even where the wall clock stands still.
    """
    body = deepcopy(dict(lease))
    now = micro_time(wall)
    if now == body["spec"].get("renewTime"):
        now = micro_time(wall + timedelta(microseconds=1))
    body["spec"]["renewTime"] = now
    return body


def released(lease: Mapping[str, Any], wall: datetime) -> dict[str, Any]:
    """The Lease to write in order to let it go: without a holder anybody may take it at once."""
    body = deepcopy(dict(lease))
    body["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_time(wall)}
    return body
