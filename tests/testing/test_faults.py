import subprocess
from collections.abc import Iterator

import pytest

from berth.testing import ControlPlane, ControlPlaneError

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A control plane that may be broken without harm to other tests."""
    with ControlPlane() as plane:
        plane.kubectl("create", "configmap", "kept", "--from-literal=a=1")
        yield plane


def test_a_restarted_api_server_has_its_address_and_its_data(plane: ControlPlane) -> None:
    url, before = plane.url, plane.pids
    plane.restart_api_server()
    after = plane.pids
    assert plane.url == url
    assert after["kube-apiserver"] != before["kube-apiserver"]
    assert after["etcd"] == before["etcd"]
    assert "configmap/kept" in plane.kubectl("get", "configmap", "-o", "name")


def test_killed_servers_come_back_with_their_data(plane: ControlPlane) -> None:
    plane.kill("kube-apiserver")
    plane.kill("etcd")
    assert plane.pids == {}
    with pytest.raises(ControlPlaneError, match="ended with code -9"):
        plane.check()
    plane.start_etcd()
    plane.start_api_server()
    plane.check()
    assert "configmap/kept" in plane.kubectl("get", "configmap", "-o", "name")


def test_a_paused_api_server_does_not_answer_until_it_is_resumed(plane: ControlPlane) -> None:
    plane.pause()
    try:
        with pytest.raises(subprocess.CalledProcessError):
            plane.kubectl("get", "namespaces", "--request-timeout=1s")
    finally:
        plane.resume()
    assert "namespace/default" in plane.kubectl("get", "namespaces", "-o", "name")


def test_a_running_server_is_not_started_twice(plane: ControlPlane) -> None:
    with pytest.raises(ControlPlaneError, match="etcd already runs"):
        plane.start_etcd()
    with pytest.raises(ControlPlaneError, match="already runs"):
        plane.start()


@pytest.mark.faults  # takes 30 s in one of two runs
def test_a_restart_waits_until_writes_of_assignments_are_admitted_again() -> None:
    assignment = (
        '{"apiVersion": "berth.dev/v1alpha1", "kind": "Assignment", "metadata": {"name": "m"},'
        ' "spec": {"pool": "p", "term": 1, "items": []}}'
    )
    with ControlPlane() as plane:
        plane.apply_crds()
        plane.restart_api_server()
        assert "created" in plane.kubectl("create", "-f", "-", input=assignment)
        assert plane.kubectl("get", "pools", "-o", "name") == ""
