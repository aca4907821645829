"""Finds Helm, or builds it from its Go module into the cache; prints its path."""

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from berth.testing import binaries, build, golang
from berth.testing.errors import ControlPlaneError
from berth.testing.processes import Processes
from berth.testing.progress import Progress

_MODULE = "helm.sh/helm/v4"
_PACKAGE = f"{_MODULE}/cmd/helm"


def folder() -> Path:
    """The folder with the Go module that pins Helm."""
    return Path(__file__).parent / "helm"


def find_helm(environment: Mapping[str, str] = os.environ) -> Path | None:
    """A Helm of the pinned major version from PATH or the cache; None if it has to be built."""
    on_path = shutil.which("helm", path=environment.get("PATH", os.defpath))
    if on_path is not None and _major(Path(on_path)) == _version().partition(".")[0]:
        return Path(on_path)
    cached = _cached(environment)
    return cached if os.access(cached, os.X_OK) else None


def ensure_helm(progress: Progress | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """The path of Helm, which is built first if it is missing, in 2 to 3 minutes on 2 cores.

    Raises ControlPlaneError with one line.
    """
    found = find_helm(environment)
    if found is not None:
        return found
    progress = progress if progress is not None else Progress()
    root = binaries.cache_root(environment)
    try:
        with build.only_one(root, progress):
            if find_helm(environment) is None:
                _build(root, progress, environment)
    except OSError as error:
        raise ControlPlaneError(f"Helm cannot be built in {root}: {error}") from error
    finally:
        progress.close()
    return _cached(environment)


def _build(root: Path, progress: Progress, environment: Mapping[str, str]) -> None:
    target, scratch = _cached(environment), root / "build-helm"
    build.check_space(root, resumed=scratch.is_dir())
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(scratch / "tmp", ignore_errors=True)
    (scratch / "tmp").mkdir(parents=True)
    progress.step(f"building Helm {_version()} into {target.parent}: once, about 3 minutes on 2 cores")
    variables = build.go_environment(scratch, environment)
    modules = folder()
    go = golang.find(golang.required(modules.parent), root, {**environment, **variables}, progress)
    common = [str(go), "-C", str(modules)]
    with contextlib.closing(Processes()) as processes:
        listing = build.run_go(
            processes, [*common, "list", "-deps", _PACKAGE], variables, progress, "helm", 0
        )
        total = sum(1 for line in listing if line and " " not in line)
        binary = scratch / "tmp" / "helm"
        flags = f"-s -w -X {_MODULE}/internal/version.version={_version()}"
        argv = [*common, "build", "-v", f"-ldflags={flags}", "-o", str(binary), _PACKAGE]
        build.run_go(processes, argv, variables, progress, "helm", total)
        binary.replace(target)  # atomic
    progress.step("Helm is built; removing what only the build needed")
    shutil.rmtree(scratch, ignore_errors=True)


def _version() -> str:
    return binaries.pinned_version(_MODULE, folder().parent)


def _cached(environment: Mapping[str, str]) -> Path:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return binaries.cache_root(environment) / f"helm-{_version()}-{sys.platform}-{machine}" / "helm"


def _major(helm: Path) -> str | None:
    """The major version of a Helm, like `v4`; None if it prints none."""
    try:
        done = subprocess.run(
            [str(helm), "version", "--short"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    match = re.match(r"(v\d+)\.", done.stdout)
    return match[1] if match else None


if __name__ == "__main__":
    print(ensure_helm())
