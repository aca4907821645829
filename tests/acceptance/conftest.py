import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.cli import main
from berth.testing import ControlPlane

# The tests of this folder share helpers, which importlib mode does not find by itself.
sys.path.insert(0, str(Path(__file__).parent))

from world import World


@pytest.fixture
def ran(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> "Callable[..., subprocess.CompletedProcess[str]]":
    """Runs `berth plan` in this process, which spares its start."""

    def run(*args: str, text: str = "") -> "subprocess.CompletedProcess[str]":
        monkeypatch.setattr(sys, "argv", ["berth", "plan", *args])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        code = stopped.value.code or 0
        return subprocess.CompletedProcess(args, int(code), out, err)

    return run


@pytest.fixture
def plan(ran: "Callable[..., subprocess.CompletedProcess[str]]") -> Callable[..., dict[str, Any]]:
    """Plans what manifests say, and gives the JSON."""

    def run(*docs: dict[str, Any]) -> dict[str, Any]:
        done = ran("-f", "-", "-o", "json", text=yaml.safe_dump_all(docs))
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    return run


@pytest.fixture
def world(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[World]:
    """A namespace without a controller."""
    world = World(control_plane.kubeconfig, namespace, tmp_path)
    try:
        yield world
    finally:
        world.close()


@pytest.fixture
def led(world: World) -> World:
    """A namespace with a controller that leads."""
    world.start_controller()
    return world
