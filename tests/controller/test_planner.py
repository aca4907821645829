"""Events that arrive while a Pool's problem is solved."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from berth.controller.metrics import Metrics
from berth.controller.planner import MAX_TURNS, Planner
from berth.controller.state import PoolState
from berth.pool import AssignmentSeen, ItemSeen, Leases, LeaseSeen, MemberSeen, Policy, PoolFleet, Round
from berth.solve import Problem, Solution, Touched, solve


class Elsewhere:
    """Solves a copy of the problem; the events of a turn happen before it answers."""

    def __init__(self) -> None:
        self.events: list[Callable[[], None]] = []
        self.calls = 0
        self.fails = False

    async def __call__(self, problem: Problem, touched: Touched | None, ask: bool) -> Solution:
        self.calls += 1
        sent = copy.deepcopy(problem)
        if self.events:
            self.events.pop(0)()
        if self.fails:
            raise RuntimeError("the process died")
        return solve(sent)


class Stage:
    """A Pool of Members without Leases, each with an empty Assignment."""

    def __init__(self, policy: Policy | None = None, **limits: int) -> None:
        self.leases = Leases()
        self.fleet = PoolFleet(self.leases, policy)
        self.state = PoolState("ns", "p", self.fleet)
        self.solver = Elsewhere()
        silent: Any = SimpleNamespace(brake=lambda *_: None)
        self.planner = Planner(self.state, silent, Metrics(), self.solver)
        for name, limit in limits.items():
            self.member(name, limit)

    def member(self, name: str, limit: int, *items: str, lease: str | None = None) -> None:
        now = time.monotonic()
        self.fleet.put_member(MemberSeen(name, limit, uid=f"u-{name}", lease=lease), now)
        self.fleet.put_assignment(AssignmentSeen(name, items, 1, f"a-{name}", f"u-{name}", 1), now)

    def item(self, name: str, replicas: int = 1) -> None:
        self.fleet.put_item(ItemSeen(name, replicas, f"u-{name}"))

    async def plan(self) -> dict[str, list[str]]:
        """The Items that the next round gives or takes, by Member."""
        await self.planner.solve()
        planned: Round = self.planner.plan(2, set())[1]
        return {
            planned.members[row].name: [f"{'+' if e.entry else '-'}{e.item}" for e in edits]
            for row, edits in planned.writes.items()
        }


async def test_the_row_of_an_item_that_is_deleted_meanwhile_may_be_anothers() -> None:
    stage = Stage(a=1, b=1)
    stage.item("old", 2)

    def swap() -> None:
        row = stage.fleet.items.of["old"]
        stage.fleet.delete_item("old")
        stage.item("new", 1)
        assert stage.fleet.items.of["new"] == row

    stage.solver.events = [swap]
    assert list((await stage.plan()).values()) == [["+new"]], "not two of it, as of the old one"
    assert stage.solver.calls == 2


async def test_a_member_that_dies_meanwhile_gets_nothing() -> None:
    stage = Stage(a=2, b=2)
    stage.item("x")
    stage.solver.events = [lambda: stage.fleet.delete_member("a", 0.0)]
    assert await stage.plan() == {"b": ["+x"]}


async def test_events_that_never_end_delay_only_what_they_concern() -> None:
    stage = Stage(a=5, b=5)
    stage.item("calm", 2)
    stage.item("swapped")
    names = iter(range(100))

    def swap() -> None:
        last = next(name for name in stage.fleet.items.of if name.startswith("swapped"))
        stage.fleet.delete_item(last)
        stage.item(f"swapped-{next(names)}")

    stage.solver.events = [swap] * 100
    assert await stage.plan() == {"a": ["+calm"], "b": ["+calm"]}
    assert stage.solver.calls == MAX_TURNS
    stage.solver.events = []
    assert [edits for edits in (await stage.plan()).values() if "+swapped-2" in edits]


async def test_members_that_change_without_end_get_and_lose_nothing() -> None:
    stage = Stage(b=5)
    stage.member("a", 5, "x#0@1:1")
    stage.item("x")
    stage.item("y", 2)
    limits = iter(range(4, 0, -1))

    def change() -> None:
        stage.member("a", next(limits) if stage.solver.calls < MAX_TURNS else 0, "x#0@1:1")

    stage.solver.events = [change] * MAX_TURNS
    assert await stage.plan() == {}, "y is to be on a, too, and x is to leave it"
    assert await stage.plan() == {"b": ["+y", "+x"]}


async def test_a_member_that_dies_meanwhile_is_waited_for_as_the_policy_says() -> None:
    stage = Stage(Policy(outage_delay=60.0), b=5)
    stage.leases.put(LeaseSeen("l", "s", "r", 1000.0), time.monotonic())
    stage.member("a", 5, "x#0@1:1", lease="l")
    stage.item("x")

    def die() -> None:
        stage.leases.put(LeaseSeen("l", ""), time.monotonic())
        stage.fleet.lease_changed("l", time.monotonic())

    stage.solver.events = [lambda: None, die]
    assert await stage.plan() == {}
    stage.solver.events = [die]
    stage.fleet.dirty.problem = True
    assert await stage.plan() == {}
    assert stage.state.outage.kept == {stage.fleet.member_rows.of["a"]}


async def test_nothing_is_forgotten_when_a_solve_fails() -> None:
    stage = Stage(a=5, b=5)
    stage.item("x")
    await stage.plan()
    stage.item("y", 2)
    stage.solver.fails = True
    with pytest.raises(RuntimeError):
        await stage.plan()
    stage.solver.fails = False
    assert await stage.plan() == {"a": ["+x", "+y"], "b": ["+y"]}


async def test_a_problem_that_did_not_change_is_not_solved_again() -> None:
    stage = Stage(a=5, b=5)
    stage.item("x")
    await stage.plan()
    await stage.plan()
    assert stage.solver.calls == 1
