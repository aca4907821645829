"""What is known of Items, Members, entries and reports: indexes, arrays, dirty sets, liveness."""

from berth.fleet.dirty import Dirty
from berth.fleet.leases import Leases
from berth.fleet.liveness import LeaseSeen, LeaseWatch, Liveness, safety_margin
from berth.fleet.member import MemberState
from berth.fleet.model import AssignmentSeen, ItemSeen, MemberSeen, Policy
from berth.fleet.pool import PoolFleet
from berth.fleet.release import stopped
from berth.kinds import Handoff, ZonePolicy

__all__ = [
    "AssignmentSeen",
    "Dirty",
    "Handoff",
    "ItemSeen",
    "LeaseSeen",
    "LeaseWatch",
    "Leases",
    "Liveness",
    "MemberSeen",
    "MemberState",
    "Policy",
    "PoolFleet",
    "ZonePolicy",
    "safety_margin",
    "stopped",
]
