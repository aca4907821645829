"""The parent's side of the supervisor: a data folder, and servers that do not outlive this process."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from berth.testing.errors import ControlPlaneError

_PREFIX = "berth-control-plane-"
_YOUNG_SECONDS = 60.0
_TAIL_LINES = 15


class Processes:
    """A private folder and the servers that run in it; both end with `close` or with this process.

    `extra` names files outside the folder that are removed with it. Thread-safe. Raises ControlPlaneError.
    """

    def __init__(self, extra: Sequence[Path] = ()) -> None:
        _sweep(Path(tempfile.gettempdir()))
        self._mutex = threading.Lock()
        try:
            self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        except OSError as error:
            raise ControlPlaneError(f"no data folder can be created: {error}") from error
        try:
            self._supervisor = self._supervise(extra)
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ControlPlaneError(f"no control plane can be started: {error}") from error

    def _supervise(self, extra: Sequence[Path]) -> subprocess.Popen[bytes]:
        (self.folder / "logs").mkdir()
        lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the supervisor inherits it and holds it as long as it lives
            script = Path(__file__).with_name("supervisor.py")
            with (self.folder / "logs" / "supervisor.log").open("ab") as log:
                return subprocess.Popen(
                    [sys.executable, "-I", "-S", str(script), str(self.folder), str(os.getpid()), str(lock)]
                    + [str(path) for path in extra],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    pass_fds=[lock],
                    start_new_session=True,  # Ctrl-C in the terminal is for the parent to handle
                )
        finally:
            os.close(lock)

    def start(self, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
        """Start a server that is not running; its process id. The output goes to `log(name)`."""
        return int(self._ask(op="start", name=name, argv=list(argv), environment=dict(environment or {})))

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a server."""
        self._ask(op="signal", name=name, number=int(number))

    def stop(self, name: str, grace: float) -> int:
        """Stop a server with SIGTERM, with SIGKILL after `grace` seconds (at once if 0); its exit code."""
        return int(self._ask(op="stop", name=name, grace=grace))

    def codes(self) -> dict[str, int | None]:
        """Exit codes of the servers that were started, None for one that runs."""
        codes: dict[str, int | None] = self._ask(op="codes")
        return codes

    def pids(self) -> dict[str, int]:
        """Process ids of the servers that run."""
        pids: dict[str, int] = self._ask(op="pids")
        return pids

    def log(self, name: str) -> Path:
        """The file with a server's output."""
        return self.folder / "logs" / f"{name}.log"

    def tail(self, name: str) -> list[str]:
        """The last lines of a server's output."""
        with contextlib.suppress(OSError):
            return self.log(name).read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return []

    def close(self) -> None:
        """Stop every server, the newest first, and remove the folder. May be called again."""
        with self._mutex:
            assert self._supervisor.stdin is not None
            assert self._supervisor.stdout is not None
            with contextlib.suppress(OSError):
                self._supervisor.stdin.close()
            try:
                self._supervisor.wait(30)
            except subprocess.TimeoutExpired:
                self._supervisor.kill()  # the kernel then kills the servers
                self._supervisor.wait()
            self._supervisor.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ask(self, **command: Any) -> Any:
        with self._mutex:
            assert self._supervisor.stdin is not None
            assert self._supervisor.stdout is not None
            try:
                self._supervisor.stdin.write(json.dumps(command).encode() + b"\n")
                self._supervisor.stdin.flush()
                line = self._supervisor.stdout.readline()
            except (OSError, ValueError):
                line = b""
        if not line:
            raise ControlPlaneError("the supervisor of the control plane has ended")
        reply = json.loads(line)
        if "error" in reply:
            raise ControlPlaneError(f"{command['op']} {command.get('name', '')}: {reply['error']}")
        return reply["result"]


def _sweep(parent: Path) -> None:
    """Remove folders that a killed supervisor left: old enough to be locked, and locked by nobody."""
    for folder in parent.glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):
            status = folder.stat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < _YOUNG_SECONDS:
                continue
            lock = os.open(folder / "lock", os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
