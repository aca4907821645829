"""The checker of recorded objects, on versions made by hand."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from fault_objects import STALE, broken_promises
from fault_recorder import Version

LEASE = 3.0


class Story:
    """Versions of objects, one after the other."""

    def __init__(self) -> None:
        self.numbers: Iterator[int] = count(1)
        self.versions: list[Version] = []
        self.at = 0.0
        self.assignments: dict[str, dict[str, Any]] = {}
        self.add("pools", "p", status={"term": 1, "leader": "c0"})
        self.add("items", "a", spec={"replicas": 1})
        for member in ("w1", "w2"):
            self.add("members", member, spec={"limit": 2})
            self.renew(member)
            self.assign(member)

    def add(self, kind: str, name: str, gap: bool = False, **fields: Any) -> None:
        found = {"metadata": {"uid": name}, **fields} if fields else None
        self.versions.append(Version(next(self.numbers), self.at, kind, name, found, gap))

    def renew(self, member: str, session: str = "") -> None:
        self.add("leases", member, spec={"holderIdentity": session or f"{member}_1"})

    def wait(self, seconds: float, *renewing: str) -> None:
        """Let time pass; the Members that are named renew their Leases each second."""
        until = self.at + seconds
        while self.at < until:
            self.at += 1.0
            for member in renewing:
                self.renew(member)

    def assign(
        self,
        member: str,
        *entries: str,
        term: int = 1,
        ready: bool = True,
        session: str = "",
        gap: bool = False,
    ) -> None:
        """Write the spec of an Assignment, and then the status that reports the entries as ready."""
        session = session or f"{member}_1"
        spec = {"pool": "p", "term": term, "session": session, "items": list(entries)}
        status = self.assignments.get(member, {}).get("status", {})
        self.add("assignments", member, gap, spec=spec, status=status)
        if ready:
            reports = [f"{e.split('#')[0]}@{e.split('@')[1].split(':')[0]}=Ready" for e in entries]
            status = {"session": session, "items": reports}
            self.add("assignments", member, spec=spec, status=status)
        self.assignments[member] = {"spec": spec, "status": status}

    def broken(self) -> list[str]:
        return list(broken_promises(self.versions, LEASE))


@pytest.fixture
def story() -> Story:
    return Story()


def test_an_item_that_is_handed_over_is_fine(story: Story) -> None:
    story.assign("w1", "a#0@1:1")
    story.wait(2 * STALE, "w1", "w2")
    story.assign("w2", "a#1@1")
    story.assign("w1")
    story.add("pools", "p", status={"term": 2, "leader": "c0"})
    story.assign("w2", "a#0@1:2", term=2)
    assert story.broken() == []


def test_an_item_taken_from_a_live_member_is_found(story: Story) -> None:
    story.assign("w1", "a#0@1:1")
    story.wait(2 * STALE, "w1", "w2")
    story.assign("w1", term=1)
    assert len(story.broken()) == 1
    assert story.broken()[0].startswith("1 or 9: a was taken from w1, which is live, in version ")


def test_a_replica_that_is_not_ready_does_not_count(story: Story) -> None:
    story.assign("w1", "a#0@1:1")
    story.wait(2 * STALE, "w1", "w2")
    story.assign("w2", "a#1@1", ready=False)
    story.assign("w1")
    assert [line[:6] for line in story.broken()] == ["1 or 9"]


def test_an_item_may_be_taken_from_a_member_that_is_dead_drained_or_restarted(story: Story) -> None:
    story.assign("w1", "a#0@1:1")
    story.wait(2 * STALE, "w2")
    story.assign("w1")
    story.assign("w2", "a#0@2:2", term=2)
    assert story.broken() == []
    story.wait(2 * STALE, "w1", "w2")
    story.add("members", "w2", spec={"limit": 0})
    story.assign("w2", term=2)
    story.assign("w1", "a#0@3:3", term=3)
    assert story.broken() == []
    story.wait(2 * STALE, "w1", "w2")
    story.renew("w1", "w1_2")
    story.assign("w1", term=3, session="w1_2")
    assert story.broken() == []


def test_nothing_is_concluded_from_a_removal_after_a_gap(story: Story) -> None:
    story.assign("w1", "a#0@1:1")
    story.wait(2 * STALE, "w1", "w2")
    story.assign("w1", gap=True)
    assert story.broken() == []


def test_epochs_that_are_given_twice_or_go_back_are_found(story: Story) -> None:
    story.assign("w1", "a#0@1:2")
    story.add("assignments", "w1")
    story.assign("w2", "a#0@2:2")
    assert story.broken() == ["4: epoch 2 of a is of w1 in session w1_1 and of w2 in session w2_1"]
    story.assign("w2", "a#0@2:1")
    assert story.broken()[1:] == ["4: epoch 1 of a on w2 after 2"]


def test_an_epoch_that_two_sessions_of_a_member_have_is_found(story: Story) -> None:
    story.assign("w1", "a#0@1:2")
    story.assign("w1", "a#0@1:2", session="w1_2")
    assert story.broken() == [
        "4: epoch 2 of a is of w1 in session w1_1 and of w1 in session w1_2",
        "4: a on w1 kept its grant from w1_1 to w1_2",
    ]


def test_two_primaries_are_found(story: Story) -> None:
    story.assign("w1", "a#0@1:2")
    story.assign("w2", "a#0@1:3")
    assert story.broken() == ["2: slot 0 of a is on w2 and on w1"]


def test_items_beyond_a_limit_and_items_twice_on_a_member_are_found(story: Story) -> None:
    story.assign("w1", "a#1@1", "b#1@1", "c#1@1")
    assert story.broken() == ["3: w1 was given 3 Items with a limit of 2"]
    story.assign("w2", "a#1@1", "a#2@1")
    assert story.broken()[1:] == ["3: a twice on w2"]


def test_a_write_of_a_replaced_leader_is_found(story: Story) -> None:
    story.add("pools", "p", status={"term": 2, "leader": "c1"})
    story.assign("w1", "a#0@1:1", term=1)
    assert story.broken() == ["5: w1 was written in term 1 after term 2 had started"]
    story.add("pools", "p", status={"term": 2, "leader": "c0"})
    assert story.broken()[1:] == ["5: term 2 is of c1 and of c0"]


def test_a_solver_without_an_answer_in_time_is_found(story: Story) -> None:
    overdue = {"type": "Degraded", "reason": "SolverOverdue", "message": "no plan within 20 s"}
    story.add("pools", "p", status={"term": 1, "leader": "c0", "conditions": [overdue]})
    assert story.broken() == ["10: p: no plan within 20 s"]
