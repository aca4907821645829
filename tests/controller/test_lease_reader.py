"""Leases that ran out by what their watch has shown are read before anyone counts as dead."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from berth.controller.reads import MAX_GETS, LeaseReader
from berth.kinds import LeaseObject, LeaseSpec
from berth.kube import Meta, NotFound, ServerError


def lease(name: str, renewed: str = "then") -> LeaseObject:
    return LeaseObject(Meta(name, "ns"), LeaseSpec("s", 10, renew_time=renewed))


class Server:
    """Leases that can be read; `failures` reads fail first."""

    def __init__(self, *names: str) -> None:
        self.leases = {name: lease(name) for name in names}
        self.requests: list[str] = []
        self.failures = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def get(self, path: str, **_: Any) -> LeaseObject:
        name = path.rsplit("/", 1)[1]
        await self._answer(f"get {name}")
        if name not in self.leases:
            raise NotFound(404, "NotFound", name)
        return self.leases[name]

    async def list(self, path: str, **_: Any) -> list[LeaseObject]:
        await self._answer("list")
        return list(self.leases.values())

    async def _answer(self, what: str) -> None:
        self.requests.append(what)
        await self.hold.wait()
        if self.failures:
            self.failures -= 1
            raise ServerError(500, "InternalError", "not now", retry_after=0.01)


class Reading:
    """A reader of some Leases, what it has passed on, and the clock that it goes by."""

    def __init__(self, server: Server, *due: str, unseen: tuple[str, ...] = ()) -> None:
        self.due = list(due)
        self.unseen = unseen
        self.taken: dict[str, tuple[LeaseObject | None, float]] = {}
        self.silent = 0
        self.now = 100.0
        self.reader = LeaseReader(
            server,  # type: ignore[arg-type]
            "ns",
            lambda: list(self.due),
            self._put,
            self._on_silent,
            clock=self._clock,
        )

    def _clock(self) -> float:
        self.now += 1.0
        return self.now

    def _put(self, name: str, found: LeaseObject | None, begun: float) -> bool:
        self.taken[name] = (found, begun)
        if name in self.due:
            self.due.remove(name)
        return name in self.unseen

    def _on_silent(self) -> None:
        self.silent += 1


async def test_a_few_are_read_one_by_one_with_the_moment_before_the_request() -> None:
    server = Server("a", "b", "other")
    reading = Reading(server, "a", "b", "gone")
    await reading.reader.read()
    assert sorted(server.requests) == ["get a", "get b", "get gone"]
    assert reading.taken == {"a": (lease("a"), 101.0), "b": (lease("b"), 101.0), "gone": (None, 101.0)}
    assert reading.silent == 0


async def test_many_are_read_by_one_list_which_tells_of_the_others_too() -> None:
    names = [f"l{n}" for n in range(MAX_GETS + 1)]
    server = Server("other", *names[1:])
    reading = Reading(server, *names, unseen=("other",))
    await reading.reader.read()
    assert server.requests == ["list"]
    assert reading.taken["l0"] == (None, 101.0)
    assert reading.taken["other"] == (lease("other"), 101.0)
    assert reading.silent == 0, "the event of one that was not due may be on its way"


async def test_a_watch_that_has_not_shown_what_a_read_shows_is_silent_once_for_each_read() -> None:
    reading = Reading(Server("a", "b"), "a", "b", unseen=("a", "b"))
    await reading.reader.read()
    assert reading.silent == 1


async def test_a_read_that_fails_is_tried_again_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    server = Server("a")
    server.failures = 2
    reading = Reading(server, "a")
    with caplog.at_level(logging.WARNING):
        await reading.reader.read()
    assert server.requests == ["get a"] * 3
    assert reading.taken == {"a": (lease("a"), 103.0)}
    assert len(caplog.messages) == 2
    assert "1 Leases (a) seem to have expired but cannot be read; their Members count as live" in caplog.text


async def test_one_that_can_be_read_does_not_wait_for_another_that_cannot() -> None:
    server = Server("a", "b")
    server.failures = 1
    reading = Reading(server, "a", "b")
    async with asyncio.TaskGroup() as group:
        reading.reader.start(group)
        while not reading.taken:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert list(reading.taken) == ["b"]
    assert list(reading.taken) == ["b", "a"]


async def test_what_becomes_due_while_it_reads_is_read_next_by_the_same_reader() -> None:
    server = Server("a", "b")
    server.hold.clear()
    reading = Reading(server, "a")
    async with asyncio.TaskGroup() as group:
        reading.reader.start(group)
        await asyncio.sleep(0)
        reading.due.append("b")
        reading.reader.start(group)
        server.hold.set()
    assert server.requests == ["get a", "get b"]
    async with asyncio.TaskGroup() as group:
        reading.reader.start(group)
    assert len(server.requests) == 2, "nothing is read that need not be"
