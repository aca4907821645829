import socket
from pathlib import Path

import pytest

from berth.testing import ControlPlane, ControlPlaneError, binaries, servers
from berth.testing.servers import Ports

pytestmark = pytest.mark.cluster


def test_a_port_that_was_taken_in_the_meantime_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    free = servers.choose_ports
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        first, second, third = free(), free(), free()
        chosen = iter(
            [
                first,  # the look before anything is started
                Ports(etcd=taken, etcd_peer=first.etcd_peer, api=first.api),
                Ports(etcd=second.etcd, etcd_peer=second.etcd_peer, api=taken),
                third,
            ]
        )
        monkeypatch.setattr(servers, "choose_ports", lambda api=None: next(chosen))
        with ControlPlane() as plane:
            assert plane.url == f"https://127.0.0.1:{third.api}"
            assert plane.kubectl("get", "namespace", "default", "-o", "name") == "namespace/default\n"


def test_a_disk_that_fills_up_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api_server = binaries.find("kube-apiserver")
    assert api_server is not None
    (tmp_path / "kube-apiserver").symlink_to(api_server)
    etcd = tmp_path / "etcd"
    etcd.write_text("#!/bin/sh\necho 'panic: write wal: no space left on device' >&2\nexit 2\n")
    etcd.chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(ControlPlaneError) as raised:
        ControlPlane().start()
    assert str(raised.value).startswith("etcd ended with code 2: the disk of ")
    assert str(raised.value).endswith(" is full")


def test_manifests_that_cannot_be_applied_are_named(control_plane: ControlPlane, tmp_path: Path) -> None:
    with pytest.raises(ControlPlaneError, match=r"none\.yaml cannot be applied: .* does not exist"):
        control_plane.apply_crds(tmp_path / "none.yaml")


def test_an_api_server_that_cannot_start_quotes_its_log() -> None:
    with pytest.raises(ControlPlaneError, match="unknown flag: --no-such-flag") as raised:
        ControlPlane(api_server_args=["--no-such-flag=1"]).start()
    assert "\n" not in str(raised.value)


def test_a_control_plane_that_is_not_running_says_so() -> None:
    plane = ControlPlane()
    with pytest.raises(ControlPlaneError, match="is not running"):
        _ = plane.url
    plane.stop()  # nothing to do
