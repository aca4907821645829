"""Writes a round: at most one write per Assignment, a new primary only after the old one's is accepted."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from berth.kinds import API_VERSION, AssignmentObject, Entry, format_entry
from berth.kube import ASSIGNMENTS, ApiError, Client, ConnectionLost, Deadline, ServerError
from berth.pool import Lane, MemberEdit, MemberState, Round

PARALLEL = 16
"""Most writes of Assignments under way at once."""
FIRST_PARALLEL = 8
"""Writes under way at the begin of a round; each answer allows one more, as in TCP's slow start.

Each needs a connection. So many are kept open; the others have to be opened first, and on a machine that is
busy with the writes a handshake takes as long as one of them.
"""


class Accepted(NamedTuple):
    """An accepted write of one Assignment."""

    member: str
    edits: list[MemberEdit]


@dataclass(slots=True)
class Written:
    """What came of a round's writes."""

    accepted: list[Accepted] = field(default_factory=list)
    failed: list[ApiError] = field(default_factory=list)
    again: set[str] = field(default_factory=set)
    """Items whose edits were not made, to be looked at again."""
    unsure: dict[str, set[str]] = field(default_factory=dict)
    """Members whose write got no answer, so that it may yet be accepted, and the Items of its edits."""
    version: int = 0
    """Highest resourceVersion that the API server answered with."""

    def lanes(self) -> Counter[Lane]:
        """Accepted changes of entries, by what they are for."""
        return Counter(edit.lane for _, edits in self.accepted for edit in edits)

    def add(self, other: Written) -> None:
        """Take in what came of other writes of the same round."""
        self.accepted += other.accepted
        self.failed += other.failed
        self.again |= other.again
        self.unsure.update(other.unsure)
        self.version = max(self.version, other.version)


def may_be_done(error: ApiError) -> bool:
    """Whether a write that failed with this may have been accepted, or may yet be."""
    if isinstance(error, ConnectionLost):
        return error.maybe_done
    return isinstance(error, ServerError)


def desired_items(entries: dict[str, Entry]) -> list[str]:
    """`spec.items`: the entries as strings, sorted by name."""
    return [format_entry(entries[name]) for name in sorted(entries)]


def assignment_patch(member: MemberState, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The JSON patch that replaces `spec` of exactly the Assignment and generation that were seen.

    Status reports do not change the generation, so they never conflict with it.
    """
    assert member.assignment is not None
    return [
        {"op": "test", "path": "/metadata/uid", "value": member.assignment.uid},
        {"op": "test", "path": "/metadata/generation", "value": member.assignment.generation},
        {"op": "replace", "path": "/spec", "value": spec},
    ]


def assignment_object(namespace: str, member: MemberState, spec: dict[str, Any]) -> dict[str, Any]:
    """A new Assignment, owned by its Member."""
    assert member.seen is not None
    return {
        "apiVersion": API_VERSION,
        "kind": "Assignment",
        "metadata": {
            "name": member.name,
            "namespace": namespace,
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "Member",
                    "name": member.name,
                    "uid": member.seen.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": spec,
    }


class _Order:
    """Which Member may be written next: first those that nobody has to be written before."""

    def __init__(self, writes: dict[int, list[MemberEdit]]) -> None:
        self._needs: dict[int, set[int]] = {}
        self._dependents: dict[int, list[int]] = {}
        self._ready: deque[int] = deque()
        self.written: set[int] = set()
        """Rows whose write has ended, well or not."""
        for row, edits in writes.items():
            needs = set().union(*(edit.after for edit in edits)) - {row}
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


class RoundWriter:
    """Writes the Assignments of one Pool."""

    def __init__(self, client: Client, namespace: str, pool: str, parallel: int = PARALLEL) -> None:
        self._client = client
        self._namespace = namespace
        self._pool = pool
        self._parallel = parallel

    async def write(self, round_: Round, term: int, deadline: Deadline) -> Written:
        """Write all edits of the round; `term` goes into each `spec.term`.

        An edit that gives out slot 0 waits until the Members that give it up have been written; if one
        of those writes fails it is left out. Where two Members wait for each other, the promotions of
        one of them are left to the next round.
        """
        result = Written()
        order = _Order(round_.writes)
        lost: set[int] = set()
        running: dict[asyncio.Task[ApiError | int], int] = {}
        window = min(FIRST_PARALLEL, self._parallel)
        async with asyncio.TaskGroup() as group:
            while True:
                while len(running) < window and (row := order.take(stuck=not running)) is not None:
                    edits = round_.writes[row]
                    kept = [
                        edit
                        for edit in edits
                        if not edit.after
                        or (lost.isdisjoint(edit.after) and order.written.issuperset(edit.after))
                    ]
                    if len(kept) < len(edits):
                        result.again |= {e.item for e in edits} - {e.item for e in kept}
                    if not kept:
                        order.finish(row)
                        continue
                    write = self._write_one(round_.members[row], kept, term, deadline, result)
                    running[group.create_task(write)] = row
                if not running:
                    return result
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                window = min(window + len(done), self._parallel)
                for task in done:
                    row = running.pop(task)
                    outcome = task.result()
                    if isinstance(outcome, ApiError):
                        lost.add(row)
                        result.failed.append(outcome)
                        items = {e.item for e in round_.writes[row]}
                        result.again |= items
                        if may_be_done(outcome):
                            result.unsure[round_.members[row].name] = items
                    else:
                        result.version = max(result.version, outcome)
                    order.finish(row)

    async def _write_one(
        self,
        member: MemberState,
        edits: list[MemberEdit],
        term: int,
        deadline: Deadline,
        result: Written,
    ) -> ApiError | int:
        entries = dict(member.entries)
        for edit in edits:
            if edit.entry is None:
                entries.pop(edit.item, None)
            else:
                entries[edit.item] = edit.entry
        try:
            version = await self.put(member, entries, term, deadline)
        except ApiError as error:
            return error
        result.accepted.append(Accepted(member.name, edits))
        return version

    async def put(self, member: MemberState, entries: dict[str, Entry], term: int, deadline: Deadline) -> int:
        """Create or replace a Member's Assignment; its new resourceVersion. Raises ApiError."""
        spec: dict[str, Any] = {"pool": self._pool, "term": term, "items": desired_items(entries)}
        session = member.session_for(entries)
        if session:
            spec["session"] = session
        if member.assignment is None:
            answer = await self._client.create(
                ASSIGNMENTS.path(self._namespace),
                assignment_object(self._namespace, member, spec),
                type=AssignmentObject,
                deadline=deadline,
            )
        else:
            answer = await self._client.patch(
                ASSIGNMENTS.path(self._namespace, member.name),
                assignment_patch(member, spec),
                type=AssignmentObject,
                deadline=deadline,
            )
        return int(answer.metadata.resource_version)

    async def read(self, name: str, deadline: Deadline) -> AssignmentObject:
        """The Assignment as the API server has it now. Raises ApiError."""
        return await self._client.get(
            ASSIGNMENTS.path(self._namespace, name), type=AssignmentObject, deadline=deadline
        )

    async def remove(self, member: MemberState, deadline: Deadline) -> None:
        """Delete an Assignment that belongs to no Member, or to an earlier one of that name.

        Only as it was last seen: what its status says of work under way must not be missed.
        """
        seen = member.assignment
        assert seen is not None
        preconditions = {"uid": seen.uid, "resourceVersion": str(seen.resource_version)}
        await self._client.delete(
            ASSIGNMENTS.path(self._namespace, member.name),
            body={"preconditions": preconditions},
            deadline=deadline,
        )
