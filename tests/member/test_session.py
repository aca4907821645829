import asyncio
import threading
import time
from datetime import UTC, datetime

import pytest
from member_fakes import Recorder
from member_leader import ASSIGNMENTS, MEMBERS, Leader, session_of
from waiting import until

import berth
from berth import NameTaken, Outcome, SettingsError
from berth.kinds import AssignmentObject
from berth.kube import LEASES, Invalid
from berth.member.assignment import status_patch
from berth.member.callbacks import Snapshot
from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster


async def test_it_announces_a_member_under_a_lease_that_its_id_holds(
    worker: Recorder, leader: Leader
) -> None:
    async with session_of(worker, leader) as session:
        member, lease = await leader.read(MEMBERS, "w"), await leader.lease("w")
        assert member is not None
        assert lease is not None
        assert member["spec"] == {
            "pool": "default", "zone": "z", "limit": 10, "leaseName": "w", "readiness": "Reported",
            "draining": False,
        }  # fmt: skip
        assert lease["spec"]["holderIdentity"] == session.id
        assert session.live


async def test_an_item_is_prepared_activated_handed_over_and_dropped(
    worker: Recorder, leader: Leader
) -> None:
    await leader.item("a", url="http://x")
    async with session_of(worker, leader) as session:
        await leader.give("w", "a#1@3")
        await leader.until_reported("w", "a@3=Ready")
        assert worker.items["a"].data == {"url": "http://x"}
        await leader.give("w", "a#0@3:4")
        await leader.until_reported("w", "a@3=Active")
        await until(lambda: worker.log == ["prepare a", "activate a@4"])
        assert (await leader.status("w"))["session"] == session.id
        await leader.give("w", "a#1@3")
        await leader.until_reported("w", "a@3=Ready")
        await leader.give("w")
        await leader.until_reported("w")
        assert worker.log == ["prepare a", "activate a@4", "deactivate a", "drop a"]
        await leader.give("w", "a#1@9")
        await leader.until_reported("w", "a@9=Ready")


async def test_a_drain_sets_the_limit_to_0_and_withdraws_once_nothing_is_held(
    worker: Recorder, leader: Leader
) -> None:
    async with session_of(worker, leader) as session:
        await leader.give("w", "a#0@3:4", "b#1@3")
        await leader.until_reported("w", "a@3=Active", "b@3=Ready")
        drain = asyncio.create_task(session.drain())
        await leader.until_limit("w", 0)
        assert not drain.done()
        await leader.give("w")
        assert await drain is Outcome.DRAINED
        assert await leader.read(MEMBERS, "w") is None
        assert await leader.lease("w") is None
    assert sorted(worker.log[-3:]) == ["deactivate a", "drop a", "drop b"]


async def test_a_name_that_a_live_session_holds_is_an_error_that_names_the_session(
    worker: Recorder, leader: Leader
) -> None:
    async with session_of(worker, leader) as session:
        with pytest.raises(NameTaken, match=f"held by session '{session.id}', which is alive"):
            async with session_of(Recorder(), leader):
                pass
        assert session.live


async def test_with_wait_it_takes_the_name_over_once_it_is_free(worker: Recorder, leader: Leader) -> None:
    async with session_of(worker, leader):
        other = session_of(Recorder(), leader, wait=True)
        entering = asyncio.create_task(other.__aenter__())
        await leader.until_renewed("w", 2)
        assert not entering.done()
    await entering
    assert (await leader.lease("w") or {})["spec"]["holderIdentity"] == other.id
    await other.__aexit__(None, None, None)


