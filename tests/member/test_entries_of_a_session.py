"""Entries are for one session: what another one does with them."""

import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from member_fakes import Hand, Recorder
from waiting import until

from berth.kinds import AssignmentObject
from berth.member.assignment import AssignmentWatch, StatusReporter
from berth.member.callbacks import CallbackRunner


class Member:
    """A CallbackRunner with its AssignmentWatch and StatusReporter, of the session `me`."""

    def __init__(self) -> None:
        self.worker = Recorder()
        self.runner = CallbackRunner(self.worker)
        self.runner.start_session(lambda: 100.0)
        server = cast(Any, SimpleNamespace())
        self.watch = AssignmentWatch(
            server, "ns", "w", "me", self.runner.set_target, on_taken=self.runner.revoke
        )
        self.reporter = StatusReporter(server, self.watch, self.runner, lambda: 100.0)
        self.hand = Hand(self.runner)
        self.version = 0

    def deliver(self, session: str | None, *items: str) -> None:
        """What the leader has written comes by the watch."""
        self.version += 1
        meta = {"name": "w", "resourceVersion": str(self.version)}
        body: dict[str, Any] = {"metadata": meta, "spec": {"items": items}}
        if session is not None:
            body["spec"]["session"] = session
        self.watch.observe(msgspec.convert(body, AssignmentObject))


@pytest.fixture
async def member() -> AsyncIterator[Member]:
    member = Member()
    async with member.runner:
        yield member


@pytest.mark.parametrize("session", ["me", None])
async def test_it_works_on_its_own_entries_and_on_those_that_are_for_no_session(
    member: Member, session: str | None
) -> None:
    member.deliver(session, "a#0@3:4")
    await member.hand.until_reported("a@3=Active")
    await until(lambda: member.worker.log == ["prepare a", "activate a@4"])
    assert member.worker.items["a"].active()


async def test_it_does_nothing_with_the_entries_of_the_session_before_it_and_waits_for_the_leader(
    member: Member, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "berth.member")
    member.deliver("before", "a#0@3:4")
    member.deliver("before", "a#0@3:4", "b#1@5")
    assert member.watch.current is None, "there is nothing to report in"
    assert member.runner.empty
    assert member.reporter.empty
    waiting = [r.message for r in caplog.records if "waiting for the leader" in r.message]
    assert waiting == ["assignment w: its entries are for session before, waiting for the leader"]
    assert not member.watch.member_doubt.is_set(), "the Member is there"
    member.deliver("me", "a#0@6:6", "b#1@6")
    await member.hand.until_reported("a@6=Active", "b@6=Ready")
    await until(lambda: member.worker.log == ["prepare a", "prepare b", "activate a@6"])


async def test_a_running_session_stops_at_once_when_its_entries_pass_to_another_session(
    member: Member,
) -> None:
    member.deliver("me", "a#0@3:4", "b#1@3")
    await member.hand.until_reported("a@3=Active", "b@3=Ready")
    await until(lambda: member.worker.log[-1:] == ["activate a@4"])
    held = member.worker.items["a"]
    assert held.active()
    member.deliver("after", "a#0@5:5", "b#1@5")
    assert not held.owned(), "before anything else may run"
    assert held.lost
    await member.runner.wait_until_empty()
    assert member.worker.log[-3:].count("deactivate a") == 1
    assert {"drop a", "drop b"} <= set(member.worker.log)


async def test_it_works_again_when_the_leader_comes_back_to_it(member: Member) -> None:
    member.deliver("me", "a#0@3:4")
    await member.hand.until_reported("a@3=Active")
    await until(lambda: "activate a@4" in member.worker.log)
    member.deliver("after", "a#0@5:5")
    member.deliver("me", "a#0@6:6")
    await member.hand.until_reported("a@6=Active")
    await until(lambda: "activate a@6" in member.worker.log)
    assert member.worker.log == [
        "prepare a", "activate a@4", "deactivate a", "drop a", "prepare a", "activate a@6",
    ]  # fmt: skip
    assert member.worker.items["a"].active()


async def test_an_older_leader_that_comes_back_is_followed(member: Member) -> None:
    member.deliver("me", "a#0@3:4")
    await member.hand.until_reported("a@3=Active")
    member.deliver(None, "a#0@3:4", "b#1@7")
    await member.hand.until_reported("a@3=Active", "b@7=Ready")
    assert member.worker.log.count("prepare a") == 1
