"""What is known of Pools at one moment, from files or from a cluster, and the fleet that it makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from berth.pool import AssignmentSeen, ItemSeen, Leases, LeaseSeen, Ledger, MemberSeen, Policy


class Said(NamedTuple):
    """A condition that the controller wrote."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: str = ""
    """`lastTransitionTime`, RFC 3339."""


@dataclass(slots=True)
class PoolSnapshot:
    """The objects of one Pool in one namespace. Names are keys throughout."""

    namespace: str
    name: str
    policy: Policy = field(default_factory=Policy)
    exists: bool = False
    """Whether there is a Pool object; without one its defaults hold."""
    term: int = 0
    leader: str = ""
    pool_said: tuple[Said, ...] = ()
    items: dict[str, ItemSeen] = field(default_factory=dict)
    item_said: dict[str, tuple[Said, ...]] = field(default_factory=dict)
    members: dict[str, MemberSeen] = field(default_factory=dict)
    member_said: dict[str, tuple[Said, ...]] = field(default_factory=dict)
    assignments: dict[str, AssignmentSeen] = field(default_factory=dict)
    lease_holders: dict[str, str] | None = None
    """holderIdentity by Lease; None where nobody looked at Leases."""

    def live(self, member: str) -> Said | None:
        """The condition `Live` of a Member."""
        return next((c for c in self.member_said.get(member, ()) if c.type == "Live"), None)


def pool_keys(pools: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """How each (namespace, pool) is called: by its name, and `NAMESPACE/POOL` where that repeats."""
    found = sorted(pools)
    times = Counter(name for _, name in found)
    return {(space, name): name if times[name] == 1 else f"{space}/{name}" for space, name in found}


def fleet_of(pool: PoolSnapshot, now: float, wall: datetime | None = None) -> Ledger:
    """The fleet as the controller would know it; `now` is monotonic seconds, `wall` the time of day then.

    Nobody watched the Leases, so a Member with one is live unless its condition `Live` is False, and
    its Lease has been expired for as long as that condition says.
    """
    leases = Leases()
    fleet = Ledger(leases, pool.policy)
    for item in pool.items.values():
        fleet.put_item(item)
    for name, member in pool.members.items():
        if member.lease is not None:
            # A Lease of its own for each: what is known is known of the Member, not of the Lease.
            own = f"{member.lease}/{name}"
            _tell_lease(leases, own, pool, member, now, wall)
            member = member._replace(lease=own)
        fleet.put_member(member, now)
    for assignment in pool.assignments.values():
        fleet.put_assignment(_adopted(assignment, pool.members.get(assignment.name)), now)
    return fleet


def disowned(assignment: AssignmentSeen, members: Mapping[str, MemberSeen]) -> bool:
    """Whether an Assignment is an earlier Member's of that name, so that it counts for nothing."""
    member = members.get(assignment.name)
    return (
        member is not None
        and bool(member.uid)
        and bool(assignment.owner)
        and (member.uid != assignment.owner)
    )


def _adopted(assignment: AssignmentSeen, member: MemberSeen | None) -> AssignmentSeen:
    """The Assignment as owned by the Member, unless both say who they are and differ."""
    if member is None or assignment.owner == member.uid:
        return assignment
    if member.uid and assignment.owner:
        return assignment
    return assignment._replace(owner=member.uid)


def _tell_lease(
    leases: Leases, own: str, pool: PoolSnapshot, member: MemberSeen, now: float, wall: datetime | None
) -> None:
    said = pool.live(member.name)
    assignment = pool.assignments.get(member.name)
    session = assignment.session if assignment else ""
    holder, confirmed = session, False
    if pool.lease_holders is not None and member.lease is not None:
        holder = pool.lease_holders.get(member.lease, session)
        confirmed = bool(holder)
    lease = LeaseSeen(own, holder or "unknown")
    if said is None or said.status != "False":
        leases.put(lease, now)
    elif said.reason == "LeaseReleased":
        leases.put(lease._replace(holder=""), now - age(said.since, wall))
    elif said.reason != "LeaseMissing":
        leases.put(lease, now - lease.duration - age(said.since, wall))
        leases.put_read(own, lease, now, now)  # the leader that wrote the condition has read it
    if confirmed:
        leases.confirm(own, assignment.written_for if assignment else "")


def age(since: str, wall: datetime | None = None) -> float:
    """Seconds from an RFC 3339 time until `wall` (default: now); 0 where it says nothing."""
    try:
        then = datetime.fromisoformat(since)
    except ValueError:
        return 0.0
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, ((wall or datetime.now(UTC)) - then).total_seconds())
