"""How long Items are on their way: from the round that first wants a change to the one that finds it made."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from berth.pool.changes import Lane
from berth.pool.decision import Arrived
from berth.pool.words import Wait


class Handoffs:
    """Items under way in one Pool, by row, and since when."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[float, Lane]] = {}

    def note(
        self, items: Iterable[int], waits: Mapping[int, Wait], lacking: Container[int], now: float
    ) -> list[Arrived]:
        """Take note of the Item rows that a round looked at; those that have arrived.

        `waits` holds the rows that are still under way, `lacking` those that lack a replica.
        """
        arrived = []
        for row in items:
            if row not in waits:
                started = self._since.pop(row, None)
                if started is not None:
                    arrived.append(Arrived(started[1], now - started[0]))
            elif row not in self._since:
                self._since[row] = (now, Lane.RECOVERY if row in lacking else Lane.MOVE)
        return arrived

    def forget(self, row: int) -> None:
        """The Item is gone: its way counts for nothing."""
        self._since.pop(row, None)

    def clear(self) -> None:
        """Forget everything: another process may have led in between."""
        self._since.clear()

    def oldest(self, waits: Mapping[int, Wait], now: float) -> dict[str, float]:
        """Seconds for which the Item that waits longest has been under way, by what it waits for now."""
        ages: dict[str, float] = {}
        for row, wait in waits.items():
            started = self._since.get(row)
            if started is not None:
                ages[wait.why.value] = max(ages.get(wait.why.value, 0.0), now - started[0])
        return ages
