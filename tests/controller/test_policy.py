"""The policy of a Pool has one owner, whether an event brings it or the answer of a take-over."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

from msgspec.structs import replace
from objects import item_object, pool_spec

from berth.controller.apply import Applier
from berth.controller.follow import Follower
from berth.controller.lead import Lead
from berth.controller.metrics import Metrics
from berth.controller.publish import Publisher
from berth.kinds import (
    Handoff,
    ItemObject,
    ItemStatusMode,
    PoolObject,
    ReadItemSpec,
    ReadItemStatus,
    ReadPoolSpec,
    ReadPoolStatus,
)
from berth.kube import ITEMS, Meta
from berth.pool import Leases, Ledger
from berth.solve import Problem, Solution, Touched, solve


def pool(uid: str, mode: ItemStatusMode, version: int = 1) -> PoolObject:
    return PoolObject(
        Meta("p", "ns", uid, str(version)), ReadPoolSpec(item_status=mode), ReadPoolStatus(version)
    )


class Server:
    """A Pool, and Items whose statuses are written."""

    def __init__(self) -> None:
        self.pool = pool("u1", ItemStatusMode.FULL)
        self.statuses: dict[str, Any] = {}

    async def get(self, path: str, *, type: Any, **_: Any) -> Any:
        return self.pool

    async def list(self, path: str, **_: Any) -> list[Any]:
        return []

    async def patch(self, path: str, body: Any, **_: Any) -> Any:
        kind, name = path.split("/")[-3:-1]
        if kind == "items":
            self.statuses[name] = body["status"]
        return self.pool


async def solve_at_once(problem: Problem, touched: Touched | None, ask: bool) -> Solution:
    return solve(problem)


class Stage:
    """A Pool with the Item x, led by a process that writes statuses."""

    def __init__(self) -> None:
        self.server: Any = Server()
        self.follower = Follower(self.server, on_pool=lambda _: None, on_unusable=lambda *_: None)
        self.follower.put_pool(self.server.pool, deleted=False)
        pool = self.follower.pool("ns", "p")
        self.brain = pool.brain
        self.brain.observe(item_object("x", 0), 0.0)
        status = ReadItemStatus(members=("somewhere",))
        items = {("ns", "x"): ItemObject(Meta("x", "ns"), ReadItemSpec("p"), status)}
        caches: Any = SimpleNamespace(
            unusable=lambda _: {},
            informer=lambda kind, _: SimpleNamespace(store=items if kind is ITEMS else {}),
        )
        recorder: Any = None
        cache: Any = SimpleNamespace(store={}, wait_for=self._nothing)
        self.publisher = Publisher(
            pool, caches, self.server, never, recorder, Metrics(), sleep=lambda _: asyncio.sleep(0)
        )
        applier = Applier(self.server, cache, ("ns", "p"), "me", never, solve_at_once)
        self.lead = Lead(self.brain, applier, pool.burst, self.publisher.publish)

    async def _nothing(self, _: int) -> None:
        pass

    async def written(self) -> Any:
        """The next status that is written of x."""
        self.server.statuses.clear()
        async with asyncio.timeout(5):
            while "x" not in self.server.statuses:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return self.server.statuses["x"]


def never() -> float:
    return 1e9


async def test_statuses_that_a_recreated_pool_does_not_want_are_cleared_though_its_event_comes_last() -> None:
    stage = Stage()
    stage.brain.start()
    await stage.lead.act()
    writing = asyncio.create_task(stage.publisher.run())
    assert (await stage.written())["members"] == []
    for uid, mode in (("u2", ItemStatusMode.NONE), ("u3", ItemStatusMode.FULL)):
        stage.follower.put_pool(stage.server.pool, deleted=True)
        stage.server.pool = pool(uid, mode)
        await stage.lead.act()
        stage.follower.put_pool(stage.server.pool, deleted=False)
        status = await stage.written()
        assert (status is None) is (mode is ItemStatusMode.NONE)
    writing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await writing


def test_which_items_get_a_status_does_not_change_where_they_are_placed() -> None:
    fleet = Ledger(Leases())
    fleet.put_item(item_object("x", 1))
    row = fleet.items.of["x"]
    for policy in (
        pool_spec(item_status=ItemStatusMode.NONE),
        pool_spec(item_status=ItemStatusMode.PROBLEMS),
    ):
        fleet.changed.problem = False
        fleet.changed.item_status.clear()
        fleet.set_policy(policy)
        assert (fleet.changed.problem, fleet.changed.item_status) == (False, {row})
    fleet.changed.item_status.clear()
    fleet.set_policy(replace(policy, handoff=Handoff.EXCLUSIVE))
    assert (fleet.changed.problem, fleet.changed.item_status) == (True, set())
