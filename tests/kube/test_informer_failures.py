"""What an informer makes of bad objects, handlers and answers."""

import asyncio
import logging
import time
from typing import Any

import pytest
from aiohttp import web
from informer_log import Log, informer, names
from waiting import until

from berth.kube import Backoff, Client


async def test_bad_objects_are_reported_and_stop_nothing_else(api: Any) -> None:
    log = Log()
    bad = api.thing("bad", 5, v=1)  # `data` holds a number
    nameless = {"metadata": {"labels": 3}}
    api.put(api.thing("a", 1), bad)
    api.objects["?"] = nameless
    async with Client(api.config()) as client, informer(client, api, log) as inf:
        await inf.synced()
        assert names(inf) == {"a"}
        assert set(inf.bad) == {("ns", "bad"), ("", "")}
        assert {key for key, _ in log.errors} == {("ns", "bad"), ("", "")}
        assert "data" in str(inf.bad["ns", "bad"])
        api.events.put_nowait(
            api.event("MODIFIED", api.thing("a", 21, v=1))  # turns bad: the last good version stays
            + api.event("MODIFIED", api.thing("bad", 22, v="1"))  # turns good
            + api.event("ADDED", api.thing("worse", 23, v=[]))
            + api.event("DELETED", api.thing("worse", 24, v=[]))
        )
        await inf.wait_for(24)
        assert names(inf) == {"a", "bad"}
        assert inf.store["ns", "a"].metadata.resource_version == "1"
        assert set(inf.bad) == {("ns", "a"), ("", "")}
        assert inf.failures == 0
    assert log.events == [("ADDED", "a"), ("ADDED", "bad")]


async def test_a_list_forgets_bad_objects_that_are_gone(api: Any) -> None:
    log = Log()
    api.put(api.thing("bad", 5, v=1))
    async with Client(api.config()) as client, informer(client, api, log) as inf:
        await inf.synced()
        api.objects.clear()
        api.script("watch", api.status(410, "Expired"))
        api.events.put_nowait(api.END)
        await until(lambda: not inf.bad)


async def test_a_handler_that_raises_is_reported_and_the_watch_goes_on(
    api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()

    def raising(old: Any, new: Any) -> None:
        log.on_event(old, new)
        if new is not None and new.metadata.name == "trouble":
            raise ValueError("of the handler")

    async with Client(api.config()) as client, informer(client, api, log, on_event=raising) as inf:
        await inf.synced()
        api.events.put_nowait(
            api.event("ADDED", api.thing("trouble", 11)) + api.event("ADDED", api.thing("b", 12))
        )
        await inf.wait_for(12)
        assert names(inf) == {"trouble", "b"}
        assert inf.restarts == 0
    assert log.errors == [(("ns", "trouble"), "of the handler")]
    assert "ns/trouble" in caplog.text


async def test_an_error_handler_that_raises_stops_nothing_either(
    api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def raising(key: object, error: Exception) -> None:
        raise ValueError("of the error handler")

    api.put(api.thing("bad", 5, v=1), api.thing("a", 6))
    async with Client(api.config()) as client, informer(client, api, Log(), on_error=raising) as inf:
        await inf.synced()
        assert names(inf) == {"a"}
    assert "of the error handler" in caplog.text


async def test_lines_of_megabytes_in_many_chunks_are_decoded(api: Any) -> None:
    log = Log()
    async with Client(api.config()) as client, informer(client, api, log) as inf:
        await inf.synced()
        line = api.event("ADDED", api.thing("big", 11, v="x" * 3_000_000))
        for start in range(0, len(line), 100_000):
            api.events.put_nowait(line[start : start + 100_000])
        await asyncio.wait_for(inf.wait_for(11), 20)
        assert len(inf.store["ns", "big"].data["v"]) == 3_000_000


async def test_an_answer_that_is_not_from_kubernetes_is_retried_by_a_list(api: Any) -> None:
    log = Log()
    api.script("list", web.Response(text="<html>login</html>"))
    async with Client(api.config()) as client, informer(client, api, log) as inf:
        await asyncio.wait_for(inf.synced(), 10)
        api.events.put_nowait(b"<html>proxy</html>\n")
        await until(lambda: api.count("watch") == 2)
        assert api.count("list") == 3
        assert inf.failures == 2


async def test_failures_wait_longer_each_time_and_a_success_resets_that(
    api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "berth.kube.informer")
    log = Log()
    api.script("watch", *[api.status(500, "InternalError") for _ in range(4)])
    backoff = Backoff(0.01, 60.0)
    async with Client(api.config()) as client, informer(client, api, log, backoff=backoff) as inf:
        await inf.synced()
        await until(lambda: inf.failures == 4)
        assert backoff.failures == 4
        levels = [record.levelname for record in caplog.records]
        assert levels == ["INFO", "INFO", "WARNING", "WARNING"]
        await until(lambda: api.count("watch") == 5)
        api.events.put_nowait(api.event("ADDED", api.thing("a", 11)))
        api.events.put_nowait(api.CUT)
        await until(lambda: inf.failures == 5)
        assert backoff.failures == 1
    assert api.count("list") == 1


async def test_retry_after_of_a_watch_is_honoured(api: Any) -> None:
    log = Log()
    api.script("watch", api.status(429, "TooManyRequests", {"Retry-After": "1"}))
    async with Client(api.config()) as client, informer(client, api, log) as inf:
        await inf.synced()
        started = time.monotonic()
        await until(lambda: api.count("watch") == 2)
        assert time.monotonic() - started > 0.8


async def test_a_server_restored_from_a_backup_is_listed_and_its_older_state_taken(api: Any) -> None:
    log = Log()
    api.put(api.thing("a", 50), api.thing("b", 40))
    async with Client(api.config()) as client, informer(client, api, log) as inf:
        await inf.synced()
        api.objects = {"a": api.thing("a", 20)}
        api.rv = 25
        api.script("watch", api.status(504, "Timeout"))
        api.events.put_nowait(api.END)
        await until(lambda: inf.resource_version == 25)
        assert log.events[-2:] == [("MODIFIED", "a"), ("DELETED", "b")]


async def test_leaving_the_block_ends_the_watch(api: Any) -> None:
    async with Client(api.config()) as client:
        async with informer(client, api, Log()):
            await until(lambda: api.count("watch") == 1)
        assert [task for task in asyncio.all_tasks() if "informer" in task.get_name()] == []
