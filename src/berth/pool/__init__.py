"""The brain: one pure object for a Pool, with all that is known of it and what follows. No clock, no I/O.

`Brain.observe` takes events, `Brain.decide` says what to do next, `Brain.done` takes the outcome.
"""

from berth.pool.brain import Brain
from berth.pool.changes import Lane, MemberEdit
from berth.pool.conditions import Conditions, Status, pool_status
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
    RoundMade,
    Solved,
    TakeOver,
    Write,
)
from berth.pool.ledger import Ledger
from berth.pool.liveness import LeaseInfo, Leases, Liveness, lease_info, safety_margin
from berth.pool.member import MemberState
from berth.pool.reasons import Wait, Why
from berth.pool.statuses import Gauges, Statuses, StatusWrite, gauges

__all__ = [
    "Accepted", "Arrived", "Brain", "Conditions", "Decision", "Delete", "Event", "Fact", "Failed", "Gauges",
    "Gone", "Lane", "LeaseChanged", "LeaseInfo", "LeaseRead", "Leases", "Ledger", "Liveness", "LogLine",
    "MemberEdit", "MemberState", "Notice", "Outcome", "RoundMade", "Solved", "Status", "StatusWrite",
    "Statuses", "TakeOver", "Wait", "Why", "Write", "gauges", "lease_info", "pool_status", "safety_margin",
]  # fmt: skip
