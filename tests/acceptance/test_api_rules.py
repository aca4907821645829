"""What the API server itself refuses, defaults and shows: section 2 of the design."""

import json
from typing import Any

import pytest
from user_objects import API, assignment, item, member, pool
from world import World

pytestmark = pytest.mark.cluster

Doc = dict[str, Any]
BAD: list[tuple[str, Doc]] = [
    ("spec.replicas", item("i", 33)),
    ("spec.replicas", item("i", -1)),
    ("spec.pool", item("i", 1, pool="Not_A_Label")),
    ("spec.pool", item("i", 1, pool="with.dots")),
    ("spec.data", item("i", 1, data={f"k{n}": "v" for n in range(65)})),
    ("spec.data", item("i", 1, data={"k": "v" * 4097})),
    ("spec.limit", member("m", 4097)),
    ("spec.limit", member("m", -1)),
    ("spec.limit", {"apiVersion": API, "kind": "Member", "metadata": {"name": "m"}, "spec": {}}),
    ("spec.readiness", member("m", 1, readiness="Perhaps")),
    ("spec.items", assignment("a", ["i#0@1"])),
    ("spec.items", assignment("a", ["i#1@1:1"])),
    ("spec.items", assignment("a", ["i"])),
    ("spec.items", assignment("a", ["i#0@0:0"])),
    ("spec.handoff", pool("p", handoff="Never")),
    ("spec.zones", pool("p", zones="All")),
    ("spec.balance", pool("p", balance={"tolerancePercent": -1})),
    ("spec.balance", pool("p", balance={"primaries": "Always"})),
    ("spec.moves", pool("p", moves={"maxInFlight": -1})),
    ("spec.outage", pool("p", outage={"brakePercent": 101})),
    ("spec.outage", pool("p", outage={"delaySeconds": -1})),
    ("spec.itemStatus", pool("p", itemStatus="Some")),
]


def test_the_api_server_refuses_what_breaks_a_rule_and_names_the_field(world: World) -> None:
    wrong = []
    for field, doc in BAD:
        doc = {**doc, "metadata": {**doc["metadata"], "namespace": world.namespace}}
        text = json.dumps(doc)
        try:
            said = world.kubectl("create", "--dry-run=server", "-f", "-", text=text, code=1)
        except AssertionError:
            wrong.append((field, "accepted", str(doc["spec"])[:80]))
            continue
        if field not in said:
            wrong.append((field, said, ""))
    assert not wrong


def test_defaults_are_those_of_the_tables(world: World) -> None:
    world.apply(item("i"), member("m", 1), pool("p"))
    assert world.get("item", "i")["spec"] == {"pool": "default", "replicas": 1}
    spec = world.get("member", "m")["spec"]
    assert (spec["pool"], spec["limit"], spec["readiness"]) == ("default", 1, "Assumed")
    assert not spec.get("zone")
    assert not spec.get("draining")


def test_the_pool_of_an_item_or_member_cannot_be_changed(world: World) -> None:
    world.apply(item("i", 1), member("m", 1))
    for kind, name in (("item", "i"), ("member", "m")):
        said = world.kubectl("patch", kind, name, "--type=merge", "-p", '{"spec":{"pool":"other"}}', code=1)
        assert "pool" in said


def test_extremes_are_accepted(world: World) -> None:
    extremes = [
        item("i.with.dots-and-9", 32, data={f"k{n}": "v" * 4096 for n in range(8)}),
        item("zero", 0),
        member("m", 4096, zone="eu-west-1a", draining=True, leaseName="m", readiness="Reported"),
        pool(
            "p",
            handoff="Exclusive",
            zones="Require",
            balance={"tolerancePercent": 30, "primaries": "Active"},
            moves={"maxInFlight": 20},
            outage={"delaySeconds": 600, "brakePercent": 100, "brakeMinMembers": 1},
            itemStatus="Problems",
        ),
    ]
    world.apply(*extremes)
    for each in extremes:
        stored = world.get(each["kind"].lower(), each["metadata"]["name"])
        assert stored is not None
        assert each["spec"].items() <= stored["spec"].items()


def test_the_status_of_an_assignment_has_the_contracts_shape(world: World) -> None:
    world.apply(member("m", 1), assignment("m", ["i#0@1:1"]))
    status = {
        "session": "s-1",
        "items": ["a@1=Preparing", "b@2=Ready", "c@3=Active", "d@4=Draining", "e@5=Failed"],
        "problems": [{"item": "e", "grant": 5, "message": "cannot load"}],
    }
    done = world.patch("assignment", "m", status, status=True)
    assert done["status"] == status
    assert done["metadata"]["generation"] == 1, "a report is no change of spec"
    said = world.kubectl(
        "patch", "assignment", "m", "--subresource=status", "--type=merge",
        "-p", '{"status":{"items":["a@1=Asleep"]}}', code=1,
    )  # fmt: skip
    assert "status.items" in said