async def test_a_dead_session_is_replaced_once_its_lease_has_expired_and_its_reports_do_not_count(
    worker: Recorder, leader: Leader
) -> None:
    """What it reported is replaced by the new session's word, which has prepared nothing yet."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    await leader.client.create(
        LEASES.path(leader.namespace),
        {
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "w"},
            "spec": {"holderIdentity": "dead", "leaseDurationSeconds": 3, "renewTime": now},
        },
    )  # fmt: skip
    await leader.give("w", "a#0@3:4")
    status = [{"op": "add", "path": "/status", "value": {"session": "dead", "items": ["a@3=Active"]}}]
    await leader.client.patch(ASSIGNMENTS.path(leader.namespace, "w", "status"), status)
    gate = worker.hold("prepare a")
    started = asyncio.get_running_loop().time()
    async with session_of(worker, leader) as session:
        assert asyncio.get_running_loop().time() - started > 2.0
        await leader.until(lambda status: status.get("session") == session.id, "w")
        assert await leader.reports("w") == ["a@3=Preparing"]
        gate.set()
        await leader.until_reported("w", "a@3=Active")
        await until(lambda: "activate a@4" in worker.log)


async def test_a_limit_that_was_changed_meanwhile_outlives_a_loss(worker: Recorder, leader: Leader) -> None:
    async with session_of(worker, leader) as session:
        first = session.id
        await leader.client.patch(MEMBERS.path(leader.namespace, "w"), {"spec": {"limit": 3}}, "merge")
        await leader.client.delete(LEASES.path(leader.namespace, "w"))
        await until(lambda: session.id != first and session.live)
        await until(lambda: session._reporter is not None)
        assert (await leader.read(MEMBERS, "w") or {})["spec"]["limit"] == 3


async def test_member_and_lease_are_owned_by_the_pod_also_after_one_of_that_name_before(
    worker: Recorder, leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTH_POD_NAME", "w")
    for uid in ("uid-of-the-first", "uid-of-the-second"):
        monkeypatch.setenv("BERTH_POD_UID", uid)
        async with session_of(worker, leader):
            owner = [{"apiVersion": "v1", "kind": "Pod", "name": "w", "uid": uid}]
            for held in (await leader.read(MEMBERS, "w"), await leader.lease("w")):
                assert held is not None
                assert held["metadata"]["ownerReferences"] == owner
            assert (await leader.lease("w") or {})["metadata"]["labels"] == {"berth.dev/member": "w"}


async def test_a_member_of_another_pool_is_an_error_that_says_what_to_do(
    worker: Recorder, leader: Leader
) -> None:
    body = {
        "apiVersion": "berth.dev/v1alpha1", "kind": "Member", "metadata": {"name": "w"},
        "spec": {"pool": "other", "limit": 1},
    }  # fmt: skip
    await leader.client.create(MEMBERS.path(leader.namespace), body)
    with pytest.raises(SettingsError, match="exists in pool 'other' and cannot move to 'default'"):
        async with session_of(worker, leader):
            pass


async def test_a_lost_lease_cancels_everything_and_a_new_session_prepares_again(
    worker: Recorder, leader: Leader
) -> None:
    async with session_of(worker, leader) as session:
        await leader.give("w", "a#0@3:4")
        await leader.until_reported("w", "a@3=Active")
        await until(lambda: "activate a@4" in worker.log)
        held, first = worker.items["a"], session.id
        await leader.client.delete(LEASES.path(leader.namespace, "w"))
        await until(lambda: held.lost)
        assert not held.owned()
        await until(lambda: worker.log.count("activate a@4") == 2)
        assert session.id != first
        assert (await leader.status("w"))["session"] == session.id
        assert not held.owned()
        assert worker.items["a"].owned()
        assert worker.log == [
            "prepare a", "activate a@4", "deactivate a", "drop a", "prepare a", "activate a@4",
        ]  # fmt: skip


async def test_an_event_loop_that_is_blocked_for_long_loses_the_lease_on_purpose(
    worker: Recorder, leader: Leader
) -> None:
    async with session_of(worker, leader, block_seconds=0.7) as session:
        await leader.give("w", "a#0@3:4")
        await until(lambda: "activate a@4" in worker.log)
        held, first = worker.items["a"], session.id
        time.sleep(0.4)  # noqa: ASYNC251 - that is the point
        await asyncio.sleep(0.3)
        assert held.owned()
        time.sleep(2.2)  # noqa: ASYNC251 - shorter than the Lease, longer than a healthy worker blocks
        assert not held.owned()
        await until(lambda: session.id != first and session.live)


async def test_an_activation_waits_until_its_report_is_accepted_for_an_unchanged_entry(
    worker: Recorder, leader: Leader, control_plane: ControlPlane
) -> None:
    """The leader takes the Item away while the Member's report is on its way: it must not be activated."""
    gate = worker.hold("prepare a")
    async with session_of(worker, leader) as session:
        await leader.give("w", "a#0@3:4")
        await until(lambda: "prepare a" in worker.log)
        await leader.until_reported("w", "a@3=Preparing")
        assert session._reporter is not None
        read: list[AssignmentObject] = []
        session._reporter.watch.observe = read.append  # type: ignore[method-assign] - news do not arrive
        await leader.give("w", "a#1@3")
        gate.set()
        # It is read again after each report that was refused.
        await until(lambda: sum(each.spec.items == ("a#1@3",) for each in read) > 3)
        assert worker.log == ["prepare a"]
        assert await leader.reports("w") == ["a@3=Preparing"]


