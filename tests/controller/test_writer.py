"""The order of a round's writes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from objects import assignment_object, changed, member_object

from berth.controller.writes import Applied, AssignmentWriter, assignment_patch
from berth.kinds import AssignmentObject, Entry, ReadAssignmentSpec
from berth.kube import ApiError, Conflict, Forbidden, Meta, RequestTimeout, ServerError
from berth.pool import Lane, MemberEdit, MemberState, Write


class Recorded:
    """A client that records when which write begins and ends, and answers as it is told."""

    def __init__(self, **errors: ApiError) -> None:
        self.events: list[str] = []
        self.specs: dict[str, Any] = {}
        self._errors = errors
        self._version = 100

    async def patch(self, path: str, patch: Any, *, type: Any, deadline: Any) -> AssignmentObject:
        name = path.rsplit("/", 1)[1]
        self.events.append(f"begin {name}")
        for _ in range(5):
            await asyncio.sleep(0)
        self.events.append(f"end {name}")
        if name in self._errors:
            raise self._errors[name]
        self._version += 1
        self.specs[name] = patch[2]["value"]
        return AssignmentObject(
            metadata=Meta(name, resource_version=str(self._version)), spec=ReadAssignmentSpec()
        )


def member(row: int, *entries: Entry) -> MemberState:
    name = "abcdef"[row]
    state = MemberState(name, row, member_object(name, 9, uid=f"u{row}"))
    state.assignment = assignment_object(name, uid=f"a{row}", owner=f"u{row}", generation=7)
    state.entries = {entry.name: entry for entry in entries}
    return state


def remove(item: str) -> MemberEdit:
    return MemberEdit(item, None, (), Lane.REMOVE)


def promote(item: str, *after: int) -> MemberEdit:
    return MemberEdit(item, Entry(item, 0, 3, 9), after, Lane.PROMOTE)


def primary(item: str) -> Entry:
    return Entry(item, 0, 3, 4)


async def write(client: Any, edits: dict[int, list[MemberEdit]], *members: MemberState) -> Any:
    of, applied = {member.row: member for member in members}, Applied()
    writes = [Write(of[row], some) for row, some in edits.items()]
    await AssignmentWriter(client, "ns", "pool", lambda: float("inf")).write(writes, 9, applied)
    return applied


async def test_a_promotion_is_written_only_after_the_old_primarys_write_was_accepted() -> None:
    client = Recorded()
    written = await write(
        client,
        {0: [promote("x", 1)], 1: [remove("x")]},
        member(0, Entry("x", 1, 3, 0)),
        member(1, primary("x")),
    )
    assert client.events == ["begin b", "end b", "begin a", "end a"]
    assert (len(written.accepted), written.failures, written.again) == (2, [], set())


async def test_writes_that_have_nothing_to_do_with_each_other_go_out_together() -> None:
    client = Recorded()
    await write(
        client, {0: [remove("x")], 1: [remove("y")]}, member(0, primary("x")), member(1, primary("y"))
    )
    assert client.events[:2] == ["begin a", "begin b"]


@pytest.mark.parametrize("error", [Conflict(409, "c", "c"), ServerError(500, "s", "s"), RequestTimeout("t")])
async def test_a_promotion_is_left_out_when_the_old_primarys_write_failed(error: ApiError) -> None:
    client = Recorded(b=error)
    written = await write(
        client,
        {0: [promote("x", 1), remove("y")], 1: [remove("x")]},
        member(0, Entry("x", 1, 3, 0), primary("y")),
        member(1, primary("x")),
    )
    assert written.again == {"x"}
    assert client.specs["a"]["items"] == ["x#1@3"], "the rest of that write is made"


async def test_a_write_with_nothing_but_left_out_promotions_is_not_made() -> None:
    client = Recorded(b=Conflict(409, "c", "c"))
    await write(
        client,
        {0: [promote("x", 1)], 1: [remove("x")]},
        member(0, Entry("x", 1, 3, 0)),
        member(1, primary("x")),
    )
    assert "begin a" not in client.events


async def test_two_members_that_wait_for_each_other_do_not_block() -> None:
    client = Recorded()
    written = await write(
        client,
        {0: [remove("x"), promote("y", 1)], 1: [remove("y"), promote("x", 0)]},
        member(0, primary("x"), Entry("y", 1, 3, 0)),
        member(1, primary("y"), Entry("x", 1, 3, 0)),
    )
    assert len(written.accepted) == 2
    assert len(written.again) == 1, "one promotion is left to the next round"
    slots = [item for spec in client.specs.values() for item in spec["items"] if "#0" in item]
    assert len(slots) == 1


async def test_a_longer_circle_ends_too() -> None:
    client = Recorded()
    edits = {row: [remove("xyz"[row]), promote("xyz"[row - 1], (row - 1) % 3)] for row in range(3)}
    members = [member(row, primary("xyz"[row]), Entry("xyz"[row - 1], 1, 3, 0)) for row in range(3)]
    written = await write(client, edits, *members)
    assert len(written.accepted) == 3
    assert len(written.again) == 1


async def test_a_write_goes_by_what_was_planned_although_the_fleet_has_moved_on() -> None:
    client = Recorded()
    planned = member(0, primary("x"), Entry("y", 1, 3, 0))
    await write(client, {0: [remove("x")]}, planned)
    assert client.specs["a"] == {"pool": "pool", "term": 9, "items": ["y#1@3"]}


async def test_what_got_no_answer_is_unsure_and_what_was_refused_is_not() -> None:
    for error, unsure in (
        (RequestTimeout("t"), {"a": {"x"}}),
        (RequestTimeout("t", maybe_done=False), {}),
        (ServerError(504, "t", "t"), {"a": {"x"}}),
        (Forbidden(403, "f", "f"), {}),
        (Conflict(409, "c", "c"), {}),
    ):
        written = await write(Recorded(a=error), {0: [remove("x")]}, member(0, primary("x")))
        assert written.in_doubt == unsure, error
        assert written.again == {"x"}


def test_a_write_tests_the_object_and_the_generation_that_it_replaces() -> None:
    patch = assignment_patch(member(0), {"items": []})
    assert patch[:2] == [
        {"op": "test", "path": "/metadata/uid", "value": "a0"},
        {"op": "test", "path": "/metadata/generation", "value": 7},
    ]


async def test_a_write_is_for_the_successor_only_where_every_entry_is_given_anew() -> None:
    old = member(0, primary("x"), primary("y"))
    assert old.assignment is not None
    old.assignment = changed(old.assignment, written_for="s1")
    old.successor = "s2"
    anew = [MemberEdit(item, Entry(item, 0, 9, 9), (), Lane.SESSION) for item in ("x", "y")]
    client = Recorded()
    await write(client, {0: anew}, old)
    assert client.specs["a"]["session"] == "s2"
    await write(client, {0: anew[:1]}, old)
    assert client.specs["a"]["session"] == "s1"


async def test_a_member_without_a_lease_has_no_session_in_its_assignment() -> None:
    client = Recorded()
    await write(client, {0: [promote("x")]}, member(0, Entry("x", 1, 3, 0)))
    assert "session" not in client.specs["a"]
