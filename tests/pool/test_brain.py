"""Events that arrive while a Pool's problem is solved, or while its decisions are carried out."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from carried_out import Carried
from objects import lease_object, pool_spec

from berth.kinds import ReadPoolSpec
from berth.pool import LeaseChanged, Outcome, RoundMade
from berth.pool.target import MAX_TURNS
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


class Stage(Carried):
    """A Pool whose problem another process solves."""

    def items(self) -> dict[str, int]:
        """Replicas by the name of the Item."""
        ledger = self.brain.ledger
        return {ledger.items.name(row): int(ledger.arrays.replicas[row]) for row in ledger.generations}

    def __init__(self, policy: ReadPoolSpec | None = None, **limits: int) -> None:
        self.solver = Elsewhere()
        super().__init__(self.solver, policy, **limits)


async def test_the_row_of_an_item_that_is_deleted_meanwhile_may_be_anothers() -> None:
    stage = Stage(a=1, b=1)
    stage.item("old", 2)

    def swap() -> None:
        row = stage.brain.ledger.items.of["old"]
        stage.item_gone("old")
        stage.item("new", 1)
        assert stage.brain.ledger.items.of["new"] == row

    stage.solver.events = [swap]
    assert list((await stage.plan()).values()) == [["+new"]], "not two of it, as of the old one"
    assert stage.solver.calls == 2


async def test_a_member_that_dies_meanwhile_gets_nothing() -> None:
    stage = Stage(a=2, b=2)
    stage.item("x")
    stage.solver.events = [lambda: stage.gone("a")]
    assert await stage.plan() == {"b": ["+x"]}


async def test_events_that_never_end_delay_only_what_they_concern() -> None:
    stage = Stage(a=5, b=5)
    stage.item("calm", 2)
    stage.item("swapped")
    names = iter(range(100))

    def swap() -> None:
        last = next(name for name in stage.brain.ledger.items.of if name.startswith("swapped"))
        stage.item_gone(last)
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
    stage = Stage(pool_spec(outage_delay=60.0), b=5)
    stage.leases.put(lease_object("l", "s", "r", 1000.0), stage.now)
    stage.member("a", 5, "x#0@1:1", lease="l")
    stage.item("x")

    def die() -> None:
        stage.leases.put(lease_object("l", ""), stage.now)
        stage.brain.observe(LeaseChanged("l"), stage.now)

    stage.solver.events = [lambda: None, die]
    assert await stage.plan() == {}
    stage.solver.events = [die]
    stage.brain.ledger.changed.problem = True
    assert await stage.plan() == {}
    assert stage.brain.outage.awaited == {stage.brain.ledger.member_rows.of["a"]}


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


async def test_the_age_of_the_queue_is_that_of_the_first_event_until_a_round_has_served_it() -> None:
    stage = Stage(a=5)
    await stage.plan()
    assert stage.brain.age(stage.now) == 0.0
    stage.item("x")
    stage.now += 3.0
    stage.item("y")
    assert stage.brain.age(stage.now) == 3.0
    await stage.decided()
    assert stage.brain.age(stage.now) == 0.0
    stage.now += 1.0
    stage.brain.done(Outcome(error="500", retry_in=0.5, refused=True), stage.now)
    assert stage.brain.age(stage.now) == 4.0, "a round that failed leaves its events as old as they were"
    await stage.round()
    (made,) = [fact for fact in stage.facts if isinstance(fact, RoundMade)][-1:]
    assert made.queued == 4.0


async def test_events_while_assignments_are_written_are_observed_afterwards_in_order() -> None:
    stage = Stage(a=5, b=5)
    stage.item("x", 2)
    decision = await stage.decided()
    assert len(decision.writes) == 2
    stage.item("x", 1)
    stage.item_gone("x")
    stage.item("y", 3)
    assert list(stage.brain.ledger.items.of) == ["x"], "rows mean the same while they are written"
    stage.brain.done(Outcome(), stage.now)
    assert stage.items() == {"y": 3}


async def test_a_pool_that_cannot_be_taken_over_is_left_alone_for_a_while_whatever_happens() -> None:
    stage = Stage(a=5)
    assert stage.brain.decide(stage.now).take_over is not None
    stage.brain.done(Outcome(error="500", retry_in=2.0), stage.now)
    assert stage.brain.decide(stage.now).wake_at == stage.now + 2.0
    stage.item("x")
    assert stage.brain.decide(stage.now + 1.0).rests
    assert stage.brain.age(stage.now + 1.0) == 1.0, "nothing was served"
    assert stage.brain.decide(stage.now + 2.0).take_over is not None


async def test_a_term_that_cannot_be_raised_loses_nothing_of_its_round() -> None:
    stage = Stage(a=5)
    stage.item("x")
    decision = await stage.decided()
    assert decision.raise_term
    stage.brain.done(Outcome(error="500", retry_in=1.0, refused=True), stage.now)
    assert stage.brain.decide(stage.now).wake_at == stage.now + 1.0
    assert await stage.plan() == {"a": ["+x"]}
