"""An engine in a process of its own: a hang, a crash or a lack of memory there costs one answer.

The process is started when first asked, or before by `start`, and stays for the next question; one
that does not answer in time is killed. Where this process has a single thread it is forked, which
takes no time; else another Python is started, as a fork beside threads may inherit a lock that
nobody opens.
"""

import contextlib
import importlib
import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from time import monotonic

from berth.solve.model import Problem
from berth.solve.tuning import Tuning

ENGINE = "berth.solve.answer:thorough"
LARGEST = 64 << 20  # bytes of an answer that are read: five times what 100,000 Items with 32 replicas take


class EngineError(RuntimeError):
    """The engine gave no answer; says why, for people."""


class Apart:
    """Asks `engine` (module:function, called with a Problem and a Tuning) in another process."""

    def __init__(self, tuning: Tuning, engine: str = ENGINE) -> None:
        self._tuning, self._engine, self._lock = tuning, engine, threading.RLock()
        self._connection: Connection | None = None
        self._process: subprocess.Popen[bytes] | ForkProcess | None = None

    def start(self) -> Connection:
        """Start the process, so that the first question need not wait for it."""
        with self._lock:
            if self._connection is None:
                self._connection, theirs = multiprocessing.Pipe()
                if threading.active_count() == 1:
                    fork, ends = multiprocessing.get_context("fork"), (theirs, self._connection)
                    self._process = fork.Process(target=_serve, args=ends, daemon=True)
                    self._process.start()
                else:
                    code = f"from berth.solve.apart import main; main({theirs.fileno()})"
                    command, files = [sys.executable, "-c", code], [theirs.fileno()]
                    self._process = subprocess.Popen(command, pass_fds=files, stdin=subprocess.DEVNULL)
                theirs.close()
            return self._connection

    def ask(self, problem: Problem, seconds: float) -> object:
        """The engine's answer; blocks for at most about `seconds`. Raises EngineError."""
        with self._lock:
            until = monotonic() + seconds
            try:
                connection = self.start()
                connection.send((self._engine, sys.path, problem, self._tuning, seconds))
                if not connection.poll(max(0.0, until - monotonic())):
                    self._stop()
                    raise EngineError(f"no answer within {seconds:g} s")
                answered, answer = pickle.loads(connection.recv_bytes(LARGEST))
            except (OSError, EOFError, ValueError, TypeError, AttributeError, ImportError) as error:
                raise EngineError(f"the engine's process ended ({self._stop()}): {error!r}") from error
            if not answered:
                raise EngineError(str(answer))
            return answer

    def close(self) -> None:
        """End the process; a question under way fails at once."""
        if self._process is not None:
            self._process.kill()
        with self._lock:
            self._stop()

    def _stop(self) -> str:
        """End the process; says how it ended."""
        if self._connection is None or self._process is None:
            return "not started"
        self._connection.close()
        self._connection, process = None, self._process
        with contextlib.suppress(Exception):
            process.kill()
            if isinstance(process, ForkProcess):
                process.join(5)
            code = process.exitcode if isinstance(process, ForkProcess) else process.wait(5)
            return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return "unknown"

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
    with contextlib.suppress(OSError):
        os.dup2(2, 1)  # standard output is for what the one who asks prints
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")  # where memory is short, the kernel takes this process first
    while True:
        try:
            engine, sys.path[:], problem, tuning, seconds = questions.recv()
        except (EOFError, OSError):
            return
        signal.alarm(int(seconds) + 5)  # ends the process, should the one who asks be gone
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (tuning.memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
        module, _, name = engine.partition(":")
        try:
            reply = (True, getattr(importlib.import_module(module), name)(problem, tuning))
        except Exception as error:  # whatever it is, the one who asks is told
            reply = (False, f"{type(error).__name__}: {error}")
        with contextlib.suppress(OSError):
            questions.send(reply)
        signal.alarm(0)
