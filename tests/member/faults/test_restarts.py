"""A worker's process is killed or stopped, and another is started at once under its Member's name."""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from fault_history import Work, decreasing_epochs, overlaps, shared_epochs
from fault_objects import broken_promises
from fault_run import FaultRun, started

from berth.kinds import AssignmentObject
from berth.kube import ASSIGNMENTS, lease_clock
from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster

LEASE = 2.0
BOUND = 60.0
"""Seconds within which a process that was started again works; generous, for a machine that is busy."""


async def until_it_works(run: FaultRun, name: str) -> bool:
    """Wait until that worker's process has worked on some Item; False if it is primary of none.

    A Member that was dead for a moment, on a slow machine, may get back replicas only: the plan takes as few
    primaries as possible from the others.
    """
    started_at, pid = lease_clock(), run.processes[name].pid
    while not any(each.pid == pid for each in reversed(run.work())):
        waited = lease_clock() - started_at
        if waited > BOUND / 3:
            there = await run.client.get(ASSIGNMENTS.path(run.namespace, name), type=AssignmentObject)
            if there.spec.items and not any("#0@" in entry for entry in there.spec.items):
                return False
        assert waited < BOUND, f"process {pid} works on nothing"
        await asyncio.sleep(0.2)
    return True


async def killed(run: FaultRun, name: str) -> bool:
    """It is killed, and started again at once; returns whether it works."""
    await run.restart(name, signal.SIGKILL)
    return await until_it_works(run, name)


async def out_of_time(run: FaultRun, name: str) -> bool:
    """It is stopped while its Lease runs out, which another process waits for; then it goes on."""
    old = run.processes[name]
    old.send_signal(signal.SIGSTOP)
    try:
        await run.start(name)
        works = await until_it_works(run, name)
        old.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.3)
        return works
    finally:
        old.kill()
        await old.wait()


async def restart_each(run: FaultRun, times: int, leader_after: int) -> Counter[str]:
    """Restart all workers so many times, side by side; kill the leader after so many restarts each."""
    done: Counter[str] = Counter()

    async def one(name: str) -> None:
        for number in range(times):
            await asyncio.sleep(run.random.random())
            how = (killed, out_of_time)[number % 2]
            done["idle"] += not await how(run, name)
            done[how.__name__] += 1
            if (done["killed"] + done["out_of_time"]) % leader_after == 0:
                await run.restart(run.controllers[0], signal.SIGKILL)
                done["controller"] += 1

    async with asyncio.TaskGroup() as group:
        for name in run.names:
            group.create_task(one(name))
    return done


def check(run: FaultRun, done: Counter[str]) -> None:
    work = run.work()
    processes = {each.pid for each in work}
    print(f"{dict(done)}; {len(work)} pieces of work by {len(processes)} processes, "
          f"{len({(each.item, each.epoch) for each in work})} epochs")  # fmt: skip
    restarts = done["killed"] + done["out_of_time"]
    assert done["idle"] <= restarts / 20
    assert len(processes) >= restarts - done["idle"]
    assert list(shared_epochs(work)) == []
    assert list(decreasing_epochs(work)) == []
    assert list(overlaps(work)) == []
    assert list(broken_promises(run.recorder.versions, run.lease)) == []


async def test_no_epoch_is_shared_by_two_processes(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with started(control_plane, namespace, tmp_path, workers=3, items=9, doubled=3, lease=LEASE) as run:
        check(run, await restart_each(run, 4, leader_after=6))


@pytest.mark.faults
async def test_no_epoch_is_shared_by_two_processes_in_200_restarts(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    count = int(os.environ.get("BERTH_RESTARTS", "200"))
    async with started(
        control_plane, namespace, tmp_path, workers=4, items=12, doubled=4, lease=LEASE
    ) as run:
        done = await restart_each(run, -(-count // 4), leader_after=30)
        assert done["killed"] + done["out_of_time"] >= count
        check(run, done)


async def test_a_process_waits_for_the_leader_and_one_that_does_not_is_caught(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    careless = frozenset({"w0"})
    async with started(
        control_plane, namespace, tmp_path, workers=2, items=6, lease=LEASE, careless=careless
    ) as run:
        # Nobody leads, so the entries stay those of the processes that are killed.
        run.processes[run.controllers[0]].kill()
        await run.processes[run.controllers[0]].wait()
        for name in run.names:
            await run.restart(name, signal.SIGKILL)
        await until_it_works(run, "w0")
        log = run.log("w1")
        started_at = lease_clock()
        while "waiting for the leader" not in log.read_text(errors="replace"):
            assert lease_clock() - started_at < BOUND, "w1 does not say that it waits"
            await asyncio.sleep(0.2)
        assert not mine(run, "w1"), "it works with what the process before it was given"
        await run.start(run.controllers[0])
        await until_it_works(run, "w1")
        found = list(shared_epochs(run.work()))
        assert any("(w0_" in line for line in found)
        assert not any("(w1_" in line for line in found)


def mine(run: FaultRun, name: str) -> list[Work]:
    """What the process that has the name now has done."""
    return [each for each in run.work() if each.pid == run.processes[name].pid]
