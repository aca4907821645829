"""Stories of placement: what comes, grows, shrinks and goes, while nobody fails."""

from __future__ import annotations

import time

import pytest
from stage import Stage
from waiting import eventually

pytestmark = pytest.mark.cluster


def test_fresh_fill(led: Stage) -> None:
    led.members("a", "b", "c", limit=12, zones="xyy")
    led.items(10, 2)
    led.settle()
    held = led.held()
    assert all("a" in where for where in held.values()), "each Item is in both zones"
    assert len(led.history.adds()) == 20, "each replica was placed once"
    led.history.check()


def test_replaced_while_ready(led: Stage) -> None:
    led.members("a", "b", limit=6)
    led.items(6)
    led.settle()
    started = time.monotonic()
    moving = led.holds("a")
    led.member("c", limit=6)
    led.limit("a", 0)
    led.settle()
    assert led.holds("a") == set()
    adds = led.history.adds(started)
    assert {item for item, _ in adds} >= moving
    assert len(adds) == len(set(adds)) <= len(moving) + 2, "what was not on a moves for balance only"
    led.history.check()


def test_replaced_while_not_ready(led: Stage) -> None:
    led.members("a", "b", limit=6)
    led.items(4)
    led.settle()
    slow = led.member("c", limit=6)
    assert slow is not None
    slow.slow.add("*")
    led.limit("a", 0)
    led.limit("b", 0)
    before = {item: where for item, where in led.held().items() if "c" not in where}
    eventually(lambda: len(led.holds("c")) == 4)
    led.processed()
    for item, where in before.items():
        assert where.items() <= led.held()[item].items(), "nothing goes before its replacement is ready"
    led.crew.let_go("c")
    led.settle()
    assert led.holds("c") == set(led.held())
    led.history.check()


def test_limit_raised_and_lowered(led: Stage) -> None:
    led.members("a", "b", limit=4)
    led.items(8)
    led.settle()
    started = time.monotonic()
    led.limit("a", 8)
    led.settle()
    moved = led.history.adds(started)
    assert len(led.holds("a")) in (5, 6)
    assert len(moved) == len(led.holds("a")) - 4, "no more moves than the new share asks for"
    led.limit("a", 4)
    led.settle()
    assert len(led.holds("a")) == 4
    led.history.check()


def test_replication_raised_and_lowered(led: Stage) -> None:
    led.members("a", "b", "c")
    names = led.items(5, 1)
    led.settle()
    primaries = dict(led.held().items())
    for name in names:
        led.scale(name, 3)
    led.settle()
    for item, where in primaries.items():
        assert where.items() <= led.held()[item].items(), "the primary stays where it is"
    for name in names:
        led.scale(name, 1)
    led.settle()
    led.history.check()


def test_scaling_to_too_few_slots_and_back(led: Stage) -> None:
    led.members("a", "b", limit=4)
    names = led.items(4, 2)
    led.settle()
    led.limit("b", 2)
    eventually(lambda: len(led.holds("b")) == 2)
    eventually(lambda: led.condition("pools", "default", "Degraded").get("status") == "True")
    assert sorted(len(where) for where in led.held().values()) == [1, 1, 2, 2], "shortage is shared"
    led.limit("b", 4)
    led.settle()
    assert led.held().keys() == set(names)
    led.history.check(short=True)


def test_zone_added(led: Stage) -> None:
    led.members("a", "b", limit=10, zones="xx")
    led.items(6, 2)
    led.settle()
    eventually(lambda: led.condition("pools", "default", "Converged").get("status") == "True")
    led.member("c", limit=10, zone="y")
    eventually(lambda: all("c" in where for where in led.held().values()))
    led.settle()
    assert len(led.holds("c")) == 6
    led.history.check()


def test_zone_lost_and_single_zone_fallback_and_return(led: Stage) -> None:
    led.members("a", "b", "c", limit=10, zones="xxy")
    led.items(6, 2)
    led.settle()
    assert all("c" in where for where in led.held().values())
    led.crew.kill("c")
    led.settle()
    assert all(where.keys() == {"a", "b"} for where in led.held().values()), (
        "one zone is better than one copy"
    )
    led.crew.hire("c", 3.0, True)
    eventually(lambda: all("c" in where for where in led.held().values()))
    led.settle()
    led.history.check()


def test_zone_rotated(led: Stage) -> None:
    led.members("a", "b", limit=10, zones="xy")
    led.items(6, 2)
    led.settle()
    led.member("c", limit=10, zone="z")
    led.limit("a", 0)
    led.settle()
    assert led.holds("a") == set()
    led.member("d", limit=10, zone="x")
    led.limit("b", 0)
    led.settle()
    assert all(where.keys() == {"c", "d"} for where in led.held().values())
    led.history.check()


def test_items_deleted_while_they_move(led: Stage) -> None:
    led.members("a", limit=8)
    names = led.items(6)
    led.settle()
    slow = led.member("b", limit=8)
    assert slow is not None
    slow.slow.add("*")
    led.limit("a", 0)
    eventually(lambda: len(led.holds("b")) == 6)
    for name in names[:3]:
        led.api.delete("items", name)
    eventually(lambda: len(led.held()) == 3, lambda: str(led.held()))
    led.crew.let_go("b")
    led.settle()
    assert led.held().keys() == set(names[3:])
    led.history.check()


def test_assignments_of_unknown_items_and_members(led: Stage) -> None:
    led.members("a", lease=None)
    led.items(2)
    led.settle()
    there = led.api.get("assignments", "a")
    term = led.api.get("pools", "default")["status"]["term"]
    items = sorted([*there["spec"]["items"], f"nobody-knows#1@{term}"])
    led.api.merge("assignments", "a", {"spec": {"items": items, "term": term}})
    ghost = {"pool": "default", "term": term, "items": [f"item-00#1@{term}"]}
    led.api.create("assignments", "ghost", ghost)
    eventually(lambda: "ghost" not in led.history.store("assignments"))
    led.settle()
    assert led.holds("a") == {"item-00", "item-01"}


def test_a_drained_member_has_the_condition_drained(led: Stage) -> None:
    led.members("a", "b")
    led.items(4)
    led.settle()
    led.limit("a", 0)
    eventually(lambda: led.condition("members", "a", "Drained").get("status") == "True")
    assert led.holds("a") == set()
    led.history.check()


def test_draining_leaves_as_capacity_allows_and_unplaces_nothing(led: Stage) -> None:
    led.members("a", "b", limit=3)
    led.items(4)
    led.settle()
    led.api.merge("members", "a", {"spec": {"draining": True}})
    eventually(lambda: len(led.holds("a")) == 1, lambda: str(led.held()))
    led.settle()
    assert len(led.holds("b")) == 3
    led.history.check()


def test_item_statuses_that_are_switched_off_are_removed(led: Stage) -> None:
    led.members("a", lease=None, reported=False)
    led.items(3)
    led.settle()
    eventually(lambda: all("status" in item for item in led.api.list("items")))
    led.pool(itemStatus="None")
    eventually(lambda: not any("status" in item for item in led.api.list("items")))
    led.pool(itemStatus="Full")
    eventually(lambda: all(item.get("status", {}).get("primary") == "a" for item in led.api.list("items")))
