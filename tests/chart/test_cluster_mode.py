"""The chart on an empty API server: installed with everything on, run as its Deployment says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from charting import CHART, EVERYTHING, ROOT, SYSTEM, Cluster, Helm, controller, wait_for

from berth.kinds import parse_entry

pytestmark = pytest.mark.cluster

CONTROLLER = f"{SYSTEM}:berth"


@pytest.fixture(scope="module")
def installed(cluster: Cluster, cluster_helm: Helm) -> Iterator[dict[str, Any]]:
    """The Deployment of a release with everything switched on; kinds of Prometheus first."""
    cluster.apply((Path(__file__).parent / "monitoring-crds.yaml").read_text())
    cluster.plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    cluster.plane.kubectl("create", "namespace", "feeds")
    cluster_helm(
        "install", "berth", str(CHART), "--namespace", SYSTEM, "--create-namespace", values=EVERYTHING
    )
    yield cluster.get("deployment", "berth", "-n", SYSTEM)
    cluster_helm("uninstall", "berth", "--namespace", SYSTEM)


def entries(cluster: Cluster, namespace: str) -> dict[str, list[str]]:
    """`spec.items` by Member."""
    found = cluster.get("assignments", "-n", namespace)["items"]
    return {a["metadata"]["name"]: a["spec"].get("items", []) for a in found}


def member(name: str, pool: str = "feeds", **spec: Any) -> dict[str, Any]:
    body = {"pool": pool, "limit": 100, **spec}
    return {"apiVersion": "berth.dev/v1alpha1", "kind": "Member", "metadata": {"name": name}, "spec": body}


def placed(cluster: Cluster, namespace: str, wanted: int, without: str = "") -> bool:
    held = entries(cluster, namespace)
    flat = [parse_entry(text) for name, texts in held.items() if name != without for text in texts]
    return len(flat) == wanted and not held.get(without)


@pytest.mark.parametrize(
    "values",
    [
        {},
        EVERYTHING,
        {"watchNamespaces": ["default", "feeds"], "test": {"namespace": "feeds"}},
        {"rbac": {"create": False}, "serviceAccount": {"create": False, "name": "default"}},
        {"image": {"digest": "sha256:" + "0" * 64}, "priorityClassName": "system-cluster-critical"},
        {"nameOverride": "x", "commonLabels": {"team": "a"}, "podLabels": {"b": "c"}, "replicaCount": 1},
    ],
    ids=["defaults", "everything", "namespaced", "given-account", "digest", "names"],
)
def test_the_api_server_accepts_every_rendered_object(
    cluster: Cluster, helm: Helm, installed: dict[str, Any], values: dict[str, Any]
) -> None:
    objects = helm.template(values)
    said = cluster.plane.kubectl(
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "--force-conflicts",
        "-f",
        "-",
        input=yaml.safe_dump_all(objects),
    )
    assert len(said.splitlines()) == len(objects)


@pytest.mark.timeout(400)
def test_the_controller_does_its_whole_job_without_a_403_and_hands_over_in_two_seconds(
    cluster: Cluster, installed: dict[str, Any]
) -> None:
    namespace = "default"
    items = list(yaml.safe_load_all((ROOT / "examples" / "demo" / "items.yaml").read_text()))
    wanted = sum(item["spec"]["replicas"] for item in items)
    with controller(cluster, installed, "berth-1") as first:
        wait_for("the first leads", first.leading)
        assert first.url("/readyz") == (200, "ok\n")
        assert first.health() == 200

        # The example, placed on three Members; the Pool is not there yet and is made.
        cluster.apply(*items, namespace=namespace)
        cluster.apply(*(member(f"m{i}", zone=f"z{i}") for i in range(3)), namespace=namespace)
        wait_for("the Items are placed", lambda: placed(cluster, namespace, wanted))

        # A drain, a Member that goes, one that dies, an Assignment that somebody broke.
        cluster.plane.kubectl(
            "patch", "member", "m0", "-n", namespace, "--type=merge", "-p", '{"spec":{"limit":0}}'
        )
        wait_for("m0 is empty", lambda: not entries(cluster, namespace)["m0"])
        cluster.plane.kubectl("delete", "member", "m0", "-n", namespace)
        wait_for("its Assignment is gone", lambda: "m0" not in entries(cluster, namespace))
        cluster.apply(lease("mortal"), member("mortal", leaseName="mortal"), namespace=namespace)
        wait_for("the Member with a Lease is live", lambda: live(cluster, namespace, "mortal"), every=0.2)
        cluster.plane.kubectl(
            *("patch", "assignment", "m1", "-n", namespace, "--type=merge"),
            *("-p", json.dumps({"spec": {"items": ["nobody#3@1", *entries(cluster, namespace)["m1"]]}})),
        )

        def published() -> bool:
            status = cluster.get("pool", "feeds", "-n", namespace).get("status", {})
            conditions = {c["type"]: c for c in status.get("conditions", ())}
            return (
                conditions.get("Degraded", {}).get("status") == "True"
                and conditions.get("Converged", {}).get("status") == "True"
                and bool(cluster.get("events", "-n", namespace)["items"])
                and all("status" in i for i in cluster.get("items.berth.dev", "-n", namespace)["items"])
            )

        wait_for("statuses, conditions and an Event are written", published, every=0.5)
        metrics = first.url("/metrics")[1]
        assert 'code="403"' not in metrics

        with controller(cluster, installed, "berth-2") as second:
            wait_for("the second is ready to take over", lambda: second.url("/readyz")[0] == 200)
            assert not second.leading()
            assert "berth_items{" not in second.url("/metrics")[1], "a replica in waiting speaks of no Pool"
            before = entries(cluster, namespace)
            asked = time.monotonic()
            first.popen.terminate()
            wait_for("the second leads", second.leading, every=0.01)
            took = time.monotonic() - asked
            assert first.popen.wait(30) == 0
            wait_for("it makes rounds", lambda: rounds(second.url("/metrics")[1]) >= 1)
            wait_for("it says what there is", lambda: "berth_items{" in second.url("/metrics")[1])
            assert entries(cluster, namespace) == before, "nothing moves when the lead changes hands"
            assert took < 2.0
            assert " 403" not in second.text()
    assert cluster.forbidden(CONTROLLER) == []


def live(cluster: Cluster, namespace: str, name: str) -> bool:
    conditions = cluster.get("member", name, "-n", namespace).get("status", {}).get("conditions", ())
    return any(c["type"] == "Live" and c["status"] == "True" for c in conditions)


def rounds(metrics: str) -> float:
    return sum(float(v) for v in re.findall(r"^berth_rounds_total\{[^}]*\} (\S+)$", metrics, re.MULTILINE))


def granted(cluster: Cluster) -> set[tuple[str, str, str]]:
    """(group, resource, verb) of the controller's roles."""
    rules = cluster.get("clusterrole", "berth-controller")["rules"]
    rules += cluster.get("role", "berth-leader", "-n", SYSTEM)["rules"]
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_controller_has_no_right_that_it_does_not_use(
    cluster: Cluster, installed: dict[str, Any]
) -> None:
    """Runs after the whole job has been done, and reads the audit log of it."""
    used = set()
    for event in cluster.requests(CONTROLLER):
        at = event.get("objectRef")
        if at:
            resource = "/".join(filter(None, (at["resource"], at.get("subresource"))))
            used.add((at.get("apiGroup", ""), resource, event["verb"]))
    assert used, "no controller has run"
    spare = granted(cluster) - used
    # `manage` is asked by a policy, not requested; an Assignment is read only after an answer was lost.
    assert spare == {("berth.dev", "members", "manage"), ("berth.dev", "assignments", "get")}


