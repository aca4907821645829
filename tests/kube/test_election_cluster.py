import asyncio
import json
import logging
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from berth.kube import (
    LEASES,
    Client,
    Config,
    Forbidden,
    LeaseClaim,
    LeaseHeld,
    LeaseKeeper,
    NotFound,
    OwnerReference,
    Timing,
    load_config,
)
from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster

MICRO_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")


@pytest.fixture
async def client(config: Config) -> AsyncIterator[Client]:
    async with Client(config) as client:
        yield client


def lease_by_kubectl(control_plane: ControlPlane, namespace: str, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(
        control_plane.kubectl("get", "lease", name, "-n", namespace, "-o", "json")
    )["spec"]
    return spec


async def transitions(client: Client, namespace: str) -> int:
    lease = await client.get(LEASES.path(namespace, "leader"))
    return int(lease["spec"]["leaseTransitions"])


def candidate(
    config: Config, namespace: str, identity: str, duration: float = 15.0, **more: Any
) -> LeaseKeeper:
    timing = Timing.of(duration, renew_deadline=duration * 2 / 3)
    return LeaseKeeper(config, LeaseClaim(namespace, "leader", identity), timing, **more)


async def test_one_leads_the_other_waits_and_takes_over_at_once_when_the_first_leaves(
    control_plane: ControlPlane, config: Config, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "berth.kube")
    async with candidate(config, namespace, "b") as second:
        async with candidate(config, namespace, "a") as first:
            assert not first.held
            assert first.deadline() < time.monotonic()
            await first.acquire()
            assert first.held
            assert 12.0 < first.deadline() - time.monotonic() <= 14.0
            spec = await asyncio.to_thread(lease_by_kubectl, control_plane, namespace, "leader")
            assert spec["holderIdentity"] == "a"
            assert spec["leaseDurationSeconds"] == 15
            assert spec["leaseTransitions"] == 0
            assert MICRO_TIME.match(spec["renewTime"])
            assert MICRO_TIME.match(spec["acquireTime"])
            waiting = asyncio.create_task(second.acquire())
            await until(lambda: caplog.text.count("a holds it") == 2)  # once by each
            assert not second.held
            await first.acquire()  # leads already: returns at once
            lost = first.lost
            assert not lost.is_set()
            left = time.monotonic()
        assert lost.is_set()
        assert not first.held
        await asyncio.wait_for(waiting, 30)
        # The Lease would have expired 15 s later, and a poll sees it within 2.4 s; the watch is quicker.
        assert time.monotonic() - left < 2.0
        assert second.held
    spec = await asyncio.to_thread(lease_by_kubectl, control_plane, namespace, "leader")
    assert spec["holderIdentity"] == ""
    assert spec["leaseTransitions"] == 1


async def test_two_candidates_never_lead_together_while_the_lead_changes_hands(
    config: Config, namespace: str
) -> None:
    both: list[float] = []
    led: dict[str, int] = {"a": 0, "b": 0}
    done = asyncio.Event()
    async with (
        candidate(config, namespace, "a", 3.0) as a,
        candidate(config, namespace, "b", 3.0) as b,
        asyncio.TaskGroup() as group,
    ):

        async def stand(name: str, election: LeaseKeeper) -> None:
            while not done.is_set():
                await election.acquire()
                led[name] += 1
                await asyncio.sleep(0.1)
                await election.release()
                await asyncio.sleep(0.05)
                if min(led.values()) >= 3:
                    done.set()

        async def watch() -> None:
            while not done.is_set():
                if a.held and b.held:
                    both.append(time.monotonic())
                await asyncio.sleep(0.001)

        group.create_task(stand("a", a))
        group.create_task(stand("b", b))
        group.create_task(watch())
    assert both == []


async def test_a_busy_event_loop_does_not_delay_renewal(config: Config, namespace: str) -> None:
    async with candidate(config, namespace, "a", 5.0) as election:
        await election.acquire()
        lost = election.lost
        time.sleep(7.0)  # noqa: ASYNC251 - that is the point
        assert election.held
        assert election.deadline() > time.monotonic()
        await asyncio.sleep(0.1)
        assert not lost.is_set()


async def test_a_loop_that_is_blocked_beyond_the_watchdog_loses_the_lead(
    config: Config, namespace: str
) -> None:
    async with candidate(config, namespace, "a", 6.0, watchdog=1.0) as election:
        await election.acquire()
        lost = election.lost
        await asyncio.sleep(1.5)
        assert election.held  # a loop that is free is left alone
        time.sleep(2.5)  # noqa: ASYNC251
        assert not election.held
        await asyncio.wait_for(lost.wait(), 5)
        assert "blocked" in election.lost_reason
        await election.acquire()
        assert election.held
        assert election.lost_reason == ""


async def test_a_stolen_lease_is_noticed_and_can_be_won_back(
    config: Config, client: Client, namespace: str
) -> None:
    async with candidate(config, namespace, "a", 3.0) as election:
        await election.acquire()
        lost = election.lost
        stolen = {"spec": {"holderIdentity": "thief", "renewTime": "2026-01-01T00:00:00.000000Z"}}
        await client.patch(LEASES.path(namespace, "leader"), stolen, "merge")
        await asyncio.wait_for(lost.wait(), 10)
        assert not election.held
        assert "thief" in election.lost_reason
        started = time.monotonic()
        await asyncio.wait_for(election.acquire(), 30)
        assert time.monotonic() - started > 2.0  # the thief's renewTime says nothing: it is watched for 3 s
        assert await transitions(client, namespace) == 1
        assert lost.is_set()
        assert not election.lost.is_set()


async def test_a_change_of_labels_does_not_cost_the_lead(
    config: Config, client: Client, namespace: str
) -> None:
    async with candidate(config, namespace, "a", 4.0) as election:
        await election.acquire()
        path = LEASES.path(namespace, "leader")
        await client.patch(path, {"metadata": {"labels": {"x": "y"}}}, "merge")
        first = (await client.get(path))["spec"]["renewTime"]
        async with asyncio.timeout(20):
            while (await client.get(path))["spec"]["renewTime"] == first:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert election.held
        assert (await client.get(path))["metadata"]["labels"] == {"x": "y"}


async def test_a_deleted_lease_is_lost(config: Config, client: Client, namespace: str) -> None:
    async with candidate(config, namespace, "a", 4.0) as election:
        await election.acquire()
        await client.delete(LEASES.path(namespace, "leader"))
        await asyncio.wait_for(election.lost.wait(), 10)
        assert not election.held
        await election.acquire()
        assert election.held


async def test_a_frozen_api_server_ends_the_lead_by_our_own_clock(
    control_plane: ControlPlane, config: Config, namespace: str
) -> None:
    async with candidate(config, namespace, "a", 3.0) as election:
        await election.acquire()
        lost, deadline = election.lost, election.deadline()
        control_plane.pause()
        try:
            await asyncio.wait_for(lost.wait(), 10)
            ended = time.monotonic()
            assert not election.held
        finally:
            control_plane.resume()
        # One renewal may have passed after `deadline` was read: 0.4 s after the one before.
        assert ended < deadline + 1.0
        await asyncio.wait_for(election.acquire(), 30)
        assert election.held


async def test_a_holder_that_died_is_replaced_after_its_lease_and_no_sooner(
    config: Config, client: Client, namespace: str
) -> None:
    dead = {
        "metadata": {"name": "leader"},
        "spec": {"holderIdentity": "dead", "leaseDurationSeconds": 3, "leaseTransitions": 7},
    }
    await client.create(LEASES.path(namespace), dead)
    async with candidate(config, namespace, "a") as election:
        started = time.monotonic()
        await asyncio.wait_for(election.acquire(), 30)
        assert time.monotonic() - started >= 3.0
        assert await transitions(client, namespace) == 8


SLEEPER = """
import asyncio, sys, time
from pathlib import Path
from berth.kube import LeaseClaim, LeaseKeeper, Timing, load_config

async def main():
    config = load_config(Path(sys.argv[1]))
    claim, timing = LeaseClaim(sys.argv[2], "leader", "sleeper"), Timing.of(5.0, 5.0 * 2 / 3)
    async with LeaseKeeper(config, claim, timing) as election:
        await election.acquire()
        last = time.monotonic()  # before the line that the test answers with SIGSTOP
        print("leading", flush=True)
        while True:
            time.sleep(0.01)  # a loop that never gives way: only the clock can say it
            leading = election.held
            if time.monotonic() - last > 3.5:  # longer than it may lead without renewing
                print("after the pause:", leading, flush=True)
                return
            last = time.monotonic()

asyncio.run(main())
"""


async def test_a_leader_that_was_stopped_and_goes_on_knows_at_once_that_it_no_longer_leads(
    control_plane: ControlPlane, config: Config, namespace: str, tmp_path: Path
) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text(SLEEPER)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(control_plane.kubeconfig), namespace, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 40) == b"leading\n"
        os.kill(process.pid, signal.SIGSTOP)
        async with candidate(config, namespace, "next") as successor:
            await asyncio.wait_for(successor.acquire(), 40)
            os.kill(process.pid, signal.SIGCONT)
            assert await asyncio.wait_for(process.stdout.readline(), 40) == b"after the pause: False\n"
            assert await asyncio.wait_for(process.wait(), 40) == 0
            assert successor.held  # what the old one released on its way out was not ours
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_rights_to_read_and_write_the_lease_suffice(
    control_plane: ControlPlane, client: Client, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = await asyncio.to_thread(control_plane.token, namespace, "controller")
    limited = load_config(control_plane.kubeconfig_for(token, namespace))
    async with candidate(limited, namespace, "a", 4.0) as first:
        waiting = asyncio.create_task(first.acquire())
        await until(lambda: "Forbidden" in caplog.text)
        assert not waiting.done()
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
        rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
        rules = [rule | {"verbs": ["get", "create", "update"]}]
        await client.create(f"{rbac}/roles", {"metadata": {"name": "leader"}, "rules": rules})
        binding = {
            "metadata": {"name": "leader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "leader"},
            "subjects": [{"kind": "ServiceAccount", "name": "controller", "namespace": namespace}],
        }
        await client.create(f"{rbac}/rolebindings", binding)
        await asyncio.wait_for(waiting, 30)
        # Without the right to watch, the next one finds out by looking.
        async with candidate(limited, namespace, "b", 4.0) as second:
            caplog.set_level(logging.INFO, "berth.kube")
            waiting = asyncio.create_task(second.acquire())
            await until(lambda: "a holds it" in caplog.text)
            await first.release()
            await asyncio.wait_for(waiting, 30)


def keeper(config: Config, namespace: str, identity: str, seconds: float = 3.0, **more: Any) -> LeaseKeeper:
    return LeaseKeeper(config, LeaseClaim(namespace, "member", identity, **more), Timing.of(seconds))


async def test_a_member_creates_its_lease_with_owner_and_labels_and_deletes_it_at_the_end(
    config: Config, client: Client, namespace: str
) -> None:
    owner = OwnerReference("v1", "Namespace", namespace, "5b6a9d0e-0000-4000-8000-000000000000")
    more = {"labels": {"app": "berth"}, "owners": [owner]}
    async with keeper(config, namespace, "session-1", 15.0, **more) as mine:
        await mine.acquire(contend=False)
        assert mine.held
        assert 13.0 < mine.deadline() - time.monotonic() <= 14.0
        lease = await client.get(LEASES.path(namespace, "member"))
        assert lease["metadata"]["labels"] == {"app": "berth"}
        assert lease["metadata"]["ownerReferences"][0]["name"] == namespace
        await mine.release(delete=True)
        assert not mine.held
        assert mine.lost.is_set()
    with pytest.raises(NotFound):
        await client.get(LEASES.path(namespace, "member"))


async def test_a_member_refuses_the_name_of_a_live_one_and_takes_over_that_of_a_dead_one(
    config: Config, namespace: str
) -> None:
    async with keeper(config, namespace, "session-2") as second:
        async with keeper(config, namespace, "session-1") as first:
            await first.acquire(contend=False)
            with pytest.raises(LeaseHeld, match="'session-1', which is alive"):
                await second.acquire(contend=False)
            assert not second.held
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(second.acquire(), 0.2)
            # Dies: its thread ends without a word to the server.
            assert first._loop._renewing is not None
            first._thread.call_soon(first._loop._renewing.cancel)
            started = time.monotonic()
            await asyncio.wait_for(second.acquire(contend=False), 30)
            assert time.monotonic() - started > 1.0
            assert second.held
            assert not first.held
        assert second.held  # the first left: it must not release what is the second's


async def test_errors_that_waiting_does_not_cure_are_raised_to_the_member(
    control_plane: ControlPlane, config: Config, namespace: str
) -> None:
    async with keeper(config, "no-such-namespace", "session") as mine:
        with pytest.raises(NotFound):
            await mine.acquire(contend=False)
    token = await asyncio.to_thread(control_plane.token, namespace, "nobody")
    limited = load_config(control_plane.kubeconfig_for(token, namespace))
    async with keeper(limited, namespace, "session") as mine:
        with pytest.raises(Forbidden):
            await mine.acquire(contend=False)
    mine = keeper(config, namespace, "session")
    with pytest.raises(RuntimeError, match="async with"):
        await mine.acquire()


async def test_a_lease_that_cannot_be_released_expires_by_itself(
    control_plane: ControlPlane, config: Config, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with keeper(config, namespace, "session-1") as mine:
        await mine.acquire()
        control_plane.pause()
        try:
            started = time.monotonic()
            await mine.release()
            assert time.monotonic() - started < 5.0
        finally:
            control_plane.resume()
        assert not mine.held
    assert "could not be released and will expire" in caplog.text
