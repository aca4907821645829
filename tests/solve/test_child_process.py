"""The engine's process: what it prints, and what follows where it cannot be started."""

from __future__ import annotations

import os
import subprocess
import threading
from contextlib import closing
from typing import Any

import pytest
from random_pools import random_pool

from berth.child_process import ChildProcess
from berth.solve.answer import thorough
from berth.solve.engine import ENGINE
from berth.solve.model import Problem, Solution
from berth.solve.tuning import DEFAULT, Tuning


def chatty(problem: Problem, tuning: Tuning) -> Solution:
    """An engine that writes to its standard output."""
    os.write(1, b"chatter\n")
    return thorough(problem, tuning)


def test_what_an_engine_prints_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with closing(ChildProcess(f"{__name__}:chatty", DEFAULT, memory=DEFAULT.memory)) as process:
        answer, _ = process.ask(random_pool(3, 20, 4), 20.0)
    assert isinstance(answer, Solution)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "chatter" in printed.err


def test_a_process_that_could_not_be_started_is_started_by_the_next_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise OSError("no memory for another process")

    monkeypatch.setattr(threading, "active_count", lambda: 2)  # so that it is not forked
    with closing(ChildProcess(ENGINE, DEFAULT, memory=DEFAULT.memory)) as process:
        with monkeypatch.context() as patched:
            patched.setattr(subprocess, "Popen", fails)
            answer, failure = process.ask(random_pool(3, 20, 4), 20.0)
            assert answer is None
            assert "no memory" in failure
        answer, failure = process.ask(random_pool(3, 20, 4), 20.0)
        assert isinstance(answer, Solution)
        assert failure == ""
