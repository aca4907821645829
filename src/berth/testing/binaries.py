"""Where the servers' binaries come from: KUBEBUILDER_ASSETS, PATH, the cache, else a build into the cache."""

import os
import platform
import re
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from berth.testing.errors import ControlPlaneError

ETCD, API_SERVER, MANAGER = SERVERS = ("etcd", "kube-apiserver", "kube-controller-manager")


def modules_dir() -> Path:
    """The folder with the Go modules that pin the servers, in the source tree or the installed wheel."""
    source = Path(__file__).parents[3] / "tools" / "controlplane"
    installed = Path(sysconfig.get_path("data")) / "share" / "berth" / "controlplane"
    return source if source.is_dir() else installed


def pinned_version(module: str, modules: Path) -> str:
    """The version of `module` (like `k8s.io/kubernetes`) that a go.mod under `modules` requires."""
    for file in sorted(modules.glob("*/go.mod")):
        if found := re.search(
            rf"^\s*(?:require )?{re.escape(module)} (v\S+)", file.read_text(), re.MULTILINE
        ):
            return found[1]
    raise ControlPlaneError(f"no go.mod in {modules} requires {module}")


def cache_root(environment: Mapping[str, str] = os.environ) -> Path:
    """Berth's folder in the user's cache: $XDG_CACHE_HOME/berth, else ~/.cache/berth."""
    root = environment.get("XDG_CACHE_HOME", "")
    # The XDG specification requires that a relative path is ignored.
    return (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "berth"


def cache_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder for the pinned versions of the servers on this platform."""
    modules = modules_dir()
    etcd = pinned_version("go.etcd.io/etcd/server/v3", modules)
    kubernetes = pinned_version("k8s.io/kubernetes", modules)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return (
        cache_root(environment)
        / f"control-plane-etcd-{etcd}-kubernetes-{kubernetes}-{sys.platform}-{machine}"
    )


def find(name: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The binary of a server; None if it has to be built."""
    for folder in (environment.get("KUBEBUILDER_ASSETS", ""), environment.get("PATH", os.defpath)):
        if folder and (path := shutil.which(name, path=folder)):
            return Path(path).absolute()
    cached = cache_dir(environment) / name
    return cached if os.access(cached, os.X_OK) else None
