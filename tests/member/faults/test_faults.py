import asyncio
import os
import signal
from pathlib import Path

import pytest
from fault_history import (
    decreasing_epochs,
    idle_items,
    interruptions,
    overlaps,
    shared_epochs,
)
from fault_objects import Replay
from fault_run import BOUND, FaultRun, started
from fault_worker import LEASE

from berth.kube import lease_clock
from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster

PAUSE = 2.0
"""Seconds without work on an Item after which a worker counts as interrupted."""
RECOVERY = 3 * LEASE
"""Seconds after a fault within which what it broke may still show."""


async def check(run: FaultRun) -> None:
    """Every promise holds after any faults: 2, 4 and 6 by the work, 1 to 5, 9 and 10 by the objects."""
    took = await run.working(BOUND)
    work = run.work()
    versions = run.recorder.versions
    print(f"{run.counts().total()} faults: {dict(sorted(run.counts().items()))}")
    print(f"{sum(each.place == 'machine' for each in run.faults)} stalls of the machine")
    print(f"{len(work)} pieces of work by {len({each.session for each in work})} sessions, "
          f"{len({(each.item, each.epoch) for each in work})} epochs; {len(versions)} versions of objects, "
          f"{sum(each.gap for each in versions)} of them after a gap")  # fmt: skip
    print(f"every Item worked on {took:.1f} s after the last fault, at most {BOUND:g} s are allowed")
    replay = Replay(run.lease)
    broken = {
        "overlaps": list(overlaps(work)),
        "decreasing epochs": list(decreasing_epochs(work)),
        "shared epochs": list(shared_epochs(work)),
        "interruptions": list(interruptions(work, run.faults, PAUSE, RECOVERY)),
        "objects": list(replay.check(versions)),
        "idle Items": list(idle_items(work, run.items, run.last_fault, BOUND)),
        "rejected plans": [
            line
            for name in run.controllers
            for line in run.log(name).read_text(errors="replace").splitlines()
            if "engine is not used" in line
        ],
    }
    print(f"{replay.grants} entries given, {replay.removals} ready ones taken from live Members")
    assert {what: found for what, found in broken.items() if found} == {}


async def test_no_promise_is_broken_by_a_few_faults(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with started(
        control_plane, namespace, tmp_path, workers=3, items=9, doubled=3, controllers=2, seed=3
    ) as run:
        await run.inject(6)
        await check(run)


async def stopped_for_longer_than_its_lease(run: FaultRun, name: str) -> None:
    process = run.processes[name]
    process.send_signal(signal.SIGSTOP)
    stopped = lease_clock()
    await run.working(BOUND)
    assert lease_clock() - stopped > LEASE
    process.send_signal(signal.SIGCONT)
    resumed = lease_clock()
    while not any(each.pid == process.pid and each.time > resumed for each in run.work()):
        assert lease_clock() - resumed < BOUND, f"{name} works on nothing"
        await asyncio.sleep(0.2)


async def test_a_worker_that_ignores_its_lease_is_caught(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    broken = frozenset({"w0"})
    async with started(control_plane, namespace, tmp_path, workers=3, items=9, broken=broken) as run:
        await stopped_for_longer_than_its_lease(run, "w0")
        work = run.work()
        assert any("w0_" in line for line in overlaps(work))
        assert any("w0_" in line for line in decreasing_epochs(work))


@pytest.mark.faults
async def test_no_promise_is_broken_by_hundreds_of_faults(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    count = int(os.environ.get("BERTH_FAULTS", "220"))
    seed = int(os.environ.get("BERTH_SEED", "6"))
    async with started(control_plane, namespace, tmp_path, doubled=10, controllers=2, seed=seed) as run:
        await run.inject(count)
        assert run.counts().total() == count
        await check(run)
