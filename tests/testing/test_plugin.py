import os
import subprocess
import sys
from pathlib import Path

import pytest

from berth.testing import ControlPlane

TEST = """
def test_that_needs_a_cluster(control_plane): ...
def test_that_needs_none(): ...
"""


def run_pytest(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text('pytest_plugins = ["berth.testing.plugin"]\n')
    (folder / "test_it.py").write_text(TEST)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "PATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_test_that_cannot_have_a_control_plane_says_why_and_others_go_on(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, PIP_NO_INDEX="1", UV_OFFLINE="1", UV_NO_CACHE="1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "no control plane: no Go to build the control plane with: there is no Go on PATH" in done.stdout
    assert "1 passed, 1 error" in done.stdout


def test_nothing_is_built_when_no_selected_test_needs_it(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "-k", "none")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "cache").exists()


@pytest.mark.cluster
def test_a_namespace_is_named_after_its_test(namespace: str, control_plane: ControlPlane) -> None:
    assert namespace.startswith("test-a-namespace-is-named-after-its-test-")
    assert f"namespace/{namespace}\n" in control_plane.kubectl("get", "namespaces", "-o", "name")
