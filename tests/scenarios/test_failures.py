"""Stories of workers that die, hang, cling and come back, and of what a Pool's policy makes of it."""

from __future__ import annotations

import itertools
import time

import pytest
from history import entries
from stage import LEASE, Stage
from waiting import eventually

from berth.kinds import Entry
from berth.pool import safety_margin

pytestmark = pytest.mark.cluster


def test_lease_lost_and_regained(led: Stage) -> None:
    led.members("a", "b", "c")
    led.items(6, 2)
    led.settle()
    led.crew.kill("a")
    led.settle()
    assert led.holds("a") == set()
    eventually(lambda: led.condition("members", "a", "Live").get("reason") == "LeaseExpired")
    led.crew.hire("a", LEASE, True)
    eventually(lambda: len(led.holds("a")) == 4, lambda: str(led.held()))
    led.settle()
    led.history.check()


def given(led: Stage, member: str) -> dict[str, Entry]:
    return entries(led.history.store("assignments")[member])


def test_a_process_that_restarts_within_its_lease_has_prepared_nothing(led: Stage) -> None:
    led.members("a", "b")
    led.items(2, 2)
    led.settle()
    items = set(led.held())
    grants = {item: entry.grant for item, entry in given(led, "a").items()}
    led.crew.kill("a")
    again = led.crew.hire("a", LEASE, True)
    again.slow.add("*")
    led.limit("b", 0)
    eventually(lambda: all(entry.primary for entry in given(led, "b").values()), lambda: str(led.held()))
    eventually(lambda: led.history.store("assignments")["a"]["spec"]["session"] == again.session)
    assert all(entry.grant > grants[item] for item, entry in given(led, "a").items())
    led.processed()
    assert led.holds("a") == led.holds("b") == items, "b keeps all, as a has prepared nothing of its own"
    led.crew.let_go("a")
    led.settle(wanted=dict.fromkeys(items, 1))
    led.history.check(short=True)


def test_entries_of_an_older_leader_only_get_the_session_that_reports_on_them(led: Stage) -> None:
    led.members("a")
    led.items(2)
    led.settle()
    before = led.api.get("assignments", "a")["spec"]
    led.api.patch("assignments", "a", [{"op": "remove", "path": "/spec/session"}])
    eventually(lambda: "session" in led.api.get("assignments", "a")["spec"])
    assert led.api.get("assignments", "a")["spec"] == before


def test_a_lease_object_that_is_deleted_counts_until_it_would_have_expired(led: Stage) -> None:
    led.members("a", "b")
    led.items(4)
    led.settle()
    before = led.held()
    started = time.monotonic()
    led.api.delete("leases", "a")
    led.settle()
    assert led.held() == before, "its worker has created it again in time"
    assert led.history.changes(started) == []


def test_a_member_whose_lease_was_never_created_is_not_live(led: Stage) -> None:
    led.members("a")
    led.member("b", worker=False)
    led.items(3)
    eventually(lambda: led.condition("members", "b", "Live").get("reason") == "LeaseMissing")
    eventually(lambda: len(led.holds("a")) == 3)
    assert led.holds("b") == set()
    assert "does not exist" in led.condition("members", "b", "Live")["message"]
    led.crew.hire("b", LEASE, True)
    led.settle()
    assert led.holds("b")
    led.history.check()


def test_a_member_created_again_under_its_name_holds_nothing_from_before(led: Stage) -> None:
    led.members("a", "b")
    led.items(4)
    led.settle()
    old = led.api.get("assignments", "a")["metadata"]["uid"]
    led.crew.kill("a")
    led.api.delete("members", "a")
    led.member("a")
    led.settle()
    new = led.api.get("assignments", "a")
    owner = led.api.get("members", "a")["metadata"]["uid"]
    assert new["metadata"]["uid"] != old
    assert new["metadata"]["ownerReferences"][0]["uid"] == owner
    led.history.check()


def test_with_delay_seconds_items_wait_for_their_member(led: Stage) -> None:
    led.pool(outage={"delaySeconds": 6})
    led.members("a", "b", "c")
    led.items(6)
    led.settle()
    before = led.held()
    led.crew.kill("a")
    eventually(lambda: led.condition("members", "a", "Live").get("status") == "False")
    led.crew.hire("a", LEASE, True)
    eventually(lambda: led.condition("members", "a", "Live").get("status") == "True")
    led.settle()
    assert led.held() == before, "it came back in time, nothing has moved"
    led.crew.kill("a")
    died = time.monotonic()
    eventually(lambda: led.holds("a") == set())
    assert time.monotonic() - died > 6
    led.settle()
    led.history.check()


