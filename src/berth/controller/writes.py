"""Writes of Assignments: one each in a round at most, a new primary only after the old one's is accepted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from berth.kinds import API_VERSION, AssignmentObject, Entry, format_entry
from berth.kube import ASSIGNMENTS, ApiError, Client, ConnectionLost, Deadline, NotFound, ServerError
from berth.pool import Delete, MemberEdit, MemberState, Outcome, Write

MAX_PARALLEL = 16
"""Writes of Assignments under way at once."""
FIRST_PARALLEL = 8
"""Writes under way at the start of a round; each answer allows one more, as in TCP's slow start.

Each needs a connection. This many are kept open; the others have to be opened first, and on a machine that is
busy with the writes a handshake takes as long as one of them.
"""


@dataclass(slots=True)
class Applied(Outcome):
    """An outcome, and what only the writers go by."""

    failures: list[ApiError] = field(default_factory=list)
    version: int = 0
    """Highest resourceVersion that the API server answered with."""

    def fail(self, error: ApiError) -> None:
        """Note a failure."""
        self.failures.append(error)

    def note_version(self, version: int) -> None:
        """Note a write that was answered with this resourceVersion."""
        self.version = max(self.version, version)


def may_be_done(error: ApiError) -> bool:
    """Whether a write that failed with this may have been accepted, or may yet be."""
    if isinstance(error, ConnectionLost):
        return error.maybe_done
    return isinstance(error, ServerError)


def assignment_patch(member: MemberState, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The JSON patch that replaces `spec` of exactly the Assignment and generation that were observed.

    Status reports do not change the generation, so they never conflict with it.
    """
    assert member.assignment is not None
    return [
        {"op": "test", "path": "/metadata/uid", "value": member.assignment.metadata.uid},
        {"op": "test", "path": "/metadata/generation", "value": member.assignment.metadata.generation},
        {"op": "replace", "path": "/spec", "value": spec},
    ]


