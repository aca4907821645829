"""Engines for the solver's other process that fail in every way that an engine can."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from berth.solve import Problem, Proof, Solution, Tuning
from berth.solve.answer import thorough

FILE = "BERTH_TEST_ENGINE"
"""The variable that names a file; the engine does what its text says, so that it can get well."""
TUNING = Tuning(quick_moves=-1, quick_items=-1, quick_arcs=-1, seconds=2.0, memory=1 << 30)
"""Nothing is quick, so that the other process is asked for everything."""
EMPTY = -1


def engine(problem: Problem, tuning: Tuning) -> Any:
    """Answers as the file says."""
    return ENGINES[Path(os.environ[FILE]).read_text()](problem, tuning)


def hangs(*_: Any) -> None:
    time.sleep(600)


def loops(*_: Any) -> None:
    while True:
        pass


def stops(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def is_killed(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crashes(*_: Any) -> None:
    ctypes.string_at(0)


def exits(*_: Any) -> None:
    sys.exit(3)


def eats_memory(*_: Any) -> None:
    eaten = []
    while True:
        eaten.append(np.ones(10 << 20))


def raises(*_: Any) -> None:
    raise RuntimeError("no idea " * 100_000)


def nothing(*_: Any) -> None:
    return None


def text(*_: Any) -> str:
    return "rubbish"


class Unreadable:
    """Cannot be unpickled by whoever asks."""

    def __reduce__(self) -> Any:
        return os.listdir, ("/no/such/folder/at/all",)


def unreadable(*_: Any) -> Any:
    return Unreadable()


class Interrupting:
    """Ends whoever unpickles it, if they let it."""

    def __reduce__(self) -> Any:
        return sys.intern, (17,)


def interrupting(*_: Any) -> Any:
    return Interrupting()


def huge(*_: Any) -> bytes:
    return bytes(200 << 20)


def edited(change: Callable[[np.ndarray], Any]) -> Callable[[Problem, Tuning], Solution]:
    """An engine whose plan is right but for a change."""

    def answer(problem: Problem, tuning: Tuning) -> Solution:
        found = thorough(problem, tuning)
        return replace(found, members=change(found.members.copy()))

    return answer


def above_the_limits(members: np.ndarray) -> np.ndarray:
    members[:, 0], members[:, 1:] = 0, EMPTY
    return members


def beats_its_bound(problem: Problem, tuning: Tuning) -> Solution:
    found = thorough(problem, tuning)
    bounds = {**found.proof.bounds, "placed": found.proof.reached["placed"] - 1}
    return replace(found, proof=Proof(found.proof.reached, bounds))


def without_bounds(problem: Problem, tuning: Tuning) -> Solution:
    found = thorough(problem, tuning)
    return replace(found, proof=Proof(found.proof.reached, {}))


def noisy(problem: Problem, tuning: Tuning) -> Solution:
    """Nothing is wrong with what it answers."""
    os.write(1, b"\x00garbage\xff" * 1000)
    return thorough(problem, tuning)


FAULTY: dict[str, Callable[[Problem, Tuning], Any]] = {
    "hangs": hangs,
    "loops": loops,
    "stops": stops,
    "is killed": is_killed,
    "crashes": crashes,
    "exits": exits,
    "eats memory": eats_memory,
    "raises": raises,
    "nothing": nothing,
    "text": text,
    "unreadable": unreadable,
    "interrupting": interrupting,
    "huge": huge,
    "a wrong shape": edited(lambda members: members[:-1]),
    "one dimension": edited(lambda members: members[0]),
    "floats": edited(lambda members: members.astype(float)),
    "no such Members": edited(lambda members: members + 1000),
    "one Member twice": edited(lambda members: np.repeat(members[:, :1], 2, axis=1)),
    "above the limits": edited(above_the_limits),
    "beats its bound": beats_its_bound,
    "without bounds": without_bounds,
}
ENGINES = {**FAULTY, "noisy": noisy, "well": thorough}
