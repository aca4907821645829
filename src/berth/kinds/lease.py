"""Lease of coordination.k8s.io, as it is read."""

from berth.kinds.meta import Meta, Part


class LeaseSpec(Part, frozen=True):
    """`spec` of a Lease; every field may be missing."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class LeaseObject(Part, frozen=True):
    """A Lease."""

    metadata: Meta
    spec: LeaseSpec = LeaseSpec()
