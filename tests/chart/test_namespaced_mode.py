"""One release for two namespaces: a Role in each, and nothing beyond them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from charting import CHART, SYSTEM, Cluster, Helm, controller, wait_for

pytestmark = pytest.mark.cluster

VALUES: dict[str, Any] = {"watchNamespaces": ["alpha", "beta"], "rbac": {"aggregate": False}}


@pytest.fixture(scope="module")
def installed(cluster: Cluster, cluster_helm: Helm) -> Iterator[dict[str, Any]]:
    for name in ("alpha", "beta", "gamma"):
        cluster.plane.kubectl("create", "namespace", name)
    cluster_helm("install", "berth", str(CHART), "--namespace", SYSTEM, "--create-namespace", values=VALUES)
    yield cluster.get("deployment", "berth", "-n", SYSTEM)
    cluster_helm("uninstall", "berth", "--namespace", SYSTEM)


def objects(pool: str) -> list[dict[str, Any]]:
    version = {"apiVersion": "berth.dev/v1alpha1"}
    return [
        {**version, "kind": "Member", "metadata": {"name": "m"}, "spec": {"pool": pool, "limit": 5}},
        {**version, "kind": "Item", "metadata": {"name": "i"}, "spec": {"pool": pool}},
    ]


def held(cluster: Cluster, namespace: str) -> int:
    found = cluster.get("assignments", "-n", namespace)["items"]
    return sum(len(a["spec"].get("items", ())) for a in found)


def test_items_are_placed_in_the_watched_namespaces_only_and_without_a_403(
    cluster: Cluster, installed: dict[str, Any]
) -> None:
    account = f"{SYSTEM}:berth"
    already = len(cluster.requests(account))
    with controller(cluster, installed, "scoped") as running:
        wait_for("it leads", running.leading)
        for namespace in ("gamma", "alpha", "beta"):
            cluster.apply(*objects("p"), namespace=namespace)
        for namespace in ("alpha", "beta"):
            wait_for(f"{namespace} is served", lambda n=namespace: held(cluster, n) == 1)
            wait_for(
                f"{namespace} has a status",
                lambda n=namespace: cluster.get("item.berth.dev", "i", "-n", n).get("status"),
            )
    assert held(cluster, "gamma") == 0
    assert not cluster.get("pools", "-n", "gamma")["items"]
    asked = cluster.requests(account)[already:]
    assert asked
    namespaces = {event["objectRef"].get("namespace", "") for event in asked if "objectRef" in event}
    assert namespaces == {"alpha", "beta", SYSTEM}, "it asks for nothing beyond its namespaces"
    assert cluster.forbidden(account) == []


def test_its_account_has_no_right_in_another_namespace(cluster: Cluster, installed: dict[str, Any]) -> None:
    token = cluster.plane.token(SYSTEM, "berth")
    group = "/apis/berth.dev/v1alpha1"
    assert cluster.request(token, "GET", f"{group}/namespaces/alpha/items") == 200
    assert cluster.request(token, "GET", f"{group}/namespaces/gamma/items") == 403
    assert cluster.request(token, "GET", f"{group}/items") == 403
    lease = "/apis/coordination.k8s.io/v1/namespaces"
    assert cluster.request(token, "GET", f"{lease}/{SYSTEM}/leases/berth-controller") == 200
    assert cluster.request(token, "GET", f"{lease}/{SYSTEM}/leases/another") == 403