def assignment_object(namespace: str, member: MemberState, spec: dict[str, Any]) -> dict[str, Any]:
    """A new Assignment, owned by its Member."""
    owner = {
        "apiVersion": API_VERSION,
        "kind": "Member",
        "name": member.name,
        "uid": member.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    metadata = {"name": member.name, "namespace": namespace, "ownerReferences": [owner]}
    return {"apiVersion": API_VERSION, "kind": "Assignment", "metadata": metadata, "spec": spec}


class _Order:
    """Which Member may be written next: first those that nobody has to be written before."""

    def __init__(self, writes: dict[int, Write]) -> None:
        self._needs: dict[int, set[int]] = {}
        self._dependents: dict[int, list[int]] = {}
        self._ready: deque[int] = deque()
        self.written: set[int] = set()
        """Rows whose write has ended, well or not."""
        for row, write in writes.items():
            needs = set().union(*(edit.after for edit in write.edits)) - {row}
            # Nothing is written there in this round, so nothing is taken away there either.
            self.written |= needs - writes.keys()
            needs &= writes.keys()
            self._needs[row] = needs
            for other in needs:
                self._dependents.setdefault(other, []).append(row)
            if not needs:
                self._ready.append(row)

    def take(self, *, stuck: bool) -> int | None:
        """The next row, or None; `stuck`: nothing is under way, break a circle where it is thinnest."""
        if self._ready:
            row = self._ready.popleft()
        elif stuck and self._needs:
            row = min(self._needs, key=lambda r: len(self._needs[r]))
        else:
            return None
        self._needs.pop(row, None)
        return row

    def finish(self, row: int) -> None:
        """Note that the write of `row` has ended."""
        self.written.add(row)
        for other in self._dependents.pop(row, ()):
            needs = self._needs.get(other)
            if needs is not None:
                needs.discard(row)
                if not needs:
                    self._ready.append(other)


class AssignmentWriter:
    """Writes the Assignments of one Pool."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        pool: str,
        deadline: Deadline,
        max_parallel: int = MAX_PARALLEL,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._pool = pool
        self._deadline = deadline
        self._max_parallel = max_parallel

    async def write(self, writes: Iterable[Write], term: int, applied: Applied) -> None:
        """Make the writes of a round; `term` goes into each `spec.term`.

        An edit that gives out slot 0 waits until the Members that give it up have been written; if one
        of those writes fails it is left out. Where two Members wait for each other, the promotions of
        one of them are left to the next round.
        """
        by_row = {write.row: write for write in writes}
        order = _Order(by_row)
        lost: set[int] = set()
        running: dict[asyncio.Task[ApiError | int], int] = {}
        window = min(FIRST_PARALLEL, self._max_parallel)
        async with asyncio.TaskGroup() as group:
            while True:
                while len(running) < window and (row := order.take(stuck=not running)) is not None:
                    write = by_row[row]
                    kept = [
                        edit
                        for edit in write.edits
                        if not edit.after
                        or (lost.isdisjoint(edit.after) and order.written.issuperset(edit.after))
                    ]
                    if len(kept) < len(write.edits):
                        applied.again |= {e.item for e in write.edits} - {e.item for e in kept}
                    if not kept:
                        order.finish(row)
                        continue
                    running[group.create_task(self._write_one(write, kept, term, applied))] = row
                if not running:
                    return
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                window = min(window + len(done), self._max_parallel)
                for task in done:
                    row = running.pop(task)
                    answer = task.result()
                    if isinstance(answer, ApiError):
                        lost.add(row)
                        _note_failure(by_row[row], answer, applied)
                    order.finish(row)

    async def _write_one(
        self, write: Write, edits: list[MemberEdit], term: int, applied: Applied
    ) -> ApiError | int:
        try:
            version = await self.put(write.member, write.entries(edits), term)
        except ApiError as error:
            return error
        applied.note_version(version)
        applied.accepted.append(write._replace(edits=edits))
        return version

    async def repair(self, repairs: Iterable[Write], term: int, applied: Applied) -> None:
        """Create or clean these Assignments, as many at once as in a round."""

        async def one(write: Write) -> None:
            applied.note_version(await self.put(write.member, write.member.entries, term))

        await self._each([(write.row, one(write)) for write in repairs], applied)

    async def delete(self, deletes: Iterable[Delete], applied: Applied) -> None:
        """Delete these Assignments, each only as it was last observed."""
        await self._each([(delete.row, self._delete(delete)) for delete in deletes], applied)

    async def rewrite(self, rewrites: Iterable[Write], term: int, applied: Applied) -> None:
        """Write each of these Assignments as it is, so that no earlier write of it can arrive any more."""
        await asyncio.gather(*(self._rewrite(write.member, term, applied) for write in rewrites))

    async def _rewrite(self, member: MemberState, term: int, applied: Applied) -> None:
        assert member.assignment is not None
        try:
            applied.note_version(await self.put(member, member.entries, term))
        except NotFound:
            pass
        except ApiError as error:
            if not await self._replaced(member, applied):
                applied.fail(error)
                return
        applied.rewritten.add(member.name)

    async def _replaced(self, member: MemberState, applied: Applied) -> bool:
        """Whether the Assignment is gone, or is another generation than the one that was observed."""
        assert member.assignment is not None
        try:
            there = await self._client.get(
                ASSIGNMENTS.path(self._namespace, member.name), type=AssignmentObject, deadline=self._deadline
            )
        except NotFound:
            return True
        except ApiError:
            return False
        meta, known = there.metadata, member.assignment.metadata
        if (meta.uid, meta.generation) == (known.uid, known.generation):
            return False
        applied.note_version(int(meta.resource_version))
        return True

    async def put(self, member: MemberState, entries: dict[str, Entry], term: int) -> int:
        """Create or replace a Member's Assignment; its new resourceVersion. Raises ApiError."""
        items = [format_entry(entries[name]) for name in sorted(entries)]
        spec: dict[str, Any] = {"pool": self._pool, "term": term, "items": items}
        session = member.session_for(entries)
        if session:
            spec["session"] = session
        if member.assignment is None:
            answer = await self._client.create(
                ASSIGNMENTS.path(self._namespace),
                assignment_object(self._namespace, member, spec),
                type=AssignmentObject,
                deadline=self._deadline,
            )
        else:
            answer = await self._client.patch(
                ASSIGNMENTS.path(self._namespace, member.name),
                assignment_patch(member, spec),
                type=AssignmentObject,
                deadline=self._deadline,
            )
        return int(answer.metadata.resource_version)

    async def _delete(self, delete: Delete) -> None:
        known = delete.assignment.metadata
        preconditions = {"uid": known.uid, "resourceVersion": known.resource_version}
        await self._client.delete(
            ASSIGNMENTS.path(self._namespace, known.name),
            body={"preconditions": preconditions},
            deadline=self._deadline,
        )

    async def _each(self, work: list[tuple[int, Coroutine[Any, Any, None]]], applied: Applied) -> None:
        """Await all of it, a few at once; what is done on rows of Members, and fails, is noted."""
        gate = asyncio.Semaphore(self._max_parallel)

        async def one(row: int, what: Coroutine[Any, Any, None]) -> None:
            async with gate:
                try:
                    await what
                except NotFound:
                    pass
                except ApiError as error:
                    applied.failed_objects.add(row)
                    applied.fail(error)

        async with asyncio.TaskGroup() as group:
            for row, what in work:
                group.create_task(one(row, what))


def _note_failure(write: Write, error: ApiError, applied: Applied) -> None:
    applied.fail(error)
    applied.failed_objects.add(write.row)
    items = {edit.item for edit in write.edits}
    applied.again |= items
    if may_be_done(error):
        applied.in_doubt[write.member.name] = items
