"""Writes whose answer was lost. They may still be accepted, at any later time, until something stops them."""

from __future__ import annotations

import asyncio

from berth.controller.term import PoolTerm
from berth.controller.writer import RoundWriter, Written
from berth.kube import ApiError, Deadline, NotFound
from berth.pool import MemberState, PoolFleet


class Unsettled:
    """Members whose Assignment may yet change by a write that this leader has given up on.

    Each write tests the generation that it replaces, so another write of the same Assignment stops it
    for good. Until that is done the Items concerned are left alone: a removal that arrives late, after
    another Member has given up the Item as well, would take its last replica.
    """

    def __init__(self, fleet: PoolFleet, writer: RoundWriter, term: PoolTerm) -> None:
        self._fleet = fleet
        self._writer = writer
        self._term = term
        self._pending: dict[str, set[str]] = {}

    def note(self, written: Written) -> None:
        """Remember the writes of a round that got no answer."""
        for member, items in written.unsure.items():
            self._pending.setdefault(member, set()).update(items)

    def forget(self) -> None:
        """Forget all, for a new lead: its higher term stops what an earlier one has sent."""
        self._pending.clear()

    def items(self) -> set[str]:
        """Items that must not be touched for now."""
        blocked: set[str] = set()
        for name, items in self._pending.items():
            member = self._fleet.member_named(name)
            blocked |= items
            if member is not None:
                blocked |= member.entries.keys()
        return blocked

    async def settle(self, deadline: Deadline) -> tuple[int, ApiError | None]:
        """Write each of these Assignments again as it is, in a later term.

        Returns the resourceVersion that the cache must have seen, and an error if some are still open.
        Raises Replaced, or ApiError where the term cannot be raised.
        """
        members = []
        for name in sorted(self._pending):
            member = self._fleet.member_named(name)
            if member is None or member.assignment is None:
                del self._pending[name]
            else:
                members.append(member)
        # The spec must differ, or the write would not count as one.
        if any(m.assignment is not None and m.assignment.term >= self._term.value for m in members):
            await self._term.raise_by_one()
        results = await asyncio.gather(*(self._settle_one(member, deadline) for member in members))
        version, error = 0, None
        for result in results:
            if isinstance(result, ApiError):
                error = result
            else:
                version = max(version, result)
        return version, error

    async def _settle_one(self, member: MemberState, deadline: Deadline) -> int | ApiError:
        assert member.assignment is not None
        generation = member.assignment.generation
        try:
            version = await self._writer.put(member, member.entries, self._term.value, deadline)
        except NotFound:
            version = 0
        except ApiError as error:
            try:
                there = await self._writer.read(member.name, deadline)
            except NotFound:
                version = 0
            except ApiError:
                return error
            else:
                same = there.metadata.uid == member.assignment.uid
                if same and there.metadata.generation == generation:
                    return error
                version = int(there.metadata.resource_version)
        self._pending.pop(member.name, None)
        return version
