"""How long Items are on their way: from the round that first wants a change to the one that finds it made."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping
from typing import NamedTuple

from berth.pool import Lane, Wait


class Finished(NamedTuple):
    """An Item that has arrived."""

    lane: Lane
    """RECOVERY where a replica was missing when it began, else MOVE."""
    seconds: float


class Handoffs:
    """Items under way in one Pool, by row, and since when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[int, tuple[float, Lane]] = {}

    def note(
        self, items: Iterable[int], waits: Mapping[int, Wait], lacking: Container[int]
    ) -> list[Finished]:
        """Take note of the Item rows that a round looked at; those that have arrived.

        `waits` holds the rows that are still under way, `lacking` those that lack a replica.
        """
        now = self._clock()
        finished = []
        for row in items:
            if row not in waits:
                began = self._since.pop(row, None)
                if began is not None:
                    finished.append(Finished(began[1], now - began[0]))
            elif row not in self._since:
                self._since[row] = (now, Lane.RECOVERY if row in lacking else Lane.MOVE)
        return finished

    def forget(self, row: int) -> None:
        """The Item is gone: its way counts for nothing."""
        self._since.pop(row, None)

    def clear(self) -> None:
        """Forget everything: another process may have led in between."""
        self._since.clear()

    def oldest(self, waits: Mapping[int, Wait]) -> dict[str, float]:
        """Seconds for which the Item that waits longest has been under way, by what it waits for now."""
        now = self._clock()
        ages: dict[str, float] = {}
        for row, wait in waits.items():
            began = self._since.get(row)
            if began is not None:
                ages[wait.why.value] = max(ages.get(wait.why.value, 0.0), now - began[0])
        return ages
