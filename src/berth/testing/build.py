"""Builds the servers and other Go programs into the cache, once, also after interruptions."""

import contextlib
import fcntl
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from berth.testing import binaries
from berth.testing.errors import ControlPlaneError
from berth.testing.processes import Processes

# The disk space of a running build (measured: 3.7 GB, 1.4 GB of it modules), with a margin.
_NEEDED_BYTES = 4_500_000_000
_POLL_SECONDS = 0.2
_QUIET_SECONDS = 15.0


class BuildProgress:
    """Shows the progress of a build: one changing line on a terminal, otherwise a line every 15 seconds."""

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._start = time.monotonic()
        self._last, self._shown_at = "", -math.inf
        self._open = False

    def step(self, text: str) -> None:
        """Start a step: always shown, on a line of its own."""
        self.close()
        self._show(text)

    def update(self, text: str) -> None:
        """Report progress within the step: shown at once on a terminal, else every 15 seconds."""
        rested = time.monotonic() - self._shown_at >= _QUIET_SECONDS
        if text != self._last and (rested or self._stream.isatty()):
            self._show(text)

    def close(self) -> None:
        """End the open line."""
        if self._open:
            print(file=self._stream, flush=True)
            self._open = False

    def _show(self, text: str) -> None:
        self._last, self._shown_at = text, time.monotonic()
        self._open = self._stream.isatty()
        start, end = ("\r\x1b[K", "") if self._open else ("", "\n")
        minutes, seconds = divmod(int(self._shown_at - self._start), 60)
        print(f"{start}[{minutes}:{seconds:02}] {text}", end=end, file=self._stream, flush=True)


@dataclass(frozen=True)
class Program:
    """A Go program: the name of its binary, the folder of its go.mod, its package, flags for the linker."""

    name: str
    module: Path
    package: str
    linker_flags: str = "-s -w"


def ensure(wanted: Sequence[str], environment: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """The binaries of the servers in `wanted`; missing ones are first built into the cache.

    A build includes all missing servers: once etcd and kube-apiserver are compiled, kube-controller-manager
    takes seconds. Raises ControlPlaneError.
    """

    def found(names: Sequence[str]) -> dict[str, Path]:
        return {name: path for name in names if (path := binaries.find(name, environment))}

    def missing() -> list[Program]:
        return [program for program in _servers() if not found([program.name])]

    if len(found(wanted)) < len(wanted):
        build(missing, binaries.cache_dir(environment), 5, environment)
    return found(wanted)


def _servers() -> list[Program]:
    modules = binaries.modules_dir()
    version = binaries.pinned_version("k8s.io/kubernetes", modules)
    major, minor, _ = version.removeprefix("v").split(".", 2)
    parts = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}  # clients ask for the version
    flags = " ".join(("-s -w", *(f"-X k8s.io/component-base/version.{k}={v}" for k, v in parts.items())))
    etcd = Program(binaries.ETCD, modules / "etcd", "go.etcd.io/etcd/server/v3")
    names = (binaries.API_SERVER, binaries.MANAGER)
    commands = [Program(n, modules / "kube", f"k8s.io/kubernetes/cmd/{n}", flags) for n in names]
    return [etcd, *commands]


def build(
    missing: Callable[[], Sequence[Program]],
    target: Path,
    minutes: int,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Build the programs that are `missing` into the folder `target`, in about `minutes` on 2 cores.

    Progress is shown on standard error. Concurrent processes build once: `missing` is called when no other
    process builds. The modules of the programs are folders beside each other. Raises ControlPlaneError.
    """
    progress = BuildProgress()
    root = target.parent
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / "build.lock").open("a") as lock:
            try:  # the kernel releases it when its holder dies
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress.step("another process builds: waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if programs := missing():
                progress.step(
                    f"building {', '.join(program.name for program in programs)} into {target}: once, about"
                    f" {minutes} minutes on 2 cores (an interrupted build continues where it stopped)"
                )
                _build(programs, target, environment, progress)
    except OSError as error:
        raise ControlPlaneError(f"{target.name} cannot be built in {root}: {error}") from error
    finally:
        progress.close()


def _build(
    programs: Sequence[Program], target: Path, environment: Mapping[str, str], progress: BuildProgress
) -> None:
    root, modules = target.parent, programs[0].module.parent
    scratch = root / f"build-{modules.name}"
    if not scratch.is_dir() and shutil.disk_usage(root).free < _NEEDED_BYTES:
        raise _no_space(root)
    target.mkdir(exist_ok=True)
    shutil.rmtree(scratch / "tmp", ignore_errors=True)
    (scratch / "tmp").mkdir(parents=True)
    variables = _go_environment(scratch, environment)
    version = binaries.go_version(modules)
    go = binaries.find_go(version, root, {**environment, **variables}, progress.step)
    with contextlib.closing(Processes()) as processes:

        def run(program: Program, label: str, arguments: Sequence[str], total: int = 0) -> str:
            """Run Go, show progress by its output (one package per line), and return that output."""
            log = processes.log("go")
            log.unlink(missing_ok=True)
            argv = [str(go), "-C", str(program.module), *arguments, program.package]
            processes.servers.start("go", argv, variables)
            while (code := processes.servers.codes()["go"]) is None:
                text = log.read_text(errors="replace")
                if total:
                    progress.update(f"{label}: {len(_packages(text))} of {total} packages compiled")
                elif fetched := text.count("go: downloading"):
                    progress.update(f"{label}: {fetched} modules fetched")
                time.sleep(_POLL_SECONDS)
            text = log.read_text(errors="replace")
            if code != 0:
                raise _failure(label, text, root)
            return text

        for number, program in enumerate(programs, 1):
            label = f"{program.name} ({number} of {len(programs)})"
            progress.step(f"{label}: fetching modules")
            total = len(_packages(run(program, label, ["list", "-deps"])))
            binary = scratch / "tmp" / program.name
            flags = ["-v", f"-ldflags={program.linker_flags}", "-o", str(binary)]
            run(program, label, ["build", *flags], total)
            binary.replace(target / program.name)  # atomic
    progress.step("built; removing what only the build needed")
    shutil.rmtree(scratch, ignore_errors=True)


def _go_environment(scratch: Path, environment: Mapping[str, str]) -> dict[str, str]:
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


def _packages(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and " " not in line]


def _failure(label: str, text: str, root: Path) -> ControlPlaneError:
    if "no space left on device" in text:
        return _no_space(root)
    lines = [line for line in text.splitlines() if " " in line and not line.startswith("go: downloading")]
    error = ControlPlaneError(
        f"building {label} failed: {lines[-1].strip() if lines else 'Go ended without a message'}"
        " (run it again to continue where it stopped)"
    )
    error.add_note("\n".join(text.splitlines()[-15:]))
    return error


def _no_space(root: Path) -> ControlPlaneError:
    free = shutil.disk_usage(root).free
    return ControlPlaneError(
        f"the disk is too full to build the control plane: {free / 1e9:.1f} GB free in {root}, "
        f"the build needs {_NEEDED_BYTES / 1e9:.1f}; free some, or set XDG_CACHE_HOME to another disk"
    )
