import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from berth.cli import main
from berth.testing import ControlPlane

# The tests of this folder share helpers, which importlib mode does not find by itself.
sys.path.insert(0, str(Path(__file__).parent))

from cliobjects import Answer, Run, eventually, listed

PROGRAMS = Path(sys.executable).parent


@pytest.fixture
def berth(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the entry point in this process: `berth("plan", "-f", path, stdin=None)`."""

    def run(*args: object, stdin: str = "") -> Answer:
        monkeypatch.setattr(sys, "argv", ["berth", *map(str, args)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode(errors="surrogatepass"))))
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return Answer(stopped.value.code or 0, out, err)  # type: ignore[arg-type]

    return run


@pytest.fixture
def apply(control_plane: ControlPlane, namespace: str) -> Callable[..., None]:
    """Applies objects in the test's namespace."""

    def run(*objects: dict[str, Any]) -> None:
        control_plane.kubectl("apply", "-n", namespace, "-f", "-", input=listed(*objects))

    return run


@pytest.fixture
def controller(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A controller process that leads the test's namespace."""
    log = tmp_path / "controller.log"
    command = [PROGRAMS / "berth", "controller", "--kubeconfig", control_plane.kubeconfig]
    command += ["--namespace", namespace, "--lease-namespace", namespace, "--lease-duration", "2"]
    with log.open("wb") as stream, subprocess.Popen(command, stderr=stream, stdout=stream) as process:
        try:
            eventually(lambda: b"leading" in log.read_bytes() or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield process
        finally:
            # Its Lease is this namespace's own: nobody waits for it, and a clean end takes seconds.
            process.kill()
            process.wait(20)
