import pytest

from berth.testing import ControlPlane


@pytest.mark.cluster
def test_the_api_server_survives_a_restart_with_its_data(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("-n", namespace, "create", "configmap", "kept", "--from-literal=a=1")
    url = control_plane.url
    control_plane.restart_api_server()
    assert control_plane.url == url
    assert "kept" in control_plane.kubectl("-n", namespace, "get", "configmap", "-o", "name")
