"""The brain: one pure object for a Pool, with all that is known of it and what follows. No clock, no I/O.

`Brain.observe` takes events, `Brain.decide` says what to do next, `Brain.done` takes what came of it.
"""

from berth.kinds import Handoff, ZonePolicy
from berth.pool.brain import Brain
from berth.pool.changed import Changed
from berth.pool.changes import Lane, MemberEdit, Round, lane
from berth.pool.conditions import Conditions, Status, item_status, member_status, pool_status, same_status
from berth.pool.decision import (
    Accepted,
    Arrived,
    Decision,
    Delete,
    Event,
    Fact,
    Failed,
    Gone,
    LeaseChanged,
    LeaseRead,
    LogLine,
    Notice,
    Outcome,
    Question,
    RoundMade,
    Solved,
    TakeOver,
    Write,
)
from berth.pool.former import stopped
from berth.pool.leases import Leases
from berth.pool.ledger import Ledger
from berth.pool.liveness import LeaseInfo, LeaseWatch, Liveness, safety_margin
from berth.pool.member import MemberState
from berth.pool.model import (
    AssignmentInfo,
    ItemInfo,
    MemberInfo,
    Policy,
    PoolInfo,
    assignment_info,
    item_info,
    lease_info,
    member_info,
    policy_of,
    pool_info,
)
from berth.pool.outage import Health, Outage, outage
from berth.pool.progress import Progress
from berth.pool.round import plan_round, view_of
from berth.pool.rules import Edit, Holding, Rules, Step, View, step
from berth.pool.statuses import Gauges, Statuses, StatusWrite, gauges
from berth.pool.words import Wait, Why, describe

__all__ = [
    "Accepted",
    "Arrived",
    "AssignmentInfo",
    "Brain",
    "Changed",
    "Conditions",
    "Decision",
    "Delete",
    "Edit",
    "Event",
    "Fact",
    "Failed",
    "Gauges",
    "Gone",
    "Handoff",
    "Health",
    "Holding",
    "ItemInfo",
    "Lane",
    "LeaseChanged",
    "LeaseInfo",
    "LeaseRead",
    "LeaseWatch",
    "Leases",
    "Ledger",
    "Liveness",
    "LogLine",
    "MemberEdit",
    "MemberInfo",
    "MemberState",
    "Notice",
    "Outage",
    "Outcome",
    "Policy",
    "PoolInfo",
    "Progress",
    "Question",
    "Round",
    "RoundMade",
    "Rules",
    "Solved",
    "Status",
    "StatusWrite",
    "Statuses",
    "Step",
    "TakeOver",
    "View",
    "Wait",
    "Why",
    "Write",
    "ZonePolicy",
    "assignment_info",
    "describe",
    "gauges",
    "item_info",
    "item_status",
    "lane",
    "lease_info",
    "member_info",
    "member_status",
    "outage",
    "plan_round",
    "policy_of",
    "pool_info",
    "pool_status",
    "safety_margin",
    "same_status",
    "step",
    "stopped",
    "view_of",
]  # fmt: skip
