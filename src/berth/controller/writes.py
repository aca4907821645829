"""Writes Assignments: each at most once in a round, and a new primary only after the old one is removed."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from berth import kube
from berth.kinds import API_VERSION, AssignmentObject, Entry, format_entry
from berth.pool import MemberEdit, MemberState, Outcome, Write

Work = Callable[[], Awaitable[None]]

MAX_PARALLEL = 16
"""Writes of Assignments in flight at once."""
FIRST_PARALLEL = 8
"""Writes in flight at the start of a round; each answer allows one more, as in TCP's slow start.

Each needs a connection. This many are kept open; the others have to be opened first, and on a machine that is
busy with the writes a handshake takes as long as one of them.
"""


@dataclass(slots=True)
class Applied(Outcome):
    """An outcome, and what only the writers need of it."""

    failures: list[kube.ApiError] = field(default_factory=list)
    version: int = 0
    """The highest resourceVersion in an answer of the API server."""

    def note_version(self, version: int) -> None:
        """Note the resourceVersion in the answer to a write."""
        self.version = max(self.version, version)


async def write_all(work: Iterable[tuple[int, Work]], limit: int) -> dict[int, kube.ApiError]:
    """Make these writes, each for a row, at most `limit` at once; returns the errors by row.

    An object that is gone is not an error.
    """
    gate = asyncio.Semaphore(limit)
    failed: dict[int, kube.ApiError] = {}

    async def one(row: int, write: Work) -> None:
        async with gate:
            try:
                await write()
            except kube.NotFound:
                pass
            except kube.ApiError as error:
                failed[row] = error

    async with asyncio.TaskGroup() as group:
        for row, write in work:
            group.create_task(one(row, write))
    return failed


def assignment_patch(member: MemberState, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The JSON patch that replaces `spec` only in the Assignment and the generation that were observed.

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
    """The order of a round's writes: a Member comes after those whose writes its own depends on."""

    def __init__(self, writes: dict[int, Write]) -> None:
        self._needs: dict[int, set[int]] = {}
        self._dependents: dict[int, list[int]] = defaultdict(list)
        self._ready: deque[int] = deque()
        self.accepted: set[int] = set()
        """Rows whose write was accepted or is not needed, so that edits may come after it."""
        for row, write in writes.items():
            needs = set().union(*(edit.after for edit in write.edits)) - {row}
            # A Member that is not written in this round gives up nothing.
            self.accepted |= needs - writes.keys()
            needs &= writes.keys()
            self._needs[row] = needs
            for other in needs:
                self._dependents[other].append(row)
            if not needs:
                self._ready.append(row)

    def take(self, *, stuck: bool) -> int | None:
        """The next row, or None; `stuck`: nothing is in flight, so break a cycle where needs are fewest."""
        if self._ready:
            row = self._ready.popleft()
        elif stuck and self._needs:
            row = min(self._needs, key=lambda r: len(self._needs[r]))
        else:
            return None
        del self._needs[row]
        return row

    def finish(self, row: int, accepted: bool) -> None:
        """Note that the write of `row` has ended, or is not needed."""
        if accepted:
            self.accepted.add(row)
        for other in self._dependents.pop(row, ()):
            needs = self._needs.get(other)
            if needs is not None:
                needs.discard(row)
                if not needs:
                    self._ready.append(other)