async def test_a_report_whose_answer_was_lost_changes_nothing_when_it_comes_late(
    worker: Recorder, leader: Leader
) -> None:
    async with session_of(worker, leader) as session:
        await leader.give("w", "a#1@3")
        await leader.until_reported("w", "a@3=Ready")
        assert session._reporter is not None
        current = session._reporter.watch.current
        assert current is not None
        late = status_patch(session.id, Snapshot(("a@3=Preparing",), (), frozenset()), current)
        await leader.give("w", "a#0@3:4")
        await leader.until_reported("w", "a@3=Active")
        with pytest.raises(Invalid):
            await leader.client.patch(ASSIGNMENTS.path(leader.namespace, "w", "status"), late)


async def test_a_failed_item_is_reported_with_its_message(worker: Recorder, leader: Leader) -> None:
    worker.fail("prepare a", OSError("disk full"))
    async with session_of(worker, leader):
        await leader.give("w", "a#1@3")
        status = await leader.until(lambda status: bool(status.get("problems")), "w")
        assert status["problems"] == [{"item": "a", "grant": 3, "message": "prepare: OSError: disk full"}]
        status = await leader.until(lambda status: status.get("items") == ["a@3=Ready"], "w")
        assert "problems" not in status


async def test_a_member_that_was_deleted_is_announced_again(worker: Recorder, leader: Leader) -> None:
    async with session_of(worker, leader):
        await leader.give("w", "a#1@3")
        await leader.until_reported("w", "a@3=Ready")
        await leader.client.delete(MEMBERS.path(leader.namespace, "w"))
        await leader.client.delete(ASSIGNMENTS.path(leader.namespace, "w"))
        await until(lambda: worker.log == ["prepare a", "drop a"])
        await leader.until_limit("w", 10)
        await leader.give("w", "a#1@5")
        await leader.until_reported("w", "a@5=Ready")
        assert worker.log == ["prepare a", "drop a", "prepare a"]


async def test_leaving_without_a_drain_cancels_and_releases_the_lease(
    worker: Recorder, leader: Leader
) -> None:
    async with session_of(worker, leader):
        await leader.give("w", "a#0@3:4")
        await until(lambda: "activate a@4" in worker.log)
    assert worker.log == ["prepare a", "activate a@4", "deactivate a", "drop a"]
    assert not worker.items["a"].owned()
    assert (await leader.lease("w") or {})["spec"]["holderIdentity"] == ""
    assert await leader.read(MEMBERS, "w") is not None


async def test_a_drain_that_takes_too_long_drops_what_is_left(worker: Recorder, leader: Leader) -> None:
    async with session_of(worker, leader) as session:
        await leader.give("w", "a#1@3")
        await leader.until_reported("w", "a@3=Ready")
        assert await session.drain(1.0) is Outcome.OVERDUE
    assert worker.log == ["prepare a", "drop a"]
    assert await leader.read(MEMBERS, "w") is None


