"""What is written, when, and what a failed write leads to; with an API server made of a dict."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from member_fakes import Hand, Recorder
from waiting import until

from berth.kinds import AssignmentObject
from berth.kube import Invalid, NotFound, ServerError
from berth.member.assignment import AssignmentWatch, StatusReporter
from berth.member.callbacks import CallbackRunner


class Server:
    """One Assignment, written under the test of its resourceVersion."""

    def __init__(self) -> None:
        self.object: dict[str, Any] | None = {
            "metadata": {"name": "w", "resourceVersion": "100"}, "spec": {"items": []},
        }  # fmt: skip
        self.statuses: list[dict[str, Any]] = []
        self.errors: list[Exception] = []
        self.gate: asyncio.Event | None = None
        self.in_flight = 0

    def write_spec(self, *items: str) -> None:
        assert self.object is not None
        version = int(self.object["metadata"]["resourceVersion"]) + 1
        self.object = {**self.object, "metadata": {"name": "w", "resourceVersion": str(version)},
                       "spec": {"items": list(items)}}  # fmt: skip

    async def get(self, path: str, **_: Any) -> AssignmentObject:
        if self.object is None:
            raise NotFound(404, "NotFound", "gone")
        return msgspec.convert(self.object, AssignmentObject)

    async def patch(self, path: str, body: list[dict[str, Any]], *_: Any, **__: Any) -> AssignmentObject:
        self.in_flight += 1
        assert self.in_flight == 1, "two writes at once"
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.errors:
                raise self.errors.pop(0)
            assert self.object is not None
            assert body[0]["path"] == "/metadata/resourceVersion"
            if body[0]["value"] != self.object["metadata"]["resourceVersion"]:
                raise Invalid(422, "Invalid", "test failed")
            self.statuses.append(body[-1]["value"])
            version = int(self.object["metadata"]["resourceVersion"]) + 1
            self.object = {**self.object, "metadata": {"name": "w", "resourceVersion": str(version)},
                           "status": body[-1]["value"]}  # fmt: skip
            return msgspec.convert(self.object, AssignmentObject)
        finally:
            self.in_flight -= 1


class Member:
    """A CallbackRunner with its AssignmentWatch and StatusReporter."""

    def __init__(self, server: Server, worker: Recorder) -> None:
        self.server = server
        self.worker = worker
        self.valid = True
        self.writing: asyncio.Task[None] | None = None

        def lease_left() -> float:
            return 100.0 if self.valid else 0.0

        self.runner = CallbackRunner(worker, on_change=self.notify)
        self.runner.start_session(lease_left)
        self.watch = AssignmentWatch(server, "ns", "w", "me", self.runner.set_target)  # type: ignore[arg-type]
        self.reporter = StatusReporter(server, self.watch, self.runner, lease_left)  # type: ignore[arg-type]
        self.hand = Hand(self.runner)
        self.looks = 0
        """How often the reporter has looked whether there is something to write."""
        worth_writing = self.reporter._worth_writing

        def counted(*args: Any) -> bool:
            self.looks += 1
            return worth_writing(*args)

        self.reporter._worth_writing = counted  # type: ignore[method-assign]

    def notify(self, urgent: bool) -> None:
        self.reporter.notify(urgent)

    def deliver(self, *items: str) -> None:
        """The leader writes, and the watch delivers it."""
        self.server.write_spec(*items)
        self.watch.observe(msgspec.convert(self.server.object, AssignmentObject))


@pytest.fixture
async def member() -> AsyncIterator[Member]:
    member = Member(Server(), Recorder())
    member.watch.observe(msgspec.convert(member.server.object, AssignmentObject))
    async with member.runner:
        writing = member.writing = asyncio.create_task(member.reporter.run())
        await until(lambda: member.server.statuses)
        yield member
        writing.cancel()
        await asyncio.wait({writing})


async def test_a_session_reports_at_once_that_it_holds_nothing(member: Member) -> None:
    assert member.server.statuses == [{"session": "me", "items": []}]
    assert member.reporter.empty


async def test_nothing_is_written_while_nothing_is_new(member: Member) -> None:
    for _ in range(5):
        looks = member.looks
        member.reporter.notify(urgent=True)
        await until(lambda looks=looks: member.looks > looks)
    member.deliver("a#1@1")
    await until(lambda: member.server.statuses[-1]["items"] == ["a@1=Ready"])
    assert member.server.statuses.count({"session": "me", "items": []}) == 1


async def test_changes_during_a_write_go_into_the_next_write_together(member: Member) -> None:
    gate = member.server.gate = asyncio.Event()
    names = [f"i{n}" for n in range(9)]
    member.deliver("i0#1@1")
    await until(lambda: member.server.in_flight)
    for count in range(2, 10):
        member.deliver(*(f"{name}#1@1" for name in names[:count]))
        await asyncio.sleep(0.005)
    gate.set()
    expected = {"session": "me", "items": [f"{name}@1=Ready" for name in names]}
    await until(lambda: member.server.statuses[-1] == expected)
    # The one that was under way was refused, for the leader had written; then few with everything.
    assert len(member.server.statuses) <= 4


async def test_after_a_conflict_the_assignment_is_read_and_the_newest_state_is_written(
    member: Member,
) -> None:
    member.server.write_spec("a#1@1")  # the watch has not delivered it yet
    member.hand.want("b#1@1")
    await until(lambda: member.server.statuses[-1]["items"] == ["a@1=Ready"])
    assert member.worker.log.count("prepare a") == 1


async def test_an_activation_starts_only_after_a_write_that_found_the_entry_unchanged(member: Member) -> None:
    gate = member.server.gate = asyncio.Event()
    member.deliver("a#0@1:1")
    await until(lambda: member.server.in_flight)
    member.server.write_spec("a#1@1")  # taken back, not delivered yet
    gate.set()
    await until(lambda: member.server.statuses[-1]["items"] == ["a@1=Ready"])
    assert member.worker.log == ["prepare a"]


async def test_a_server_that_fails_gets_the_newest_state_once_it_has_recovered(member: Member) -> None:
    member.server.errors = [ServerError(500, "InternalError", "etcd"), ServerError(503, "Unavailable", "-")]
    member.deliver("a#1@1")
    await until(lambda: member.server.statuses[-1]["items"] == ["a@1=Ready"])
    assert len(member.server.statuses) <= 3


async def test_an_assignment_that_is_gone_means_that_nothing_is_wanted(member: Member) -> None:
    member.deliver("a#1@1")
    await until(lambda: member.server.statuses[-1]["items"] == ["a@1=Ready"])
    member.server.object = None
    await member.watch.refresh()
    await until(lambda: member.worker.log == ["prepare a", "drop a"])
    assert member.watch.empty
    assert member.reporter.empty


async def test_nothing_is_written_once_the_lease_may_have_expired(member: Member) -> None:
    assert member.writing is not None
    member.valid = False
    member.deliver("a#1@1")
    async with asyncio.timeout(10):
        await member.writing
    assert len(member.server.statuses) == 1


async def test_an_older_assignment_never_replaces_a_newer_one(member: Member) -> None:
    member.deliver("a#1@1")
    old = msgspec.convert(member.server.object, AssignmentObject)
    member.deliver()
    member.watch.observe(old)
    assert member.watch.empty


async def test_an_entry_that_cannot_be_parsed_does_not_stop_the_others(member: Member) -> None:
    member.deliver("a#1@1", "what is this", "b#1@1")
    await until(lambda: member.server.statuses[-1]["items"] == ["a@1=Ready", "b@1=Ready"])
    assert sorted(member.worker.log) == ["prepare a", "prepare b"]
