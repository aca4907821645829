"""An API server that hangs, forgets, or answers with garbage, and what a Member does."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from member_fakes import Recorder
from waiting import until

from berth.kinds import AssignmentObject, Entry
from berth.kube import Decoder, NotFound, ServerError
from berth.kube.errors import not_understood
from berth.member.assignment import AssignmentWatch, StatusReporter
from berth.member.callbacks import CallbackRunner
from berth.member.registration import MemberRegistration
from berth.member.settings import Settings

SETTINGS = Settings.of({"name": "w", "limit": 10, "lease_seconds": 60.0}, {})


def assignment(version: int, *items: str) -> dict[str, Any]:
    return {"metadata": {"name": "w", "resourceVersion": str(version)}, "spec": {"items": items}}


def event(kind: str, what: object) -> bytes:
    return msgspec.json.encode({"type": kind, "object": what}) + b"\n"


def decoded(body: bytes, type: Any) -> Any:
    """As a Client does."""
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.DecodeError as error:
        raise not_understood(error, body) from error


class Server:
    """Answers GET with `answers` (the last one for ever), and each watch with the next of `watches`."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.watches: list[list[bytes]] = []
        self.opened = 0
        self.patched: list[tuple[str, Any]] = []
        self.on_patch: Callable[[], Any] = lambda: {}

    async def get(self, path: str, *, type: Any, **_: Any) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        body = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
        return decoded(body, type)

    async def patch(self, path: str, body: Any, *_: Any, type: Any = None, **__: Any) -> Any:
        self.patched.append((path, body))
        answer = self.on_patch()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        body = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
        return decoded(body, type) if type else answer

    def watch(self, path: str, decoder: Decoder[Any], *_: Any, **__: Any) -> Any:
        self.opened += 1
        chunks = self.watches.pop(0) if len(self.watches) > 1 else self.watches[0] if self.watches else None

        @contextlib.asynccontextmanager
        async def opened() -> AsyncIterator[AsyncIterator[Any]]:
            async def lines() -> AsyncIterator[bytes]:
                if chunks is None:
                    await asyncio.sleep(1000)
                for chunk in chunks or ():
                    yield chunk

            yield decoder.events(lines())

        return opened()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def aimed() -> list[list[Entry]]:
    return []


@pytest.fixture
def watch(server: Server, aimed: list[list[Entry]]) -> AssignmentWatch:
    return AssignmentWatch(cast(Any, server), "ns", "w", "", aimed.append, resync=0.05)


def names(aimed: list[list[Entry]]) -> list[list[str]]:
    return [[entry.name for entry in entries] for entries in aimed]


@contextlib.asynccontextmanager
async def running(work: Any) -> AsyncIterator["asyncio.Task[Any]"]:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_the_watch_recovers_from_garbage_in_a_watch_or_an_answer(
    server: Server, watch: AssignmentWatch, aimed: list[list[Entry]]
) -> None:
    """A load balancer's page with status 200, say."""
    server.watches = [[b"<html>sorry</html>\n"], [event("ADDED", {"spec": 3})],
                      [event("ADDED", assignment(5, "a#1@3")), b"{}\n"], []]  # fmt: skip
    server.answers = [b"<html>", b'{"metadata": []}', assignment(7, "b#1@3")]
    async with running(watch.run()) as watching:
        await until(lambda: names(aimed)[-1:] == [["b"]] or watching.done())
        assert not watching.done()


async def test_a_server_that_repeats_gone_is_asked_with_growing_pauses(
    server: Server, watch: AssignmentWatch
) -> None:
    server.watches = [[event("ERROR", {"code": 410, "reason": "Expired"})]]
    server.answers = [NotFound(404, "NotFound", "no such Assignment")]
    started = time.monotonic()
    async with running(watch.run()):
        await until(lambda: server.opened == 4)
    assert time.monotonic() - started >= 0.05 + 0.1 + 0.2, "the shortest pauses between four tries"


