"""`python -m berth.testing`, `berth crds` and the Makefile: sections 9 and 11 of the design."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from acceptance_paths import BERTH, KUBECTL, ROOT

from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster


def start(kubeconfig: Path, *flags: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "berth.testing", "--kubeconfig", str(kubeconfig), *flags]
    # A session of its own: what it leaves behind can be found by it.
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def gone(processes: list[psutil.Process], seconds: float = 20) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not alive


@pytest.mark.parametrize(
    "ending",
    [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.deep), signal.SIGKILL],
)
def test_it_says_ready_and_leaves_nothing_behind(tmp_path: Path, ending: signal.Signals) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    process = start(kubeconfig, "--with-crds", *(["--with-gc"] if ending is signal.SIGTERM else []))
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        answer = subprocess.run(
            [KUBECTL, "--kubeconfig", kubeconfig, "get", "items,members,assignments,pools"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (answer.returncode, "No resources found" in answer.stderr) == (0, True), answer.stderr
        children = descendants(process.pid)
        names = {name for p in children for name in ("etcd", "kube-apiserver") if name in p.name()}
        assert names == {"etcd", "kube-apiserver"}
        [data] = [
            a for p in children if p.name() == "etcd" for a in p.cmdline() if a.startswith("--data-dir=")
        ]
        folder = Path(data.partition("=")[2]).parent
        assert folder.exists()
        os.kill(process.pid, ending)
        code = process.wait(60)
        if ending is not signal.SIGKILL:
            assert code == 0
            assert not kubeconfig.exists()
        assert gone(children)
        end = time.monotonic() + 20
        while folder.exists():
            assert time.monotonic() < end, f"{folder} is left behind"
            time.sleep(0.2)
    finally:
        process.kill()
        process.wait(20)
        if process.stdout:
            process.stdout.close()


def test_a_kubeconfig_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "berth.testing", "--kubeconfig", tmp_path / "none" / "kubeconfig"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert str(tmp_path) in done.stderr


def test_the_crds_that_the_command_prints_are_those_of_the_folder() -> None:
    printed = subprocess.run([BERTH, "crds"], capture_output=True, text=True, timeout=60, check=True).stdout
    named = {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all(printed) if d}
    there = {}
    for path in (ROOT / "crds").glob("*.yaml"):
        for doc in yaml.safe_load_all(path.read_text()):
            if doc:
                there[doc["kind"], doc["metadata"]["name"]] = doc
    assert named == there
    kinds = [kind for kind, _ in named]
    assert kinds.count("CustomResourceDefinition") == 4
    assert {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"} <= set(kinds)


def test_every_crd_has_the_category_and_one_version() -> None:
    for path in (ROOT / "crds").glob("*.yaml"):
        for doc in yaml.safe_load_all(path.read_text()):
            if doc["kind"] == "CustomResourceDefinition":
                assert doc["spec"]["group"] == "berth.dev"
                assert "berth" in doc["spec"]["names"]["categories"]
                assert [v["name"] for v in doc["spec"]["versions"]] == ["v1alpha1"]
                assert doc["spec"]["scope"] == "Namespaced"
                assert "status" in doc["spec"]["versions"][0]["subresources"]


def test_the_makefile_has_the_targets() -> None:
    for target in ("env", "demo", "test", "bench", "lint", "help"):
        done = subprocess.run(
            ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr


def test_kubectl_finds_berth_as_a_plugin(control_plane: ControlPlane, namespace: str) -> None:
    environment = {**os.environ, "PATH": f"{BERTH.parent}{os.pathsep}{os.environ['PATH']}"}
    environment["KUBECONFIG"] = str(control_plane.kubeconfig)
    done = subprocess.run(
        [KUBECTL, "berth", "status", "--namespace", namespace],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