def test_the_brake_holds_everything_when_most_members_die_together(led: Stage) -> None:
    led.pool(outage={"brakePercent": 50, "brakeMinMembers": 4})
    names = ["a", "b", "c", "d", "e"]
    led.members(*names)
    led.items(10)
    led.settle()
    before = led.held()
    for name in names[:3]:
        led.crew.kill(name)
    eventually(lambda: led.condition("pools", "default", "Paused").get("status") == "True")
    led.api.create("items", "late", {"replicas": 1})
    eventually(lambda: "late" in led.held(), "the brake holds back what is missing")
    dropped = {item for item in before if item not in led.held()}
    still = [n for n in names[:3] if led.holds(n)]
    assert still, f"the brake came before all were emptied: {dropped}"
    for name in names[:3]:
        led.crew.hire(name, LEASE, True)
    eventually(lambda: led.condition("pools", "default", "Paused").get("status") == "False")
    led.settle()
    led.history.check()


def test_max_in_flight_holds_back_moves_and_not_recovery(led: Stage) -> None:
    led.pool(moves={"maxInFlight": 1})
    led.members("a", "b")
    led.items(8)
    led.settle()
    slow = led.member("c")
    assert slow is not None
    slow.slow.add("*")
    eventually(lambda: len(led.holds("c")) == 1)
    reasons = ("WaitingForReady", "MovesLimited")
    eventually(lambda: led.condition("pools", "default", "Converged").get("reason") in reasons)
    led.processed()
    assert len(led.holds("c")) == 1, "one move at a time, and that one is not done"
    led.crew.kill("a")
    eventually(lambda: all("a" not in where for where in led.held().values()))
    eventually(lambda: len(led.held()) == 8, lambda: str(led.held()))
    led.crew.let_go("c")
    led.settle()
    led.history.check()


def only_one_at_work(stage: Stage, items: list[str]) -> None:
    for item in items:
        spans = stage.crew.at_work(item)
        for (_, until, old), (since, _, new) in itertools.pairwise(spans):
            assert until <= since, f"{item} was worked on by {old} and {new} at once"


def test_exclusive_moves_a_primary_only_after_its_release(led: Stage) -> None:
    led.pool(handoff="Exclusive")
    led.members("a")
    items = led.items(3)
    led.settle()
    held = led.crew.workers["a"]
    held.clings.update(items)
    led.member("b")
    led.limit("a", 0)
    eventually(lambda: led.holds("b") == set(items) and led.holds("a") == set(), lambda: str(led.held()))
    led.processed()
    assert all(where["b"] > 0 for where in led.held().values()), "nobody is primary: a has not released"
    eventually(
        lambda: "a to release it" in led.condition("pools", "default", "Converged").get("message", ""),
        lambda: str(led.condition("pools", "default", "Converged")),
    )
    led.crew.let_go("a")
    led.settle()
    only_one_at_work(led, items)
    led.history.check()


def test_exclusive_waits_a_margin_longer_than_the_lease_after_a_crash(led: Stage) -> None:
    led.pool(handoff="Exclusive")
    led.members("a", "b")
    items = led.items(4)
    led.settle()
    lost = led.holds("a")
    assert lost
    renewed = led.crew.workers["a"].renewed
    led.crew.cut_off("a")
    eventually(lambda: all(led.held().get(item, {}).get("b") == 0 for item in lost))
    waited = led.history.changes()[-1].at - renewed
    assert waited >= LEASE + safety_margin(LEASE) - 0.05, waited
    led.settle()
    only_one_at_work(led, items)
    led.history.check()


def test_overlap_promotes_as_soon_as_the_lease_has_expired(led: Stage) -> None:
    led.members("a", "b")
    led.items(4, 2)
    led.settle()
    mine = {item for item, where in led.held().items() if where["a"] == 0}
    renewed = led.crew.workers["a"].renewed
    led.crew.kill("a")
    eventually(lambda: all(led.held()[item].get("b") == 0 for item in mine))
    waited = led.history.changes()[-1].at - renewed
    assert waited >= LEASE - 0.05, waited
    led.history.check()
