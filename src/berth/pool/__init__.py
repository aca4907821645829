"""All that is known of one Pool, and what follows from it. Pure: no clock, no cluster, no I/O."""

from berth.kinds import Handoff, ZonePolicy
from berth.pool.dirty import Dirty
from berth.pool.edits import MemberEdit, Round
from berth.pool.lanes import Lane, lane
from berth.pool.leases import Leases
from berth.pool.ledger import PoolFleet
from berth.pool.liveness import LeaseSeen, LeaseWatch, Liveness, safety_margin
from berth.pool.member import MemberState
from berth.pool.model import (
    AssignmentSeen,
    ItemSeen,
    MemberSeen,
    Policy,
    assignment_seen,
    item_seen,
    lease_seen,
    member_seen,
    policy_of,
)
from berth.pool.outage import Health, Outage, outage
from berth.pool.progress import Progress
from berth.pool.release import stopped
from berth.pool.round import plan_round, view_of
from berth.pool.rules import Edit, Rules, Step, step
from berth.pool.view import Holding, View
from berth.pool.words import Wait, Why, describe

__all__ = [
    "AssignmentSeen",
    "Dirty",
    "Edit",
    "Handoff",
    "Health",
    "Holding",
    "ItemSeen",
    "Lane",
    "LeaseSeen",
    "LeaseWatch",
    "Leases",
    "Liveness",
    "MemberEdit",
    "MemberSeen",
    "MemberState",
    "Outage",
    "Policy",
    "PoolFleet",
    "Progress",
    "Round",
    "Rules",
    "Step",
    "View",
    "Wait",
    "Why",
    "ZonePolicy",
    "assignment_seen",
    "describe",
    "item_seen",
    "lane",
    "lease_seen",
    "member_seen",
    "outage",
    "plan_round",
    "policy_of",
    "safety_margin",
    "step",
    "stopped",
    "view_of",
]
