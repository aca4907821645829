"""The engine's process: what it prints is not what the one who asks prints."""

from __future__ import annotations

import os
from contextlib import closing

import pytest
from random_pools import random_pool

from berth.solve.answer import thorough
from berth.solve.apart import Apart
from berth.solve.model import Problem, Solution
from berth.solve.tuning import DEFAULT, Tuning


def chatty(problem: Problem, tuning: Tuning) -> Solution:
    """An engine that writes to its standard output."""
    os.write(1, b"chatter\n")
    return thorough(problem, tuning)


def test_what_an_engine_prints_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with closing(Apart(DEFAULT, f"{__name__}:chatty")) as apart:
        answer = apart.ask(random_pool(3, 20, 4), 20.0)
    assert isinstance(answer, Solution)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "chatter" in printed.err
