"""Whose Assignment it is, and what a Member does that is deleted while its process lives."""

import asyncio
import time

import pytest
from member_fakes import Recorder
from member_leader import ASSIGNMENTS, MEMBERS, Leader, session_of
from waiting import until

from berth import Outcome, Session
from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster


def newest(session: Session) -> tuple[str, ...]:
    """The entries of the newest Assignment that has arrived, whether it counts or not."""
    assert session._reporter is not None
    found = session._reporter.watch._newest
    return () if found is None else found.spec.items


async def test_the_assignment_of_an_earlier_member_of_the_same_name_is_ignored(
    worker: Recorder, leader: Leader
) -> None:
    await leader.give("w", "a#0@3:4", owner="uid-of-an-earlier-one")
    async with session_of(worker, leader) as session:
        await until(lambda: newest(session) == ("a#0@3:4",))
        await leader.give("w", "a#0@3:4", "b#1@5")
        await until(lambda: newest(session) == ("a#0@3:4", "b#1@5"))
        assert worker.log == []
        assert await leader.status("w") == {}
        await leader.client.delete(ASSIGNMENTS.path(leader.namespace, "w"))
        await leader.give("w", "c#1@6", owner=await leader.uid("w"))
        await leader.until_reported("w", "c@6=Ready")
        assert worker.log == ["prepare c"]


async def test_items_granted_before_the_member_was_deleted_and_created_again_are_released(
    worker: Recorder, leader: Leader
) -> None:
    """Its Assignment is still there, with no garbage collector and no leader at work."""
    async with session_of(worker, leader) as session:
        first = await leader.uid("w")
        await leader.give("w", "a#0@3:4", owner=first)
        await until(lambda: "activate a@4" in worker.log)
        await leader.client.delete(MEMBERS.path(leader.namespace, "w"))
        assert session._reporter is not None
        session._reporter.watch.member_doubt.set()  # else it looks only every 30 s
        await leader.until_limit("w", 10)
        await until(lambda: worker.log == ["prepare a", "activate a@4", "deactivate a", "drop a"])
        assert await leader.reports("w") == ["a@3=Active"]
        await leader.client.delete(ASSIGNMENTS.path(leader.namespace, "w"))
        await leader.give("w", "a#0@5:6", owner=await leader.uid("w"))
        await leader.until_reported("w", "a@5=Active")
        assert await leader.uid("w") != first


async def test_an_assignment_of_a_member_that_somebody_else_created_again_is_ours(
    worker: Recorder, leader: Leader
) -> None:
    async with session_of(worker, leader):
        await leader.give("w", "a#1@3", owner=await leader.uid("w"))
        await leader.until_reported("w", "a@3=Ready")
        body = await leader.read(MEMBERS, "w")
        assert body is not None
        await leader.client.delete(MEMBERS.path(leader.namespace, "w"))
        body["metadata"] = {"name": "w"}
        await leader.client.create(MEMBERS.path(leader.namespace), body)
        await leader.client.delete(ASSIGNMENTS.path(leader.namespace, "w"))
        await leader.give("w", "b#1@5", owner=await leader.uid("w"))
        await leader.until_reported("w", "b@5=Ready")
        assert worker.log == ["prepare a", "drop a", "prepare b"]


async def test_a_session_that_is_cancelled_while_it_waits_for_a_callback_does_not_release_the_lease(
    worker: Recorder, leader: Leader
) -> None:
    """As `asyncio.run` cancels all there is after a second Ctrl-C: what is still at work may go on."""
    session = session_of(worker, leader)
    await session.__aenter__()
    worker.hold("deactivate a")
    await leader.give("w", "a#0@3:4")
    await until(lambda: "activate a@4" in worker.log)
    session.stop()
    await until(lambda: "deactivate a" in worker.log)
    assert session._main is not None
    session._main.cancel()
    await asyncio.wait({session._main}, timeout=10)
    assert session._main.cancelled()
    assert (await leader.lease("w") or {})["spec"]["holderIdentity"] == session.id


async def test_a_member_whose_deletion_a_finalizer_delays_is_announced_again_soon_afterwards(
    worker: Recorder, leader: Leader
) -> None:
    path = MEMBERS.path(leader.namespace, "w")
    async with session_of(worker, leader):
        first = await leader.uid("w")
        await leader.client.patch(path, {"metadata": {"finalizers": ["test.dev/hold"]}}, "merge")
        await leader.give("w", "a#1@3", owner=first)
        await leader.until_reported("w", "a@3=Ready")
        await leader.client.delete(path)
        await leader.client.delete(ASSIGNMENTS.path(leader.namespace, "w"))
        await until(lambda: "drop a" in worker.log)
        await asyncio.sleep(0.5)
        await leader.client.patch(path, {"metadata": {"finalizers": None}}, "merge")
        await leader.until_limit("w", 10, seconds=10.0)
        assert await leader.uid("w") != first


async def test_a_drain_drops_what_is_left_in_time_although_the_api_server_hangs(
    worker: Recorder, leader: Leader, control_plane: ControlPlane
) -> None:
    async with session_of(worker, leader, lease_seconds=60.0) as session:
        await leader.give("w", "a#0@3:4")
        await until(lambda: "activate a@4" in worker.log)
        control_plane.pause()
        try:
            session.ask_to_drain(1.0)
            await until(lambda: worker.log[2:] == ["deactivate a", "drop a"], seconds=5.0)
        finally:
            control_plane.resume()
        assert await session.wait() is Outcome.OVERDUE
    assert await leader.read(MEMBERS, "w") is None


async def test_after_a_suspend_everything_is_cancelled_at_once(
    worker: Recorder, leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The boot clock has gone on meanwhile; timers have not."""
    async with session_of(worker, leader, lease_seconds=60.0) as session:
        first = session.id
        await leader.give("w", "a#0@3:4")
        await until(lambda: "activate a@4" in worker.log)
        real = time.clock_gettime
        monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + 100.0)
        await until(lambda: worker.log[2:4] == ["deactivate a", "drop a"], seconds=1.5)
        await until(lambda: session.id != first and session.live)
        await until(lambda: worker.log[4:] == ["prepare a", "activate a@4"])
        assert worker.items["a"].owned()
