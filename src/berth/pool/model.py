"""What the fleet is told: the parts of each object that placement depends on, and a Pool's policy."""

from __future__ import annotations

from typing import NamedTuple

from berth.kinds import Handoff, ItemStatusMode, ZonePolicy


class ItemSeen(NamedTuple):
    """An Item as last seen."""

    name: str
    replicas: int
    uid: str = ""
    generation: int = 0


class MemberSeen(NamedTuple):
    """A Member as last seen."""

    name: str
    limit: int
    zone: str = ""
    draining: bool = False
    lease: str | None = None
    reported: bool = False
    """Whether an entry is ready only once the Member says so (`spec.readiness: Reported`)."""
    uid: str = ""
    created: str = ""
    """`metadata.creationTimestamp`, RFC 3339 in UTC: compares as text."""
    generation: int = 0
    live: bool | None = None
    """Overrides what its Lease says; set where nobody watches Leases (an offline plan)."""


class AssignmentSeen(NamedTuple):
    """An Assignment as last seen."""

    name: str
    items: tuple[str, ...] = ()
    """Entries of `spec.items`, in the wire format."""
    term: int = 0
    uid: str = ""
    owner: str = ""
    """uid of the Member that owns it."""
    generation: int = 0
    resource_version: int = 0
    session: str = ""
    reports: tuple[str, ...] = ()
    """Reports of `status.items`, in the wire format."""
    problems: tuple[tuple[str, int, str], ...] = ()
    """(item, grant, message) of `status.problems`."""
    written_for: str = ""
    """`spec.session`: the session that the entries are for; empty where it is absent."""


class Policy(NamedTuple):
    """`spec` of a Pool. The fleet has the one copy that everything goes by."""

    handoff: Handoff = Handoff.OVERLAP
    zones: ZonePolicy = ZonePolicy.SPREAD
    tolerance: int = 0
    """Percent."""
    active_primaries: bool = False
    max_in_flight: int | None = None
    outage_delay: float = 0.0
    """Seconds."""
    brake_percent: int = 55
    brake_min_members: int = 10
    item_status: ItemStatusMode = ItemStatusMode.FULL
