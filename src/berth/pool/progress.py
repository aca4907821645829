"""What a round leaves for the next one: what Items wait for, the moves under way, and since when."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from berth.pool.changes import Lane
from berth.pool.decision import Arrived
from berth.pool.reasons import Wait, Why
from berth.pool.rules import Step

UNDER_WAY = Wait(Why.STEP)
"""What an Item waits for while its entries are written."""
FOR_ROOM = (Why.LIMIT, Why.STEP)
"""Waits for Members: for room, or for the Assignment of one that has just appeared."""


@dataclass(slots=True)
class Progress:
    """What one lead knows of the Items that are not at their targets, by Item row."""

    waits: dict[int, Wait] = field(default_factory=dict)
    """Items at their targets are not in it."""
    in_flight: dict[int, int] = field(default_factory=dict)
    """Moves under way, without those at zero."""
    for_room: dict[int, set[int]] = field(default_factory=dict)
    """Items that wait for a Member to be able to take them, by Member row."""
    for_budget: set[int] = field(default_factory=set)
    """Items whose moves are held back by the budget."""
    since: dict[int, tuple[float, Lane]] = field(default_factory=dict)
    """Since when each is under way (monotonic seconds): from the first round that wants a change."""

    @property
    def moving(self) -> int:
        """Moves under way in the Pool."""
        return sum(self.in_flight.values())

    def forget(self, item: int) -> None:
        """Forget what an Item waits for, and its moves."""
        self.in_flight.pop(item, None)
        self.for_budget.discard(item)
        wait = self.waits.pop(item, None)
        if wait is not None and wait.why in FOR_ROOM:
            for member in wait.members:
                self.for_room.get(member, set()).discard(item)

    def note_under_way(self, items: list[int]) -> None:
        """The entries of these Items are being written."""
        for item in self.waits.keys() & items | self.in_flight.keys() & items | self.for_budget & set(items):
            self.forget(item)
        self.waits.update(dict.fromkeys(items, UNDER_WAY))

    def note(self, item: int, step: Step) -> None:
        """Note what a step leaves to be done."""
        self.forget(item)
        if step.in_flight:
            self.in_flight[item] = step.in_flight
        if step.done:
            return
        wait = self.waits[item] = step.wait or UNDER_WAY
        if wait.why is Why.BUDGET:
            self.for_budget.add(item)
        if wait.why in FOR_ROOM:
            for member in wait.members:
                self.for_room.setdefault(member, set()).add(item)

    def arrivals(self, items: Iterable[int], lacking: Container[int], now: float) -> list[Arrived]:
        """Those of the Items of a round that have arrived; `lacking` holds those that lack a replica."""
        arrived = []
        for item in items:
            if item not in self.waits:
                started = self.since.pop(item, None)
                if started is not None:
                    arrived.append(Arrived(started[1], now - started[0]))
            elif item not in self.since:
                self.since[item] = (now, Lane.RECOVERY if item in lacking else Lane.MOVE)
        return arrived

    def oldest(self, now: float) -> dict[str, float]:
        """Seconds for which the Item that waits longest has been under way, by what it waits for now."""
        ages: dict[str, float] = {}
        for item, wait in self.waits.items():
            started = self.since.get(item)
            if started is not None:
                ages[wait.why.value] = max(ages.get(wait.why.value, 0.0), now - started[0])
        return ages