def test_helm_test_places_items_with_the_rights_of_its_own_account(
    cluster: Cluster, cluster_helm: Helm, installed: dict[str, Any], tmp_path: Path
) -> None:
    hooks = list(yaml.safe_load_all(cluster_helm("get", "hooks", "berth", "--namespace", SYSTEM)))
    assert {h["metadata"]["annotations"]["helm.sh/hook"] for h in hooks} == {"test"}
    cluster.apply(*(h for h in hooks if h["kind"] != "Pod"), namespace=SYSTEM)
    [pod] = [h for h in hooks if h["kind"] == "Pod"]
    [script] = [h["data"]["smoke.py"] for h in hooks if h["kind"] == "ConfigMap"]
    (tmp_path / "smoke.py").write_text(script)
    [container] = pod["spec"]["containers"]
    mount = container["volumeMounts"][0]["mountPath"]
    words = [w.replace(f"{mount}/", f"{tmp_path}/") for w in container["command"] + container["args"]]
    assert words[0] == "python"
    cluster.pod("smoke", SYSTEM, pod["spec"])
    account = pod["spec"]["serviceAccountName"]
    kubeconfig = cluster.kubeconfig(SYSTEM, account, "smoke")
    with controller(cluster, installed, "berth-3") as running:
        wait_for("it leads", running.leading)
        done = subprocess.run(
            [sys.executable, *words[1:]],
            env={"KUBECONFIG": str(kubeconfig)},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        wait_for("its Assignments are gone", lambda: not entries(cluster, SYSTEM))
        cluster.apply(member("settled", pool="settled"), namespace="feeds")
        wait_for("the controller has seen all of it", lambda: "settled" in entries(cluster, "feeds"))
    assert re.match(r"6 replicas, 3 of them primaries, placed in [\d.]+ s\n$", done.stdout)
    assert cluster.forbidden(f"{SYSTEM}:{account}") == []
    for kind in ("items", "members", "assignments", "pools"):
        assert not cluster.get(f"{kind}.berth.dev", "-n", SYSTEM)["items"], f"it leaves no {kind}"


# (verb, resource, namespace) -> what `kubectl auth can-i` says to a worker
RIGHTS = [
    ("create", "members.berth.dev", "feeds", True),
    ("patch", "members.berth.dev", "feeds", True),
    ("delete", "members.berth.dev", "feeds", True),
    ("list", "members.berth.dev", "feeds", False),
    ("deletecollection", "members.berth.dev", "feeds", False),
    ("manage", "members.berth.dev", "feeds", False),
    ("watch", "assignments.berth.dev", "feeds", True),
    ("list", "assignments.berth.dev", "feeds", False),
    ("create", "assignments.berth.dev", "feeds", False),
    ("patch", "assignments.berth.dev", "feeds", False),
    ("patch", "assignments.berth.dev/status", "feeds", True),
    ("delete", "assignments.berth.dev", "feeds", False),
    ("get", "items.berth.dev", "feeds", True),
    ("list", "items.berth.dev", "feeds", False),
    ("create", "items.berth.dev", "feeds", False),
    ("patch", "items.berth.dev", "feeds", False),
    ("get", "pools.berth.dev", "feeds", False),
    ("patch", "pools.berth.dev/status", "feeds", False),
    ("update", "leases.coordination.k8s.io", "feeds", True),
    ("list", "leases.coordination.k8s.io", "feeds", False),
    ("get", "secrets", "feeds", False),
    ("create", "events", "feeds", False),
    ("create", "members.berth.dev", "default", False),
    ("get", "items.berth.dev", "default", False),
    ("update", "leases.coordination.k8s.io", SYSTEM, False),
]


def can_i(cluster: Cluster, kubeconfig: Path, verb: str, resource: str, namespace: str) -> bool:
    kind, _, subresource = resource.partition("/")
    args = ["auth", "can-i", verb, kind, "-n", namespace, "-q"]
    args += [f"--subresource={subresource}"] if subresource else []
    try:
        cluster.plane.kubectl(*args, kubeconfig=kubeconfig)
    except subprocess.CalledProcessError:
        return False
    return True


def test_a_workers_account_may_do_what_its_table_says(cluster: Cluster, installed: dict[str, Any]) -> None:
    kubeconfig = cluster.kubeconfig("feeds", "feeds")
    allowed = [(v, r, n, can_i(cluster, kubeconfig, v, r, n)) for v, r, n, _ in RIGHTS]
    assert allowed == RIGHTS


def lease(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "labels": {"berth.dev/member": name}},
        "spec": {"holderIdentity": "x", "leaseDurationSeconds": 10},
    }


