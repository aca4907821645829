"""A dead leader is replaced in the moment its Lease runs out, however seldom the others look at it."""

from __future__ import annotations

import time

import pytest

from berth.kube import LEASES, Client, Config, LeaseClaim, LeaseKeeper, Timing
from berth.kube.lease import micro_time

pytestmark = pytest.mark.cluster

DURATION = 6


async def test_the_next_leader_takes_over_when_the_lease_runs_out_not_at_its_next_poll(
    config: Config, namespace: str
) -> None:
    import asyncio
    from datetime import UTC, datetime

    def spec() -> dict[str, object]:
        now = micro_time(datetime.now(UTC))
        return {"holderIdentity": "dead", "leaseDurationSeconds": DURATION, "renewTime": now}

    async with Client(config) as client:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "leader"},
            "spec": spec(),
        }
        await client.create(LEASES.path(namespace), body)
        # It looks each 3.5 s: at 0, 3.5, 7, 10.5.
        timing = Timing.of(DURATION, DURATION * 2 / 3, retry_period=3.5)
        async with LeaseKeeper(config, LeaseClaim(namespace, "leader", "next"), timing) as keeper:
            standing = asyncio.create_task(keeper.acquire())
            await asyncio.sleep(1.0)
            await client.patch(LEASES.path(namespace, "leader"), {"spec": spec()}, kind="merge")
            renewed = time.monotonic()
            async with asyncio.timeout(30):
                await standing
            waited = time.monotonic() - renewed
    # Without the watch the renewal would be seen at 3.5, and its end at 10.5, 9.5 s after it.
    assert DURATION - 0.1 <= waited < DURATION + 1.5
