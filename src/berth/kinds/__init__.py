"""The kinds of `berth.dev`, the wire format of entries, and the CRDs generated from them."""

from berth.kinds.assignment import (
    MAX_PROBLEM_MESSAGE,
    MAX_PROBLEMS,
    MAX_SESSION,
    Assignment,
    AssignmentObject,
    AssignmentSpec,
    AssignmentStatus,
    Problem,
    ReadAssignmentSpec,
    ReadAssignmentStatus,
    ReadProblem,
)
from berth.kinds.entry import (
    Entry,
    Phase,
    Report,
    format_entry,
    format_report,
    is_name,
    parse_entries,
    parse_entry,
    parse_report,
)
from berth.kinds.item import (
    Item,
    ItemObject,
    ItemSpec,
    ItemStatus,
    ItemWithData,
    ReadItemSpec,
    ReadItemStatus,
)
from berth.kinds.lease import LeaseObject, LeaseSpec
from berth.kinds.member import (
    Member,
    MemberObject,
    MemberSpec,
    MemberStatus,
    Readiness,
    ReadMemberSpec,
    ReadMemberStatus,
)
from berth.kinds.meta import HasMeta, Key, Meta, ReadCondition, condition_status
from berth.kinds.model import (
    API_VERSION,
    GROUP,
    PLURALS,
    VERSION,
    Condition,
    ConditionStatus,
    ObjectMeta,
    OwnerReference,
)
from berth.kinds.pool import (
    Balance,
    Handoff,
    ItemStatusMode,
    Moves,
    Outage,
    Pool,
    PoolObject,
    PoolSpec,
    PoolStatus,
    PrimaryBalance,
    ReadOutage,
    ReadPoolSpec,
    ReadPoolStatus,
    ReadSlots,
    Slots,
    ZonePolicy,
)

__all__ = [
    "API_VERSION", "GROUP", "MAX_PROBLEMS", "MAX_PROBLEM_MESSAGE", "MAX_SESSION", "PLURALS", "VERSION",
    "Assignment", "AssignmentObject", "AssignmentSpec", "AssignmentStatus", "Balance", "Condition",
    "ConditionStatus", "Entry", "Handoff", "HasMeta", "Item", "ItemObject", "ItemSpec", "ItemStatus",
    "ItemStatusMode", "ItemWithData", "Key", "LeaseObject", "LeaseSpec", "Member", "MemberObject",
    "MemberSpec", "MemberStatus", "Meta", "Moves", "ObjectMeta", "Outage", "OwnerReference", "Phase",
    "Pool", "PoolObject", "PoolSpec", "PoolStatus", "PrimaryBalance", "Problem", "ReadAssignmentSpec",
    "ReadAssignmentStatus", "ReadCondition", "ReadItemSpec", "ReadItemStatus", "ReadMemberSpec",
    "ReadMemberStatus", "ReadOutage", "ReadPoolSpec", "ReadPoolStatus", "ReadProblem", "ReadSlots",
    "Readiness", "Report", "Slots", "ZonePolicy", "condition_status", "format_entry", "format_report",
    "is_name", "parse_entries", "parse_entry", "parse_report",
]  # fmt: skip
