"""A status that says already what is to be said is not written again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from berth.kinds import ReadItemStatus, ReadMemberStatus, ReadPoolStatus
from berth.pool.statuses import same_status

CONDITION = {
    "type": "Placed",
    "status": "True",
    "reason": "Placed",
    "message": "2 of 2 replicas are placed",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
ITEM = {
    "replicas": 2,
    "ready": 2,
    "primary": "a",
    "members": ["a", "b"],
    "observedGeneration": 1,
    "conditions": [CONDITION],
}
MEMBER = {"items": 3, "primaries": 1, "ready": 3, "observedGeneration": 1, "conditions": [CONDITION]}
POOL = {
    "items": 3,
    "members": 2,
    "slots": {"wanted": 6, "held": 6, "ready": 5},
    "observedGeneration": 4,
    "conditions": [CONDITION],
}
KINDS = [(ITEM, ReadItemStatus), (MEMBER, ReadMemberStatus), (POOL, ReadPoolStatus)]


@pytest.mark.parametrize(("status", "kind"), KINDS, ids=["Item", "Member", "Pool"])
def test_what_was_read_back_is_the_same(status: dict[str, Any], kind: type) -> None:
    assert same_status(status, msgspec.convert(status, kind))
    assert not same_status(status, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("replicas", 1),
        ("ready", 1),
        ("primary", None),
        ("members", ["b", "a"]),
        ("observedGeneration", 2),
        ("conditions", [{**CONDITION, "message": "1 of 2 replicas are placed"}]),
        ("conditions", []),
    ],
)
def test_every_field_counts(field: str, value: Any) -> None:
    assert not same_status({**ITEM, field: value}, msgspec.convert(ITEM, ReadItemStatus))


def test_the_slots_of_a_pool_count() -> None:
    assert not same_status(
        {**POOL, "slots": {"wanted": 6, "held": 6, "ready": 6}}, msgspec.convert(POOL, ReadPoolStatus)
    )
