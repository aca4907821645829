"""A Lease that ran out is taken by one write, which fails where it is not as it was last seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from berth.kube import LEASES, Client, Config, Timing
from berth.kube.lease import LeaseClaim, LeaseState, micro_time
from berth.kube.lease_loop import LeaseLoop
from berth.kube.loop_thread import Watchdog
from berth.kube.timing import Validity

pytestmark = pytest.mark.cluster


def held_by(holder: str) -> dict[str, Any]:
    now = micro_time(datetime.now(UTC))
    return {"holderIdentity": holder, "leaseDurationSeconds": 1, "renewTime": now}


class Candidate:
    """A LeaseLoop and the requests that it has sent."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, int]] = []

    def use(self, client: Client, namespace: str) -> None:
        timing, watchdog = Timing.of(3.0), Watchdog(60.0, asyncio.get_running_loop())
        claim = LeaseClaim(namespace, "leader", "next")
        self.lease = LeaseLoop(client, claim, timing, Validity(timing), watchdog, lambda reason: None)

    def note(self, verb: str, resource: str, code: int, seconds: float) -> None:
        self.requests.append((verb, code))

    async def attempt(self) -> tuple[LeaseState, list[tuple[str, int]]]:
        self.requests.clear()
        return await self.lease.try_acquire(), list(self.requests)


@pytest.fixture
async def other(config: Config, namespace: str) -> AsyncIterator[Client]:
    async with Client(config) as client:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "leader"},
            "spec": held_by("dead"),
        }
        await client.create(LEASES.path(namespace), body)
        yield client


@pytest.fixture
async def candidate(config: Config, namespace: str, other: Client) -> AsyncIterator[Candidate]:
    """It has seen the Lease until it ran out."""
    candidate = Candidate()
    async with Client(config, on_request=candidate.note) as client:
        candidate.use(client, namespace)
        assert await candidate.attempt() == (LeaseState.HELD_BY_OTHER, [("GET", 200)])
        await asyncio.sleep(1.1)
        yield candidate


async def test_a_lease_that_ran_out_is_taken_by_one_write(candidate: Candidate) -> None:
    assert await candidate.attempt() == (LeaseState.HELD_BY_US, [("PUT", 200)])


async def test_a_lease_that_was_renewed_unobserved_is_left_alone(
    candidate: Candidate, other: Client, namespace: str
) -> None:
    await other.patch(LEASES.path(namespace, "leader"), {"spec": held_by("alive")}, kind="merge")
    assert await candidate.attempt() == (LeaseState.HELD_BY_OTHER, [("PUT", 409)])
    assert await candidate.attempt() == (LeaseState.HELD_BY_OTHER, [("GET", 200)])
    lease = await other.get(LEASES.path(namespace, "leader"))
    assert lease["spec"]["holderIdentity"] == "alive"
    await asyncio.sleep(1.1)
    assert await candidate.attempt() == (LeaseState.HELD_BY_US, [("PUT", 200)])


async def test_a_lease_that_was_deleted_unobserved_is_created_again(
    candidate: Candidate, other: Client, namespace: str
) -> None:
    await other.delete(LEASES.path(namespace, "leader"))
    assert await candidate.attempt() == (LeaseState.HELD_BY_OTHER, [("PUT", 409)])
    assert await candidate.attempt() == (LeaseState.HELD_BY_US, [("GET", 404), ("POST", 201)])


async def test_a_lease_whose_release_is_observed_is_taken_by_one_write(
    candidate: Candidate, other: Client, namespace: str
) -> None:
    await other.patch(LEASES.path(namespace, "leader"), {"spec": held_by("alive")}, kind="merge")
    freed = candidate.lease.freed
    watching = asyncio.create_task(candidate.lease.watch())
    async with asyncio.timeout(10):
        while (seen := candidate.lease.observation) is None or seen.holder != "alive":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert not freed.is_set()
        await other.patch(LEASES.path(namespace, "leader"), {"spec": {"holderIdentity": ""}}, kind="merge")
        await freed.wait()
    watching.cancel()
    assert await candidate.attempt() == (LeaseState.HELD_BY_US, [("PUT", 200)])
