import asyncio
import math
import threading
import time
from typing import Any

import msgspec
import pytest
from aiohttp import web

from berth.kube import (
    Client,
    Conflict,
    ConnectionLost,
    DeadlinePassed,
    Decoder,
    Gone,
    Invalid,
    NotFound,
    RequestTimeout,
    Resource,
    ServerError,
    TooManyRequests,
    Unauthorized,
)

CONFIG_MAPS = Resource("", "v1", "configmaps")
PATH = CONFIG_MAPS.path("ns", "x")
COLLECTION = CONFIG_MAPS.path("ns")


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


async def cut(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def test_answers_come_as_a_struct_as_bytes_or_as_plain_values(api: Any) -> None:
    async with Client(api.config()) as client:
        assert (await client.get(PATH))["metadata"]["name"] == "x"
        assert isinstance(await client.get(PATH, type=bytes), bytes)
        assert (await client.get(PATH, type=api.Thing)).metadata.name == "x"


async def test_each_verb_sends_its_method_content_type_and_body(api: Any) -> None:
    async with Client(api.config()) as client:
        await client.create(COLLECTION, api.thing("x", 1))
        await client.update(PATH, b'{"raw":true}')
        for kind, content_type in (
            ("json", "application/json-patch+json"),
            ("merge", "application/merge-patch+json"),
        ):
            await client.patch(PATH, {"a": 1}, kind)  # type: ignore[arg-type]
            assert api.last("PATCH").headers["Content-Type"] == content_type
        await client.delete(PATH, body={"preconditions": {"uid": "u"}})
    assert api.last("PUT").body == b'{"raw":true}'
    assert msgspec.json.decode(api.last("POST").body)["metadata"]["name"] == "x"
    assert api.last("POST").headers["Authorization"] == "Bearer t"
    assert api.last("DELETE").body == b'{"preconditions":{"uid":"u"}}'


async def test_a_list_follows_its_pages(api: Any) -> None:
    api.script(
        "list",
        api.page([api.thing("a", 1), api.thing("b", 2)], more="to+ken/="),
        api.page([api.thing("c", 3)]),
    )
    async with Client(api.config()) as client:
        things = await client.list(COLLECTION, {"labelSelector": "x=y"}, type=api.Thing)
    assert [t.metadata.name for t in things] == ["a", "b", "c"]
    assert api.last("list").query == {"labelSelector": "x=y", "limit": "500", "continue": "to+ken/="}


async def test_a_list_whose_continue_token_expired_is_taken_in_one_piece(api: Any) -> None:
    api.script("list", api.page([api.thing("a", 1)], more="m"), api.status(410, "Expired"))
    api.put(api.thing("b", 2), api.thing("c", 3))
    async with Client(api.config()) as client:
        things = await client.list(COLLECTION, type=api.Thing)
    assert [t.metadata.name for t in things] == ["b", "c"]
    assert api.last("list").query == {}


async def test_a_list_of_metadata_asks_for_nothing_else(api: Any) -> None:
    async with Client(api.config()) as client:
        await client.list(COLLECTION, type=api.Thing, metadata_only=True)
        assert "as=PartialObjectMetadataList" in api.last("list").headers["Accept"]
        await client.list(COLLECTION, type=api.Thing)
        assert api.last("list").headers["Accept"] == "application/json"


async def test_errors_of_the_server_are_raised_as_their_class(api: Any) -> None:
    api.script("get", api.status(404, "NotFound"))
    api.script("POST", api.status(409, "AlreadyExists"))
    api.script("PATCH", api.status(422, "Invalid"))
    async with Client(api.config()) as client:
        with pytest.raises(NotFound):
            await client.get(PATH)
        with pytest.raises(Conflict) as info:
            await client.create(COLLECTION, {})
        assert info.value.reason == "AlreadyExists"
        with pytest.raises(Invalid):
            await client.patch(PATH, [])


async def test_a_429_is_repeated_after_the_time_the_server_names_for_writes_too(api: Any) -> None:
    api.script("POST", api.status(429, "TooManyRequests", {"Retry-After": "1"}))
    async with Client(api.config()) as client:
        started = time.monotonic()
        await client.create(COLLECTION, {})
        assert 1.0 <= time.monotonic() - started < 5.0
    assert api.count("POST") == 2


async def test_a_retry_after_beyond_the_bound_is_raised_at_once(api: Any) -> None:
    api.script("get", api.status(429, "TooManyRequests", {"Retry-After": "60"}))
    async with Client(api.config(), retry_for=5.0) as client:
        started = time.monotonic()
        with pytest.raises(TooManyRequests) as info:
            await client.get(PATH)
        assert info.value.retry_after == 60.0
        assert time.monotonic() - started < 1.0


async def test_a_read_is_repeated_after_a_5xx_and_after_a_lost_connection(api: Any) -> None:
    api.script("get", api.status(503, "ServiceUnavailable"), cut, api.status(500, "InternalError"))
    async with Client(api.config()) as client:
        assert (await client.get(PATH))["metadata"]["name"] == "x"


async def test_a_write_that_may_have_been_done_is_not_repeated(api: Any) -> None:
    async with Client(api.config()) as client:
        api.script("PATCH", api.status(500, "InternalError"))
        with pytest.raises(ServerError):
            await client.patch(PATH, [])
        api.script("PATCH", cut)
        with pytest.raises(ConnectionLost) as info:
            await client.patch(PATH, [])
        assert info.value.maybe_done
        assert api.count("PATCH") == 2
        api.script("PATCH", api.status(500, "InternalError"))
        await client.patch(PATH, [], idempotent=True)
        assert api.count("PATCH") == 4


async def test_an_answer_that_cannot_be_read_is_an_error_of_the_server(api: Any) -> None:
    page = web.Response(text="<html>Bad gateway</html>", content_type="text/html")
    async with Client(api.config()) as client:
        api.script("PATCH", page)
        with pytest.raises(ServerError, match="Bad gateway"):
            await client.patch(PATH, [])
        assert api.count("PATCH") == 1, "it may have been done"


async def test_repeats_are_bounded(api: Any) -> None:
    api.script("get", *[api.status(503, "ServiceUnavailable") for _ in range(20)])
    async with Client(api.config(), attempts=3) as client:
        with pytest.raises(ServerError):
            await client.get(PATH)
    assert api.count("get") == 3


async def test_a_write_is_tried_again_after_a_refused_connection_which_did_nothing(api: Any) -> None:
    api.url = "http://127.0.0.1:1"
    async with Client(api.config(), attempts=3) as client:
        with pytest.raises(ConnectionLost) as info:
            await client.create(COLLECTION, {})
    assert not info.value.maybe_done


async def test_a_request_never_takes_longer_than_its_timeout(api: Any) -> None:
    api.script("PUT", hang)
    async with Client(api.config(), timeout=0.3) as client:
        started = time.monotonic()
        with pytest.raises(RequestTimeout):
            await client.update(PATH, {})
        assert 0.25 < time.monotonic() - started < 3.0
    assert api.last("PUT").query["timeout"] == "300ms"


async def test_a_request_ends_before_its_deadline_also_when_that_is_further_than_aiohttps_rounding(
    api: Any,
) -> None:
    api.script("PUT", hang)
    async with Client(api.config(), timeout=30.0) as client:
        # aiohttp rounds timeouts above 5 s up to a whole second of the loop's clock: here 0.9 s too late.
        deadline = math.floor(time.monotonic()) + 6.1
        with pytest.raises(RequestTimeout):
            await client.update(PATH, {}, deadline=deadline)
        assert time.monotonic() - deadline < 0.6


async def test_nothing_is_sent_after_the_deadline(api: Any) -> None:
    async with Client(api.config()) as client:
        with pytest.raises(DeadlinePassed):
            await client.update(PATH, {}, deadline=time.monotonic() - 0.001)
        with pytest.raises(DeadlinePassed):
            await client.update(PATH, {}, deadline=lambda: time.monotonic() - 0.001)
    assert api.seen == []


async def test_no_repeat_begins_after_the_deadline(api: Any) -> None:
    api.script("PUT", api.status(429, "TooManyRequests", {"Retry-After": "2"}))
    async with Client(api.config()) as client:
        started = time.monotonic()
        with pytest.raises(TooManyRequests):
            await client.update(PATH, {}, deadline=started + 1.0)
        assert time.monotonic() - started < 1.0
    assert api.count("PUT") == 1


async def test_waiting_for_a_free_connection_does_not_use_up_the_timeout(api: Any) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.2)
        return web.json_response({})

    api.script("PUT", *[slow] * 8)
    async with Client(api.config(), connections=2, timeout=0.6) as client:
        await asyncio.gather(*(client.update(PATH, {}) for _ in range(8)))
        api.script("PUT", *[slow] * 3)
        deadline = time.monotonic() + 0.15
        results = await asyncio.gather(
            *(client.update(PATH, {}, deadline=deadline) for _ in range(3)), return_exceptions=True
        )
    assert [type(result) for result in results] == [RequestTimeout, RequestTimeout, DeadlinePassed]


