"""The three ways of `berth agent` to a worker, without a cluster."""

import asyncio
import json
import os
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from member_fakes import Hand
from waiting import until

from berth.member.agent import CommandWorker, FileWorker, HttpWorker
from berth.member.agent.worker import WorkerError
from berth.member.callbacks import CallbackRunner
from berth.member.worker import Worker


class Server:
    """A worker that speaks HTTP and records its requests."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, object]] = {}
        self.requests: list[str] = []
        self.valid_for: list[float] = []
        self.refuse: dict[str, int] = {}
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.valid_for.append(float(request.headers["Berth-Valid-For"]))
        what = f"{request.method} {request.rel_url.raw_path}"
        self.requests.append(what)
        if what in self.refuse:
            return web.Response(status=self.refuse[what], text="disk full")
        if request.method == "GET":
            return web.json_response({"items": list(self.items)})
        name = request.match_info["name"]
        if request.method == "PUT":
            self.items[name] = await request.json()
            return web.Response(status=204)
        return web.Response(status=204 if self.items.pop(name, None) else 404)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.add_routes([web.get("/items", server.handle), web.route("*", "/items/{name}", server.handle)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def http(server: Server) -> AsyncIterator[HttpWorker]:
    async with HttpWorker(server.url, timeout=5, valid_for=lambda: 7.5) as worker:
        yield worker


def delivery_to(worker: Worker) -> CallbackRunner:
    runner = CallbackRunner(worker, pause=lambda _: 0.05)
    runner.start_session(lambda: 1000.0)
    return runner


async def test_http_an_item_is_put_put_as_primary_put_back_and_deleted(
    server: Server, http: HttpWorker
) -> None:
    async with delivery_to(http) as runner:
        hand = Hand(runner)
        hand.want("a.b#2@3")
        await hand.until_reported("a.b@3=Ready")
        assert server.items["a.b"] == {"name": "a.b", "slot": 2, "primary": False, "epoch": 3, "data": {}}
        hand.want("a.b#0@3:4")
        await until(lambda: (hand.confirm(), server.items["a.b"]["primary"])[1])
        assert server.items["a.b"] == {"name": "a.b", "slot": 0, "primary": True, "epoch": 4, "data": {}}
        hand.want("a.b#1@3")
        await hand.until_reported("a.b@3=Ready")
        assert server.items["a.b"] == {"name": "a.b", "slot": 1, "primary": False, "epoch": 3, "data": {}}
        hand.want()
        await hand.until_reported()
    assert server.items == {}
    assert server.requests == ["PUT /items/a.b"] * 3 + ["DELETE /items/a.b"]
    assert set(server.valid_for) == {7.5}


async def test_http_an_error_answer_fails_the_item_with_its_text(server: Server, http: HttpWorker) -> None:
    server.refuse["PUT /items/a"] = 507
    async with delivery_to(http) as runner:
        hand = Hand(runner)
        hand.want("a#1@3")
        await hand.until_reported("a@3=Failed")
        assert "507 Insufficient Storage: disk full" in runner.snapshot().problems[0].message
        server.refuse.clear()
        await hand.until_reported("a@3=Ready")


async def test_http_a_delete_of_an_item_that_is_already_gone_succeeds(
    server: Server, http: HttpWorker
) -> None:
    async with delivery_to(http) as runner:
        hand = Hand(runner)
        hand.want("a#1@3")
        await hand.until_reported("a@3=Ready")
        server.items.clear()
        hand.want()
        await hand.until_reported()
    assert server.requests == ["PUT /items/a", "DELETE /items/a"]


async def test_http_items_that_an_earlier_agent_left_are_deleted(server: Server, http: HttpWorker) -> None:
    server.items = {"old": {}, "ä/ö": {}}
    await http.clear()
    assert server.items == {}
    assert "DELETE /items/%C3%A4%2F%C3%B6" in server.requests


async def test_http_items_that_the_worker_lost_are_put_again_and_surplus_ones_deleted(
    server: Server, http: HttpWorker
) -> None:
    async with delivery_to(http) as runner:
        hand = Hand(runner)
        hand.want("a#1@3", "b#0@3:4")
        await hand.until_reported("a@3=Ready", "b@3=Active")
        await until(lambda: server.items["b"]["primary"])
        server.items = {"surplus": {}}
        await http.compare()
        await until(lambda: (hand.confirm(), server.items.get("b", {}).get("primary"))[1])
        await until(lambda: server.items.keys() == {"a", "b"})
        await hand.until_reported("a@3=Ready", "b@3=Active")
        assert not server.items["a"]["primary"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"items": "a"}', b'{"items": [1]}', b'{"items": ["\xff"]}'], ids=ascii
)
async def test_http_a_list_that_cannot_be_read_is_an_error_and_not_an_empty_one(body: bytes) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body)

    app = web.Application()
    app.add_routes([web.get("/items", handle)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with HttpWorker(f"http://127.0.0.1:{runner.addresses[0][1]}") as worker:
            with pytest.raises(WorkerError, match="GET http"):
                await worker.list()
            assert not worker.reachable
    finally:
        await runner.cleanup()


def script(folder: Path, text: str) -> str:
    path = folder / "hook"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


NOTE = """
import json, os, sys
item = json.load(sys.stdin)
assert sys.argv[1:] == [item["event"], item["name"]] == [os.environ["BERTH_EVENT"], os.environ["BERTH_ITEM"]]
env = [os.environ[n] for n in ("BERTH_SLOT", "BERTH_PRIMARY", "BERTH_EPOCH")]
with open(FILE, "a") as file:
    file.write(json.dumps([item["event"], *env]) + "\\n")
