"""The examples, run: with the hand of a leader where one is enough, with the controller where it matters."""

import asyncio
import importlib.util
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
from member_leader import MEMBERS, Leader
from waiting import until

from berth.testing import ControlPlane

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_store_refuses_a_late_writer(tmp_path: Path) -> None:
    module = load(EXAMPLES / "feeds" / "store.py")
    old, new = module.Store(tmp_path / "db"), module.Store(tmp_path / "db")
    assert old.begin("news", 4) == 0
    assert old.append("news", 4, ["one", "two"]) == 2
    assert new.begin("news", 7) == 2
    with pytest.raises(module.StaleEpoch, match="epoch 4 is older than 7"):
        old.append("news", 4, ["late"])
    with pytest.raises(module.StaleEpoch):
        old.begin("news", 6)
    assert new.append("news", 7, ["three"]) == 3
    assert new.read("news") == [(0, "one", 4), (1, "two", 4), (2, "three", 7)]
    old.close()
    new.close()


def test_the_log_of_the_cache_refuses_a_late_writer(tmp_path: Path) -> None:
    module = load(EXAMPLES / "cache" / "cache.py")
    old, new = module.Log(tmp_path / "log"), module.Log(tmp_path / "log")
    assert old.append(4, "a", "1")
    assert new.append(7, "a", "2")
    assert not old.append(4, "a", "3")
    assert new.unread() == [(4, "a", "1"), (7, "a", "2")]
    assert new.unread() == []
    old.close()
    new.close()


class Run:
    """Starts processes in a namespace, and ends what is left of them."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.env = os.environ | {
            "BERTH_KUBECONFIG": str(kubeconfig), "BERTH_NAMESPACE": namespace, "BERTH_LIMIT": "10",
            "BERTH_LEASE_SECONDS": "3",
        }  # fmt: skip
        self.processes: list[asyncio.subprocess.Process] = []

    async def __call__(self, *arguments: str, **env: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=self.env | env)
        self.processes.append(process)
        return process

    async def end(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture
async def run(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Run]:
    run = Run(control_plane.kubeconfig, namespace)
    yield run
    await run.end()


@pytest.mark.cluster
async def test_the_feed_poller_continues_where_another_has_stopped_and_a_late_write_is_refused(
    control_plane: ControlPlane, namespace: str, run: Run, tmp_path: Path
) -> None:
    module = load(EXAMPLES / "feeds" / "store.py")
    source, database = tmp_path / "news.txt", tmp_path / "feeds.sqlite"
    source.write_text("one\ntwo\n")
    poller = [str(EXAMPLES / "feeds" / "poller.py"), "--store", str(database)]
    async with Leader(control_plane, namespace) as leader:
        await leader.item("news", source=str(source), seconds="0.05")
        first = await run(*poller, BERTH_NAME="p1")
        second = await run(*poller, BERTH_NAME="p2")
        await leader.give("p1", "news#0@3:4")
        await leader.give("p2", "news#1@3")
        store = module.Store(database)
        await until(lambda: len(store.read("news")) == 2)

        # The first is stopped, and loses the feed to the second.
        first.send_signal(signal.SIGSTOP)
        await leader.until_reported("p2", "news@3=Ready")
        await leader.give("p2", "news#0@3:9")
        await leader.until_reported("p2", "news@3=Active")
        source.write_text("one\ntwo\nthree\n")
        await until(lambda: len(store.read("news")) == 3)
        with pytest.raises(module.StaleEpoch):  # what the first might still have in its hands
            store.append("news", 4, ["late"])
        assert store.read("news") == [(0, "one", 4), (1, "two", 4), (2, "three", 9)]
        store.close()
        first.kill()

        second.send_signal(signal.SIGTERM)
        await leader.until_limit("p2", 0)
        await leader.give("p2")
        assert await asyncio.wait_for(second.wait(), 20) == 0
        assert await leader.read(MEMBERS, "p2") is None


def ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


@pytest.mark.cluster
async def test_the_cache_goes_on_with_a_warm_replica_when_its_primary_is_killed(
    control_plane: ControlPlane, namespace: str, run: Run, tmp_path: Path
) -> None:
    """With the real controller: it promotes the replica once the Lease of the dead one has expired."""
    manifest = str(EXAMPLES / "cache" / "cache.yaml")
    await asyncio.to_thread(control_plane.kubectl, "apply", "-n", namespace, "-f", manifest)
    await run(
        "-c", "from berth.cli import main; main()", "controller", "--namespace", namespace,
        "--kubeconfig", str(control_plane.kubeconfig), "--lease-duration", "3",
    )  # fmt: skip
    urls: dict[str, asyncio.subprocess.Process] = {}
    for number, port in enumerate(ports(2)):
        process = await run(
            str(EXAMPLES / "cache" / "cache.py"), "--log", str(tmp_path / "log"), "--port", str(port),
            BERTH_NAME=f"c{number}", BERTH_POOL="cache",
        )  # fmt: skip
        urls[f"http://127.0.0.1:{port}"] = process

    async with aiohttp.ClientSession() as http:

        async def put(value: str) -> str:
            """Write to whoever is the primary, as soon as somebody is; its URL."""
            for _ in range(400):
                for url in urls:
                    try:
                        async with http.put(f"{url}/shard-0/greeting", data=value) as answer:
                            if answer.status == 204:
                                return url
                    except aiohttp.ClientError:
                        pass
                await asyncio.sleep(0.1)
            raise AssertionError("no primary in 40 s")

        async def read(url: str) -> str:
            try:
                async with http.get(f"{url}/shard-0/greeting") as answer:
                    return await answer.text() if answer.status == 200 else str(answer.status)
            except aiohttp.ClientError as error:
                return str(error)

        primary = await put("hello")
        (replica,) = set(urls) - {primary}
        answers: list[Any] = []
        while (answer := await read(replica)) != "hello":
            answers.append(answer)
            assert len(answers) < 200, answers
            await asyncio.sleep(0.1)
        urls[primary].kill()
        assert await read(replica) == "hello"
        assert await put("world") == replica
        assert await read(replica) == "world"
