"""Whole processes on the real API server: signals, stops, and the agent beside a worker in Node."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from member_leader import MEMBERS, Leader
from waiting import until

pytestmark = pytest.mark.cluster

NODE_WORKER = Path(__file__).parents[2] / "examples" / "agent-node" / "worker.mjs"
BERTH = [sys.executable, "-c", "from berth.cli import main; main()"]

WORKER = """
import asyncio, json, sys
import berth

class Prints(berth.Worker):
    async def activate(self, item):
        print(json.dumps(["activate", item.name, item.epoch]), flush=True)
    async def deactivate(self, item):
        print(json.dumps(["deactivate", item.name, item.owned()]), flush=True)
    async def drop(self, item):
        print(json.dumps(["drop", item.name, item.owned()]), flush=True)

asyncio.run(berth.serve(Prints(), lease_seconds=2.0))
"""


class Process:
    """A process and the JSON lines that it prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.printed: list[Any] = []
        self.reading = asyncio.create_task(self.read())

    async def read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.printed.append(json.loads(line))

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    async def end(self, seconds: float = 30.0) -> int:
        async with asyncio.timeout(seconds):
            return await self.process.wait()


@pytest.fixture
async def start(leader: Leader) -> AsyncIterator[Any]:
    running: list[Process] = []

    async def start(*command: str, **env: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE,
            env=os.environ | {
                "BERTH_KUBECONFIG": str(leader.kubeconfig), "BERTH_NAMESPACE": leader.namespace,
                "BERTH_NAME": "w", "BERTH_LIMIT": "10", **env,
            },
        )  # fmt: skip
        running.append(Process(process))
        return running[-1]

    yield start
    for each in running:
        if each.process.returncode is None:
            each.process.kill()
        await each.process.wait()
        await each.reading


async def test_a_first_sigterm_drains_and_exits_0(leader: Leader, start: Any) -> None:
    process = await start(sys.executable, "-c", WORKER)
    await leader.until_limit("w", 10)
    await leader.give("w", "a#0@3:4")
    await until(lambda: process.printed == [["activate", "a", 4]])
    process.send(signal.SIGTERM)
    await leader.until_limit("w", 0)
    await leader.give("w")
    assert await process.end() == 0
    assert process.printed[1:] == [["deactivate", "a", True], ["drop", "a", True]]
    assert await leader.read(MEMBERS, "w") is None
    assert await leader.lease("w") is None


async def test_a_second_sigterm_ends_at_once_and_releases_the_lease(leader: Leader, start: Any) -> None:
    process = await start(sys.executable, "-c", WORKER)
    await leader.until_limit("w", 10)
    await leader.give("w", "a#0@3:4")
    await until(lambda: process.printed == [["activate", "a", 4]])
    process.send(signal.SIGTERM)
    await leader.until_limit("w", 0)
    process.send(signal.SIGTERM)
    assert await process.end(10) == 143
    assert process.printed[1:] == [["deactivate", "a", False], ["drop", "a", False]]
    assert (await leader.lease("w") or {})["spec"]["holderIdentity"] == ""


async def test_a_process_that_was_stopped_for_longer_than_its_lease_owns_nothing_when_it_goes_on(
    leader: Leader, start: Any
) -> None:
    process = await start(sys.executable, "-c", WORKER)
    await leader.until_limit("w", 10)
    await leader.give("w", "a#0@3:4")
    await until(lambda: process.printed == [["activate", "a", 4]])
    process.send(signal.SIGSTOP)
    await asyncio.sleep(2.5)
    process.send(signal.SIGCONT)
    # The old session releases everything without owning it; the new one prepares and activates again.
    await until(lambda: len(process.printed) == 4, lambda: str(process.printed), 20)
    assert process.printed[1:] == [["deactivate", "a", False], ["drop", "a", False], ["activate", "a", 4]]


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"BERTH_LIMIT": ""}, "give limit= or set BERTH_LIMIT"),
        ({"BERTH_NAME": "Not_A_Name"}, "'Not_A_Name' cannot be the name of a Member"),
        ({"BERTH_KUBECONFIG": "/nowhere"}, "kubeconfig /nowhere: no such file"),
        ({}, "give exactly one of --http, --exec and --file"),
    ],
)
async def test_the_agent_prints_in_one_line_which_setting_is_missing(
    env: dict[str, str], message: str, tmp_path: Path
) -> None:
    way = ["--file", str(tmp_path / "items")] if env else []
    process = await asyncio.create_subprocess_exec(
        *BERTH, "agent", *way, stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"BERTH_NAME": "w", "BERTH_LIMIT": "1"} | env,
    )  # fmt: skip
    _, stderr = await process.communicate()
    assert process.returncode == 2
    assert message in stderr.decode()
    assert len(stderr.decode().splitlines()) == 1


