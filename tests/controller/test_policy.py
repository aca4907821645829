"""The policy of a Pool has one owner, whether an event brings it or the answer of a take-over."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from berth.controller.cluster import Cluster
from berth.controller.metrics import Metrics
from berth.controller.pool_loop import PoolLoop
from berth.controller.state import PoolState
from berth.controller.status_writer import StatusWriter
from berth.kinds import (
    ItemObject,
    ItemStatusMode,
    PoolObject,
    ReadItemSpec,
    ReadItemStatus,
    ReadPoolSpec,
    ReadPoolStatus,
)
from berth.kube import Meta
from berth.pool import Handoff, ItemSeen, Leases, Policy, PoolFleet
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
        self.state = PoolState("ns", "p", PoolFleet(Leases()))
        self.state.fleet.put_item(ItemSeen("x", 0))
        self.cluster = Cluster(self.server, on_pool=lambda _: None, on_unusable=lambda *_: None)
        self.cluster.states["ns", "p"] = self.state
        self.cluster.put_pool(self.server.pool, deleted=False)
        metrics, recorder = Metrics(), Any
        cache: Any = SimpleNamespace(store={}, wait_for=self._nothing)
        self.loop = PoolLoop(
            self.state,
            self.server,
            cache,
            "me",
            1e9,  # type: ignore[arg-type]
            recorder,
            metrics,
            solve_at_once,
        )
        status = ReadItemStatus(members=("somewhere",))
        self.items = {("ns", "x"): ItemObject(Meta("x", "ns"), ReadItemSpec("p"), status)}
        caches: Any = SimpleNamespace(
            items=self.items,
            members={},
            unusable=lambda _: {},
            informer_of=lambda store, _: SimpleNamespace(store=store),
        )
        self.writer = StatusWriter(self.state, caches, self.server, 1e9, recorder, metrics)  # type: ignore[arg-type]

    async def _nothing(self, _: int) -> None:
        pass

    async def written(self) -> Any:
        """The next status that is written of x."""
        self.server.statuses.clear()
        async with asyncio.timeout(5):
            while "x" not in self.server.statuses:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return self.server.statuses["x"]


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("berth.controller.status_writer.PAUSE", 0.0)


@pytest.mark.usefixtures("fast")
async def test_statuses_that_a_recreated_pool_does_not_want_are_cleared_though_its_event_comes_last() -> None:
    stage = Stage()
    await stage.loop.begin()
    await stage.loop.once()
    writing = asyncio.create_task(stage.writer.run())
    assert (await stage.written())["members"] == []
    for uid, mode in (("u2", ItemStatusMode.NONE), ("u3", ItemStatusMode.FULL)):
        stage.cluster.put_pool(stage.server.pool, deleted=True)
        stage.server.pool = pool(uid, mode)
        await stage.loop.once()
        stage.cluster.put_pool(stage.server.pool, deleted=False)
        status = await stage.written()
        assert (status is None) is (mode is ItemStatusMode.NONE)
    writing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await writing


def test_which_items_get_a_status_does_not_change_where_they_are_placed() -> None:
    fleet = PoolFleet(Leases())
    fleet.put_item(ItemSeen("x", 1))
    row = fleet.items.of["x"]
    for policy in (Policy(item_status=ItemStatusMode.NONE), Policy(item_status=ItemStatusMode.PROBLEMS)):
        fleet.dirty.problem = False
        fleet.dirty.item_status.clear()
        fleet.set_policy(policy)
        assert (fleet.dirty.problem, fleet.dirty.item_status) == (False, {row})
    fleet.dirty.item_status.clear()
    fleet.set_policy(policy._replace(handoff=Handoff.EXCLUSIVE))
    assert (fleet.dirty.problem, fleet.dirty.item_status) == (True, set())