async def test_a_drain_goes_on_although_the_lease_is_lost_meanwhile(worker: Recorder, leader: Leader) -> None:
    async with session_of(worker, leader) as session:
        await leader.give("w", "a#1@3")
        await leader.until_reported("w", "a@3=Ready")
        await leader.client.delete(LEASES.path(leader.namespace, "w"))
        session.ask_to_drain(20.0)
        await until(lambda: worker.log == ["prepare a", "drop a"])
        await leader.give("w")
        assert await session.wait() is Outcome.DRAINED
    assert await leader.read(MEMBERS, "w") is None
    assert await leader.lease("w") is None


async def test_a_callback_that_cannot_be_stopped_keeps_the_lease_from_being_released(
    worker: Recorder, leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may still be at work, so nobody may take over before the Lease has expired by itself."""
    monkeypatch.setattr("berth.member.session.STOP_GRACE", 0.3)
    async with session_of(worker, leader) as session:
        gate = worker.hold("deactivate a")
        await leader.give("w", "a#0@3:4")
        await until(lambda: "activate a@4" in worker.log)
        session.stop()
        assert await session.wait() is Outcome.STOPPED
        assert (await leader.lease("w") or {})["spec"]["holderIdentity"] == session.id
        gate.set()


async def test_workers_with_threads_are_served_in_the_same_way(leader: Leader) -> None:
    log: list[str] = []

    class Threads(berth.sync.Worker):
        def prepare(self, item: berth.sync.Held) -> None:
            assert threading.current_thread() is not threading.main_thread()
            log.append(f"prepare {item.name} {item.owned()}")

        def activate(self, item: berth.sync.Held) -> None:
            log.append(f"activate {item.name}@{item.epoch}")

        def drop(self, item: berth.sync.Held) -> None:
            log.append(f"drop {item.name} {item.owned()}")

    def life() -> None:
        with berth.sync.Session(
            Threads(), name="w", namespace=leader.namespace, kubeconfig=leader.kubeconfig, limit=3
        ) as session:
            assert session.live
            entered.set()
            leave.wait(20)

    entered, leave = threading.Event(), threading.Event()
    running = asyncio.create_task(asyncio.to_thread(life))
    await until(entered.is_set)
    await leader.give("w", "a#0@3:4")
    await until(lambda: "activate a@4" in log)
    await leader.give("w")
    await leader.until_reported("w")
    leave.set()
    await running
    assert log == ["prepare a True", "activate a@4", "drop a True"]


async def test_an_api_server_that_hangs_for_less_than_the_lease_takes_nothing_away(
    worker: Recorder, leader: Leader, control_plane: ControlPlane
) -> None:
    async with session_of(worker, leader, lease_seconds=12.0) as session:
        first = session.id
        await leader.give("w", "a#0@3:4")
        await until(lambda: "activate a@4" in worker.log)
        control_plane.pause()
        await asyncio.sleep(2.0)
        control_plane.resume()
        assert worker.items["a"].active()
        await leader.give("w", "a#0@3:4", "b#1@5")
        await leader.until_reported("w", "a@3=Active", "b@5=Ready")
        assert session.id == first
        assert worker.log == ["prepare a", "activate a@4", "prepare b"]


async def test_without_the_api_server_everything_is_cancelled_before_the_lease_would_end(
    worker: Recorder, leader: Leader, control_plane: ControlPlane
) -> None:
    async with session_of(worker, leader, lease_seconds=10.0) as session:
        await leader.give("w", "a#0@3:4")
        await until(lambda: "activate a@4" in worker.log)
        held, first = worker.items["a"], session.id
        control_plane.pause()
        try:
            # Whatever was sent last before this moment was sent before it.
            gone = time.monotonic()
            await until(lambda: held.lost, seconds=10.0)
            assert time.monotonic() - gone < 10.0
            assert not held.owned()
            await until(lambda: worker.log[-1] == "drop a")
        finally:
            control_plane.resume()
        # It need not wait for its own last Lease to expire: nothing of that session goes on.
        back = time.monotonic()
        await until(lambda: worker.log.count("activate a@4") == 2, seconds=20)
        assert time.monotonic() - back < 9.0
        assert session.id != first
