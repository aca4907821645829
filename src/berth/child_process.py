"""A function in a separate process: a hang, a crash or a lack of memory there costs one answer.

The process is started by `start`, or by the first question, and stays for the next ones. If it does
not answer in time, it is killed. If the current process has a single thread, it is forked, which is
fast. Otherwise a new Python is started, because a fork of a process with threads may inherit a lock
that is never released.
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
from typing import Any

MAX_ANSWER = 64 << 20  # maximum size of an answer in bytes: five plans of 100,000 Items with 32 replicas


class ChildProcess:
    """Calls `function`, a `module:name`, in another process, with a question and these other arguments.

    `memory` is the maximum address space of the process in bytes.
    """

    def __init__(self, function: str, *others: Any, memory: int) -> None:
        self._call, self._lock = (function, others, memory), threading.RLock()
        self._connection: Connection | None = None
        self._process: subprocess.Popen[bytes] | ForkProcess | None = None

    def start(self) -> Connection:
        """Start the process, so that the first question does not wait for it."""
        with self._lock:
            if self._connection is None:
                connection, child_end = multiprocessing.Pipe()
                if threading.active_count() == 1:
                    fork, ends = multiprocessing.get_context("fork"), (child_end, connection)
                    process = fork.Process(target=serve, args=ends, daemon=True)
                    process.start()
                    self._process = process
                else:
                    number = child_end.fileno()
                    code = f"from berth.child_process import Connection, serve; serve(Connection({number}))"
                    command = [sys.executable, "-c", code]
                    self._process = subprocess.Popen(command, pass_fds=[number], stdin=subprocess.DEVNULL)
                child_end.close()
                self._connection = connection
            return self._connection

    def ask(self, question: Any, seconds: float) -> tuple[object, str]:
        """The answer, or why there is none, for users; blocks for at most about `seconds`."""
        with self._lock:
            until = monotonic() + seconds
            try:
                connection = self.start()
                connection.send((self._call, sys.path, question, seconds))
                if connection.poll(max(0.0, until - monotonic())):
                    answer, failure = pickle.loads(connection.recv_bytes(MAX_ANSWER))
                    return answer, failure
                self._stop()
                return None, f"no answer within {seconds:g} s"
            except (OSError, EOFError, ValueError, TypeError, AttributeError, ImportError) as error:
                return None, f"its process ended ({self._stop()}): {error!r}"

    def close(self) -> None:
        """End the process; a question that is being asked fails at once."""
        if (process := self._process) is not None:
            process.kill()
        with self._lock:
            self._stop()

    def _stop(self) -> str:
        """End the process; returns how it ended."""
        connection, process, code = self._connection, self._process, None
        self._connection = self._process = None
        if connection is not None:
            connection.close()
        if process is None:
            return "not started"
        with contextlib.suppress(Exception):
            process.kill()
            if isinstance(process, ForkProcess):
                process.join(5)
                code = process.exitcode
            else:
                code = process.wait(5)
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._stop()


def serve(questions: Connection, parent_end: Connection | None = None) -> None:
    """Answer questions until the other end is closed: what the process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the asking process handles Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if parent_end is not None:
        parent_end.close()
    with contextlib.suppress(OSError):
        os.dup2(2, 1)  # standard output belongs to the asking process
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")  # if memory runs out, the kernel should kill this process first
    while True:
        try:
            (function, others, memory), sys.path[:], question, seconds = questions.recv()
        except (EOFError, OSError):
            return
        signal.alarm(int(seconds) + 5)  # ends the process if the asking one is gone
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
        module, _, name = function.partition(":")
        try:
            reply = getattr(importlib.import_module(module), name)(question, *others), ""
        except Exception as error:  # report any failure to the asking process
            reply = None, f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):
            questions.send(reply)
        signal.alarm(0)
