"""What a round leaves for the next one: who waits for what, and the moves under way."""

from __future__ import annotations

from dataclasses import dataclass, field

from berth.pool.rules import Step
from berth.pool.words import Wait, Why

UNDER_WAY = Wait(Why.STEP)
"""What an Item waits for whose entries are being written."""


@dataclass(slots=True)
class Progress:
    """What one round leaves for the next: who waits for what, and the moves under way."""

    waits: dict[int, Wait] = field(default_factory=dict)
    """By Item row; Items that are where they should be are not in it."""
    in_flight: dict[int, int] = field(default_factory=dict)
    """Moves under way by Item row, without those at zero."""
    for_room: dict[int, set[int]] = field(default_factory=dict)
    """Items that wait for room, by Member row."""
    for_budget: set[int] = field(default_factory=set)
    """Items whose moves are held back by the budget."""

    @property
    def moving(self) -> int:
        """Moves under way in the Pool."""
        return sum(self.in_flight.values())

    def forget(self, item: int) -> None:
        """Drop what is noted of an Item row."""
        self.in_flight.pop(item, None)
        self.for_budget.discard(item)
        wait = self.waits.pop(item, None)
        if wait is not None and wait.why is Why.LIMIT:
            for member in wait.members:
                self.for_room.get(member, set()).discard(item)

    def note_under_way(self, items: list[int]) -> None:
        """The entries of these Item rows are being written."""
        for item in self.waits.keys() & items | self.in_flight.keys() & items | self.for_budget & set(items):
            self.forget(item)
        self.waits.update(dict.fromkeys(items, UNDER_WAY))

    def note(self, item: int, done: Step) -> None:
        """Remember the outcome of a step."""
        self.forget(item)
        if done.in_flight:
            self.in_flight[item] = done.in_flight
        if done.done:
            return
        wait = done.wait or UNDER_WAY
        self.waits[item] = wait
        if wait.why is Why.BUDGET:
            self.for_budget.add(item)
        if wait.why is Why.LIMIT:
            for member in wait.members:
                self.for_room.setdefault(member, set()).add(item)