def test_a_workers_pod_can_do_no_more_than_its_own_part(cluster: Cluster, installed: dict[str, Any]) -> None:
    container = {"name": "c", "image": "x"}
    cluster.pod("feeds-0", "feeds", {"serviceAccountName": "feeds", "containers": [container]})
    cluster.apply(*(member(f"other-{i}") for i in range(2)), namespace="feeds")
    for name in ("feeds-0", "other-0"):
        body = {"pool": "feeds", "term": 1, "items": []}
        cluster.apply(
            {
                "apiVersion": "berth.dev/v1alpha1",
                "kind": "Assignment",
                "metadata": {"name": name},
                "spec": body,
            },
            namespace="feeds",
        )
    cluster.apply(lease("other-0"), namespace="feeds")
    token = cluster.plane.token("feeds", "feeds", bound_object=("Pod", "feeds-0"))
    berth = "/apis/berth.dev/v1alpha1/namespaces/feeds"
    leases = "/apis/coordination.k8s.io/v1/namespaces/feeds/leases"
    own = member("feeds-0", leaseName="feeds-0")
    status = {"status": {"session": "x", "items": []}}
    tried = [
        ("POST", f"{berth}/members", own, 201),
        ("POST", f"{berth}/members", member("feeds-1", leaseName="feeds-1"), 403),
        ("PATCH", f"{berth}/members/feeds-0", {"spec": {"limit": 0}}, 200),
        ("PATCH", f"{berth}/members/feeds-0", {"spec": {"leaseName": "other-0"}}, 403),
        ("PATCH", f"{berth}/members/other-0", {"spec": {"limit": 0}}, 403),
        ("PATCH", f"{berth}/members/other-0/status", {"status": {"items": 7}}, 403),
        ("DELETE", f"{berth}/members/other-0", None, 403),
        ("GET", f"{berth}/assignments/feeds-0", None, 200),
        ("PATCH", f"{berth}/assignments/feeds-0/status", status, 200),
        ("PATCH", f"{berth}/assignments/feeds-0", {"spec": {"items": ["a#0@1:1"]}}, 403),
        ("PATCH", f"{berth}/assignments/other-0/status", status, 403),
        ("GET", f"{berth}/assignments", None, 403),
        ("POST", f"{berth}/items", {"apiVersion": "berth.dev/v1alpha1", "kind": "Item"}, 403),
        ("GET", f"{berth}/pools/feeds", None, 403),
        ("POST", leases, lease("feeds-0"), 201),
        ("DELETE", f"{leases}/other-0", None, 403),
        ("POST", leases, lease("feeds-1"), 403),
        ("GET", "/api/v1/namespaces/feeds/secrets", None, 403),
        ("POST", "/apis/berth.dev/v1alpha1/namespaces/default/members", own, 403),
        ("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/berth-controller", None, 403),
        ("DELETE", f"{berth}/members/feeds-0", None, 200),
    ]
    got = [
        (method, path, body, cluster.request(token, method, path, body)) for method, path, body, _ in tried
    ]
    assert got == tried


def test_the_release_can_be_upgraded_while_a_controller_leads(
    cluster: Cluster, cluster_helm: Helm, installed: dict[str, Any]
) -> None:
    with controller(cluster, installed, "berth-4") as old:
        wait_for("it leads", old.leading)
        values = {**EVERYTHING, "controller": {"logFormat": "json", "logLevel": "debug"}}
        cluster_helm("upgrade", "berth", str(CHART), "--namespace", SYSTEM, values=values)
        deployment = cluster.get("deployment", "berth", "-n", SYSTEM)
        with controller(cluster, deployment, "berth-5") as new:
            wait_for("the new one is ready", lambda: new.url("/readyz")[0] == 200)
            assert old.stop() == 0
            wait_for("the new one leads", new.leading)
            token = yaml.safe_load(new.kubeconfig.read_text())["users"][0]["user"]["token"]
        lines = [json.loads(line) for line in new.text().splitlines()]
    assert any(line["message"] == "leading" for line in lines)
    assert any(line["level"] == "debug" for line in lines)
    assert token not in new.text(), "a log holds no secret, whatever its level"
    assert token.rpartition(".")[2] not in new.text()
    assert cluster.forbidden(CONTROLLER) == []
