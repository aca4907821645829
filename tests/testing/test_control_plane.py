import json
import subprocess
from pathlib import Path

import pytest

from berth.testing import ControlPlane, servers

pytestmark = pytest.mark.cluster


def test_a_service_account_may_do_what_rbac_grants_and_nothing_else(
    control_plane: ControlPlane, namespace: str
) -> None:
    path = control_plane.kubeconfig_for(control_plane.token(namespace, "worker"), namespace)
    with pytest.raises(subprocess.CalledProcessError) as refused:
        control_plane.kubectl("get", "members", kubeconfig=path)
    assert (
        f'"system:serviceaccount:{namespace}:worker" cannot list resource "members"' in refused.value.stderr
    )

    control_plane.kubectl(
        "-n", namespace, "create", "role", "r", "--verb=list", "--resource=members.berth.dev"
    )
    grant = ("create", "rolebinding", "r", "--role=r", f"--serviceaccount={namespace}:worker")
    control_plane.kubectl("-n", namespace, *grant)
    _until_allowed(control_plane, path, "list", "members.berth.dev")
    assert control_plane.kubectl("get", "members", "-o", "name", kubeconfig=path) == ""
    with pytest.raises(subprocess.CalledProcessError):
        control_plane.kubectl("get", "items", kubeconfig=path)


def _until_allowed(control_plane: ControlPlane, path: Path, verb: str, resource: str) -> None:
    """The authorizer learns of a new binding through a watch."""
    for _ in range(100):
        try:
            control_plane.kubectl("auth", "can-i", verb, resource, kubeconfig=path)
            return
        except subprocess.CalledProcessError as refused:
            if refused.stdout.strip() != "no":
                raise
    pytest.fail(f"{verb} {resource} was never allowed")


def test_a_token_names_the_pod_it_is_bound_to(control_plane: ControlPlane, namespace: str) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "feeds-0", "namespace": namespace},
        "spec": {"serviceAccountName": "worker", "containers": [{"name": "worker", "image": "none"}]},
    }
    control_plane.kubectl("apply", "-f", "-", input=json.dumps(pod))
    token = control_plane.token(namespace, "worker", bound_object=("Pod", "feeds-0"))
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token},
    }
    answer = json.loads(control_plane.kubectl("create", "-o", "json", "-f", "-", input=json.dumps(review)))
    user = answer["status"]["user"]
    assert user["username"] == f"system:serviceaccount:{namespace}:worker"
    assert user["extra"]["authentication.kubernetes.io/pod-name"] == ["feeds-0"]


def test_admission_policies_are_in_force_once_the_kinds_are_applied(
    control_plane: ControlPlane, namespace: str
) -> None:
    pool = {"apiVersion": "berth.dev/v1alpha1", "kind": "Pool", "metadata": {"name": "p"}, "spec": {}}
    control_plane.kubectl("-n", namespace, "apply", "-f", "-", input=json.dumps(pool))
    raise_term = ("patch", "pool", "p", "--subresource=status", "--type=merge", '-p={"status":{"term":7}}')
    control_plane.kubectl("-n", namespace, *raise_term)
    stale = {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "Assignment",
        "metadata": {"name": "m"},
        "spec": {"pool": "p", "term": 6, "items": []},
    }
    for _ in range(50):  # the policy sees the Pool's new term through a watch
        try:
            control_plane.kubectl(
                "-n", namespace, "create", "--dry-run=server", "-f", "-", input=json.dumps(stale)
            )
        except subprocess.CalledProcessError as refused:
            if "term 7" not in refused.stderr:
                raise
            return
    pytest.fail("an Assignment of an old term was accepted")


def test_nothing_can_be_created_in_a_deleted_namespace(control_plane: ControlPlane) -> None:
    control_plane.create_namespace("short-lived")
    item = {"apiVersion": "berth.dev/v1alpha1", "kind": "Item", "metadata": {"name": "i"}, "spec": {}}
    create = ("-n", "short-lived", "create", "-f", "-")
    control_plane.kubectl(*create, input=json.dumps(item))
    control_plane.delete_namespace("short-lived")
    assert control_plane.kubectl("-n", "short-lived", "get", "items", "-o", "name") == ""
    with pytest.raises(subprocess.CalledProcessError) as refused:
        control_plane.kubectl(*create, input=json.dumps(item))
    assert "being terminated" in refused.value.stderr


def test_the_garbage_collector_removes_what_lost_its_owner() -> None:
    port = servers.choose_ports().api
    with ControlPlane(with_gc=True, port=port) as plane:
        assert plane.url == f"https://127.0.0.1:{port}"
        assert set(plane.pids) == {"etcd", "kube-apiserver", "kube-controller-manager"}
        plane.start_gc()  # it runs already: nothing happens
        plane.create_namespace("n")
        owner = json.loads(plane.kubectl("-n", "n", "create", "configmap", "owner", "-o", "json"))
        reference = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": "owner",
            "uid": owner["metadata"]["uid"],
        }
        owned = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "owned", "namespace": "n", "ownerReferences": [reference]},
        }
        plane.kubectl("create", "-f", "-", input=json.dumps(owned))
        plane.kubectl("-n", "n", "delete", "configmap", "owner")
        plane.kubectl("-n", "n", "wait", "--for=delete", "configmap/owned", "--timeout=60s")
        plane.kubectl("delete", "namespace", "n", "--timeout=60s")
        assert "namespace/n\n" not in plane.kubectl("get", "namespaces", "-o", "name")
