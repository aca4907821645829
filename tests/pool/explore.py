"""All that can happen to a small fleet: every state that can be reached, breadth first.

Two controllers, three Members and two Items. The controllers' loop, writer, brain and solver are the real
ones (`explore_leader`), and so are the step rules of a worker's callbacks. The API server, the processes of
the workers and time are a model. The promises of docs/architecture.md are checked in every state and at
every write. As the search is breadth first, the first broken promise has a shortest trace.

States are compared with times relative to now, and those that differ only in the names of Members or of Items
are joined. Where the rules break a tie by name only one of the joined cases is followed.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from explore_fleet import Fleet, State
from protocol_world import Broken


class Counterexample(AssertionError):  # noqa: N818 - says what is so
    """A broken promise and the shortest way to it."""

    def __init__(self, broken: str, trace: list[str]) -> None:
        super().__init__("\n".join([broken, *(f"{n:3}. {line}" for n, line in enumerate(trace, 1))]))
        self.broken = broken
        self.trace = trace


class Reached(NamedTuple):
    """How far a search came."""

    states: int
    moves: int
    depth: int
    """All states that so many moves lead to were looked at."""
    complete: bool
    """There are no others."""
    steps: int
    """Steps of a controller that were computed, not remembered."""
    seconds: float


class Search:
    """What a search has found so far."""

    def __init__(self, fleet: Fleet, start: State) -> None:
        self._fleet = fleet
        self._known = {fleet.key(start)}
        self._origins, self._texts = array("i", [-1]), [""]
        self._layer: list[tuple[int, State]] = [(0, start)]
        self._moves = self._depth = 0
        self._started = time.monotonic()

    def run(self, max_states: int, max_seconds: float) -> Reached:
        """Look at the nearest states first until there are no others, or enough."""
        while self._layer:
            following: list[tuple[int, State]] = []
            for at, state in self._layer:
                seconds = time.monotonic() - self._started
                if len(self._known) >= max_states or seconds > max_seconds:
                    return self._reached(complete=False)
                following += self._new(at, state)
            self._layer = following
            self._depth += 1
        return self._reached(complete=True)

    def _new(self, at: int, state: State) -> Iterator[tuple[int, State]]:
        """The new states that one move leads to."""
        fleet = self._fleet
        try:
            for text, after in fleet.moves(state):
                self._moves += 1
                key = fleet.key(after)
                if key not in self._known:
                    fleet.doing = text
                    fleet.check(after)
                    self._known.add(key)
                    self._origins.append(at)
                    self._texts.append(text)
                    yield len(self._texts) - 1, after
        except Broken as broken:
            raise Counterexample(str(broken), [*self._trace(at), fleet.doing]) from None

    def _trace(self, at: int) -> list[str]:
        lines = []
        while at > 0:
            lines.append(self._texts[at])
            at = self._origins[at]
        return lines[::-1]

    def _reached(self, *, complete: bool) -> Reached:
        seconds = time.monotonic() - self._started
        steps = self._fleet.seats.steps
        return Reached(len(self._known), self._moves, self._depth, complete, steps, seconds)


def search(
    fleet: Fleet, start: State, *, max_states: int = 1_000_000, max_seconds: float = math.inf
) -> Reached:
    """Look at every state that `start` leads to, nearest first. Raises Counterexample."""
    return Search(fleet, start).run(max_states, max_seconds)