async def test_a_server_that_was_restored_from_a_backup_is_followed(
    server: Server, watch: AssignmentWatch, aimed: list[list[Entry]]
) -> None:
    """Its resourceVersions are lower than those observed before; a read is never older than those."""
    watch.observe(msgspec.convert(assignment(1000, "a#1@3"), AssignmentObject))
    server.answers = [assignment(90, "b#1@3")]
    await watch.refresh()
    watch.observe(msgspec.convert(assignment(91, "c#1@3"), AssignmentObject))
    assert names(aimed) == [["a"], ["b"], ["c"]]


async def test_an_answer_older_than_the_watch_is_not_taken_for_a_restored_server(
    server: Server, watch: AssignmentWatch, aimed: list[list[Entry]]
) -> None:
    watch.observe(msgspec.convert(assignment(10, "a#1@3"), AssignmentObject))

    async def get(*_: Any, **__: Any) -> AssignmentObject:
        watch.observe(msgspec.convert(assignment(12, "c#1@3"), AssignmentObject))
        return msgspec.convert(assignment(11, "b#1@3"), AssignmentObject)

    server.get = get  # type: ignore[method-assign]
    await watch.refresh()
    assert names(aimed) == [["a"], ["c"]]


async def test_the_reporter_recovers_from_an_answer_that_cannot_be_parsed(server: Server) -> None:
    async with CallbackRunner(Recorder()) as runner:
        runner.start_session(lambda: 1000.0)
        watch = AssignmentWatch(cast(Any, server), "ns", "w", "me", runner.set_target)
        reporter = StatusReporter(cast(Any, server), watch, runner, lambda: 1000.0)
        watch.observe(msgspec.convert(assignment(1), AssignmentObject))
        answers: list[Any] = [b"<html>", {**assignment(3), "status": {"session": "me"}}]
        server.on_patch = lambda: answers.pop(0)
        server.answers = [assignment(2)]
        async with running(reporter.run()) as writing:
            await until(lambda: not answers or writing.done())
            await until(lambda: watch.current is not None and watch.current.status.session == "me")
            assert not writing.done()


class Life:
    """A MemberRegistration, and what it looks at while it drains."""

    def __init__(self, server: Server) -> None:
        self.draining = asyncio.Event()
        self.registration = MemberRegistration(cast(Any, server), "ns", SETTINGS, self.draining)
        self.registration.known = True
        self.busy = True

    async def hand_over(self, seconds: float) -> bool:
        look = cast(Any, SimpleNamespace(empty=False))
        runner = cast(Any, SimpleNamespace(empty=not self.busy, held={}))
        return await self.registration.hand_over(time.monotonic() + seconds, look, look, runner)


async def test_a_drain_ends_in_time_although_the_api_server_hangs(server: Server) -> None:
    server.on_patch = lambda: asyncio.sleep(1000)
    assert await asyncio.wait_for(Life(server).hand_over(0.3), 3) is False


async def test_a_member_that_is_created_again_while_it_drains_also_gets_a_limit_of_0(
    server: Server,
) -> None:
    """It was deleted; its creation was under way when the drain began, with the earlier limit."""
    answers: list[Any] = [NotFound(404, "NotFound", "gone"), ServerError(503, "Unavailable", "-"), {}, {}]
    server.on_patch = lambda: answers.pop(0)
    assert await Life(server).hand_over(2.0) is False
    assert [body for _, body in server.patched] == [{"spec": {"limit": 0}}] * 3


async def test_a_failed_read_of_the_member_is_repeated_soon(server: Server, watch: AssignmentWatch) -> None:
    there = {"metadata": {"name": "w", "uid": "u2"}, "spec": {"limit": 1, "leaseName": "w"}}
    going = {**there, "metadata": {"name": "w", "uid": "u1", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    server.answers = [ServerError(500, "InternalError", "etcd"), b"<html>", going, there]
    watch.set_member("u1")
    watch.member_doubt.set()
    owned = assignment(5, "a#1@3")
    owned["metadata"]["ownerReferences"] = [
        {"apiVersion": "berth.dev/v1alpha1", "kind": "Member", "name": "w", "uid": "u2"}
    ]
    async with running(Life(server).registration.keep_announced(watch)) as staying:
        watch.observe(msgspec.convert(owned, AssignmentObject))
        await until(lambda: watch.current is not None or staying.done())
        assert not staying.done()
