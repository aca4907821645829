import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from waiting import eventually

from berth.testing.processes import Processes

pytestmark = pytest.mark.cluster
SECONDS = 90.0


class Command:
    """`python -m berth.testing` with a temporary folder of its own, so that what it leaves can be seen."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "berth.testing", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(self.temporary)},
        )

    def wait_ready(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == "ready\n", self.process.communicate()

    def servers(self) -> list[psutil.Process]:
        """Every process that was started for this control plane, the supervisor included."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(str(self.temporary) in part for part in process.cmdline()):
                    found.append(process)
        return found

    def wait_gone(self) -> None:
        eventually(lambda: not self.servers(), "processes are left")
        eventually(lambda: not list(self.temporary.iterdir()), "files are left")


@contextlib.contextmanager
def run(folder: Path, *arguments: str) -> Iterator[Command]:
    command = Command(folder, *arguments)
    try:
        yield command
    finally:
        command.process.kill()
        command.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    with run(tmp_path, "--kubeconfig", str(kubeconfig)) as command:
        command.wait_ready()
        assert kubeconfig.stat().st_mode & 0o077 == 0
        assert len(command.servers()) == 3
        command.process.send_signal(number)
        output, errors = command.process.communicate(timeout=SECONDS)
        assert (command.process.returncode, output, errors) == (0, "", "")
        assert not command.servers()
        assert not list(command.temporary.iterdir())
        assert not kubeconfig.exists()


def test_a_signal_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    with run(tmp_path) as command:
        eventually(lambda: len(command.servers()) >= 2, "no server was started")
        command.process.terminate()
        command.process.communicate(timeout=SECONDS)
        assert command.process.returncode == 0
        command.wait_gone()


def test_a_killed_command_leaves_nothing(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    with run(tmp_path, "--kubeconfig", str(kubeconfig), "--with-gc") as command:
        command.wait_ready()
        assert len(command.servers()) == 4
        command.process.kill()
        command.wait_gone()
        eventually(lambda: not kubeconfig.exists(), "the kubeconfig is left")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children with their parent")
def test_servers_do_not_outlive_their_supervisor(tmp_path: Path) -> None:
    with run(tmp_path) as command:
        eventually(lambda: len(command.servers()) == 3, "the servers were not started")
        (supervisor,) = (p for p in command.servers() if p.name().startswith("python"))
        supervisor.kill()
        command.wait_gone()
        _, errors = command.process.communicate(timeout=SECONDS)
        assert command.process.returncode == 1
        assert errors == "error: the supervisor of the control plane has ended\n"


def test_the_command_ends_with_one_line_when_the_api_server_dies(tmp_path: Path) -> None:
    with run(tmp_path) as command:
        line = command.process.stdout.readline()  # type: ignore[union-attr]
        assert line.startswith("kubeconfig: ")
        command.wait_ready()
        (api_server,) = (p for p in command.servers() if p.name() == "kube-apiserver")
        api_server.kill()
        _, errors = command.process.communicate(timeout=SECONDS)
        assert command.process.returncode == 1
        assert errors.startswith("error: kube-apiserver ended with code -9")
        assert errors.count("\n") == 1
        command.wait_gone()


def test_a_taken_port_is_reported_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with run(tmp_path, "--port", str(port)) as command:
            _, errors = command.process.communicate(timeout=SECONDS)
            assert command.process.returncode == 1
            assert errors == (
                f"error: port {port} on 127.0.0.1 is taken: choose another, or none for a free one\n"
            )
            command.wait_gone()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config", "current-context: production\n", "has other content"),
        ("no/such/folder/config", None, "no folder"),
    ],
)
def test_a_kubeconfig_that_must_not_be_written_is_refused(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    kubeconfig = tmp_path / name
    if content is not None:
        kubeconfig.write_text(content)
    with run(tmp_path, "--kubeconfig", str(kubeconfig)) as command:
        _, errors = command.process.communicate(timeout=SECONDS)
        assert command.process.returncode == 1
        assert message in errors
        assert errors.count("\n") == 1
    if content is not None:
        assert kubeconfig.read_text() == content


def test_a_folder_that_nobody_holds_is_removed_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    abandoned = tmp_path / "berth-control-plane-abandoned"
    abandoned.mkdir()
    (abandoned / "lock").touch()
    held = Processes()
    for folder in (abandoned, held.folder):
        os.utime(folder, (0, 0))
    try:
        Processes().close()
        assert not abandoned.exists()
        assert held.folder.exists()
    finally:
        held.close()
    assert not list(tmp_path.iterdir())