"""


async def test_exec_the_command_gets_each_event_with_the_item_as_json_and_in_the_environment(
    tmp_path: Path,
) -> None:
    notes = tmp_path / "notes"
    worker = CommandWorker(script(tmp_path, NOTE.replace("FILE", repr(str(notes)))))
    async with delivery_to(worker) as runner:
        hand = Hand(runner)
        hand.want("a#0@3:4")
        await until(lambda: (hand.confirm(), notes.exists() and len(notes.read_text().splitlines()) == 2)[1])
        hand.want()
        await hand.until_reported()
    assert [json.loads(line) for line in notes.read_text().splitlines()] == [
        ["prepare", "0", "false", "3"],
        ["activate", "0", "true", "4"],
        ["deactivate", "0", "false", "3"],
        ["drop", "0", "false", "3"],
    ]


async def test_exec_an_exit_code_fails_the_item_with_the_last_line_of_standard_error(tmp_path: Path) -> None:
    text = (
        "import sys\nif sys.argv[1] == 'prepare': print('one\\nno such feed', file=sys.stderr); sys.exit(3)"
    )
    worker = CommandWorker(script(tmp_path, text))
    async with delivery_to(worker) as runner:
        hand = Hand(runner)
        hand.want("a#1@3")
        await hand.until_reported("a@3=Failed")
        assert "exit code 3: no such feed" in runner.snapshot().problems[0].message


async def test_exec_a_command_that_is_no_longer_wanted_is_ended_with_its_children(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    text = f"""
import pathlib, signal, subprocess, sys, time
if sys.argv[1] == "prepare":
    signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(ended)!r}).touch(), sys.exit(1)))
    pathlib.Path({str(tmp_path / "started")!r}).touch()
    time.sleep(1000)
"""
    worker = CommandWorker(script(tmp_path, text))
    async with delivery_to(worker) as runner:
        hand = Hand(runner)
        hand.want("a#1@3")
        await until((tmp_path / "started").exists)
        hand.want()
        await hand.until_reported()
    assert ended.exists()


async def test_exec_a_command_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    worker = CommandWorker(script(tmp_path, "import time; time.sleep(1000)"), timeout=0.3)
    async with delivery_to(worker) as runner:
        hand = Hand(runner)
        hand.want("a#1@3")
        await hand.until_reported("a@3=Failed")
        assert "still running after 0.3 s" in runner.snapshot().problems[0].message


async def test_file_it_is_always_complete_and_follows_what_is_held(tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    worker = FileWorker(path, settle=0.01)
    await worker.clear()
    assert json.loads(path.read_text()) == {"items": []}

    def items() -> dict[str, dict[str, object]]:
        return {item["name"]: item for item in json.loads(path.read_text())["items"]}

    async with delivery_to(worker) as runner:
        hand = Hand(runner)
        hand.want("b#1@3", "a#0@3:4")
        await hand.until_reported("a@3=Active", "b@3=Ready")
        await until(lambda: items()["a"]["primary"])
        assert items() == {
            "a": {"name": "a", "slot": 0, "primary": True, "epoch": 4, "data": {}},
            "b": {"name": "b", "slot": 1, "primary": False, "epoch": 3, "data": {}},
        }
        assert list(items()) == ["a", "b"]
        hand.want("a#1@3")
        await hand.until_reported("a@3=Ready")
        assert items()["a"]["primary"] is False
        assert list(items()) == ["a"]
    assert os.listdir(tmp_path) == ["items.json"]


async def test_file_the_reader_gets_time_to_release_an_item(tmp_path: Path) -> None:
    worker = FileWorker(tmp_path / "items.json", settle=0.5)
    async with delivery_to(worker) as runner:
        hand = Hand(runner)
        hand.want("a#1@3")
        await hand.until_reported("a@3=Ready")
        hand.want()
        started = asyncio.get_running_loop().time()
        await hand.until_reported()
        assert asyncio.get_running_loop().time() - started >= 0.5