async def test_a_401_is_answered_with_fresh_credentials_once(api: Any) -> None:
    tokens = iter(["old", "new"])
    api.script("POST", api.status(401, "Unauthorized"))
    config = api.config(lambda: api.access(next(tokens)))
    config._loaded_at -= 60.0
    async with Client(config) as client:
        await client.create(COLLECTION, {})
    assert [seen.headers["Authorization"] for seen in api.seen] == ["Bearer old", "Bearer new"]


async def test_a_401_without_fresh_credentials_is_raised_and_loads_no_more_often_than_allowed(
    api: Any,
) -> None:
    loads: list[float] = []

    def load() -> Any:
        loads.append(time.monotonic())
        return api.access("same")

    api.script("get", *[api.status(401, "Unauthorized") for _ in range(20)])
    config = api.config(load)
    config._loaded_at -= 60.0
    async with Client(config) as client:
        for _ in range(5):
            with pytest.raises(Unauthorized):
                await client.get(PATH)
    assert len(loads) == 2
    assert api.count("get") == 5


async def test_credentials_near_their_end_are_loaded_again_before_use(api: Any) -> None:
    tokens = iter(["first", "second"])
    threads: list[str] = []

    def load() -> Any:
        threads.append(threading.current_thread().name)
        return api.access(next(tokens), refresh_after=30.0)

    config = api.config(load)
    async with Client(config) as client:
        await client.get(PATH)
        config._loaded_at -= 31.0
        await asyncio.gather(*(client.get(PATH) for _ in range(5)))
        assert "Bearer second" in [seen.headers["Authorization"] for seen in api.seen[1:]]
        await client.get(PATH)
    assert api.last("get").headers["Authorization"] == "Bearer second"
    assert len(threads) == 2
    assert threads[1] != threading.main_thread().name


