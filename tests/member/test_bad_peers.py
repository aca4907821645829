"""Commands, servers and disks that misbehave beside `berth agent`."""

import asyncio
import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from member_fakes import Hand, Recorder
from waiting import until

from berth import Session, SettingsError
from berth.member.agent import CommandWorker, FileWorker, HttpWorker, file, run_agent
from berth.member.agent.run import clear_worker
from berth.member.agent.worker import WorkerError
from berth.member.callbacks import CallbackRunner
from berth.member.worker import Worker


def delivery_to(worker: Worker, **options: Any) -> CallbackRunner:
    runner = CallbackRunner(worker, pause=lambda _: 0.05, **options)
    runner.start_session(lambda: 1000.0)
    return runner


def script(folder: Path, text: str) -> str:
    path = folder / "hook"
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Path]:
    """Where what a command starts in the background puts its process id; it is killed in the end."""
    path = tmp_path / "daemon"
    yield path
    if path.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(path.read_text()), signal.SIGKILL)
    await asyncio.sleep(0.05)


START = """
[ $1 = EVENT ] || exit 0
setsid sh -c 'echo $$ > DAEMON; exec sleep 1000' &
while ! [ -s DAEMON ]; do sleep 0.01; done
echo started >&2
"""


async def test_exec_a_command_may_leave_something_running_that_keeps_its_standard_error(
    tmp_path: Path, daemon: Path
) -> None:
    text = START.replace("EVENT", "activate").replace("DAEMON", str(daemon))
    worker = CommandWorker(script(tmp_path, text), timeout=5)
    async with delivery_to(worker) as runner:
        hand = Hand(runner)
        hand.want("a#0@3:4")
        await hand.until_reported("a@3=Active")
        await until(lambda: runner._runs["a"].position.stage.name == "ACTIVE", seconds=3)
        assert alive(daemon)
        hand.want()
        await hand.until_reported()


async def test_exec_a_command_that_is_no_longer_wanted_is_not_waited_for_once_it_has_ended(
    tmp_path: Path, daemon: Path
) -> None:
    text = START.replace("EVENT", "prepare").replace("DAEMON", str(daemon)) + "sleep 1000\n"
    worker = CommandWorker(script(tmp_path, text), timeout=50)
    async with delivery_to(worker) as runner:
        hand = Hand(runner)
        hand.want("a#1@3")
        await until(lambda: daemon.exists() and daemon.read_text())
        hand.want()
        await hand.until_reported()
        assert "a" not in runner._runs


