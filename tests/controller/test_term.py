"""The term of a Pool between leaders."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from objects import assignment_object

from berth.controller.apply import Applier, Replaced
from berth.kinds import AssignmentObject, PoolObject, ReadPoolStatus
from berth.kube import Backoff, Conflict, Invalid, Meta, NotFound, RequestTimeout
from berth.pool import Decision, MemberState, Outcome, TakeOver, Write


class PoolServer:
    """One Pool, with compare-and-swap as the API server has it."""

    def __init__(self) -> None:
        self.uid, self.version, self.term, self.leader = "u1", 1, 0, ""
        self.there = True
        self.lose_answer = False
        self.reads = 0

    def _object(self) -> PoolObject:
        meta = Meta("pool", uid=self.uid, resource_version=str(self.version))
        return PoolObject(metadata=meta, status=ReadPoolStatus(self.term, self.leader) if self.term else None)

    async def list(self, path: str, **_: Any) -> list[Any]:
        return []

    async def get(self, path: str, **_: Any) -> PoolObject:
        self.reads += 1
        if not self.there:
            raise NotFound(404, "NotFound", "pool")
        return self._object()

    async def create(self, path: str, body: Any, **_: Any) -> PoolObject:
        if self.there:
            raise Conflict(409, "AlreadyExists", "pool")
        self.recreate()
        return self._object()

    def recreate(self) -> None:
        self.there, self.uid, self.term, self.leader = True, self.uid + "'", 0, ""
        self.version += 1

    async def patch(self, path: str, body: Any, **_: Any) -> Any:
        if "/assignments/" in path:
            return AssignmentObject(Meta("m", resource_version="1"))
        if not self.there:
            raise NotFound(404, "NotFound", "pool")
        if isinstance(body, dict):
            if body["metadata"] != {"resourceVersion": str(self.version), "uid": self.uid}:
                raise Conflict(409, "Conflict", "pool")
            self.term, self.leader = body["status"]["term"], body["status"]["leader"]
        else:
            if not self.term or [op["value"] for op in body[:2]] != [self.uid, self.term]:
                raise Invalid(422, "Invalid", "test failed")
            self.term = body[2]["value"]
        self.version += 1
        if self.lose_answer:
            self.lose_answer = False
            raise RequestTimeout("no answer")
        return self._object()


class Leader:
    """A leader that knows the term and the uid of its Pool as the last outcome has shown them."""

    def __init__(self, server: PoolServer, name: str) -> None:
        client: Any = server
        informer: Any = SimpleNamespace(wait_for=self._nothing, store={})
        self.term, self.uid = 0, ""
        backoff = Backoff(base=0.0, limit=0.0)
        deadline = lambda: float("inf")  # noqa: E731
        self.applier = Applier(
            client, informer, ("ns", "pool"), name, deadline, self._nothing, backoff=backoff
        )

    async def _nothing(self, *_: Any) -> Any:
        pass

    async def take_over(self, above: int, known: PoolObject | None = None) -> PoolObject:
        take = TakeOver(max(above, self.term), known, check=False)
        pool = (await self.applier.apply(Decision(take_over=take))).pool
        assert pool is not None
        self.term, self.uid = pool.term, pool.metadata.uid
        return pool

    async def raise_by_one(self) -> Outcome:
        write = Write(MemberState("m", 0, assignment=assignment_object("m")), [])
        decision = Decision(rewrites=(write,), term=self.term + 1, raise_term=True, uid=self.uid)
        outcome = await self.applier.apply(decision)
        self.term = self.term if outcome.term is None else outcome.term
        return outcome


async def test_a_leader_takes_over_above_the_pools_term_and_all_assignments() -> None:
    server = PoolServer()
    server.term = 5
    term = Leader(server, "a")
    await term.take_over(above=3)
    assert (server.term, term.term, server.leader) == (6, 6, "a")
    await term.take_over(above=20)
    assert server.term == 21


async def test_a_pool_that_an_event_has_shown_need_not_be_read() -> None:
    server = PoolServer()
    server.term = 5
    await Leader(server, "a").take_over(above=3, known=server._object())
    assert (server.term, server.reads) == (6, 0)


async def test_a_pool_that_was_written_since_the_event_is_read() -> None:
    server = PoolServer()
    old = server._object()
    await Leader(server, "a").take_over(above=3)
    pool = await Leader(server, "b").take_over(above=3, known=old)
    assert (pool.term, pool.leader) == (5, "b")
    server.there = False
    await Leader(server, "c").take_over(above=7, known=old)
    assert server.term == 8


async def test_a_leader_that_was_replaced_finds_out_when_it_raises_the_term() -> None:
    server = PoolServer()
    first, second = Leader(server, "a"), Leader(server, "b")
    await first.take_over(0)
    await second.take_over(0)
    with pytest.raises(Replaced):
        await first.raise_by_one()
    assert (await second.raise_by_one()).term == 3


async def test_a_raise_whose_answer_was_lost_is_taken_for_its_own() -> None:
    server = PoolServer()
    term = Leader(server, "a")
    await term.take_over(0)
    server.lose_answer = True
    outcome = await term.raise_by_one()
    assert (outcome.refused, outcome.error, outcome.term) == (True, "RequestTimeout: no answer", None)
    outcome = await term.raise_by_one()
    assert (outcome.refused, outcome.term) == (True, 2)
    assert (await term.raise_by_one()).term == 3


async def test_a_pool_that_came_back_and_has_the_same_term_is_another() -> None:
    server = PoolServer()
    first, second = Leader(server, "a"), Leader(server, "b")
    await first.take_over(above=4)
    server.recreate()
    await second.take_over(above=4)
    assert first.term == second.term == server.term
    outcome = await first.raise_by_one()
    assert (outcome.refused, outcome.pool_gone, outcome.term) == (True, True, None)
    assert (await second.raise_by_one()).term == 6


async def test_a_pool_that_is_missing_is_created() -> None:
    server = PoolServer()
    server.there = False
    await Leader(server, "a").take_over(above=7)
    assert (server.there, server.term) == (True, 8)


async def test_a_pool_that_was_deleted_goes_on_above_its_own_term() -> None:
    server = PoolServer()
    term = Leader(server, "a")
    await term.take_over(above=40)
    server.recreate()
    assert (await term.raise_by_one()).pool_gone
    await term.take_over(above=3)
    assert server.term == 42


async def test_a_pool_whose_namespace_is_gone_is_tried_again_after_a_while() -> None:
    server = PoolServer()
    server.there = False

    async def create(*_: Any, **__: Any) -> PoolObject:
        raise NotFound(404, "NotFound", "namespaces ns not found")

    server.create = create  # type: ignore[method-assign]
    outcome = await Leader(server, "a").applier.apply(Decision(take_over=TakeOver(0, None, check=False)))
    assert (outcome.pool, outcome.pool_gone) == (None, False)
    assert "namespaces ns not found" in outcome.error
