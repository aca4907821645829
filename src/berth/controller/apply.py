"""Carries out what was decided for a Pool: term, writes and solves, and what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from berth.controller.solving import Solve
from berth.controller.term import PoolTerm
from berth.controller.writes import Applied, AssignmentWriter
from berth.kinds import AssignmentObject, Meta, PoolObject
from berth.kube import (
    ASSIGNMENTS,
    ApiError,
    Backoff,
    Client,
    Conflict,
    Deadline,
    Forbidden,
    Informer,
    Invalid,
    NotFound,
)
from berth.pool import Decision, Outcome, TakeOver, Write

POLL = 0.01
"""Seconds between two looks at the cache."""
Sleep = Callable[[float], Awaitable[None]]


class Applier:
    """Carries out decisions for one Pool while this process leads it."""

    def __init__(
        self,
        client: Client,
        assignments: Informer[AssignmentObject],
        pool: tuple[str, str],
        leader: str,
        deadline: Deadline,
        solve: Solve,
        *,
        backoff: Backoff | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`pool` is its namespace and name, `leader` the name that the Pool's status gets."""
        self._client = client
        self._assignments = assignments
        self._namespace = pool[0]
        self._deadline = deadline
        self._solve = solve
        self._term = PoolTerm(client, *pool, leader, deadline)
        self._writer = AssignmentWriter(client, *pool, deadline)
        self._backoff = backoff or Backoff(limit=5.0)
        self._sleep = sleep
        self._version = 0

    async def shown(self) -> None:
        """Return once the cache of Assignments shows all that was written."""
        await self._assignments.wait_for(self._version)

    async def apply(self, decision: Decision) -> Outcome:
        """Carry out a decision. Raises Replaced when another leader has the Pool."""
        applied = Applied()
        try:
            if decision.solve is not None:
                applied.solution = await self._solve(*decision.solve)
                return applied
            if decision.take_over is not None:
                applied.pool = await self._take_over(decision.take_over, decision)
            else:
                await self._write(decision, applied)
        except ApiError as error:
            if isinstance(error, NotFound) and decision.take_over is None:
                applied.pool_gone = True
            else:  # a Pool that cannot be created, as its namespace is gone, is a failure like any other
                applied.fail(error)
        self._version = max(self._version, applied.version)
        if not applied.failures:
            self._backoff.reset()
        else:
            first = applied.failures[0]
            applied.error = str(first)
            applied.retry_in = max(self._backoff.next(), first.retry_after or 0.0)
        return applied

    # ---- taking over -----------------------------------------------------------------------

    async def _take_over(self, take: TakeOver, decision: Decision) -> PoolObject:
        if take.check:  # written by the next leader, or else by hand
            with suppress(NotFound):
                await self._term.check(decision.term, decision.uid)
        pool = await self._term.take_over(take.above, take.known)
        await self._caught_up(int(pool.metadata.resource_version))
        return pool

    async def _caught_up(self, version: int) -> None:
        """Return once the cache of Assignments shows everything up to resourceVersion `version`.

        A watch may lag by any amount, and says nothing when nothing happens; so the Assignments are listed
        afresh and the cache is compared with that. Raises ApiError.
        """
        there = await self._client.list(
            ASSIGNMENTS.path(self._namespace), type=_Bare, metadata_only=True, deadline=self._deadline
        )
        versions = {each.metadata.name: int(each.metadata.resource_version) for each in there}
        await self._assignments.wait_for(max(versions.values(), default=0))
        while any(
            key[0] == self._namespace
            and key[1] not in versions
            and int(held.metadata.resource_version) <= version
            for key, held in self._assignments.store.items()
        ):
            await self._sleep(POLL)

    # ---- writing ---------------------------------------------------------------------------

    async def _write(self, decision: Decision, applied: Applied) -> None:
        # Before anything is promoted: what an earlier Member's Assignment lists must be gone by then.
        await self._writer.delete(decision.deletes, applied)
        writes = _without_blocked_promotions(decision, applied)
        term = decision.term - decision.raise_term
        if decision.raise_term and (writes or decision.rewrites):
            applied.refused = True
            await self._raise_term(decision, applied)
            applied.refused, term = False, decision.term
        await self._writer.rewrite(decision.rewrites, term, applied)
        await self._writer.write(writes, term, applied)
        await self._writer.repair(decision.repairs, term, applied)
        if any(isinstance(error, Forbidden) for error in applied.failures):
            applied.term = await self._term.check(term, decision.uid)

    async def _raise_term(self, decision: Decision, applied: Applied) -> None:
        try:
            await self._term.raise_to(decision.term, decision.uid)
        except (Invalid, Conflict):
            applied.term = await self._term.check(decision.term - 1, decision.uid)
            raise
        applied.term = decision.term


class _Bare(msgspec.Struct):
    metadata: Meta


def _without_blocked_promotions(decision: Decision, applied: Applied) -> list[Write]:
    """The writes without promotions of Items that an Assignment which could not be deleted still lists."""
    failed = [delete for delete in decision.deletes if delete.row in applied.failed_objects]
    listed = set[str]().union(*(delete.items for delete in failed))
    if not listed:
        return list(decision.writes)
    writes = []
    for write in decision.writes:
        kept = [e for e in write.edits if e.item not in listed or e.entry is None or e.entry.slot]
        applied.again.update(e.item for e in write.edits if e not in kept)
        if kept:
            writes.append(write._replace(edits=kept))
    return writes
