"""The kinds of `berth.dev`, the wire format of entries, and the CRDs generated from them."""

from berth.kinds.assignment import (
    MAX_PROBLEM_MESSAGE,
    MAX_PROBLEMS,
    MAX_SESSION,
    Assignment,
    AssignmentObject,
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
    is_label,
    is_name,
    parse_entry,
    parse_report,
)
from berth.kinds.item import Item, ItemObject, ItemWithData, ReadItemSpec, ReadItemStatus
from berth.kinds.member import Member, MemberObject, Readiness, ReadMemberSpec, ReadMemberStatus
from berth.kinds.meta import HasMeta, Key, LeaseObject, LeaseSpec, Meta, ReadCondition
from berth.kinds.model import API_VERSION, GROUP, PLURALS, VERSION
from berth.kinds.pool import (
    Handoff,
    ItemStatusMode,
    Pool,
    PoolObject,
    PoolSpec,
    PrimaryBalance,
    ReadOutage,
    ReadPoolSpec,
    ReadPoolStatus,
    ZonePolicy,
)

__all__ = [
    "API_VERSION", "GROUP", "MAX_PROBLEMS", "MAX_PROBLEM_MESSAGE", "MAX_SESSION", "PLURALS", "VERSION",
    "Assignment", "AssignmentObject", "Entry", "Handoff", "HasMeta", "Item", "ItemObject",
    "ItemStatusMode", "ItemWithData", "Key", "LeaseObject", "LeaseSpec", "Member", "MemberObject", "Meta",
    "Phase", "Pool", "PoolObject", "PoolSpec", "PrimaryBalance", "ReadAssignmentSpec",
    "ReadAssignmentStatus", "ReadCondition", "ReadItemSpec", "ReadItemStatus", "ReadMemberSpec",
    "ReadMemberStatus", "ReadOutage", "ReadPoolSpec", "ReadPoolStatus", "ReadProblem", "Readiness", "Report",
    "ZonePolicy", "format_entry", "format_report", "is_label", "is_name", "parse_entry", "parse_report",
]  # fmt: skip
