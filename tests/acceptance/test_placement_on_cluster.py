"""Placement, handover, statuses: sections 2, 4 and 5 of the design on the real API server."""

import json
import time
from itertools import pairwise
from typing import Any

import pytest
from user_objects import item, member, pool
from waiting import eventually
from world import World, entry

pytestmark = pytest.mark.cluster


def settled(world: World, pool: str = "default", seconds: float = 40) -> None:
    """Wait until no version changes for a moment and the Pool says that it has converged."""

    def quiet() -> bool:
        before = world.versions()
        time.sleep(1.2)
        return world.converged(pool) and before == world.versions()

    eventually(quiet, "it did not settle", seconds)


def test_an_assignment_appears_empty_with_its_member_and_is_owned_by_it(led: World) -> None:
    led.create(member("a", 3))
    got = eventually(lambda: led.get("assignment", "a"))
    owner = led.get("member", "a")["metadata"]["uid"]
    refs = [(r["kind"], r["name"], r["uid"]) for r in got["metadata"]["ownerReferences"]]
    assert refs == [("Member", "a", owner)]
    assert got["spec"]["pool"] == "default"
    assert got["spec"].get("items", []) == []
    assert got["spec"]["term"] >= 1
    spec = eventually(lambda: led.get("pool", "default"))["spec"]
    assert {key: value for key, value in spec.items() if value != {}} == {
        "handoff": "Overlap",
        "zones": "Spread",
        "balance": {"tolerancePercent": 0, "primaries": "Promotion"},
        "outage": {"delaySeconds": 0, "brakePercent": 55, "brakeMinMembers": 10},
        "itemStatus": "Full",
    }


def test_a_fresh_fill_its_statuses_columns_and_quiet(led: World) -> None:
    members = [member(f"m{n}", 6, zone="abc"[n % 3]) for n in range(4)]
    items = [item(f"i{n}", 1 + n % 3, data={"url": f"https://example.org/{n}"}) for n in range(9)]
    with led.recorded() as history:
        led.create(*members, *items)
        eventually(lambda: sum(map(len, led.held().values())) == 18)
        settled(led)
        history.check()
    held = led.held()
    assert sorted(len(h) for h in held.values()) == [4, 4, 5, 5]
    for n in range(9):
        holders = led.holders(f"i{n}")
        assert [held[m][f"i{n}"].slot for m in holders] == list(range(1 + n % 3))
        if n % 3:
            assert len({"abc"[int(m[1:]) % 3] for m in holders}) == 1 + n % 3, "spread over zones"
    # the Items' status
    for n in range(9):
        doc = led.get("item", f"i{n}")
        status = doc["status"]
        assert status["replicas"] == status["ready"] == 1 + n % 3
        assert status["members"] == led.holders(f"i{n}")
        assert status["primary"] == status["members"][0]
        assert status["observedGeneration"] == doc["metadata"]["generation"]
        states = {c["type"]: (c["status"], bool(c["reason"])) for c in status["conditions"]}
        assert states == {"Placed": ("True", True), "Ready": ("True", True)}
    for name, doc in led.all("member").items():
        assert doc["status"]["items"] == doc["status"]["ready"] == len(held[name])
        assert doc["status"]["primaries"] == sum(e.slot == 0 for e in held[name].values())
        states = {c["type"]: c["status"] for c in doc["status"]["conditions"]}
        assert states == {"Live": "True", "Drained": "False"}
    status = led.get("pool", "default")["status"]
    assert status["term"] == max(doc["spec"]["term"] for doc in led.all("assignment").values())
    assert status["leader"]
    states = {c["type"]: c["status"] for c in status["conditions"]}
    assert states == {"Converged": "True", "Degraded": "False", "Paused": "False"}
    # columns
    header = led.kubectl("get", "items").splitlines()[0].split()
    assert header == ["NAME", "POOL", "REPLICAS", "HELD", "READY", "PRIMARY", "AGE"]
    header = led.kubectl("get", "members").splitlines()[0].split()
    assert header == ["NAME", "POOL", "ZONE", "LIMIT", "ITEMS", "PRIMARIES", "LIVE", "AGE"]
    assert "item.berth.dev/i0" in led.kubectl("get", "berth", "-o", "name")
    # the plan of the cluster is what is there
    plan = json.loads(led.berth("plan", "-o", "json"))["pools"]["default"]
    assert plan["changes"] == {"add": [], "remove": [], "promote": []}
    # idle, the controller writes nothing but its Lease
    before = led.versions()
    for _ in range(6):
        leases = lease_versions(led)
        eventually(lambda leases=leases: lease_versions(led) != leases)
    assert led.versions() == before
    # scale
    led.kubectl("scale", "items/i0", "--replicas=3")
    eventually(lambda: len(led.holders("i0")) == 3)
    eventually(lambda: '"replicas":3}' in led.kubectl("get", "--raw", scale_path(led, "i0")).replace(" ", ""))
    led.kubectl("scale", "items/i0", "--replicas=0")
    eventually(lambda: not led.holders("i0"))


def scale_path(world: World, name: str) -> str:
    return f"/apis/berth.dev/v1alpha1/namespaces/{world.namespace}/items/{name}/scale"