async def test_each_attempt_is_counted_with_its_code(api: Any) -> None:
    calls: list[tuple[str, str, int]] = []
    api.script("get", api.status(503, "ServiceUnavailable"), cut, cut)  # aiohttp repeats the first by itself
    async with Client(api.config(), on_request=lambda v, r, c, s: calls.append((v, r, c))) as client:
        await client.get(PATH)
        async with client.watch(COLLECTION, Decoder(api.Thing), {}, inactivity=90.0):
            pass
    assert calls == [
        ("GET", "configmaps", 503),
        ("GET", "configmaps", 0),
        ("GET", "configmaps", 200),
        ("WATCH", "configmaps", 200),
    ]


async def watched(api: Any, client: Client, inactivity: float = 90.0) -> list[tuple[str, Any]]:
    async with client.watch(COLLECTION, Decoder(api.Thing), {}, inactivity=inactivity) as events:
        return [event async for event in events]


async def test_a_watch_gives_events_and_says_how_it_ended(api: Any) -> None:
    async with Client(api.config()) as client:
        line = api.event("ADDED", api.thing("one", 11))
        api.events.put_nowait(line[:20])
        api.events.put_nowait(line[20:])
        api.events.put_nowait(api.END)
        ((kind, thing),) = await watched(api, client)
        assert (kind, thing.metadata.name) == ("ADDED", "one")
        assert api.last("watch").query == {"watch": "true", "allowWatchBookmarks": "true"}
        api.events.put_nowait(line)
        api.events.put_nowait(api.CUT)
        with pytest.raises(ConnectionLost):
            await watched(api, client)
        with pytest.raises(RequestTimeout):
            await watched(api, client, inactivity=0.2)
        api.script("watch", api.status(410, "Expired"))
        with pytest.raises(Gone):
            await watched(api, client)
        api.events.put_nowait(api.event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"}))
        with pytest.raises(Gone):
            await watched(api, client)


async def test_a_watch_gets_fresh_credentials_too(api: Any) -> None:
    tokens = iter(["old", "new"])
    api.script("watch", api.status(401, "Unauthorized"))
    config = api.config(lambda: api.access(next(tokens)))
    config._loaded_at -= 60.0
    api.events.put_nowait(api.END)
    async with Client(config) as client:
        assert await watched(api, client) == []
    assert [seen.headers["Authorization"] for seen in api.seen] == ["Bearer old", "Bearer new"]


async def test_a_client_outside_its_block_raises_an_error_that_says_so(api: Any) -> None:
    client = Client(api.config())
    with pytest.raises(RuntimeError, match="async with"):
        await client.get(PATH)


async def test_connections_kept_open_serve_what_comes_later(api: Any) -> None:
    ports: list[Any] = []
    together, touched = asyncio.Barrier(4), asyncio.Event()

    async def note(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        await together.wait()
        touched.set()
        return web.json_response({})

    api.script("list", *[note] * 4)
    api.script("POST", *[note] * 4)
    async with Client(api.config()) as client:
        keeping = asyncio.create_task(client.keep_open(4))
        async with asyncio.timeout(5):
            await touched.wait()
            await asyncio.sleep(0.05)  # until the answers are read and the connections are free again
            await asyncio.gather(*(client.create(COLLECTION, {}) for _ in range(4)))
        keeping.cancel()
    assert len(set(ports[:4])) == 4
    assert set(ports[4:]) == set(ports[:4])


@pytest.mark.parametrize("how", ["cut", "refuse"])
async def test_an_api_server_that_is_away_does_not_end_keep_open(api: Any, how: str) -> None:
    refusals = [api.status(503, "ServiceUnavailable") for _ in range(12)]
    api.script("list", *([cut] * 12 if how == "cut" else refusals))
    async with Client(api.config()) as client:
        keeping = asyncio.create_task(client.keep_open(2))
        await asyncio.sleep(0.3)  # in which a request that is repeated would be
        assert not keeping.done()
        assert how == "cut" or api.count("list") == 2
        keeping.cancel()
