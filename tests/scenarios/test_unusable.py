"""Stored objects that Berth cannot read, as a laxer schema of another version may have let them in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from api import Refused
from stage import Stage
from waiting import eventually

pytestmark = pytest.mark.cluster

ZONE = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/zone"


@contextmanager
def any_zone(stage: Stage) -> Iterator[None]:
    """Meanwhile the API server accepts whatever a Member's `zone` is."""
    crd = json.loads(stage.plane.kubectl("get", "crd", "members.berth.dev", "-o", "json"))
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    strict = schema["properties"]["spec"]["properties"]["zone"]

    def put(value: object) -> None:
        patch = json.dumps([{"op": "replace", "path": ZONE, "value": value}])
        stage.plane.kubectl("patch", "crd", "members.berth.dev", "--type=json", "-p", patch)

    put({"x-kubernetes-preserve-unknown-fields": True})
    try:
        yield
    finally:
        put(strict)


def create(stage: Stage, name: str) -> bool:
    """False while the new schema is not in force yet."""
    try:
        stage.api.create("members", name, {"limit": 5, "zone": 7})
    except Refused:
        return False
    return True


def test_what_cannot_be_read_is_named_and_stops_nothing_else(stage: Stage) -> None:
    names = [f"odd-{number}" for number in range(7)]
    with any_zone(stage):
        for name in names:
            eventually(lambda name=name: create(stage, name))
    stage.controller()  # they are there before anybody leads
    stage.members("a", "b")
    items = stage.items(4, 2)
    eventually(lambda: all(stage.held().get(item, {}).keys() == {"a", "b"} for item in items))

    def degraded() -> bool:
        condition = stage.condition("pools", "default", "Degraded")
        return condition.get("reason") == "UnusableObject" and "2 more objects" in condition["message"]

    eventually(degraded)
    message = stage.condition("pools", "default", "Degraded")["message"]
    assert all(f"members/{name} cannot be used" in message for name in names[:5]), message

    def events() -> set[str]:
        found = json.loads(stage.plane.kubectl("-n", stage.namespace, "get", "events", "-o", "json"))
        return {e["involvedObject"]["name"] for e in found["items"] if e["reason"] == "Unusable"}

    eventually(lambda: events() == set(names))
    for name in names:
        stage.api.delete("members", name)
    eventually(lambda: stage.condition("pools", "default", "Degraded").get("reason") == "Healthy")
