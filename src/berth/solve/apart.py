"""An engine in a process of its own: a hang, a crash or a lack of memory there costs one answer.

The process is started when first asked, or before by `start`, and stays for the next question; one
that does not answer in time is killed. Where this process has a single thread it is forked, which
takes no time; else another Python is started, as a fork beside threads may inherit a lock that
nobody opens.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

from berth.solve.model import Problem
from berth.solve.tuning import Tuning

ENGINE = "berth.solve.answer:thorough"


class EngineFailed(RuntimeError):
    """The engine gave no answer; says why, for people."""


class Apart:
    """Asks `engine` (module:function, called with a Problem and a Tuning) in another process."""

    def __init__(self, tuning: Tuning, engine: str = ENGINE) -> None:
        self._tuning, self._engine = tuning, engine
        self._connection: Connection | None = None
        self._kill: Callable[[], None] = lambda: None
        self._ended: Callable[[], int | None] = lambda: None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the process, so that the first question need not wait for it."""
        with self._lock:
            self._start()

    def _start(self) -> None:
        if self._connection is not None:
            return
        mine, theirs = multiprocessing.Pipe()
        if threading.active_count() == 1:
            child = multiprocessing.get_context("fork").Process(target=_serve, args=(theirs, mine), daemon=True)
            child.start()
            self._kill, self._ended = child.kill, lambda: (child.join(5), child.exitcode)[1]
        else:
            code = f"from berth.solve.apart import main; main({theirs.fileno()})"
            other = subprocess.Popen(
                [sys.executable, "-c", code], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
            self._kill, self._ended = other.kill, lambda: other.wait(5)
        theirs.close()
        self._connection = mine

    def ask(self, problem: Problem, seconds: float) -> Any:
        """The engine's answer; blocks for at most about `seconds`. Raises EngineFailed."""
        with self._lock:
            until = monotonic() + seconds
            try:
                self._start()
                assert self._connection is not None
                question = (self._engine, sys.path, problem, self._tuning, seconds)
                self._connection.send(question)
                if not self._connection.poll(max(0.0, until - monotonic())):
                    raise EngineFailed(f"no answer within {seconds:g} s")
                ok, answer = self._connection.recv()
            except EngineFailed:
                self._stop()
                raise
            except Exception as error:  # it died, or what it sent cannot be read
                code = self._stop()
                how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
                raise EngineFailed(f"the engine's process ended by {how}: {error!r}") from error
            if not ok:
                raise EngineFailed(str(answer))
            return answer

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._stop()

    def _stop(self) -> int | None:
        if self._connection is None:
            return None
        self._connection.close()
        self._connection = None
        self._kill()
        with contextlib.suppress(Exception):
            return self._ended()
        return None

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._stop()


def main(descriptor: int) -> None:
    """What the other Python runs."""
    importlib.import_module(ENGINE.partition(":")[0])
    _serve(Connection(descriptor))


def _serve(questions: Connection, not_mine: Connection | None = None) -> None:
    """Answer until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if not_mine is not None:
        not_mine.close()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")  # where memory is short, the kernel takes this process first
    while True:
        try:
            engine, path, problem, tuning, seconds = questions.recv()
        except (EOFError, OSError):
            return
        # A bound of its own, should the one who asks be gone: SIGALRM ends the process.
        signal.alarm(int(seconds) + 5)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (tuning.memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
        try:
            sys.path[:] = path
            module, _, name = engine.partition(":")
            said = (True, getattr(importlib.import_module(module), name)(problem, tuning))
        except Exception as error:
            said = (False, f"{type(error).__name__}: {error}")
        with contextlib.suppress(OSError):
            questions.send(said)
        signal.alarm(0)