async def test_a_worker_in_node_is_served_by_the_agent(leader: Leader, start: Any) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        health = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    agent = await start(
        *BERTH, "agent", "--http", url, "--interval", "0.3", "--health-port", str(health),
        "--lease-seconds", "3",
    )  # fmt: skip
    worker = await start(node, str(NODE_WORKER), PORT=str(port))
    await leader.item("feed.one", intervalMs="50")
    await leader.give("w", "feed.one#0@3:4", "two#1@3")
    await leader.until_reported("w", "feed.one@3=Active", "two@3=Ready")
    await until(lambda: worker.printed)
    assert worker.printed[0] == {"item": "feed.one", "epoch": 4, "ticks": 1}

    async with aiohttp.ClientSession() as http:
        async with http.get(f"http://127.0.0.1:{health}/readyz") as ready:
            assert ready.status == 200
        # It lost everything and was started again: its Items are put again.
        worker.process.kill()
        await worker.process.wait()
        again = await start(node, str(NODE_WORKER), PORT=str(port))
        await until(lambda: again.printed, seconds=20)
        await leader.until_reported("w", "feed.one@3=Active", "two@3=Ready")

        agent.send(signal.SIGTERM)
        await leader.until_limit("w", 0)
        await leader.give("w")
        assert await agent.end() == 0
        async with http.get(f"{url}/items") as listing:
            assert await listing.json() == {"items": []}


async def test_the_agent_keeps_a_file_and_empties_it_in_the_end(
    leader: Leader, start: Any, tmp_path: Path
) -> None:
    path = tmp_path / "items.json"
    agent = await start(*BERTH, "agent", "--file", str(path), "--settle", "0.05", "--lease-seconds", "3")
    await leader.until_limit("w", 10)
    await leader.give("w", "a#0@3:4")
    await leader.until_reported("w", "a@3=Active")
    expected = {"items": [{"name": "a", "slot": 0, "primary": True, "epoch": 4, "data": {}}]}
    await until(lambda: json.loads(path.read_text()) == expected)
    agent.send(signal.SIGTERM)
    await leader.until_limit("w", 0)
    await leader.give("w")
    assert await agent.end() == 0
    assert json.loads(path.read_text()) == {"items": []}


def catches_sigterm(pid: int) -> bool:
    """Whether the process has installed a handler, which asyncio does when the session begins."""
    (caught,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigCgt" in line)
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))


async def test_a_sigterm_while_waiting_for_a_taken_name_ends_it_with_exit_code_0(
    leader: Leader, start: Any
) -> None:
    first = await start(sys.executable, "-c", WORKER)
    await leader.until_limit("w", 10)
    waiting = WORKER.replace("lease_seconds=2.0", "lease_seconds=2.0, wait=True")
    second = await start(sys.executable, "-c", waiting)
    await until(lambda: catches_sigterm(second.process.pid), seconds=30)
    second.send(signal.SIGTERM)
    assert await second.end(10) == 0
    assert first.process.returncode is None


async def test_a_sigterm_while_the_agent_waits_for_its_worker_ends_it_with_exit_code_0(start: Any) -> None:
    agent = await start(*BERTH, "agent", "--http", "http://127.0.0.1:9", "--log-format", "json")
    await until(lambda: catches_sigterm(agent.process.pid), seconds=30)
    agent.send(signal.SIGTERM)
    assert await agent.end(10) == 0