async def test_exec_what_a_command_has_started_in_its_group_is_killed_in_the_end(
    tmp_path: Path, daemon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("berth.member.agent.command.KILL_AFTER", 0.3)
    text = f"""
[ $1 = prepare ] || exit 0
sh -c 'trap "" TERM; echo $$ > {daemon}; while :; do sleep 0.1; done' 2>/dev/null &
sleep 1000
"""
    worker = CommandWorker(script(tmp_path, text), timeout=50)
    async with delivery_to(worker) as runner:
        hand = Hand(runner)
        hand.want("a#1@3")
        await until(lambda: daemon.exists() and daemon.read_text())
        assert alive(daemon)
        hand.want()
        await hand.until_reported()
        await until(lambda: not alive(daemon))


async def test_exec_a_command_that_is_no_longer_wanted_while_it_starts_is_ended_too(
    tmp_path: Path,
) -> None:
    """At whatever moment of its start; asyncio hangs for ever at some."""
    pids = tmp_path / "pids"
    text = f"[ $1 = prepare ] || exit 0\necho $$ >> {pids}\nsleep 1000 & wait\n"
    worker = CommandWorker(script(tmp_path, text), timeout=50)
    async with delivery_to(worker) as runner:
        hand = Hand(runner)
        for ticks in range(20):
            hand.want("a#1@3")
            for _ in range(ticks):
                await asyncio.sleep(0)
            hand.want()
            await hand.until_reported()
    assert not any(alive(pid) for pid in pids.read_text().split())


def alive(pid: str | Path) -> bool:
    try:
        number = pid if isinstance(pid, str) else pid.read_text().strip()
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_exec_a_command_may_ignore_its_input_and_print_a_lot(tmp_path: Path) -> None:
    async def read(_: str) -> dict[str, str]:
        return {f"key-{n}": "x" * 4096 for n in range(64)}

    text = "yes 'a long complaint' | head -c 5000000 >&2; echo >&2; echo the end >&2; [ $1 != prepare ]"
    worker = CommandWorker(script(tmp_path, text), timeout=20)
    async with delivery_to(worker, read_data=read) as runner:
        hand = Hand(runner)
        hand.want("a#1@3")
        await until(lambda: runner.snapshot().problems)
        assert runner.snapshot().problems[0].message.endswith("exit code 1: the end")
        hand.want()
        await hand.until_reported()


async def test_exec_a_command_that_does_not_exist_is_reported_at_the_start() -> None:
    with pytest.raises(
        SettingsError, match="--exec 'no-such-hook --fast': there is no executable command no-such-hook"
    ):
        await run_agent(command="no-such-hook --fast", limit=1, name="w")


async def test_exec_a_command_that_is_deleted_later_fails_the_item_with_a_clear_message(
    tmp_path: Path,
) -> None:
    path = script(tmp_path, "exit 0")
    worker = CommandWorker(path)
    os.rename(path, f"{path}.away")
    async with delivery_to(worker) as runner:
        hand = Hand(runner)
        hand.want("a#1@3")
        await until(lambda: runner.snapshot().problems)
        message = runner.snapshot().problems[0].message
        assert message == f"prepare: CommandError: {path} cannot be run: No such file or directory"
        os.rename(f"{path}.away", path)
        await hand.until_reported("a@3=Ready")


class Server:
    """A worker over HTTP that can be made to hang or to refuse."""

    def __init__(self) -> None:
        self.items: set[str] = set()
        self.refuse: set[str] = set()
        self.hang = False
        self.asked = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.set()
        if self.hang:
            await asyncio.sleep(1000)
        if f"{request.method} {request.rel_url.raw_path}" in self.refuse:
            return web.Response(status=500)
        if request.method == "GET":
            return web.json_response({"items": sorted(self.items)})
        name = request.match_info["name"]
        if request.method == "PUT":
            self.items.add(name)
        else:
            self.items.discard(name)
        return web.Response()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.add_routes([web.get("/items", server.handle), web.route("*", "/items/{name}", server.handle)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


async def test_http_an_agent_whose_worker_hangs_ends_when_it_is_asked_to(server: Server) -> None:
    server.hang = True
    session = Session(Recorder(), name="w", limit=1)
    async with HttpWorker(server.url, timeout=60) as worker:
        emptying = asyncio.create_task(clear_worker(worker, session))
        await server.asked.wait()
        session.ask_to_drain()
        assert await asyncio.wait_for(emptying, 3) is False


async def test_http_a_surplus_item_that_cannot_be_deleted_does_not_keep_others_from_being_put_again(
    server: Server,
) -> None:
    async with HttpWorker(server.url) as worker, delivery_to(worker) as runner:
        hand = Hand(runner)
        hand.want("a#1@3")
        await hand.until_reported("a@3=Ready")
        server.items = {"surplus"}
        server.refuse = {"DELETE /items/surplus"}
        with pytest.raises(WorkerError, match="500"):
            await worker.compare()
        await until(lambda: server.items == {"a", "surplus"})


async def test_file_a_write_that_was_cancelled_does_not_come_after_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow disk: the Item is taken away while the file that lists it is being written."""
    path = tmp_path / "items.json"
    go, started, real = threading.Event(), threading.Event(), file.replace

    def slow(target: Path, content: bytes) -> None:
        if b'"a"' in content:
            started.set()
            go.wait(10)
        real(target, content)

    monkeypatch.setattr(file, "replace", slow)
    worker = FileWorker(path, settle=0.01)
    async with delivery_to(worker) as runner:
        hand = Hand(runner)
        hand.want("a#1@3")
        await until(started.is_set)
        hand.want()
        threading.Timer(0.3, go.set).start()
        await hand.until_reported()
        await asyncio.to_thread(time.sleep, 0.5)
        assert json.loads(path.read_text()) == {"items": []}


async def test_file_a_disk_that_refuses_fails_the_item_until_it_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "items.json", file.replace
    full = True

    def replace(target: Path, content: bytes) -> None:
        if full:
            raise OSError(28, "No space left on device")
        real(target, content)

    monkeypatch.setattr(file, "replace", replace)
    async with delivery_to(FileWorker(path, settle=0.01)) as runner:
        hand = Hand(runner)
        hand.want("a#1@3")
        await until(lambda: runner.snapshot().problems)
        assert "No space left on device" in runner.snapshot().problems[0].message
        full = False
        await hand.until_reported("a@3=Ready")
        assert [item["name"] for item in json.loads(path.read_text())["items"]] == ["a"]


async def test_file_it_is_written_again_if_somebody_else_has_removed_or_changed_it(tmp_path: Path) -> None:
    """A tidy cron job, or a second agent that was started by mistake and empties the file."""
    path = tmp_path / "items.json"
    worker = FileWorker(path, settle=0.01)
    async with delivery_to(worker) as runner:
        hand = Hand(runner)
        hand.want("a#1@3")
        await hand.until_reported("a@3=Ready")
        whole = path.read_bytes()
        comparing = asyncio.create_task(worker.keep_in_sync(0.02))
        path.unlink()
        await until(lambda: path.exists() and path.read_bytes() == whole)
        await FileWorker(path).clear()
        await until(lambda: path.read_bytes() == whole)
        before = path.stat().st_ino
        await worker.compare()
        assert path.stat().st_ino == before
        comparing.cancel()
        await asyncio.wait({comparing})