@dataclass
class AssignmentWriter:
    """Writes the Assignments of one Pool."""

    client: kube.Client
    namespace: str
    pool: str
    deadline: kube.Deadline

    async def write(self, writes: Iterable[Write], term: int, applied: Applied) -> None:
        """Make the writes of a round; `term` goes into each `spec.term`.

        An edit that gives out slot 0 waits until the Members that give it up have been written; if one of
        those writes fails, the edit is left out. If two Members wait for each other, the promotions of one of
        them are left to the next round.
        """
        by_row = {write.row: write for write in writes}
        order = _Order(by_row)
        running: dict[asyncio.Task[bool], int] = {}
        window = FIRST_PARALLEL
        async with asyncio.TaskGroup() as group:
            while True:
                while len(running) < window and (row := order.take(stuck=not running)) is not None:
                    write = by_row[row]
                    kept = [edit for edit in write.edits if order.accepted.issuperset(edit.after)]
                    if len(kept) < len(write.edits):
                        applied.again |= {e.item for e in write.edits} - {e.item for e in kept}
                    if kept:
                        running[group.create_task(self._write_one(write, kept, term, applied))] = row
                    else:
                        order.finish(row, True)
                if not running:
                    return
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                window = min(window + len(done), MAX_PARALLEL)
                for task in done:
                    order.finish(running.pop(task), task.result())

    async def _write_one(self, write: Write, edits: list[MemberEdit], term: int, applied: Applied) -> bool:
        """Make one write of a round; returns whether it was accepted."""
        try:
            await self._put(write.member, write.entries(edits), term, applied)
        except kube.ApiError as error:
            items = {edit.item for edit in write.edits}
            applied.failures.append(error)
            applied.failed_objects.add(write.row)
            applied.again |= items
            if error.maybe_done:
                applied.in_doubt[write.member.name] = items
            return False
        applied.accepted.append(write._replace(edits=edits))
        return True

    async def repair(self, repairs: Iterable[Write], term: int, applied: Applied) -> None:
        """Create or clean these Assignments."""
        work = (
            (write.row, partial(self._put, write.member, write.member.entries, term, applied))
            for write in repairs
        )
        await self._each(work, applied)

    async def delete(self, members: Iterable[MemberState], applied: Applied) -> None:
        """Delete their Assignments as last observed: since then a status may report work in progress."""
        await self._each(((member.row, partial(self._delete, member)) for member in members), applied)

    async def rewrite(self, rewrites: Iterable[Write], term: int, applied: Applied) -> None:
        """Write these Assignments unchanged, so that no earlier write of them can arrive any more."""
        await asyncio.gather(*(self._rewrite(write.member, term, applied) for write in rewrites))

    async def _rewrite(self, member: MemberState, term: int, applied: Applied) -> None:
        assert member.assignment is not None
        try:
            await self._put(member, member.entries, term, applied)
        except kube.NotFound:
            pass
        except kube.ApiError as error:
            if not await self._replaced(member, applied):
                applied.failures.append(error)
                return
        applied.rewritten.add(member.name)

    async def _replaced(self, member: MemberState, applied: Applied) -> bool:
        """Whether the Assignment is gone or has another generation than the one that was observed."""
        assert member.assignment is not None
        known = member.assignment.metadata
        path = kube.ASSIGNMENTS.path(self.namespace, known.name)
        try:
            there = await self.client.get(path, type=AssignmentObject, deadline=self.deadline)
        except kube.ApiError as error:
            return isinstance(error, kube.NotFound)
        meta = there.metadata
        if (meta.uid, meta.generation) == (known.uid, known.generation):
            return False
        applied.note_version(int(meta.resource_version))
        return True

    async def _put(self, member: MemberState, entries: dict[str, Entry], term: int, applied: Applied) -> None:
        """Create or replace a Member's Assignment. Raises ApiError."""
        items = [format_entry(entries[name]) for name in sorted(entries)]
        spec: dict[str, Any] = {"pool": self.pool, "term": term, "items": items}
        if session := member.session_for(entries):
            spec["session"] = session
        path = kube.ASSIGNMENTS.path
        if member.assignment is None:
            body = assignment_object(self.namespace, member, spec)
            answer = await self.client.create(
                path(self.namespace), body, type=AssignmentObject, deadline=self.deadline
            )
        else:
            patch = assignment_patch(member, spec)
            answer = await self.client.patch(
                path(self.namespace, member.name), patch, type=AssignmentObject, deadline=self.deadline
            )
        applied.note_version(int(answer.metadata.resource_version))

    async def _delete(self, member: MemberState) -> None:
        assert member.assignment is not None
        known = member.assignment.metadata
        path = kube.ASSIGNMENTS.path(self.namespace, known.name)
        only_that = {"preconditions": {"uid": known.uid, "resourceVersion": known.resource_version}}
        await self.client.delete(path, body=only_that, deadline=self.deadline)

    async def _each(self, work: Iterable[tuple[int, Work]], applied: Applied) -> None:
        failed = await write_all(work, MAX_PARALLEL)
        applied.failed_objects |= failed.keys()
        applied.failures += failed.values()
