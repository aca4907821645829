"""The brain: one pure object for a Pool, with all that is known of it and what follows. No clock, no I/O.

`Brain.observe` takes events, `Brain.decide` says what to do next, `Brain.done` takes the outcome.
"""

from berth.pool.brain import Brain
from berth.pool.changes import Lane, MemberEdit, Write
from berth.pool.decision import (
    Arrived,
    Decision,
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
)
from berth.pool.ledger import Ledger
from berth.pool.liveness import Leases, Liveness, safety_margin
from berth.pool.member import MemberState
from berth.pool.reasons import Wait, Why
from berth.pool.statuses import Conditions, Status, Statuses, StatusWrite, pool_status

__all__ = [
    "Arrived", "Brain", "Conditions", "Decision", "Event", "Fact", "Failed",
    "Gone", "Lane", "LeaseChanged", "LeaseRead", "Leases", "Ledger", "Liveness", "LogLine",
    "MemberEdit", "MemberState", "Notice", "Outcome", "RoundMade", "Solved", "Status", "StatusWrite",
    "Statuses", "TakeOver", "Wait", "Why", "Write", "pool_status", "safety_margin",
]  # fmt: skip
