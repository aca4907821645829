"""Readiness, exclusive owners, Leases, budgets, outages, leaders: sections 2 to 5 of the design."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from user_objects import Doc, assignment, item, member, pool
from waiting import eventually
from world import World

pytestmark = pytest.mark.cluster


class Heart:
    """Renews Leases of Members (holder: `NAME-session`) until `stop` is called."""

    def __init__(self, world: World, seconds: int) -> None:
        self.world, self.seconds = world, seconds
        self.names: set[str] = set()
        self.last: dict[str, float] = {}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.beat)

    def start(self, *names: str) -> None:
        for name in names:
            self.world.renew(name, f"{name}-session", self.seconds)
            self.last[name] = time.monotonic()
        self.names |= set(names)

    def stop(self, *names: str) -> None:
        self.names -= set(names)

    def beat(self) -> None:
        while not self.over.wait(self.seconds / 5):
            for name in list(self.names):
                sent = time.monotonic()
                self.world.renew(name, f"{name}-session", self.seconds)
                self.last[name] = sent


@contextmanager
def hearts(world: World, seconds: int = 4) -> Iterator[Heart]:
    heart = Heart(world, seconds)
    heart.thread.start()
    try:
        yield heart
    finally:
        heart.over.set()
        heart.thread.join(20)


def worker(name: str, limit: int = 10, **spec: object) -> Doc:
    return member(name, limit, leaseName=name, readiness="Reported", **spec)


def grant(world: World, name: str, key: str) -> int:
    return world.held()[name][key].grant


def stays(led: World, look: Callable[[], object]) -> None:
    """It is so, and is still so when the leader has processed everything up to now."""
    assert look()
    led.processed()
    assert look()


def test_a_drain_waits_until_the_new_holder_reports_ready_under_its_session_and_grant(led: World) -> None:
    with hearts(led, 10) as heart, led.recorded() as history:
        heart.start("a", "b")
        led.create(worker("a"), item("i", 1))
        g = eventually(lambda: led.holders("i") == ["a"] and grant(led, "a", "i"))
        led.report("a", "a-session", f"i@{g}=Active")
        eventually(lambda: (led.get("item", "i").get("status") or {}).get("ready") == 1)
        led.create(worker("b"))
        eventually(lambda: led.condition("member", "b", "Live").get("status") == "True")
        led.patch("member", "a", {"limit": 0})
        g = eventually(lambda: "i" in led.held().get("b", {}) and grant(led, "b", "i"))
        assert led.held()["a"]["i"].slot == 0
        for session, report in [
            ("b-session", f"i@{g}=Preparing"),
            ("earlier-session", f"i@{g}=Ready"),
            ("b-session", f"i@{g - 1}=Ready"),
            ("b-session", f"j@{g}=Ready"),
            ("b-session", f"i@{g}=Failed"),
            ("b-session", f"i@{g}=Draining"),
        ]:
            led.report("b", session, report)
            stays(led, lambda: led.held()["a"]["i"].slot == 0 and led.held()["b"]["i"].slot == 1)
        said = led.berth("explain", "item", "i")
        assert "b" in said
        led.report("b", "b-session", f"i@{g}=Ready")
        eventually(lambda: led.holders("i") == ["b"] and led.held()["b"]["i"].slot == 0)
        assert grant(led, "b", "i") == g, "promotion keeps the grant"
        history.check()
        assert history.least_held("i", since=3) >= 1


def test_a_problem_that_a_worker_reports_is_in_the_condition_of_the_item(led: World) -> None:
    with hearts(led, 10) as heart:
        heart.start("a")
        led.create(worker("a"), item("i", 1))
        g = eventually(lambda: led.holders("i") == ["a"] and grant(led, "a", "i"))
        eventually(lambda: led.condition("item", "i", "Ready").get("reason") == "WaitingForReady")
        problem = {"item": "i", "grant": g, "message": "the disk is broken"}
        status = {"session": "a-session", "items": [f"i@{g}=Failed"], "problems": [problem]}
        led.patch("assignment", "a", status, status=True)
        eventually(lambda: "the disk is broken" in led.condition("item", "i", "Ready")["message"])
        assert led.condition("item", "i", "Ready")["status"] == "False"
        assert "the disk is broken" in led.berth("explain", "item", "i")


def test_exclusive_waits_for_the_old_holder_to_release(led: World) -> None:
    with hearts(led, 10) as heart, led.recorded() as history:
        heart.start("a", "b")
        led.create(pool(handoff="Exclusive"), worker("a"), item("i", 1))
        g = eventually(lambda: led.holders("i") == ["a"] and grant(led, "a", "i"))
        led.report("a", "a-session", f"i@{g}=Active")
        led.create(worker("b"))
        eventually(lambda: led.condition("member", "b", "Live").get("status") == "True")
        led.patch("member", "a", {"limit": 0})
        h = eventually(lambda: "i" in led.held().get("b", {}) and grant(led, "b", "i"))
        led.report("b", "b-session", f"i@{h}=Ready")
        eventually(lambda: "i" not in led.held()["a"])
        stays(led, lambda: led.held()["b"]["i"].slot == 1)
        led.report("a", "a-session", f"i@{g}=Draining")
        stays(led, lambda: led.held()["b"]["i"].slot == 1)
        led.report("a", "a-session")
        eventually(lambda: led.held()["b"]["i"].slot == 0)
        assert led.holders("i") == ["b"]
        history.check()


def test_exclusive_after_a_crash_waits_out_the_lease(led: World) -> None:
    with hearts(led, 4) as heart:
        heart.start("a", "b")
        led.create(pool(handoff="Exclusive"), worker("a", 5), item("i", 1))
        g = eventually(lambda: led.holders("i") == ["a"] and grant(led, "a", "i"))
        led.report("a", "a-session", f"i@{g}=Active")
        led.create(worker("b", 5))
        eventually(lambda: led.condition("member", "b", "Live").get("status") == "True")
        heart.stop("a")
        seen = time.monotonic()
        h = eventually(lambda: "i" in led.held().get("b", {}) and grant(led, "b", "i"))
        led.report("b", "b-session", f"i@{h}=Ready")
        eventually(lambda: (e := led.held().get("b", {}).get("i")) and e.slot == 0)
        assert time.monotonic() - heart.last["a"] > 4, "a full Lease has passed since the last renewal"
        assert time.monotonic() - seen < 30
        assert led.condition("member", "a", "Live")["status"] == "False"


def test_a_lease_decides_who_is_live_by_its_renewal_not_by_its_clock(led: World) -> None:
    """Members: renewed with a clock an hour late, an hour early; never created; not renewed; odd."""
    seconds = 3
    led.create(*(member(n, 3, leaseName=n) for n in ("late", "early", "none", "still", "bare")))
    led.create(*(item(f"i{n}", 1) for n in range(4)))
    led.renew("still", "x", seconds)
    led.renew("bare", None, None)
    over, threads = threading.Event(), []
    for name, shift in (("late", -3600), ("early", 3600)):

        def beat(name: str = name, shift: float = shift) -> None:
            while not over.wait(0.5):
                led.renew(name, f"{name}-session", seconds, shift)

        threads.append(threading.Thread(target=beat))
        threads[-1].start()
    try:
        eventually(
            lambda: [len(led.held().get(n, ())) for n in ("late", "early", "still", "none")] == [2, 2, 0, 0]
        )
        for name, state in (("late", "True"), ("early", "True"), ("none", "False"), ("still", "False")):
            eventually(
                lambda name=name, state=state: led.condition("member", name, "Live").get("status") == state
            )
        reasons = {led.condition("member", name, "Live")["reason"] for name in ("none", "still")}
        assert len(reasons) == 2, "never created is not the same as not renewed"
        led.renewals("late", 8)  # for longer than the Lease lasts: who is renewed stays
        stays(led, lambda: [len(led.held()[n]) for n in ("late", "early")] == [2, 2])
        led.leases.delete_namespaced_lease("still", led.namespace)
    finally:
        over.set()
        for thread in threads:
            thread.join(20)


def test_a_lost_lease_moves_the_items_and_its_return_brings_them_no_readiness(led: World) -> None:
    with hearts(led, 3) as heart, led.recorded() as history:
        heart.start("a", "b")
        led.create(*(member(n, 10, leaseName=n) for n in "ab"), *(item(f"i{n}", 1) for n in range(6)))
        eventually(lambda: [len(led.held().get(n, ())) for n in "ab"] == [3, 3])
        heart.stop("a")
        eventually(lambda: [len(led.held()[n]) for n in "ab"] == [0, 6])
        assert time.monotonic() - heart.last["a"] > 3
        eventually(lambda: led.condition("member", "a", "Live").get("status") == "False")
        heart.start("a")
        eventually(lambda: [len(led.held()[n]) for n in "ab"] == [3, 3])
        history.check()


def test_what_is_dead_may_return_within_the_delay(led: World) -> None:
    led.create(pool(outage={"delaySeconds": 6}))
    with hearts(led, 2) as heart:
        heart.start("a", "b")
        led.create(*(member(n, 10, leaseName=n) for n in "ab"), *(item(f"i{n}", 1) for n in range(4)))
        eventually(lambda: [len(led.held().get(n, ())) for n in "ab"] == [2, 2])
        before = led.held()
        heart.stop("a")
        eventually(lambda: led.condition("member", "a", "Live").get("status") == "False")
        stays(led, lambda: led.held() == before)
        heart.start("a")
        eventually(lambda: led.condition("member", "a", "Live").get("status") == "True")
        stays(led, lambda: led.held() == before)
        heart.stop("a")
        eventually(lambda: len(led.held().get("b", {})) == 4)
        assert time.monotonic() - heart.last["a"] > 2 + 6


def test_the_brake_pauses_removal_while_most_die_together_and_ends_by_itself(led: World) -> None:
    # The brake holds while more than 15 percent are dead: it ends only when the last one is back.
    led.create(pool(outage={"brakePercent": 15, "brakeMinMembers": 5}))
    names = [f"m{n}" for n in range(6)]
    with hearts(led, 3) as heart:
        heart.start(*names)
        led.create(*(member(n, 10, leaseName=n) for n in names), *(item(f"i{n}", 2) for n in range(6)))
        eventually(lambda: sum(map(len, led.held().values())) == 12)
        eventually(led.converged)
        before = led.held()
        heart.stop(*names[:4])
        eventually(lambda: led.condition("pool", "default", "Paused").get("status") == "True")
        stays(led, lambda: led.held() == before)
        assert any(kind == "Pool" for kind, *_ in led.events())
        heart.start(*names[:4])
        eventually(lambda: led.condition("pool", "default", "Paused").get("status") == "False")
        stays(led, lambda: led.held() == before)


def test_moves_in_flight_are_bounded_and_recovery_is_not(led: World) -> None:
    led.create(pool(moves={"maxInFlight": 2}))
    with hearts(led, 10) as heart:
        heart.start("a", "b")
        led.create(member("a", 20), *(item(f"i{n:02}", 1) for n in range(10)))
        eventually(lambda: len(led.held().get("a", ())) == 10)
        led.create(worker("b", 20))  # reports nothing, so what it gets stays in flight
        eventually(lambda: len(led.held().get("b", ())) == 2)
        stays(led, lambda: len(led.held()["b"]) == 2)

        def bounded() -> bool:
            converged = led.condition("pool", "default", "Converged")
            return converged.get("status") == "False" and "2" in converged["message"]

        eventually(bounded)
        # recovery: new Items are placed all the same
        led.patch("member", "a", {"limit": 10})
        led.create(*(item(f"k{n}", 1) for n in range(6)))
        eventually(lambda: all(led.holders(f"k{n}") == ["b"] for n in range(6)))
        reports = [f"{e.name}@{e.grant}=Ready" for e in led.held()["b"].values()]
        led.report("b", "b-session", *reports)
        eventually(lambda: len(led.held()["a"]) < 10)


def test_a_killed_leader_is_followed_without_a_move_and_a_stopped_one_changes_nothing(world: World) -> None:
    first = world.start_controller()
    world.create(*(member(n, 10) for n in "abc"), *(item(f"i{n}", 2) for n in range(10)))
    eventually(lambda: sum(map(len, world.held().values())) == 20)
    eventually(world.converged)
    before, term = world.held(), world.get("pool", "default")["status"]["term"]
    second = world.start_controller(wait=False, name="second")
    eventually(second.stands)
    assert not second.leads(), "one leads"
    first.kill()
    killed = time.monotonic()
    eventually(second.leads)
    eventually(lambda: world.get("pool", "default")["status"]["term"] > term)
    assert time.monotonic() - killed < 2 * 3 + 4
    assert world.held() == before
    # a leader that is stopped for longer than its Lease and wakes up changes nothing
    third = world.start_controller(wait=False, name="third")
    os.kill(second.process.pid, signal.SIGSTOP)
    eventually(third.leads)
    with world.recorded() as history:
        world.patch("member", "a", {"limit": 0})
        os.kill(second.process.pid, signal.SIGCONT)
        eventually(lambda: not world.held()["a"])
        history.check()
    # SIGTERM: exits 0 and gives the Lease away at once
    end, term = time.monotonic(), world.get("pool", "default")["status"]["term"]
    assert third.terminate() == 0
    assert time.monotonic() - end < 10
    # who takes it next has a higher term; the stopped one was still a candidate
    assert len(world.leases.list_namespaced_lease(world.namespace).items) == 1
    eventually(lambda: world.get("pool", "default")["status"]["term"] > term)
    world.patch("member", "a", {"limit": 10})
    eventually(lambda: world.held()["a"])
    lease = world.leases.list_namespaced_lease(world.namespace).items[0]
    assert lease.spec.lease_transitions >= 2


@pytest.mark.deep
def test_a_lease_without_a_duration_lasts_15_seconds_and_stops_nothing(led: World) -> None:
    led.create(member("a", 5), item("i", 1))
    eventually(lambda: led.holders("i"))
    led.create(member("odd", 5, leaseName="odd"))
    led.renew("odd", "x", None)
    led.create(item("k", 1))
    eventually(lambda: led.holders("k") == ["a"])
    got = eventually(lambda: (c := led.condition("member", "odd", "Live")).get("status") and c)
    assert got["reason"]
    assert got["message"]


def test_full_members_that_would_have_to_swap_are_named(led: World) -> None:
    led.create(pool(zones="Ignore"), member("a", 1, zone="x"), member("b", 1, zone="x"), item("i", 2))
    eventually(lambda: len(led.holders("i")) == 2)
    led.create(member("c", 1, zone="y"), member("d", 1, zone="y"), item("k", 2))
    eventually(lambda: len(led.holders("k")) == 2)
    before = led.held()
    led.patch("pool", "default", {"zones": "Spread"})
    # Another reason may come first, while the plan is still being made.
    said = eventually(
        lambda: (c := led.condition("pool", "default", "Converged")).get("reason") == "LimitReached" and c
    )
    assert said["status"] == "False"
    stays(led, lambda: led.held() == before)
    full = said["message"].partition("limit reached on ")[2][0]
    led.patch("member", full, {"limit": 2})
    zones = {"a": "x", "b": "x", "c": "y", "d": "y"}
    eventually(lambda: all({zones[m] for m in led.holders(n)} == {"x", "y"} for n in "ik"))


def test_an_assignment_of_an_unknown_member_does_not_hold_anything_up(world: World) -> None:
    world.create(assignment("nobody", ["i#0@40:41"], term=41), member("a", 5), item("i", 1))
    world.start_controller()
    eventually(lambda: "i" in world.held().get("a", {}))
    assert world.held()["a"]["i"].epoch > 41, "an epoch never goes back"
