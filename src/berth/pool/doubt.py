"""Writes whose answer was lost. They may still be accepted, at any later time, until something stops them."""

from __future__ import annotations

from berth.pool.decision import Outcome, Write
from berth.pool.ledger import Ledger


class InDoubt:
    """Members whose Assignment may yet change by a write that this leader has given up on.

    Each write tests the generation that it replaces, so another write of the same Assignment stops it
    for good. Until then the Items concerned are left alone: a removal that arrives late, after another
    Member has given up the Item as well, would take its last replica.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._pending: dict[str, set[str]] = {}
        """Items of the edits by Member."""
        self._retry_at = 0.0

    def note(self, outcome: Outcome) -> None:
        """Remember the writes of a round that got no answer."""
        for member, items in outcome.in_doubt.items():
            self._pending.setdefault(member, set()).update(items)

    def forget(self) -> None:
        """Forget all, for a new lead: its higher term stops what an earlier one has sent."""
        self._pending.clear()
        self._retry_at = 0.0

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
