"""What conditions say of Items and Pools in every situation, without a cluster."""

from __future__ import annotations

from typing import Any

import pytest
from carried_out import Carried
from objects import assignment_object, item_object, lease_object, member_object
from reading import let_time_pass

from berth.pool import Brain, Conditions, Leases, Wait, Why, pool_status
from berth.pool.outage import OutageState
from berth.pool.reasons import Reason
from berth.pool.statuses import item_status
from berth.solve import Problem, Solution, Touched, solve

NEW = Conditions((), "2026-01-01T00:00:00Z")


def state_of(*members: str, replicas: int = 1, limit: int = 5) -> Brain:
    """One Item `i`, held by all of these Members, the first of them its primary; each has a Lease of 10 s."""
    brain = Brain("ns", "p", Leases())
    fleet = brain.ledger
    fleet.put_item(item_object("i", replicas, generation=3))
    for slot, name in enumerate(members):
        fleet.leases.put(lease_object(name, "s", "r1", 10.0), 100.0)
        fleet.put_member(member_object(name, limit, lease=name, uid=name), 100.0)
        entry = f"i#{slot}@2" + (":2" if slot == 0 else "")
        fleet.put_assignment(assignment_object(name, (entry,), 2, uid="a", owner=name, session="s"), 100.0)
    return brain


def die(state: Brain, name: str, *, braking: bool = False) -> None:
    """The Member's Lease runs out, and its Items wait for it."""
    fleet = state.ledger
    for other in fleet.members.values():
        if other.name != name and fleet.leases.put(lease_object(other.name, "s", "r2", 10.0), 109.0):
            fleet.lease_changed(other.name, 109.0)
    let_time_pass(fleet, 110.5)
    row = fleet.member_rows.of[name]
    fleet.set_awaited(row, True)
    state.outage = OutageState(frozenset({row}), braking, 1, 1, None)
    state.progress.waits[0] = Wait(Why.PAUSED if braking else Why.OUTAGE, (row,))


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {c["type"]: (c["status"], c["reason"], c["message"]) for c in status["conditions"]}


def test_an_item_where_it_should_be() -> None:
    status = item_status(state_of("a", "b", replicas=2), 0, NEW)
    assert (status["replicas"], status["ready"], status["primary"]) == (2, 2, "a")
    assert status["members"] == ["a", "b"]
    assert status["observedGeneration"] == 3
    assert conditions(status) == {
        "Placed": ("True", "Placed", "2 of 2 replicas are placed"),
        "Ready": ("True", "Ready", "2 of 2 replicas are ready"),
    }


@pytest.mark.parametrize(
    ("braking", "reason", "words"),
    [
        (False, "WaitingForReturn", "waiting for a to return"),
        (True, "Paused", "paused: too many Members died together"),
    ],
)
def test_an_item_whose_member_is_waited_for_is_not_held(braking: bool, reason: str, words: str) -> None:
    state = state_of("a", "b", replicas=2)
    die(state, "a", braking=braking)
    status = item_status(state, 0, NEW)
    assert (status["replicas"], status["ready"], status["primary"]) == (1, 1, None)
    assert status["members"] == ["b"]
    assert conditions(status) == {
        "Placed": ("False", reason, f"1 of 2 replicas are placed: {words}"),
        "Ready": ("False", reason, f"1 of 2 replicas are ready: {words}"),
    }
    assert pool_status(state, 1, {}, NEW)["slots"] == {"wanted": 2, "held": 1, "ready": 1}


def test_a_last_replica_that_nobody_else_has_room_for_is_placed_and_says_why_it_stays() -> None:
    state = state_of("a", limit=0)
    state.target.short[0] = Reason.NO_MEMBERS
    state.progress.waits[0] = Wait(Why.NO_PLACE, (0,))
    words = "1 of 1 replicas are placed: no other Member has room, so a keeps it"
    assert conditions(item_status(state, 0, NEW))["Placed"] == ("True", "Placed", words)


def test_a_move_that_the_budget_holds_back_is_said_beside_what_is_true() -> None:
    state = state_of("a")
    state.progress.waits[0] = Wait(Why.BUDGET)
    placed = conditions(item_status(state, 0, NEW))["Placed"]
    assert placed[:2] == ("True", "Placed")
    assert "moves in flight" in placed[2]


async def test_a_member_without_an_assignment_yet_is_not_full() -> None:
    async def solve_at_once(problem: Problem, touched: Touched | None, thorough: bool) -> Solution:
        return solve(problem)

    stage = Carried(solve_at_once)
    stage.brain.observe(member_object("m", 5, uid="u-m"), stage.now)
    stage.item("x")
    assert await stage.plan() == {}
    status = pool_status(stage.brain, 0, {}, NEW)
    words = "1 Item is not yet at target; x: the next step is under way"
    assert conditions(status)["Converged"] == ("False", "InProgress", words)
    stage.member("m", 5)
    assert await stage.plan() == {"m": ["+x"]}


def test_an_item_without_a_primary_that_waits_for_a_release_is_not_ready() -> None:
    state = state_of("a")
    fleet = state.ledger
    fleet.put_assignment(assignment_object("a", ("i#1@2",), 3, uid="a", owner="a", session="s"), 101.0)
    state.progress.waits[0] = Wait(Why.RELEASE, (0,))
    words = "1 of 1 replicas are ready, but none is primary: waiting for a to release it"
    assert conditions(item_status(state, 0, NEW))["Ready"] == ("False", "WaitingForRelease", words)
