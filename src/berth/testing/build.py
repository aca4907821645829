"""Builds the servers from their Go modules into the cache, once, also after interruptions."""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from berth.testing import binaries, golang
from berth.testing.errors import ControlPlaneError
from berth.testing.processes import Processes
from berth.testing.progress import Progress

# The disk space of a running build (measured: 3.7 GB, 1.4 GB of it modules), with a margin.
_NEEDED_BYTES = 4_500_000_000
_POLL_SECONDS = 0.2

# server: (folder with its go.mod, package)
_PACKAGES = {
    "etcd": ("etcd", "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": ("kube", "k8s.io/kubernetes/cmd/kube-apiserver"),
    "kube-controller-manager": ("kube", "k8s.io/kubernetes/cmd/kube-controller-manager"),
}


def ensure(
    wanted: Sequence[str], progress: Progress | None = None, environment: Mapping[str, str] = os.environ
) -> dict[str, Path]:
    """The binaries of the servers in `wanted`; missing ones are first built into the cache.

    A build includes all missing servers: once etcd and kube-apiserver are compiled, kube-controller-manager
    takes seconds. Concurrent processes build once. Raises ControlPlaneError.
    """
    found = {name: binaries.find(name, environment) for name in wanted}
    if None in found.values():
        progress = progress if progress is not None else Progress()
        root = binaries.cache_root(environment)
        try:
            with only_one(root, progress):
                _build_missing(root, progress, environment)
        except OSError as error:
            raise ControlPlaneError(f"the control plane cannot be built in {root}: {error}") from error
        finally:
            progress.close()
        found = {name: binaries.find(name, environment) for name in wanted}
    return {name: path for name, path in found.items() if path is not None}


@contextlib.contextmanager
def only_one(root: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock for builds; the kernel releases it when its holder dies."""
    root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root / "build.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        waiting = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    progress.step("another process builds: waiting for it")
                    waiting = True
                progress.update("still waiting for the other process")
                time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _build_missing(root: Path, progress: Progress, environment: Mapping[str, str]) -> None:
    missing = [name for name in binaries.SERVERS if binaries.find(name, environment) is None]
    if not missing:
        return
    modules, target, scratch = binaries.modules_dir(), binaries.cache_dir(environment), root / "build"
    check_space(root, resumed=scratch.is_dir())
    target.mkdir(exist_ok=True)
    shutil.rmtree(scratch / "tmp", ignore_errors=True)
    (scratch / "tmp").mkdir(parents=True)
    progress.step(
        f"building {', '.join(missing)} into {target}: once, about 5 minutes on 2 cores"
        " (an interrupted build continues where it stopped)"
    )
    variables = go_environment(scratch, environment)
    go = golang.find(golang.required(modules), root, {**environment, **variables}, progress)
    with contextlib.closing(Processes()) as processes:
        for number, name in enumerate(missing, 1):
            folder, package = _PACKAGES[name]
            label = f"{name} ({number} of {len(missing)})"
            progress.step(f"{label}: fetching modules")
            common = [str(go), "-C", str(modules / folder)]
            listing = run_go(processes, [*common, "list", "-deps", package], variables, progress, label, 0)
            total = sum(1 for line in listing if line and " " not in line)
            binary = scratch / "tmp" / name
            argv = [*common, "build", "-v", f"-ldflags={_linker_flags(name, modules)}", "-o", str(binary)]
            run_go(processes, [*argv, package], variables, progress, label, total)
            binary.replace(target / name)  # atomic
    progress.step("the control plane is built; removing what only the build needed")
    shutil.rmtree(scratch, ignore_errors=True)


def go_environment(scratch: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for Go: it writes below `scratch` only; of the user's settings only GOENV is used."""
    home = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return {
        "GOENV": environment.get("GOENV") or str(home / "go" / "env"),
        "XDG_CONFIG_HOME": str(scratch / "config"),  # Go writes telemetry there
        "GOPATH": str(scratch / "gopath"),
        "GOMODCACHE": str(scratch / "modules"),
        "GOCACHE": str(scratch / "compiled"),
        "GOTMPDIR": str(scratch / "tmp"),
        "GOFLAGS": "-trimpath -buildvcs=false -mod=readonly -modcacherw",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }


def _linker_flags(name: str, modules: Path) -> str:
    """No symbols, and for Kubernetes the version that clients ask for."""
    if name == "etcd":
        return "-s -w"
    version = binaries.pinned_version("k8s.io/kubernetes", modules)
    major, minor, _ = version.removeprefix("v").split(".", 2)
    prefix = "k8s.io/component-base/version"
    return f"-s -w -X {prefix}.gitVersion={version} -X {prefix}.gitMajor={major} -X {prefix}.gitMinor={minor}"


def run_go(
    processes: Processes,
    argv: Sequence[str],
    variables: Mapping[str, str],
    progress: Progress,
    label: str,
    total: int,
) -> list[str]:
    """Run Go, show progress by its output (one package per line), and return that output."""
    log = processes.log("go")
    log.unlink(missing_ok=True)
    processes.start("go", argv, variables)
    while (code := processes.codes()["go"]) is None:
        lines = log.read_text(errors="replace").splitlines()
        fetched = sum(1 for line in lines if line.startswith("go: downloading"))
        if total:
            compiled = sum(1 for line in lines if line and " " not in line)
            progress.update(f"{label}: {compiled} of {total} packages compiled")
        elif fetched:
            progress.update(f"{label}: {fetched} modules fetched")
        time.sleep(_POLL_SECONDS)
    text = log.read_text(errors="replace")
    if code != 0:
        raise _failure(label, text, variables)
    return text.splitlines()


def _failure(label: str, text: str, variables: Mapping[str, str]) -> ControlPlaneError:
    scratch = Path(variables["GOTMPDIR"]).parent
    if "no space left on device" in text:
        return ControlPlaneError(_no_space(scratch.parent))
    lines = [line for line in text.splitlines() if " " in line and not line.startswith("go: downloading")]
    error = ControlPlaneError(
        f"building {label} failed: {lines[-1].strip() if lines else 'Go ended without a message'}"
        " (run it again to continue where it stopped)"
    )
    error.add_note("\n".join(text.splitlines()[-15:]))
    return error


def check_space(root: Path, *, resumed: bool) -> None:
    """Raise ControlPlaneError if the disk is too full to start a build."""
    if not resumed and shutil.disk_usage(root).free < _NEEDED_BYTES:
        raise ControlPlaneError(_no_space(root))


def _no_space(root: Path) -> str:
    free = shutil.disk_usage(root).free
    return (
        f"the disk is too full to build the control plane: {free / 1e9:.1f} GB free in {root}, "
        f"the build needs {_NEEDED_BYTES / 1e9:.1f}; free some, or set XDG_CACHE_HOME to another disk"
    )
