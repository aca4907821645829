"""Every page of docs/ that shows commands is true: they are run on a real control plane."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from console import commands, run

from berth.testing import ControlPlane

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MINE = (
    "install",
    "concepts",
    "draining",
    "handoff",
    "sizing",
    "upgrading",
    "troubleshooting",
    "comparison",
    "metrics",
    "limits",
)
BIN = Path(sys.executable).parent


def environment(kubeconfig: Path, home: Path, *tools: Path) -> dict[str, str]:
    """With `tools` and what `make env` has installed on PATH, and a home of its own."""
    path = ":".join([*(str(tool.parent) for tool in tools), str(BIN), os.defpath])
    return {"PATH": path, "HOME": str(home), "KUBECONFIG": str(kubeconfig), "KUBERC": "off", "COLUMNS": "120"}


@contextmanager
def controller(kubeconfig: Path, log: Path, *namespaces: str) -> Iterator[None]:
    argv = [str(BIN / "berth"), "controller", "--kubeconfig", str(kubeconfig)]
    argv += [f"--namespace={namespace}" for namespace in namespaces]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def play(page: str, environ: dict[str, str]) -> None:
    found = commands((DOCS / f"{page}.md").read_text())
    assert found, f"{page}.md shows nothing that is run"
    for command in found:
        run(command, environ, ROOT)


def administrator(plane: ControlPlane, namespace: str) -> Path:
    """A kubeconfig of an administrator whose context names the namespace."""
    document = yaml.safe_load(plane.kubeconfig.read_text())
    document["contexts"][0]["context"]["namespace"] = namespace
    path = plane.folder / f"docs-{namespace}"
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return path


RUNNING = ("concepts", "draining", "handoff", "troubleshooting")


@pytest.fixture(scope="module")
def namespaces(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """A namespace for each page, all looked after by one controller."""
    names = {page: f"docs-{page}-{uuid.uuid4().hex[:6]}" for page in RUNNING}
    for name in names.values():
        control_plane.create_namespace(name)
    log = tmp_path_factory.mktemp("docs") / "controller.log"
    with controller(control_plane.kubeconfig, log, *names.values()):
        yield names
    for name in names.values():
        control_plane.delete_namespace(name)


@pytest.mark.cluster
@pytest.mark.parametrize("page", RUNNING)
def test_a_page_about_a_running_berth_is_true(
    page: str, control_plane: ControlPlane, namespaces: dict[str, str], tmp_path: Path
) -> None:
    play(page, environment(administrator(control_plane, namespaces[page]), tmp_path))


@pytest.mark.cluster
@pytest.mark.timeout(400)
def test_the_pages_about_installing_and_upgrading_are_true_on_an_empty_cluster(
    helm_binary: Path, tmp_path: Path
) -> None:
    with ControlPlane() as plane:
        kubeconfig = administrator(plane, "default")
        # No kubelet runs the Deployment's pods here: one controller stands in for them.
        with controller(kubeconfig, tmp_path / "controller.log", "default"):
            environ = environment(kubeconfig, tmp_path, helm_binary)
            play("install", environ)
            play("upgrading", environ)


def manifests() -> list[tuple[str, str]]:
    found = []
    for page in MINE:
        text = (DOCS / f"{page}.md").read_text() if (DOCS / f"{page}.md").exists() else ""
        blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        found += [(page, block) for block in blocks if "kind:" in block]
    return found


@pytest.mark.cluster
@pytest.mark.parametrize(("page", "text"), manifests())
def test_the_api_server_accepts_the_manifests_of_the_pages(
    page: str, text: str, control_plane: ControlPlane, namespace: str
) -> None:
    args = ("apply", "-n", namespace, "--dry-run=server", "--validate=strict", "-f", "-")
    printed = control_plane.kubectl(*args, input=text)
    assert printed.count("(server dry run)") == text.count("\nkind:") + text.startswith("kind:")


@pytest.mark.parametrize("page", MINE)
def test_links_lead_somewhere(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text()
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (DOCS / target).exists(), f"{page}.md links to {target}"


def test_the_map_in_contributing_names_every_package() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for package in sorted(p.parent for p in (ROOT / "src" / "berth").glob("*/__init__.py")):
        assert f"`{package.name}/`" in text, f"src/berth/{package.name} is not on the map"
    for folder in re.findall(r"^\| `([\w./-]+)` \|", text, re.MULTILINE):
        assert (ROOT / folder).exists() or (ROOT / "src" / "berth" / folder).exists(), folder
