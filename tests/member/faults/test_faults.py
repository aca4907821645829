import asyncio
import os
import signal
from pathlib import Path

import pytest
from fault_history import bad_assignments, epochs_of_two, epochs_that_go_back, idle, overlaps
from fault_run import BOUND, FaultRun, started
from fault_worker import LEASE

from berth.kube import lease_clock
from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster


async def check(run: FaultRun) -> None:
    """What must hold after any faults."""
    took = await run.working(BOUND)
    work = run.work()
    sessions = len({each.session for each in work})
    print(f"faults: {dict(run.record.faults)}; {len(work)} pieces of work by {sessions} sessions")
    print(f"every Item worked on {took:.1f} s after the last fault, at most {BOUND:g} s are allowed")
    assert list(overlaps(work)) == []
    assert list(epochs_that_go_back(work)) == []
    assert list(epochs_of_two(work)) == []
    assert list(bad_assignments(run.record.seen)) == []
    assert list(idle(work, run.items, run.record.healed, BOUND)) == []


async def test_a_few_faults(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    async with started(control_plane, namespace, tmp_path, workers=3, items=9, seed=3) as run:
        await run.inject(6)
        await check(run)


async def stopped_for_longer_than_its_lease(run: FaultRun, name: str) -> None:
    pid = run.processes[name].pid
    os.kill(pid, signal.SIGSTOP)
    begun = lease_clock()
    await run.working(BOUND)
    assert lease_clock() - begun > LEASE
    os.kill(pid, signal.SIGCONT)
    await asyncio.sleep(1.0)


async def test_a_worker_that_ignores_its_lease_is_caught(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    broken = frozenset({"w0"})
    async with started(control_plane, namespace, tmp_path, workers=3, items=9, broken=broken) as run:
        await stopped_for_longer_than_its_lease(run, "w0")
        work = run.work()
        assert any("w0_" in line for line in overlaps(work))
        assert any("w0_" in line for line in epochs_that_go_back(work))


@pytest.mark.faults
async def test_hundreds_of_faults(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    count = int(os.environ.get("BERTH_FAULTS", "220"))
    seed = int(os.environ.get("BERTH_SEED", "6"))
    async with started(control_plane, namespace, tmp_path, seed=seed) as run:
        await run.inject(count)
        assert sum(run.record.faults.values()) >= min(count, 200)
        await check(run)
