"""Finds Helm, or builds it from its Go module into the cache; prints its path."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from berth.testing import binaries, build

_MODULE = "helm.sh/helm/v4"


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


def ensure_helm(environment: Mapping[str, str] = os.environ) -> Path:
    """The path of Helm, which is built first if it is missing, in 2 to 3 minutes on 2 cores.

    Raises ControlPlaneError with one line.
    """
    cached = _cached(environment)
    flags = f"-s -w -X {_MODULE}/internal/version.version={_version()}"
    helm = build.Program("helm", folder(), f"{_MODULE}/cmd/helm", flags)
    if find_helm(environment) is None:
        build.build(lambda: [] if find_helm(environment) else [helm], cached.parent, 3, environment)
    return find_helm(environment) or cached


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