def lease_versions(world: World) -> dict[str, str]:
    leases = world.leases.list_namespaced_lease(world.namespace).items
    return {lease.metadata.name: lease.metadata.resource_version for lease in leases}


def test_a_limit_of_0_drains_make_before_break(led: World) -> None:
    led.create(*(member(n, 10) for n in "abc"), *(item(f"i{n}", 1 + n % 2) for n in range(8)))
    eventually(lambda: sum(map(len, led.held().values())) == 12)
    settled(led)
    before = led.held()
    assert before["a"]
    with led.recorded() as history:
        led.patch("member", "a", {"limit": 0})
        eventually(lambda: not led.held()["a"])
        settled(led)
        history.check()
        for n in range(8):
            assert history.least_held(f"i{n}", since=2) >= 1 + n % 2, history.events()
    after = led.held()
    for name in "bc":
        for key, was in before[name].items():
            now = after[name][key]
            assert now.grant == was.grant, "what stays keeps its grant"
            if was.slot == 0:
                assert now == was, "a primary that stays stays as it was"
        for key in after[name].keys() - before[name].keys():
            assert after[name][key].grant > max(e.grant for h in before.values() for e in h.values())
    for key, was in before["a"].items():
        if was.slot == 0:
            new = next(e[key] for m, e in after.items() if key in e and e[key].slot == 0)
            assert new.epoch > was.epoch
    moved = sum(len(after[m].keys() - before[m].keys()) for m in "bc")
    assert moved == len(before["a"]), "no needless move"
    status = eventually(lambda: (s := led.get("member", "a")["status"])["items"] == 0 and s)
    assert {c["type"]: c["status"] for c in status["conditions"]} == {"Live": "True", "Drained": "True"}
    led.patch("member", "a", {"limit": 10})
    eventually(lambda: len(led.held()["a"]) == 4)


def test_draining_members_keep_only_what_no_other_can_hold_the_oldest_emptied_first(led: World) -> None:
    led.create(member("old", 4))
    time.sleep(1.1)  # creationTimestamps count seconds
    led.create(member("young", 4), member("other", 3), *(item(f"i{n}", 1) for n in range(9)))
    eventually(lambda: sum(map(len, led.held().values())) == 9)
    with led.recorded() as history:
        # Observed together: had one been emptied first, its Items would stay where they went, to save moves.
        led.patch("pool", "default", {"paused": True})
        eventually(lambda: led.observed("pool", "default"))
        led.patch("member", "young", {"draining": True})
        led.patch("member", "old", {"draining": True})
        led.processed()
        led.patch("pool", "default", {"paused": False})
        eventually(lambda: (h := led.held()) and [len(h[n]) for n in ("old", "young", "other")] == [2, 4, 3])
        settled(led)
        for n in range(9):
            assert history.least_held(f"i{n}", since=3) >= 1
        history.check()
    led.create(member("new", 6))
    eventually(lambda: [len(led.held()[n]) for n in ("old", "young", "new")] == [0, 0, 6])
    eventually(lambda: led.condition("member", "old", "Drained").get("status") == "True")


def test_a_member_deleted_and_created_again_starts_with_an_assignment_and_grants_of_its_own(
    led: World,
) -> None:
    led.create(member("a", 5), *(item(f"i{n}", 1) for n in range(3)))
    eventually(lambda: len(led.held().get("a", ())) == 3)
    first = led.get("assignment", "a")
    led.delete("member", "a")
    led.create(member("a", 5))
    uid = led.get("member", "a")["metadata"]["uid"]

    def replaced() -> Any:
        doc = led.get("assignment", "a")
        return (
            doc
            and doc["metadata"]["ownerReferences"][0]["uid"] == uid
            and len(doc["spec"]["items"]) == 3
            and doc
        )

    second = eventually(replaced)
    oldest = max(entry(e).epoch for e in first["spec"]["items"])
    for text in second["spec"]["items"]:
        assert entry(text).grant > oldest
        assert entry(text).epoch > oldest
    assert second["spec"]["term"] > first["spec"]["term"]


def test_an_item_that_is_deleted_or_changed_while_others_wait_stops_nothing(led: World) -> None:
    led.create(*(member(n, 2) for n in "ab"), *(item(f"i{n}", 2) for n in range(4)))
    eventually(lambda: sum(map(len, led.held().values())) == 4)
    # two of them have room for one entry each at first: every Item has its first before any has a second
    assert all(len(led.holders(f"i{n}")) == 1 for n in range(4))
    short = eventually(lambda: (c := led.condition("item", "i0", "Placed")).get("status") == "False" and c)
    assert short["reason"] == "LimitReached", short
    assert short["message"]
    assert eventually(lambda: led.condition("pool", "default", "Degraded").get("status") == "True")
    led.delete("item", "i0")
    led.delete("item", "i1")
    eventually(lambda: [len(led.holders(f"i{n}")) for n in range(4)] == [0, 0, 2, 2])
    eventually(lambda: led.condition("item", "i2", "Placed").get("status") == "True")


