"""What a round leaves for the next one: what Items wait for and since when, and writes without an answer."""

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from berth.pool.changes import Lane, Write
from berth.pool.decision import Arrived, Outcome
from berth.pool.ledger import Ledger
from berth.pool.reasons import Wait, Why
from berth.pool.rules import Step

UNDER_WAY = Wait(Why.STEP)  # what an Item waits for while its entries are written
FOR_ROOM = (Why.LIMIT, Why.STEP)  # waits for room, or for the Assignment of a Member that has just appeared


@dataclass(slots=True)
class Progress:
    """What one lead knows of the Items that are not at their targets, by Item row."""

    waits: dict[int, Wait] = field(default_factory=dict)  # Items at their targets are not in it
    in_flight: dict[int, int] = field(default_factory=dict)  # moves under way, without those at zero
    for_room: dict[int, set[int]] = field(default_factory=dict)  # Items that wait for room, by Member row
    for_budget: set[int] = field(default_factory=set)  # Items whose moves the budget holds back
    since: dict[int, tuple[float, Lane]] = field(default_factory=dict)  # when the way of each started

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
        for item in self.waits.keys() & items | self.in_flight.keys() & items:
            self.forget(item)
        self.waits.update(dict.fromkeys(items, UNDER_WAY))

    def note(self, item: int, step: Step) -> None:
        """Note what a step leaves to be done."""
        self.forget(item)
        if step.in_flight:
            self.in_flight[item] = step.in_flight
        if step.wait is None:
            return
        wait = self.waits[item] = step.wait
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


class InDoubt:
    """Members whose Assignment may yet change by a write whose answer was lost.

    It may still be accepted, at any later time, until something stops it: each write tests the generation
    that it replaces, so another write of the same Assignment stops it for good. Until then the Items
    concerned are left alone: a removal that arrives late, after another Member has given up the Item as
    well, would take its last replica.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._pending: dict[str, set[str]] = {}  # Items of the edits by Member
        self._retry_at = 0.0

    def note(self, outcome: Outcome) -> None:
        """Remember the writes of a round that got no answer."""
        for member, items in outcome.in_doubt.items():
            self._pending.setdefault(member, set()).update(items)

    def items(self) -> set[str]:
        """Items that must not be changed for now."""
        blocked = set[str]().union(*self._pending.values())
        members = map(self._ledger.member_named, self._pending)
        return blocked.union(*(member.entries for member in members if member is not None))

    def due(self, now: float) -> bool:
        """Whether some of them must be stopped now; those whose Assignment is gone already are."""
        for name in list(self._pending):
            member = self._ledger.member_named(name)
            if member is None or member.assignment is None:
                del self._pending[name]
        return bool(self._pending) and now >= self._retry_at

    def rewrites(self) -> tuple[Write, ...]:
        """Each of these Assignments unchanged, to be written again."""
        members = map(self._ledger.member_named, sorted(self._pending))
        return tuple(Write.of(member) for member in members if member is not None)

    def rewritten(self, outcome: Outcome, now: float) -> None:
        """Some can no longer arrive; the others are stopped later."""
        for name in outcome.rewritten:
            self._pending.pop(name, None)
        self._retry_at = now + outcome.retry_in if outcome.error else 0.0
