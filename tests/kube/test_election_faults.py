"""Candidates in processes of their own, stopped and killed at random; the history is checked after."""

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from berth.testing import ControlPlane

CANDIDATE = """
import asyncio, json, signal, sys, time
from pathlib import Path
from berth.kube import LeaseClaim, LeaseKeeper, Timing, load_config

async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    identity = sys.argv[3]
    config = load_config(Path(sys.argv[1]))
    claim, timing = LeaseClaim(sys.argv[2], "leader", identity), Timing.of(2.0, 2.0 * 2 / 3)
    async with LeaseKeeper(config, claim, timing) as election:
        term = 0
        while True:
            await election.acquire()
            term += 1
            while True:
                before = time.monotonic()
                leading = election.held
                after = time.monotonic()
                if not leading:
                    break
                # A process that was stopped between the two readings cannot say when it led.
                if after - before < 0.005:
                    print(json.dumps([identity, term, before, after]), flush=True)
                await asyncio.sleep(0.002)

try:
    asyncio.run(main())
except asyncio.CancelledError:
    pass  # SIGTERM: the Lease was released on the way out
"""

Claim = tuple[str, int, float, float]


def overlaps(claims: Iterable[Claim]) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    """Pairs of reigns that were not one after the other."""
    reigns: dict[tuple[str, int], tuple[float, float]] = {}
    for who, term, before, after in claims:
        first, last = reigns.get((who, term), (after, before))
        reigns[who, term] = (min(first, after), max(last, before))
    in_order = sorted(reigns.items(), key=lambda reign: reign[1])
    return [
        (a, b)
        for i, (a, (_, end)) in enumerate(in_order)
        for b, (start, _) in in_order[i + 1 :]
        if start < end
    ]


def test_the_check_finds_two_who_lead_at_once() -> None:
    good: list[Claim] = [("a", 1, 1.0, 1.1), ("a", 1, 2.0, 2.1), ("b", 1, 2.2, 2.3), ("a", 2, 3.0, 3.1)]
    assert overlaps(good) == []
    assert overlaps([*good, ("b", 1, 3.4, 3.5), ("a", 2, 3.6, 3.7)]) == [(("b", 1), ("a", 2))]


@pytest.mark.cluster
@pytest.mark.faults
@pytest.mark.parametrize("seed", [1, 2])
async def test_no_two_lead_at_once_however_they_are_stopped_killed_and_continued(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, seed: int
) -> None:
    script = tmp_path / "candidate.py"
    script.write_text(CANDIDATE)
    rng = random.Random(seed)
    claims: list[Claim] = []
    alive: dict[str, asyncio.subprocess.Process] = {}
    born = 0

    async def read(process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            if line.endswith(b"\n"):
                who, term, before, after = json.loads(line)
                claims.append((who, term, before, after))

    async with asyncio.TaskGroup() as group:

        async def start() -> None:
            nonlocal born
            born += 1
            arguments = (str(script), str(control_plane.kubeconfig), namespace, f"candidate-{born}")
            process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
            )
            alive[f"candidate-{born}"] = process
            group.create_task(read(process))

        try:
            for _ in range(3):
                await start()
            async with asyncio.timeout(60):
                while not claims:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            for _ in range(14):
                leader = claims[-1][0]
                victim = leader if leader in alive and rng.random() < 0.7 else rng.choice(sorted(alive))
                process = alive[victim]
                fault = rng.choice(["stop", "stop", "kill", "term", "api"])
                if fault == "stop":
                    os.kill(process.pid, signal.SIGSTOP)
                    await asyncio.sleep(rng.uniform(0.5, 4.0))
                    os.kill(process.pid, signal.SIGCONT)
                elif fault == "api":
                    control_plane.pause()
                    await asyncio.sleep(rng.uniform(0.3, 2.5))
                    control_plane.resume()
                else:
                    process.send_signal(signal.SIGKILL if fault == "kill" else signal.SIGTERM)
                    await process.wait()
                    del alive[victim]
                    await start()
                await asyncio.sleep(rng.uniform(0.0, 2.0))
        finally:
            for process in alive.values():
                process.kill()
                await process.wait()
    assert len({(who, term) for who, term, _, _ in claims}) >= 4
    assert overlaps(claims) == []
