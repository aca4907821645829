"""The protocol over HTTP, against real servers on loopback."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web

from berth.orchestrator import HttpCommunicator, Orchestrator, WorkerState

NAMES = [
    "plain",
    "a/b",
    "ä ö",
    "100%",
    "a?b#c",
    "%2F",
    "..x",
    "+",
    "a;b=c,d",
    "~",
    "x" * 500,
    "\u2028",
    "日本",
]


class Worker:
    """A worker that records what it is sent, byte for byte."""

    def __init__(self) -> None:
        self.items: dict[str, object] = {}
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.answer: dict[str, object] | None = None
        """What to make every answer from, instead of the usual one."""
        self.block = False
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(f"{request.method} {request.raw_path}")
        self.headers.append(dict(request.headers))
        if self.block:
            await asyncio.sleep(3600)
        if self.answer is not None:
            return web.Response(**self.answer)
        name = request.match_info.get("name")
        if request.method == "GET":
            return web.json_response({"items": list(self.items)})
        assert name is not None
        if request.method == "PUT":
            self.items[name] = await request.json()
            return web.Response(status=201)
        if name not in self.items:
            return web.Response(status=404)
        del self.items[name]
        return web.Response(status=204)


@pytest.fixture
async def worker():
    async for started in serve():
        yield started


async def serve(prefix: str = ""):
    worker = Worker()
    app = web.Application()
    app.router.add_get(f"{prefix}/items", worker.handle)
    app.router.add_route("*", prefix + "/items/{name}", worker.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    worker.url = f"http://127.0.0.1:{port}{prefix}"
    yield worker
    await runner.cleanup()


@pytest.fixture
async def communicator():
    async with HttpCommunicator[str, str]() as opened:
        yield opened


async def test_an_add_is_a_put_with_the_name_in_path_and_body(worker, communicator):
    await communicator.add(worker.url, "orders-0007")
    assert worker.requests == ["PUT /items/orders-0007"]
    assert worker.items == {"orders-0007": {"name": "orders-0007"}}
    assert worker.headers[0]["Content-Type"] == "application/json"


@pytest.mark.parametrize("name", NAMES, ids=lambda n: ascii(n)[:20])
async def test_every_name_survives_the_round_trip(worker, communicator, name):
    await communicator.add(worker.url, name)
    assert worker.items == {name: {"name": name}}
    assert await communicator.list(worker.url) == (name,)
    await communicator.remove(worker.url, name)
    assert worker.items == {}
    path = worker.requests[0].removeprefix("PUT /items/")
    assert not set(path) & set("/?#% ") - {"%"}


@pytest.mark.parametrize("name", ["", ".", ".."])
async def test_a_name_without_a_path_of_its_own_is_refused(worker, communicator, name):
    with pytest.raises(ValueError, match="cannot be the name of a task"):
        await communicator.add(worker.url, name)
    assert worker.requests == []


async def test_removing_what_is_not_there_succeeds(worker, communicator):
    await communicator.remove(worker.url, "unknown")
    assert worker.requests == ["DELETE /items/unknown"]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_every_2xx_is_success(worker, communicator, status):
    worker.answer = {"status": status}
    await communicator.add(worker.url, "a")
    await communicator.remove(worker.url, "a")
    assert worker.requests == ["PUT /items/a", "DELETE /items/a"]


@pytest.mark.parametrize("status", [302, 400, 404, 409, 500, 503])
async def test_every_other_status_is_an_error_that_quotes_the_answer(worker, communicator, status):
    worker.answer = {"status": status, "text": "no room", "headers": {"Location": "/elsewhere"}}
    with pytest.raises(OSError, match=f"PUT .*/items/a: {status} .*no room"):
        await communicator.add(worker.url, "a")
    with pytest.raises(OSError, match=f"GET .*/items: {status}"):
        await communicator.list(worker.url)
    if status != 404:
        with pytest.raises(OSError, match=f"DELETE .*: {status}"):
            await communicator.remove(worker.url, "a")


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"items": null}', '{"items": {"a": 1}}', '{"items": [1]}', "<html>"]
)
async def test_a_listing_of_another_shape_is_an_error(worker, communicator, body):
    worker.answer = {"text": body}
    with pytest.raises(ValueError, match="the answer to GET /items is not"):
        await communicator.list(worker.url)


async def test_fields_beside_items_are_ignored(worker, communicator):
    worker.answer = {"text": '{"items": ["a"], "version": 3}'}
    assert await communicator.list(worker.url) == ("a",)


async def test_a_base_url_may_have_a_path_and_a_slash_at_its_end(communicator):
    async for worker in serve("/v1/worker"):
        await communicator.add(worker.url + "/", "a")
        assert worker.requests == ["PUT /v1/worker/items/a"]


@dataclass(frozen=True)
class Shard:
    number: int


async def test_workers_and_tasks_of_other_types_are_mapped(worker):
    async with HttpCommunicator[int, Shard](
        url=lambda port: f"http://127.0.0.1:{port}",
        name=lambda shard: f"shard-{shard.number}",
        task=lambda name: Shard(int(name.removeprefix("shard-"))),
        data=lambda shard: {"path": f"/data/{shard.number}"},
        headers={"Authorization": "Bearer x"},
    ) as communicator:
        port = int(worker.url.rsplit(":", 1)[1])
        await communicator.add(port, Shard(7))
        assert worker.items == {"shard-7": {"name": "shard-7", "data": {"path": "/data/7"}}}
        assert await communicator.list(port) == (Shard(7),)
        assert {h["Authorization"] for h in worker.headers} == {"Bearer x"}


async def test_a_given_session_is_used_and_left_open(worker):
    async with aiohttp.ClientSession(headers={"X-From": "mine"}) as session:
        async with HttpCommunicator[str, str](session=session) as communicator:
            await communicator.list(worker.url)
        assert not session.closed
        assert worker.headers[0]["X-From"] == "mine"


async def test_it_can_be_used_again_after_it_was_closed(worker):
    communicator = HttpCommunicator[str, str]()
    await communicator.aclose()
    await communicator.list(worker.url)
    await communicator.aclose()
    await communicator.list(worker.url)
    await communicator.aclose()
    assert len(worker.requests) == 2


async def test_more_workers_than_the_usual_bound_on_connections_answer_at_once():
    waiting, release = 0, asyncio.Event()

    async def hold(request):
        nonlocal waiting
        waiting += 1
        if waiting == 120:
            release.set()
        await release.wait()
        return web.json_response({"items": []})

    app = web.Application()
    app.router.add_get("/{worker}/items", hold)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=512).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with HttpCommunicator[str, str]() as communicator:
            orchestrator = Orchestrator(communicator, timeout=60)
            orchestrator.update_workers(f"{base}/{n}" for n in range(120))
            assert (await orchestrator.next_term()).worker_count == 120
    finally:
        await runner.cleanup()


async def test_a_fleet_with_a_dead_and_a_blocking_worker_is_run(communicator):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async for first in serve():
            async for second in serve():
                async for blocking in serve():
                    blocking.block = True
                    orchestrator = Orchestrator(communicator, timeout=1.0)
                    orchestrator.update_workers([first.url, second.url, blocking.url, dead])
                    for number in range(8):
                        orchestrator.add_task(f"feed-{number}")
                    stats = await orchestrator.next_term()
                    assert (stats.worker_count, stats.left_out, stats.missing) == (2, 2, 0)
                    assert sorted([*first.items, *second.items]) == [f"feed-{n}" for n in range(8)]
                    assert [len(first.items), len(second.items)] == [4, 4]
                    blocking.block = False
                    while (stats := await orchestrator.next_term()).left_out != 1 or stats.added:
                        pass
                    assert sorted(map(len, (first.items, second.items, blocking.items))) == [2, 3, 3]
                    assert WorkerState(first.url, list(first.items)) in orchestrator.last_actual()
