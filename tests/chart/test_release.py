"""The life of a release: an older version, an upgrade of the CRDs, an uninstall that keeps what matters."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from charting import CHART, SYSTEM, Cluster, Helm, wait_for

pytestmark = pytest.mark.cluster

WHERE = ("--namespace", SYSTEM, "--create-namespace")
ITEM = {
    "apiVersion": "berth.dev/v1alpha1",
    "kind": "Item",
    "metadata": {"name": "kept"},
    "spec": {"pool": "p"},
}


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The chart as an earlier version might have been: without `draining` and the policy of workers."""
    chart = tmp_path / "berth"
    shutil.copytree(CHART, chart)
    path = chart / "files" / "crds" / "members.yaml"
    crd = yaml.safe_load(path.read_text())
    [version] = crd["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del schema["properties"]["draining"]
    path.write_text(yaml.safe_dump(crd))
    about = chart / "Chart.yaml"
    about.write_text(about.read_text().replace("version: 0.1.0", "version: 0.0.9", 1))
    (chart / "files" / "worker-policy.yaml").write_text("")
    return chart


@pytest.fixture
def nothing_left(cluster: Cluster, cluster_helm: Helm) -> Iterator[None]:
    yield
    cluster_helm("uninstall", "berth", "--namespace", SYSTEM, "--ignore-not-found")


def fields(cluster: Cluster) -> set[str]:
    crd = cluster.get("crd", "members.berth.dev")
    return set(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"])


def policies(cluster: Cluster) -> set[str]:
    found = cluster.get("validatingadmissionpolicies")["items"]
    return {p["metadata"]["name"] for p in found if "berth" in p["metadata"]["name"]}


def test_an_upgrade_brings_the_new_fields_and_an_uninstall_keeps_kinds_and_objects(
    cluster: Cluster, cluster_helm: Helm, older: Path, nothing_left: None
) -> None:
    helm, chart = cluster_helm, str(CHART)
    helm("install", "berth", str(older), *WHERE)
    assert "draining" not in fields(cluster)
    assert policies(cluster) == {"fencing.berth.dev"}
    cluster.plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    cluster.apply(ITEM)

    helm("upgrade", "berth", chart, "--namespace", SYSTEM)
    assert "draining" in fields(cluster)
    assert policies(cluster) == {"fencing.berth.dev", "berth-workers"}

    helm("rollback", "berth", "1", "--namespace", SYSTEM)
    assert "draining" not in fields(cluster)
    helm("upgrade", "berth", chart, "--namespace", SYSTEM, values={"admissionPolicies": {"fencing": False}})
    assert policies(cluster) == {"berth-workers"}

    helm("uninstall", "berth", "--namespace", SYSTEM)
    assert policies(cluster) == set()
    assert not cluster.get("deployments", "-n", SYSTEM)["items"]
    assert not [r for r in cluster.get("clusterroles")["items"] if r["metadata"]["name"].startswith("berth-")]
    assert cluster.get("item.berth.dev", "kept")["metadata"]["name"] == "kept"

    # The kinds that were kept are taken up again by the release of the same name, by another if asked.
    helm("install", "berth", chart, *WHERE)
    helm("uninstall", "berth", "--namespace", SYSTEM)
    refused = helm("install", "second", chart, *WHERE, check=False)
    assert "invalid ownership metadata" in refused
    helm("install", "second", chart, *WHERE, "--take-ownership")
    helm("uninstall", "second", "--namespace", SYSTEM)
    assert cluster.get("item.berth.dev", "kept")["metadata"]["name"] == "kept"

    # Everything goes where that is what was asked for.
    helm("install", "berth", chart, *WHERE, "--take-ownership", values={"crds": {"keep": False}})
    helm("uninstall", "berth", "--namespace", SYSTEM)

    def kinds() -> list[str]:
        found = [c["metadata"]["name"] for c in cluster.get("crds")["items"]]
        return [name for name in found if name.endswith(".berth.dev")]

    wait_for("the CRDs are gone", lambda: not kinds())
