"""Every rule of the API as a user meets it: `kubectl apply`, and what the API server answers."""

import json
import subprocess
from typing import Any

import pytest

from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster

API_VERSION = "berth.dev/v1alpha1"
LABEL = (
    "must be a DNS label: lower case letters, digits and '-', beginning and ending with a letter or a digit"
)
ENTRY = "should match '^[a-z0-9]+"


def manifest(kind: str, spec: Any = None, name: str = "x", **more: Any) -> str:
    document: dict[str, Any] = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, **more}
    if spec is not None:
        document["spec"] = spec
    return json.dumps(document)


def apply(plane: ControlPlane, namespace: str, text: str) -> dict[str, Any]:
    """The object as the API server has it after `kubectl apply`."""
    out = plane.kubectl("-n", namespace, "apply", "-o", "json", "-f", "-", input=text)
    return json.loads(out)  # type: ignore[no-any-return]


def refusal(plane: ControlPlane, *args: str, input: str | None = None) -> str:
    """What kubectl prints on standard error; the test fails when it succeeds."""
    with pytest.raises(subprocess.CalledProcessError) as caught:
        plane.kubectl(*args, input=input)
    return str(caught.value.stderr)


def patch(plane: ControlPlane, namespace: str, what: str, body: Any, *args: str) -> None:
    plane.kubectl("-n", namespace, "patch", what, "--type=merge", "-p", json.dumps(body), *args)