@pytest.mark.parametrize("mode", ["None", "Problems"])
def test_item_status_can_be_left_out(led: World, mode: str) -> None:
    led.create(pool(itemStatus=mode), member("a", 5), item("good", 1), item("wide", 3))
    eventually(lambda: len(led.held().get("a", ())) == 2)
    if mode == "Problems":
        eventually(lambda: led.condition("item", "wide", "Placed").get("reason") == "TooFewMembers")
    settled(led)
    assert not led.get("item", "good").get("status", {}).get("conditions")
    if mode == "None":
        assert not led.get("item", "wide").get("status", {}).get("conditions")


def test_require_rather_leaves_an_item_a_replica_short(led: World) -> None:
    led.create(pool(zones="Require"), *(member(n, 5, zone="x") for n in "ab"), item("i", 2))
    eventually(lambda: led.holders("i"))
    got = eventually(lambda: (c := led.condition("item", "i", "Placed")).get("status") == "False" and c)
    assert got["reason"] == "SingleZone"
    assert len(led.holders("i")) == 1
    led.create(member("c", 5, zone="y"))
    eventually(lambda: sorted(led.holders("i"))[-1:] == ["c"] and len(led.holders("i")) == 2)


def test_a_replaced_pool_starts_above_every_term(led: World) -> None:
    led.create(member("a", 5), item("i", 1))
    eventually(lambda: led.holders("i"))
    term = led.get("assignment", "a")["spec"]["term"]
    led.delete("pool", "default")
    back = eventually(lambda: (p := led.get("pool", "default")) and p.get("status", {}).get("term", 0) and p)
    assert back["status"]["term"] > term
    led.patch("item", "i", {"replicas": 1})
    led.create(item("k", 1))
    eventually(lambda: led.holders("k"))
    assert led.held()["a"]["k"].epoch > term
    assert led.held()["a"]["i"].epoch <= term, "what stayed is not promoted again"


def test_the_api_server_refuses_a_term_below_that_of_the_pool(led: World) -> None:
    led.create(member("a", 5), item("i", 1))
    eventually(lambda: led.holders("i"))
    doc = led.get("assignment", "a")
    body = json.dumps({"spec": {"term": doc["spec"]["term"] - 1}})
    said = led.kubectl("patch", "assignment", "a", "--type=merge", "-p", body, code=1)
    assert "term" in said


def test_entries_nobody_should_have_are_put_right(led: World) -> None:
    led.create(*(member(n, 5) for n in "ab"), item("i", 1))
    eventually(lambda: led.holders("i"))
    settled(led)
    keeper = led.holders("i")[0]
    other = "b" if keeper == "a" else "a"
    term = led.get("pool", "default")["status"]["term"]
    doc = led.get("assignment", other)
    doc["spec"] = {**doc["spec"], "term": term, "items": [f"ghost#0@{term}:{term}", f"i#3@{term}"]}
    led.custom.replace_namespaced_custom_object(
        "berth.dev", "v1alpha1", led.namespace, "assignments", other, doc
    )
    eventually(lambda: not led.held()[other])
    assert led.holders("i") == [keeper]


def test_terms_grow_one_way_in_every_assignment(led: World) -> None:
    with led.recorded() as history:
        for n in range(4):
            led.create(member(f"m{n}", 4), item(f"i{n}", 1 + n % 2))
            eventually(lambda n=n: len(led.holders(f"i{n}")) == min(1 + n % 2, n + 1))
        history.check()
        terms = [doc["spec"]["term"] for kind, doc in history.events() if kind != "DELETED"]
    assert all(a <= b for a, b in pairwise(terms)), terms


def test_a_changed_policy_takes_effect_at_once(led: World) -> None:
    led.create(member("a", 10, zone="x"), *(item(f"i{n}", 1) for n in range(6)))
    eventually(lambda: len(led.held().get("a", ())) == 6)
    led.create(member("b", 10, zone="x"))
    for n in range(6):
        led.patch("item", f"i{n}", {"replicas": 2})
    eventually(lambda: len(led.held().get("b", ())) == 6)

    def primaries() -> dict[str, int]:
        return {m: sum(e.slot == 0 for e in held.values()) for m, held in led.held().items()}

    with led.recorded() as history:
        assert primaries() == {"a": 6, "b": 0}, "not for balance alone"
        led.patch("pool", "default", {"balance": {"primaries": "Active"}})
        eventually(lambda: primaries() == {"a": 3, "b": 3})
        led.patch("pool", "default", {"zones": "Require"})
        eventually(lambda: all(len(led.holders(f"i{n}")) == 1 for n in range(6)))
        led.patch("pool", "default", {"zones": "Spread"})
        eventually(lambda: all(len(led.holders(f"i{n}")) == 2 for n in range(6)))
        led.patch("pool", "default", {"itemStatus": "None"})
        led.create(item("new", 1))
        eventually(lambda: led.holders("new"))
        eventually(lambda: led.observed("pool", "default"))
        assert not led.get("item", "new").get("status")
        led.patch("pool", "default", {"itemStatus": "Full"})
        eventually(lambda: led.condition("item", "new", "Placed").get("status") == "True")
        history.check()
