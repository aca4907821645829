"""The whole of it on kind, where Docker and kind are at hand."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from charting import ROOT

from berth.testing import ControlPlane

DEMO = ROOT / "examples" / "kind"


def what_is_missing() -> str:
    for tool in ("docker", "kind"):
        if shutil.which(tool) is None:
            return f"{tool} is missing"
    if subprocess.run(["docker", "info"], capture_output=True, timeout=30, check=False).returncode:
        return "no Docker engine answers"
    return ""


MISSING = what_is_missing()


@pytest.mark.skipif(bool(MISSING), reason=f"make kind-demo: {MISSING}")
@pytest.mark.timeout(1800)
def test_the_image_and_the_chart_work_on_kind() -> None:
    assert subprocess.run([str(DEMO / "demo.sh")], check=False).returncode == 0


@pytest.mark.skipif(not MISSING, reason="Docker and kind are there")
def test_without_docker_and_kind_the_demo_says_so_and_changes_nothing() -> None:
    done = subprocess.run([str(DEMO / "demo.sh")], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("kind-demo: ")
    assert done.stdout == ""


def test_the_demo_is_a_sound_shell_script() -> None:
    done = subprocess.run(["bash", "-n", str(DEMO / "demo.sh")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.cluster
def test_the_api_server_accepts_the_workers_of_the_demo(control_plane: ControlPlane, namespace: str) -> None:
    objects: list[dict[str, Any]] = list(yaml.safe_load_all(Path(DEMO / "workers.yaml").read_text()))
    said = control_plane.kubectl(
        "apply", "-n", namespace, "--dry-run=server", "--validate=strict", "-f", str(DEMO / "workers.yaml")
    )
    assert len(said.splitlines()) == len(objects)
