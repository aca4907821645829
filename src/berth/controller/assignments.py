"""Assignment objects that need work of their own, whatever the Items do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from berth.controller.recorder import Recorder
from berth.controller.state import PoolState
from berth.controller.writer import RoundWriter
from berth.kube import ApiError, Deadline, NotFound
from berth.pool import MemberState

PARALLEL = 16
"""Assignments created or deleted at once."""


@dataclass(slots=True)
class Repaired:
    """The result of a repair."""

    failed: dict[int, ApiError] = field(default_factory=dict)
    """The Member rows whose Assignment still needs work, and why."""
    version: int = 0
    """Highest resourceVersion that the API server answered with."""


class AssignmentObjects:
    """Creates, replaces, deletes and cleans the Assignments of one Pool."""

    def __init__(self, state: PoolState, writer: RoundWriter, deadline: Deadline, recorder: Recorder) -> None:
        self._state = state
        self._writer = writer
        self._deadline = deadline
        self._recorder = recorder

    async def repair(self, rows: Iterable[int], term: int) -> Repaired:
        """Create, replace, delete or rewrite the Assignments of these Member rows where they need it."""
        repaired = Repaired()
        gate = asyncio.Semaphore(PARALLEL)

        async def one(row: int, member: MemberState) -> None:
            async with gate:
                try:
                    repaired.version = max(repaired.version, await self._repair(member, term))
                except NotFound:
                    pass
                except ApiError as error:
                    repaired.failed[row] = error

        async with asyncio.TaskGroup() as group:
            for row in sorted(rows):
                if (member := self._state.fleet.members.get(row)) is not None:
                    group.create_task(one(row, member))
        return repaired

    async def _repair(self, member: MemberState, term: int) -> int:
        if member.assignment is not None and not member.owned:
            await self._writer.remove(member, self._deadline)
        elif member.seen is not None and (member.assignment is None or member.malformed or member.unstamped):
            self._recorder.malformed(self._state, member)
            return await self._writer.put(member, member.entries, term, self._deadline)
        return 0
