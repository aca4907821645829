"""Stories of controllers that are killed, frozen, replaced and restarted."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from stage import LEASE, Stage
from waiting import eventually

pytestmark = pytest.mark.cluster


def versions(stage: Stage) -> dict[str, str]:
    """resourceVersions of everything of Berth in the namespace."""
    found = {}
    for kind in ("items", "members", "assignments", "pools"):
        for each in stage.api.list(kind):
            found[f"{kind}/{each['metadata']['name']}"] = each["metadata"]["resourceVersion"]
    return found


def test_an_idle_controller_writes_nothing_but_its_lease(stage: Stage) -> None:
    stage.controller()
    stage.members("a", "b", lease=None)
    stage.items(6, 2)
    stage.settle()
    eventually(lambda: stage.condition("pools", "default", "Converged").get("status") == "True")
    before = eventually(lambda: steady(stage))
    stage.renewals(6)
    assert versions(stage) == before


def steady(stage: Stage) -> dict[str, str]:
    """The versions, once the last statuses are written."""
    before = versions(stage)
    stage.renewals(2)
    return before if versions(stage) == before else {}


def test_sigterm_hands_over_at_once(stage: Stage) -> None:
    first = stage.controller()
    second = stage.controller(wait=False)
    stage.members("a", "b")
    stage.items(4, 2)
    stage.settle()
    before = stage.held()
    eventually(lambda: "caches have synced" in second.text, lambda: second.text)
    started = time.monotonic()
    assert first.terminate() == 0, first.text
    second.wait_leading()
    assert time.monotonic() - started < 10
    stage.items(1, 2, prefix="late")
    stage.settle()
    assert before.items() <= stage.held().items(), "nothing has moved"
    stage.history.check()


def test_a_frozen_leader_that_wakes_up_changes_nothing(stage: Stage) -> None:
    first = stage.controller()
    stage.members("a", "b", "c")
    stage.items(6, 2)
    stage.settle()
    old = stage.term()
    first.pause()
    # What it would do if it believed itself the leader still.
    stage.limit("a", 0)
    second = stage.controller()
    stage.settle()
    assert stage.term() > old
    before = stage.held()
    started = time.monotonic()
    first.resume()
    eventually(lambda: "no longer leading" in first.text or first.process.poll() is not None, first.text)
    stage.processed()
    assert stage.history.changes(started) == []
    assert stage.held() == before
    assert second.led == 1, "the second leads on"
    stage.history.check()


def test_one_of_two_installations_for_one_namespace_stands_aside(stage: Stage) -> None:
    """Each has a Lease of its own and takes the Pool from the other; dead Members are found all the same."""
    both = [stage.controller(), stage.controller("--lease-namespace", "default")]
    stage.members("a", "b", "c")
    stage.items(6, 2)
    stage.settle()
    stage.crew.kill("c")
    stage.settle()
    eventually(lambda: any("is Berth installed twice" in c.text for c in both), lambda: both[0].text)
    assert not stage.holds("c")
    stage.history.check()


def test_a_leader_that_was_replaced_is_refused_by_the_api_server(stage: Stage) -> None:
    stage.controller()
    stage.members("a", lease=None)
    stage.items(2)
    stage.settle()
    there = stage.api.get("assignments", "a")
    stale = {**there["spec"], "term": stage.term() - 1, "items": []}
    with pytest.raises(Exception, match="is no longer the leader of the pool"):
        stage.api.merge("assignments", "a", {"spec": stale})
    stage.history.check()


def test_a_takeover_with_many_items_moves_nothing(stage: Stage) -> None:
    first = stage.controller()
    stage.members("a", "b", "c", "d", limit=400)
    stage.items(150, 2)
    stage.settle()
    started = time.monotonic()
    first.kill()
    stage.controller()
    stage.settle(quiet=2.0)
    assert stage.history.changes(started) == []
    stage.history.check()


def test_a_restarted_controller_gives_nothing_to_a_member_that_was_dead_before(stage: Stage) -> None:
    first = stage.controller()
    stage.members("a", "b", "c")
    stage.items(6)
    stage.settle()
    stage.crew.kill("a")
    stage.settle()
    eventually(lambda: stage.condition("members", "a", "Live").get("status") == "False")
    started = time.monotonic()
    first.kill()
    stage.controller()
    stage.settle(quiet=4.0)
    assert stage.history.changes(started) == [], "it does not believe the Lease that is left behind"
    stage.history.check()


@pytest.mark.parametrize("times", [4, pytest.param(20, marks=pytest.mark.deep)])
def test_a_controller_killed_at_random_moments_reaches_the_same_result(stage: Stage, times: int) -> None:
    """Drains, the controller killed in the middle of each; no replica moves more often than it must."""
    chance = random.Random(20)
    stage.members("a", "b", "c", limit=40, lease=None)
    controller = stage.controller()
    stage.items(24, 2)
    stage.settle()
    started = time.monotonic()
    moved = 0
    for number in range(times):
        drained, back = ("a", "b") if number % 2 else ("b", "a")
        stage.limit(back, 40)
        stage.limit(drained, 0)
        moved += 24
        time.sleep(chance.uniform(0.0, 0.4))
        controller.kill()
        controller = stage.controller()
        stage.settle(quiet=0.5)
    assert len(stage.history.adds(started)) <= moved, "each replica moved as often as it had to"
    stage.history.check()


STORIES: dict[str, Callable[[Stage], None]] = {}


def story(run: Callable[[Stage], None]) -> Callable[[Stage], None]:
    STORIES[run.__name__] = run
    return run


@story
def fresh_fill(stage: Stage) -> None:
    stage.items(20, 2, prefix="more")


@story
def drain(stage: Stage) -> None:
    stage.limit("a", 0)


@story
def limit_lowered(stage: Stage) -> None:
    stage.limit("b", 3)


@story
def replication_raised(stage: Stage) -> None:
    for name in stage.history.store("items"):
        stage.scale(name, 3)


@story
def replication_lowered(stage: Stage) -> None:
    for name in stage.history.store("items"):
        stage.scale(name, 1)


@story
def zone_added(stage: Stage) -> None:
    stage.member("d", zone="z", limit=30)


@story
def zone_lost(stage: Stage) -> None:
    stage.crew.kill("c")


@story
def zone_rotated(stage: Stage) -> None:
    stage.member("d", zone="z", limit=30)
    stage.limit("c", 0)


@story
def items_deleted_while_they_move(stage: Stage) -> None:
    stage.limit("a", 0)
    for name in list(stage.history.store("items"))[:5]:
        stage.api.delete("items", name)


@story
def worker_replaced_under_its_name(stage: Stage) -> None:
    stage.crew.kill("b")
    stage.api.delete("members", "b")
    stage.member("b", zone="y", limit=30)


@story
def too_few_slots(stage: Stage) -> None:
    stage.limit("a", 4)
    stage.limit("b", 4)
    stage.limit("c", 4)
    eventually(lambda: stage.condition("pools", "default", "Degraded").get("status") == "True")
    for name in ("a", "b", "c"):
        stage.limit(name, 30)


@story
def replaced_while_not_ready(stage: Stage) -> None:
    for name in ("b", "c"):
        stage.crew.workers[name].slow.add("*")
    stage.limit("a", 0)
    eventually(lambda: any(len(where) == 3 for where in stage.held().values()))
    # The next leader finds them unfinished.
    for name in ("b", "c"):
        threading.Timer(4.0, stage.crew.let_go, [name]).start()


@story
def lease_lost_and_regained(stage: Stage) -> None:
    stage.crew.kill("b")
    eventually(lambda: not stage.holds("b"))
    stage.crew.hire("b", LEASE, True)


@story
def single_zone_fallback_and_return(stage: Stage) -> None:
    stage.crew.kill("a")
    eventually(lambda: not stage.holds("a"))
    stage.settle()
    stage.crew.hire("a", LEASE, True)


@story
def assignments_of_unknown_items_and_members(stage: Stage) -> None:
    there = stage.api.get("assignments", "a")["spec"]
    items = sorted([*there["items"], f"nobody-knows#1@{there['term']}"])
    stage.api.merge("assignments", "a", {"spec": {"items": items, "term": stage.term()}})
    stage.api.create("assignments", "ghost", {"pool": "default", "term": stage.term(), "items": []})


EVERY_TIME = ["fresh_fill", "drain", "zone_lost"]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in EVERY_TIME else pytest.mark.deep) for n in STORIES]
)
def test_a_leader_that_is_killed_in_the_middle_changes_nothing_about_the_result(
    stage: Stage, name: str
) -> None:
    controller = stage.controller()
    stage.members("a", "b", "c", zones="xyy", limit=30)
    stage.items(12, 2)
    stage.settle()
    started = time.monotonic()
    STORIES[name](stage)
    eventually(lambda: stage.history.changes(started), "the leader does nothing")
    controller.kill()
    stage.controller()
    stage.settle()
    assert stage.held().keys() == stage.history.store("items").keys()
    stage.history.check(short=name == "too_few_slots")


@pytest.mark.deep
@pytest.mark.parametrize("name", ["drain", "zone_lost", "worker_replaced_under_its_name"])
def test_exclusive_holds_although_the_leader_is_killed_repeatedly(stage: Stage, name: str) -> None:
    stage.pool(handoff="Exclusive")
    controller = stage.controller()
    stage.members("a", "b", "c", zones="xyy", limit=30)
    items = stage.items(12, 2)
    stage.settle()
    STORIES[name](stage)
    for _ in range(4):
        time.sleep(0.5)
        controller.kill()
        controller = stage.controller()
    stage.settle()
    for item in items:
        spans = stage.crew.at_work(item)
        for (_, until, old), (since, _, new) in itertools.pairwise(spans):
            assert until <= since, f"{item} was worked on by {old} and {new} at once"
    stage.history.check()


@pytest.mark.deep
def test_a_takeover_with_10_000_items_moves_nothing_and_is_fast(stage: Stage) -> None:
    lease = 5.0
    first = stage.controller("--lease-duration", str(lease))
    second = stage.controller("--lease-duration", str(lease), wait=False)
    stage.members(*(f"m{n:02}" for n in range(20)), limit=1000, lease=None, reported=False)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: stage.api.create("items", f"i-{n:05}", {"replicas": 1}), range(10_000)))
    eventually(lambda: len(stage.held()) == 10_000, seconds=300)
    eventually(lambda: "caches have synced" in second.text, lambda: second.text)
    eventually(lambda: steady(stage))
    started = time.monotonic()
    first.kill()
    eventually(lambda: "leading in term" in second.text, lambda: second.text[-2000:])
    took = time.monotonic() - started
    print(f"takeover with 10,000 Items held: {took:.1f} s, Lease of {lease:.0f} s")
    stage.processed()
    assert stage.history.changes(started) == []
    assert took < 2 * lease
    second.kill()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: stage.api.delete("items", f"i-{n:05}"), range(10_000)))
