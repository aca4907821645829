"""A new leader waits until its cache shows what was there when it took over."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from berth.controller.apply import Applier


def thing(name: str, version: int) -> Any:
    return SimpleNamespace(metadata=SimpleNamespace(name=name, resource_version=str(version)))


class Cache:
    def __init__(self, **versions: int) -> None:
        self.store = {("ns", name): thing(name, version) for name, version in versions.items()}
        self.seen = max(versions.values(), default=0)

    async def wait_for(self, version: int) -> None:
        while self.seen < version:  # noqa: ASYNC110
            await asyncio.sleep(0)


class Server:
    def __init__(self, **versions: int) -> None:
        self.versions = versions

    async def list(self, path: str, **_: Any) -> list[Any]:
        return [thing(name, version) for name, version in self.versions.items()]


async def started(server: Server, cache: Any, version: int) -> asyncio.Task[None]:
    client: Any = server
    applier = Applier(client, cache, ("ns", "pool"), "me", lambda: 0.0, client)
    task = asyncio.create_task(applier._caught_up(version))
    await asyncio.sleep(0.05)
    return task


async def test_a_cache_that_shows_everything_is_enough() -> None:
    task = await started(Server(a=3, b=5), Cache(a=3, b=5), 6)
    assert task.done()


async def test_a_change_that_is_not_seen_yet_is_waited_for() -> None:
    cache = Cache(a=3)
    task = await started(Server(a=5), cache, 6)
    assert not task.done()
    cache.seen = 5
    await asyncio.wait_for(task, 5)


async def test_a_deletion_that_is_not_seen_yet_is_waited_for() -> None:
    cache = Cache(a=3, b=4)
    task = await started(Server(b=4), cache, 6)
    assert not task.done()
    del cache.store["ns", "a"]
    await asyncio.wait_for(task, 5)


async def test_what_was_created_after_the_list_is_not_waited_for() -> None:
    task = await started(Server(a=3), Cache(a=3, b=9), 6)
    assert task.done()


async def test_other_namespaces_do_not_matter() -> None:
    cache = Cache(a=3)
    cache.store["other", "b"] = thing("b", 2)
    task = await started(Server(a=3), cache, 6)
    assert task.done()
