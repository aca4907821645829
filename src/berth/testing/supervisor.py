"""A small process that owns the servers of one control plane and ends with its parent.

Run as `python -I -S supervisor.py FOLDER PARENT_PID PIPE_FD LOCK_FD [EXTRA_FILE ...]` with the standard
library only. Through the pipe its parent calls the methods of Servers. When the pipe closes, the parent is
gone (SIGKILL included) or a SIGTERM arrives, it stops the servers in the reverse order of their start (the
API server before etcd: the other way round it hangs), removes FOLDER and the extra files, and exits. If the
supervisor itself is killed, the kernel kills its servers (PR_SET_PDEATHSIG), and the next control plane that
starts removes FOLDER, whose lock nobody holds any more.
"""

import contextlib
import ctypes
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.25


def _die_with(supervisor: int, libc: ctypes.CDLL) -> None:
    """Have the kernel kill this process, a server to be, when the supervisor dies."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died before the line above
        os._exit(1)


class Servers:
    """The running servers by name, in the order of their start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._preexec = None
        if sys.platform.startswith("linux"):
            self._preexec = functools.partial(_die_with, os.getpid(), ctypes.CDLL(None))

    def start(self, name: str, argv: Sequence[str], environment: Mapping[str, str] = {}) -> int:
        """Start a server that is not running; its process id. Its output is added to FOLDER/logs/NAME.log."""
        if name in self.pids():
            raise ValueError(f"{name} already runs")
        self._processes.pop(name, None)  # so that it comes last, in the order of starts
        with (self._folder / "logs" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                cwd=self._folder,
                start_new_session=True,  # its own process group, with its children
                preexec_fn=self._preexec,  # noqa: PLW1509 - this process has one thread
            )
        self._processes[name] = process
        return process.pid

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a server if it is running."""
        process = self._processes[name]
        if process.poll() is None:
            _signal_group(process, number)

    def stop(self, name: str, grace: float) -> int:
        """Stop a server with SIGTERM, with SIGKILL after `grace` seconds (at once if 0); its exit code."""
        process = self._processes[name]
        if process.poll() is None:
            _signal_group(process, signal.SIGTERM if grace > 0 else signal.SIGKILL)
            _signal_group(process, signal.SIGCONT)  # a paused server must receive the signal
            try:
                process.wait(grace or None)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
        return process.wait()

    def codes(self) -> dict[str, int | None]:
        """Exit codes by name; None for a running server."""
        return {name: process.poll() for name, process in self._processes.items()}

    def pids(self) -> dict[str, int]:
        """Process ids of the running servers."""
        return {name: process.pid for name, process in self._processes.items() if process.poll() is None}

    def stop_all(self) -> None:
        """Kill all servers, the newest first. Their data is discarded, so no graceful stop is needed."""
        for name in reversed(list(self._processes)):
            with contextlib.suppress(OSError):
                self.stop(name, 0)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _serve(servers: Servers, pipe: Connection, parent: int) -> None:
    """Carry out calls of the methods of `servers` until the pipe closes or the parent is gone."""
    while os.getppid() == parent:
        if not pipe.poll(_POLL_SECONDS):
            servers.codes()  # reaps ended servers
            continue
        method, arguments = pipe.recv()
        try:
            result, problem = getattr(servers, method)(*arguments), None
        except (OSError, ValueError, KeyError) as error:
            result, problem = None, f"{type(error).__name__}: {error}"
        pipe.send((result, problem))


def _remove(folder: Path, extra: list[str]) -> None:
    for path in extra:
        with contextlib.suppress(OSError):
            os.unlink(path)
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def main() -> None:
    """Serve the parent, then stop the servers and remove all files."""
    folder, parent, pipe, _lock, *extra = sys.argv[1:]  # the lock is held because it is open
    signals = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    for number in signals:
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    servers = Servers(Path(folder))
    try:
        with contextlib.suppress(EOFError, OSError):  # the parent has closed the pipe
            _serve(servers, Connection(int(pipe)), int(parent))
    finally:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        servers.stop_all()
        _remove(Path(folder), extra)


if __name__ == "__main__":
    main()
