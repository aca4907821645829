"""What `kubectl get` and `kubectl scale` show and do."""

import json
import time
from typing import Any

import pytest

from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster


def create(plane: ControlPlane, namespace: str, kind: str, name: str, spec: Any, status: Any = None) -> None:
    document = {"apiVersion": "berth.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    plane.kubectl("-n", namespace, "create", "-f", "-", input=json.dumps(document))
    if status is not None:
        body = json.dumps({"status": status})
        what = f"{kind.lower()}/{name}"
        plane.kubectl("-n", namespace, "patch", what, "--subresource=status", "--type=merge", "-p", body)


def table(plane: ControlPlane, namespace: str, *args: str) -> list[list[str]]:
    """The rows of `kubectl get`, split into words; the ages are cut off."""
    lines = plane.kubectl("-n", namespace, "get", *args).splitlines()
    return [line.split()[:-1] for line in lines]


def condition(kind: str, status: str) -> dict[str, str]:
    return {
        "type": kind,
        "status": status,
        "reason": "Because",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


@pytest.mark.parametrize("name", ["items", "item", "bi"])
def test_items_show_where_they_are(control_plane: ControlPlane, namespace: str, name: str) -> None:
    status = {"replicas": 2, "ready": 1, "primary": "m1", "members": ["m1", "m2"]}
    create(control_plane, namespace, "Item", "orders-0007", {"replicas": 3, "pool": "orders"}, status)
    assert table(control_plane, namespace, name) == [
        ["NAME", "POOL", "REPLICAS", "HELD", "READY", "PRIMARY"],
        ["orders-0007", "orders", "3", "2", "1", "m1"],
    ]


@pytest.mark.parametrize("name", ["members", "member", "bm"])
def test_members_show_their_load(control_plane: ControlPlane, namespace: str, name: str) -> None:
    status = {"items": 7, "primaries": 4, "ready": 6, "conditions": [condition("Live", "True")]}
    create(control_plane, namespace, "Member", "m1", {"limit": 10, "zone": "eu-1a"}, status)
    assert table(control_plane, namespace, name) == [
        ["NAME", "POOL", "ZONE", "LIMIT", "ITEMS", "PRIMARIES", "LIVE"],
        ["m1", "default", "eu-1a", "10", "7", "4", "True"],
    ]


@pytest.mark.parametrize("name", ["assignments", "ba"])
def test_assignments_show_their_term(control_plane: ControlPlane, namespace: str, name: str) -> None:
    create(control_plane, namespace, "Assignment", "m1", {"pool": "default", "term": 12}, {"session": "s1"})
    assert table(control_plane, namespace, name) == [["NAME", "POOL", "TERM"], ["m1", "default", "12"]]
    wide = control_plane.kubectl("-n", namespace, "get", name, "-o", "wide").splitlines()
    assert wide[0].split() == ["NAME", "POOL", "TERM", "SESSION", "AGE"]
    assert wide[1].split()[3] == "s1"


@pytest.mark.parametrize("name", ["pools", "bp"])
def test_pools_show_how_far_they_are(control_plane: ControlPlane, namespace: str, name: str) -> None:
    status = {
        "term": 12,
        "leader": "berth-1",
        "items": 100,
        "members": 6,
        "slots": {"wanted": 200, "held": 190, "ready": 180},
        "conditions": [condition("Converged", "False")],
    }
    create(control_plane, namespace, "Pool", "feeds", {}, status)
    assert table(control_plane, namespace, name) == [
        ["NAME", "ITEMS", "MEMBERS", "WANTED", "HELD", "READY", "CONVERGED", "TERM"],
        ["feeds", "100", "6", "200", "190", "180", "False", "12"],
    ]
    wide = control_plane.kubectl("-n", namespace, "get", name, "-o", "wide")
    assert {"Overlap", "Spread", "berth-1"} <= set(wide.split())


def test_the_category_lists_all_kinds(control_plane: ControlPlane, namespace: str) -> None:
    create(control_plane, namespace, "Item", "i", {})
    create(control_plane, namespace, "Member", "m", {"limit": 1})
    create(control_plane, namespace, "Assignment", "m", {"pool": "default", "term": 1})
    create(control_plane, namespace, "Pool", "default", {})
    # Categories come from discovery, which kubectl caches and the API server refreshes with a delay.
    wanted = {"item.berth.dev/i", "member.berth.dev/m", "assignment.berth.dev/m", "pool.berth.dev/default"}
    deadline = time.monotonic() + 30
    while True:
        found = set(control_plane.kubectl("-n", namespace, "get", "berth", "-o", "name").split())
        if found == wanted or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert found == wanted


def test_an_item_is_scaled(control_plane: ControlPlane, namespace: str) -> None:
    create(control_plane, namespace, "Item", "x", {"replicas": 1}, {"replicas": 1})
    control_plane.kubectl("-n", namespace, "scale", "item/x", "--current-replicas=1", "--replicas=3")
    replicas = control_plane.kubectl("-n", namespace, "get", "item/x", "-o", "jsonpath={.spec.replicas}")
    assert replicas == "3"
    path = f"/apis/berth.dev/v1alpha1/namespaces/{namespace}/items/x/scale"
    scale = json.loads(control_plane.kubectl("get", "--raw", path))
    assert (scale["spec"], scale["status"]) == ({"replicas": 3}, {"replicas": 1})


def test_an_item_is_not_scaled_beyond_its_bound(control_plane: ControlPlane, namespace: str) -> None:
    create(control_plane, namespace, "Item", "x", {})
    with pytest.raises(Exception, match="returned non-zero") as caught:
        control_plane.kubectl("-n", namespace, "scale", "item/x", "--replicas=33")
    assert "spec.replicas in body should be less than or equal to 32" in str(
        getattr(caught.value, "stderr", "")
    )


def test_kubectl_explains_the_fields(control_plane: ControlPlane) -> None:
    deadline = time.monotonic() + 30
    while True:  # the OpenAPI document is published a moment after the CRD
        try:
            text = control_plane.kubectl("explain", "pool.spec.handoff", "--api-version=berth.dev/v1alpha1")
            break
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    assert "Overlap" in text
    assert "Exclusive" in text
