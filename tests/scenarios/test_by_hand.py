"""Stories of people who delete and edit what they should not, at a bad moment."""

from __future__ import annotations

import itertools
import time

import pytest
from history import entries
from stage import Stage
from waiting import eventually

from berth.kinds import format_entry

pytestmark = pytest.mark.cluster


def nobody_overlaps(stage: Stage, items: list[str]) -> None:
    for item in items:
        for (_, until, old), (since, _, new) in itertools.pairwise(stage.crew.at_work(item)):
            assert until <= since, f"{item} was worked on by {old} and {new} at once"


def test_leases_deleted_while_nobody_leads_count_as_live_for_a_while(stage: Stage) -> None:
    controller = stage.controller()
    stage.members("a", "b", "c", lease=60)
    stage.items(6, 2)
    stage.settle()
    for name in "abc":
        eventually(lambda name=name: stage.condition("members", name, "Live").get("status") == "True")
    started = time.monotonic()
    controller.kill()
    for name in "abc":
        stage.api.delete("leases", name)
    stage.controller()
    stage.processed()
    stage.renewals(6)
    assert stage.history.changes(started) == []


def test_exclusive_waits_for_a_process_whose_lease_was_deleted_while_nobody_led(stage: Stage) -> None:
    stage.pool(handoff="Exclusive")
    controller = stage.controller()
    stage.members("a", "b", lease=10)
    items = stage.items(4)
    stage.settle()
    eventually(lambda: stage.condition("members", "a", "Live").get("status") == "True")
    stage.crew.cut_off("a")
    stage.api.delete("leases", "a")
    controller.kill()
    stage.controller()
    stage.settle()
    nobody_overlaps(stage, items)
    assert all(where.keys() == {"b"} for where in stage.held().values())
    stage.history.check()


@pytest.mark.parametrize("name", ["typo", "b"])
def test_exclusive_waits_for_a_process_whose_member_now_names_another_lease(stage: Stage, name: str) -> None:
    stage.pool(handoff="Exclusive")
    stage.controller()
    stage.members("a", "b")
    items = stage.items(4)
    stage.settle()
    stage.crew.workers["a"].clings.update(items)
    stage.api.merge("members", "a", {"spec": {"leaseName": name}})
    stage.limit("a", 0)
    eventually(lambda: stage.holds("b") == set(items))
    stage.renewals(6, "a")  # longer than the Lease lasts: its process works on, and renews the old one
    stage.processed()
    nobody_overlaps(stage, items)
    stage.crew.let_go("a")
    eventually(lambda: all("b" in where for where in stage.held().values()))
    assert stage.held().keys() == set(items)


def test_a_term_far_ahead_stops_nothing(stage: Stage) -> None:
    stage.controller()
    stage.members("a", "b", lease=None)
    stage.items(4)
    stage.settle()
    ahead = stage.term() + 1000
    items = stage.api.get("assignments", "a")["spec"]["items"]
    stage.api.merge("assignments", "a", {"spec": {"items": items, "term": ahead}})
    stage.limit("a", 0)
    stage.settle()
    assert stage.term() > ahead


def test_a_term_that_no_leader_can_exceed_blocks_one_assignment_until_it_is_deleted(stage: Stage) -> None:
    controller = stage.controller()
    stage.members("a", "b", lease=None)
    stage.items(4)
    stage.settle()
    items = stage.api.get("assignments", "a")["spec"]["items"]
    stage.api.merge("assignments", "a", {"spec": {"items": items, "term": 10**15 - 1}})
    controller.kill()
    stage.controller()
    stage.items(4, 2, prefix="new")
    eventually(lambda: len(stage.holds("b")) >= 4, lambda: str(stage.held()))
    eventually(lambda: stage.condition("pools", "default", "Degraded").get("reason") == "RoundFailed")
    assert "must not decrease" in stage.condition("pools", "default", "Degraded")["message"]
    stage.api.delete("assignments", "a")
    stage.settle()
    eventually(lambda: stage.condition("pools", "default", "Degraded").get("reason") == "Healthy")


def test_no_later_epoch_is_below_one_that_is_far_ahead(stage: Stage) -> None:
    stage.controller()
    stage.members("a", "b", lease=None)
    stage.items(2, 2)
    stage.settle()
    now = stage.term()
    ours = entries(stage.api.get("assignments", "a"))
    edited = [format_entry(e._replace(slot=0, epoch=now + 500)) for _, e in sorted(ours.items())]
    stage.api.merge("assignments", "a", {"spec": {"items": edited, "term": now}})
    eventually(lambda: all(stage.epoch(item) >= now + 500 for item in ours))
    stage.limit("a", 0)
    eventually(lambda: not stage.holds("a"))
    stage.settle()
    assert all(stage.epoch(item) > now + 500 for item in ours)


def test_an_assignment_that_was_given_to_another_pool_is_taken_back(stage: Stage) -> None:
    stage.controller()
    stage.members("a", "b", lease=None)
    stage.items(4)
    stage.settle()
    stage.api.merge("assignments", "a", {"spec": {"pool": "other", "term": stage.term()}})
    eventually(lambda: not stage.holds("a"))
    stage.settle()
    assert len(stage.held()) == 4
