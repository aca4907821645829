"""The parent's side of the supervisor: a data folder, and servers that do not outlive this process."""

import contextlib
import fcntl
import functools
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from berth.testing.errors import ControlPlaneError
from berth.testing.supervisor import Servers

_PREFIX = "berth-control-plane-"
_YOUNG_SECONDS = 60.0


class Processes:
    """A private folder and the servers that run in it; both end with `close` or with this process."""

    def __init__(self, extra: Sequence[Path] = ()) -> None:
        """`extra` names files outside the folder that are removed with it. Raises ControlPlaneError."""
        _sweep(Path(tempfile.gettempdir()))
        self._mutex = threading.Lock()
        try:
            self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        except OSError as error:
            raise ControlPlaneError(f"no data folder can be created: {error}") from error
        try:
            self._pipe, theirs = multiprocessing.Pipe()
            with theirs:
                self._supervisor = self._supervise(theirs.fileno(), extra)
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ControlPlaneError(f"no control plane can be started: {error}") from error
        calls = {name: functools.partial(self._call, name) for name in vars(Servers) if name[0] != "_"}
        self.servers = cast(Servers, SimpleNamespace(**calls))
        """The servers, in the supervisor. Thread-safe; a method that fails raises ControlPlaneError."""

    def _supervise(self, pipe: int, extra: Sequence[Path]) -> subprocess.Popen[bytes]:
        (self.folder / "logs").mkdir()
        lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the supervisor inherits it and holds it as long as it lives
            script = Path(__file__).with_name("supervisor.py")
            arguments = [str(each) for each in (script, self.folder, os.getpid(), pipe, lock, *extra)]
            with (self.folder / "logs" / "supervisor.log").open("ab") as log:
                return subprocess.Popen(
                    [sys.executable, "-I", "-S", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[pipe, lock],
                    start_new_session=True,  # Ctrl-C in the terminal is for the parent to handle
                )
        finally:
            os.close(lock)

    def log(self, name: str) -> Path:
        """The file with a server's output."""
        return self.folder / "logs" / f"{name}.log"

    def close(self) -> None:
        """Stop every server, the newest first, and remove the folder. May be called again."""
        with self._mutex:
            self._pipe.close()
            try:
                self._supervisor.wait(30)
            except subprocess.TimeoutExpired:
                self._supervisor.kill()  # the kernel then kills the servers
                self._supervisor.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the supervisor's Servers."""
        with self._mutex:
            try:
                self._pipe.send((method, arguments))
                result, error = self._pipe.recv()
            except (OSError, EOFError):
                raise ControlPlaneError("the supervisor of the control plane has ended") from None
        if error is not None:
            raise ControlPlaneError(f"{method} {arguments[0] if arguments else 'servers'}: {error}")
        return result


def _sweep(parent: Path) -> None:
    """Remove folders that a killed supervisor left: old enough to be locked, and locked by nobody."""
    for folder in parent.glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):
            status = folder.stat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < _YOUNG_SECONDS:
                continue
            with (folder / "lock").open("r+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