@pytest.mark.parametrize(
    ("kind", "spec", "field", "reason"),
    [
        ("Item", {"replicas": 33}, "spec.replicas", "should be less than or equal to 32"),
        ("Item", {"replicas": -1}, "spec.replicas", "should be greater than or equal to 0"),
        ("Item", {"replicas": "three"}, "spec.replicas", 'must be of type integer: "string"'),
        ("Item", {"replicas": 1.5}, "spec.replicas", "must be of type integer"),
        ("Item", {"replica": 3}, "spec.replica", 'unknown field "spec.replica"'),
        ("Item", {"pool": "Feeds"}, "spec.pool", LABEL),
        ("Item", {"pool": "a.b"}, "spec.pool", LABEL),
        ("Item", {"pool": "-a"}, "spec.pool", LABEL),
        ("Item", {"pool": ""}, "spec.pool", LABEL),
        ("Item", {"pool": "a" * 64}, "spec.pool", "may not be more than 63"),
        ("Item", {"data": {f"k{i}": "" for i in range(65)}}, "spec.data", "must have at most 64 items"),
        ("Item", {"data": {"k": "x" * 4097}}, "spec.data.k", "may not be more than 4096"),
        ("Item", {"data": {"k": "ü" * 2049}}, "spec.data[k]", "must have 4096 bytes or fewer in UTF-8"),
        ("Item", {"data": {"k": 7}}, "spec.data.k", 'must be of type string: "integer"'),
        ("Item", {"data": {"": "x"}}, "spec.data", "every key must have 1 to 253 characters"),
        ("Item", {"data": {"k" * 254: "x"}}, "spec.data", "every key must have 1 to 253 characters"),
        ("Member", None, "spec", "Required value"),
        ("Member", {}, "spec.limit", "Required value"),
        ("Member", {"limit": 4097}, "spec.limit", "should be less than or equal to 4096"),
        ("Member", {"limit": -1}, "spec.limit", "should be greater than or equal to 0"),
        ("Member", {"limit": None}, "spec.limit", "Required value"),
        ("Member", {"limit": 1, "pool": "A"}, "spec.pool", LABEL),
        ("Member", {"limit": 1, "zone": "eu west"}, "spec.zone", "must be empty or a label value"),
        ("Member", {"limit": 1, "zone": "z" * 64}, "spec.zone", "may not be more than 63"),
        ("Member", {"limit": 1, "leaseName": ""}, "spec.leaseName", "must be a Kubernetes object name"),
        ("Member", {"limit": 1, "leaseName": "A/b"}, "spec.leaseName", "must be a Kubernetes object name"),
        ("Member", {"limit": 1, "draining": "yes"}, "spec.draining", 'must be of type boolean: "string"'),
        ("Member", {"limit": 1, "readiness": "Sure"}, "spec.readiness", '"Assumed", "Reported"'),
        ("Assignment", None, "spec", "Required value"),
        ("Assignment", {"term": 1}, "spec.pool", "Required value"),
        ("Assignment", {"pool": "default"}, "spec.term", "Required value"),
        ("Assignment", {"pool": "default", "term": 0}, "spec.term", "greater than or equal to 1"),
        (
            "Assignment",
            {"pool": "default", "term": 10**15},
            "spec.term",
            "less than or equal to 999999999999999",
        ),
        *(
            ("Assignment", {"pool": "default", "term": 1, "items": [entry]}, "spec.items[0]", ENTRY)
            for entry in ("a", "a#1", "a#0@1", "a#1@1:2", "a#01@1", "a#1@0", "A#1@1", "a..b#1@1", "a#1@1 ")
        ),
        (
            "Assignment",
            {"pool": "default", "term": 1, "items": ["a" * 284 + "#1@1"]},
            "spec.items[0]",
            "may not be more than 287",
        ),
        (
            "Assignment",
            {"pool": "default", "term": 1, "items": ["a#1@1"] * 8193},
            "spec.items",
            "must have at most 8192 items",
        ),
        ("Pool", {"handoff": "Sloppy"}, "spec.handoff", 'supported values: "Overlap", "Exclusive"'),
        ("Pool", {"zones": "spread"}, "spec.zones", 'supported values: "Spread", "Require", "Ignore"'),
        ("Pool", {"balance": {"tolerancePercent": 101}}, "spec.balance.tolerancePercent", "equal to 100"),
        ("Pool", {"balance": {"tolerancePercent": -1}}, "spec.balance.tolerancePercent", "equal to 0"),
        ("Pool", {"balance": {"primaries": "Never"}}, "spec.balance.primaries", '"Promotion", "Active"'),
        ("Pool", {"moves": {"maxInFlight": -1}}, "spec.moves.maxInFlight", "greater than or equal to 0"),
        ("Pool", {"outage": {"delaySeconds": -1}}, "spec.outage.delaySeconds", "greater than or equal to 0"),
        ("Pool", {"outage": {"delaySeconds": "5s"}}, "spec.outage.delaySeconds", "must be of type integer"),
        ("Pool", {"outage": {"brakePercent": 101}}, "spec.outage.brakePercent", "equal to 100"),
        ("Pool", {"outage": {"brakePercent": -1}}, "spec.outage.brakePercent", "equal to 0"),
        ("Pool", {"outage": {"brakeMinMembers": -1}}, "spec.outage.brakeMinMembers", "equal to 0"),
        ("Pool", {"itemStatus": "Some"}, "spec.itemStatus", 'supported values: "Full", "Problems", "None"'),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_invalid_spec_is_refused_with_the_field_and_the_reason(
    control_plane: ControlPlane, namespace: str, kind: str, spec: Any, field: str, reason: str
) -> None:
    answer = refusal(control_plane, "-n", namespace, "apply", "-f", "-", input=manifest(kind, spec))
    assert field in answer
    assert reason in answer


@pytest.mark.parametrize("kind", ["Item", "Member", "Assignment"])
@pytest.mark.parametrize(
    "name", ["orders#1", "orders@1", "orders:1", "orders=1", "Orders", "a..b", "a" * 254]
)
def test_a_name_that_an_entry_could_not_hold_is_refused(
    control_plane: ControlPlane, namespace: str, kind: str, name: str
) -> None:
    spec = {"Item": {}, "Member": {"limit": 1}, "Assignment": {"pool": "default", "term": 1}}[kind]
    text = manifest(kind, spec, name)
    answer = refusal(control_plane, "-n", namespace, "create", "-f", "-", input=text)
    assert "metadata.name" in answer
    assert "RFC 1123" in answer or "no more than 253" in answer


def test_a_name_can_be_generated(control_plane: ControlPlane, namespace: str) -> None:
    text = manifest("Item", {}, metadata={"generateName": "orders-"})
    name = control_plane.kubectl("-n", namespace, "create", "-f", "-", "-o", "name", input=text)
    assert name.startswith("item.berth.dev/orders-")


@pytest.mark.parametrize("name", ["a.b", "a" * 64])
def test_a_pool_that_nothing_could_name_is_refused(
    control_plane: ControlPlane, namespace: str, name: str
) -> None:
    text = manifest("Pool", name=name)
    answer = refusal(control_plane, "-n", namespace, "apply", "-f", "-", input=text)
    assert f"metadata.name: Invalid value: {LABEL}, 63 characters at most" in answer


@pytest.mark.parametrize(("kind", "spec"), [("Item", {}), ("Member", {"limit": 1})])
@pytest.mark.parametrize("before", [None, "feeds"])
def test_the_pool_of_an_item_or_a_member_cannot_be_changed(
    control_plane: ControlPlane, namespace: str, kind: str, spec: dict[str, Any], before: str | None
) -> None:
    apply(control_plane, namespace, manifest(kind, spec | ({"pool": before} if before else {})))
    text = manifest(kind, spec | {"pool": "other"})
    answer = refusal(control_plane, "-n", namespace, "apply", "-f", "-", input=text)
    assert "spec.pool: Invalid value" in answer
    assert "the pool cannot be changed: delete the object and create it in the other pool" in answer


def test_a_pool_that_is_left_out_later_is_not_the_default_pool_by_accident(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.kubectl("-n", namespace, "create", "-f", "-", input=manifest("Item", {"pool": "feeds"}))
    text = manifest("Item", {}, metadata={"name": "x", "resourceVersion": None})
    answer = refusal(control_plane, "-n", namespace, "replace", "-f", "-", input=text)
    assert "the pool cannot be changed" in answer


def test_an_empty_item_spec_gets_the_defaults(control_plane: ControlPlane, namespace: str) -> None:
    assert apply(control_plane, namespace, manifest("Item"))["spec"] == {"pool": "default", "replicas": 1}


def test_a_member_gets_the_defaults(control_plane: ControlPlane, namespace: str) -> None:
    got = apply(control_plane, namespace, manifest("Member", {"limit": 3}))
    assert got["spec"] == {
        "pool": "default",
        "zone": "",
        "limit": 3,
        "draining": False,
        "readiness": "Assumed",
    }


@pytest.mark.parametrize(
    "spec", [None, {}, {"balance": {}, "outage": {}}, {"balance": None, "handoff": None}]
)
def test_a_pool_gets_the_defaults(control_plane: ControlPlane, namespace: str, spec: Any) -> None:
    assert apply(control_plane, namespace, manifest("Pool", spec))["spec"] == {
        "handoff": "Overlap",
        "zones": "Spread",
        "balance": {"tolerancePercent": 0, "primaries": "Promotion"},
        "moves": {},
        "outage": {"delaySeconds": 0, "brakePercent": 55, "brakeMinMembers": 10},
        "itemStatus": "Full",
    }


def test_values_at_the_bounds_are_accepted(control_plane: ControlPlane, namespace: str) -> None:
    long = ".".join(["a" * 63] * 3 + ["a" * 61])
    full: dict[str, Any] = {
        "pool": "p" * 63,
        "replicas": 32,
        "data": {f"{i}" + "k" * 200: "x" * 4096 for i in range(64)},
    }
    full["data"]["0" + "k" * 200] = "ü" * 2048
    # Server-side: the annotation of a client-side apply has a bound of its own, 256 KiB.
    args = ("-n", namespace, "apply", "--server-side", "-f", "-")
    control_plane.kubectl(*args, input=manifest("Item", full, long))
    control_plane.kubectl(*args, input=manifest("Item", {"replicas": 0}, "none"))
    member = {"limit": 4096, "zone": "z" * 63, "leaseName": long, "readiness": "Reported", "draining": True}
    control_plane.kubectl(*args, input=manifest("Member", member, long))
    control_plane.kubectl(*args, input=manifest("Member", {"limit": 0}, "drained"))
    pool = {
        "handoff": "Exclusive",
        "zones": "Require",
        "balance": {"tolerancePercent": 100, "primaries": "Active"},
        "moves": {"maxInFlight": 0},
        "outage": {"delaySeconds": 2**31 - 1, "brakePercent": 100, "brakeMinMembers": 0},
        "itemStatus": "None",
    }
    control_plane.kubectl(*args, input=manifest("Pool", pool, "p" * 63))
    entries = [f"orders-{i:04d}#0@12:15" for i in range(8192)]
    top = 10**15 - 1
    control_plane.kubectl(
        *args, input=manifest("Assignment", {"pool": "default", "term": top, "items": entries}, long)
    )
    longest = [f"{long}#0@{top}:{top}", f"{long}#999@{top}"]
    control_plane.kubectl(
        *args, input=manifest("Assignment", {"pool": "default", "term": 1, "items": longest}, "longest")
    )
    stored = control_plane.kubectl("-n", namespace, "get", "berth", "-o", "name").split()
    names = [("item", long), ("item", "none"), ("member", long), ("member", "drained"), ("pool", "p" * 63),
             ("assignment", long), ("assignment", "longest")]  # fmt: skip
    assert sorted(stored) == sorted(f"{kind}.berth.dev/{name}" for kind, name in names)


def test_an_assignment_is_created_empty(control_plane: ControlPlane, namespace: str) -> None:
    got = apply(control_plane, namespace, manifest("Assignment", {"pool": "default", "term": 1}))
    assert got["spec"] == {"pool": "default", "term": 1, "items": []}


@pytest.mark.parametrize(
    ("status", "field", "reason"),
    [
        ({"items": ["a@1"]}, "status.items[0]", "should match"),
        ({"items": ["a@1=ready"]}, "status.items[0]", "should match"),
        ({"items": ["a@0=Ready"]}, "status.items[0]", "should match"),
        ({"items": ["a@1=Ready"] * 8193}, "status.items", "at most 8192 items"),
        ({"problems": [{"item": "a", "grant": 1, "message": "m"}] * 65}, "status.problems", "at most 64"),
        ({"problems": [{"item": "a", "grant": 1}]}, "status.problems[0].message", "Required value"),
        (
            {"problems": [{"item": "a", "grant": 1, "message": "m" * 1025}]},
            "status.problems[0].message",
            "may not be more than 1024",
        ),
        ({"session": "s" * 254}, "status.session", "may not be more than 253"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_invalid_report_is_refused_with_the_field_and_the_reason(
    control_plane: ControlPlane, namespace: str, status: dict[str, Any], field: str, reason: str
) -> None:
    apply(control_plane, namespace, manifest("Assignment", {"pool": "default", "term": 1}))
    text = manifest("Assignment", {"pool": "default", "term": 1}, status=status)
    answer = refusal(control_plane, "-n", namespace, "replace", "--subresource=status", "-f", "-", input=text)
    assert field in answer
    assert reason in answer


def test_reports_and_problems_are_accepted(control_plane: ControlPlane, namespace: str) -> None:
    apply(control_plane, namespace, manifest("Assignment", {"pool": "default", "term": 1}))
    phases = ("Preparing", "Ready", "Active", "Draining", "Failed")
    status = {
        "session": "pod-1-4711",
        "items": [f"a{n}@12={phase}" for n, phase in enumerate(phases)],
        "problems": [{"item": "a4", "grant": 12, "message": "m" * 1024}] * 64,
    }
    patch(control_plane, namespace, "assignment/x", {"status": status}, "--subresource=status")
    got = control_plane.kubectl("-n", namespace, "get", "assignment", "x", "-o", "jsonpath={.status}")
    assert json.loads(got) == status


def test_an_assignments_term_goes_back_only_with_another_pool(
    control_plane: ControlPlane, namespace: str
) -> None:
    apply(control_plane, namespace, manifest("Assignment", {"pool": "default", "term": 7}))
    text = manifest("Assignment", {"pool": "default", "term": 6})
    answer = refusal(control_plane, "-n", namespace, "apply", "-f", "-", input=text)
    assert "spec.term: Invalid value: must not decrease" in answer
    got = apply(control_plane, namespace, manifest("Assignment", {"pool": "other", "term": 2}))
    assert got["spec"]["term"] == 2


def test_a_pools_term_only_grows(control_plane: ControlPlane, namespace: str) -> None:
    apply(control_plane, namespace, manifest("Pool"))
    args = ("-n", namespace, "patch", "pool/x", "--subresource=status")
    for term in (3, 3, 9):
        patch(control_plane, namespace, "pool/x", {"status": {"term": term}}, "--subresource=status")
    for lower in ('{"status":{"term":8}}', '{"status":{"term":null}}', '{"status":null}'):
        answer = refusal(control_plane, *args, "--type=merge", "-p", lower)
        assert "status.term: Invalid value: must not decrease" in answer
    got = control_plane.kubectl("-n", namespace, "get", "pool", "x", "-o", "jsonpath={.status.term}")
    assert got == "9"


def test_two_conditions_of_one_type_are_refused(control_plane: ControlPlane, namespace: str) -> None:
    apply(control_plane, namespace, manifest("Pool"))
    one = {
        "type": "Converged",
        "status": "True",
        "reason": "AllPlaced",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    args = ("-n", namespace, "patch", "pool/x", "--subresource=status", "--type=merge", "-p")
    answer = refusal(control_plane, *args, json.dumps({"status": {"conditions": [one, one]}}))
    assert "status.conditions[1]: Duplicate value" in answer
    bad = one | {"status": "Yes"}
    answer = refusal(control_plane, *args, json.dumps({"status": {"conditions": [bad]}}))
    assert 'supported values: "True", "False", "Unknown"' in answer
