"""The last engine: whatever the problem, its plan is there, it holds, and it moves nothing that may stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import problem_of, problems
from random_pools import reordered

from berth.solve import Solver
from berth.solve.certify import certify
from berth.solve.model import Problem, Zones
from berth.solve.plain import plain


@st.composite
def odd_problems(draw: st.DrawFn) -> Problem:
    """What fleets seldom look like: huge limits, all dead, all draining, many replicas, zones of one."""
    problem = draw(problems(items=40, members=12, replicas=draw(st.sampled_from([1, 3, 8, 32]))))
    n, m = len(problem.replicas), len(problem.limit)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    huge = rng.choice([0, 1, 4096, 2**31 - 1], m).astype(np.int32)
    return replace(
        problem,
        replicas=draw(st.sampled_from([problem.replicas, np.full(n, 32, np.int32), np.zeros(n, np.int32)])),
        limit=draw(st.sampled_from([problem.limit, huge, np.zeros(m, np.int32), np.ones(m, np.int32)])),
        zone=draw(
            st.sampled_from([problem.zone, np.zeros(m, np.int32), np.arange(m, dtype=np.int32) * 10**8])
        ),
        live=draw(st.sampled_from([problem.live, problem.live, np.zeros(m, np.bool_)])),
        draining=draw(st.sampled_from([problem.draining, np.ones(m, np.bool_)])),
    )


def check(problem: Problem) -> None:
    plan = plain(problem)
    certificate = certify(problem, plan)
    assert certificate.faults == ()
    assert plan.shape[1] >= 1
    lists = [[j for j in row if j >= 0] for row in plan.tolist()]
    able = problem.live & (problem.limit > 0)
    want = np.minimum(problem.replicas, able.sum()).tolist()
    room = np.flatnonzero(able & (np.bincount(plan[plan >= 0], minlength=len(able)) < problem.limit)).tolist()
    for i, row in enumerate(lists):
        # Nobody is short while somebody could take it.
        asked = int(problem.replicas[i])
        zones = {int(problem.zone[j]) for j in row}
        last = problem.zones == Zones.REQUIRE and len(row) + 1 >= asked >= 2 and len(zones) == 1
        free = [j for j in room if j not in row and not (last and int(problem.zone[j]) in zones)]
        assert len(row) == want[i] or not free, (i, row, free)
        # What stays is in the order of its slots, the primary first, and before what is new.
        held = [j for j in problem.held[i].tolist() if j >= 0]
        first = [int(problem.held_primary[i])] if int(problem.held_primary[i]) in held else []
        stays = [j for j in first + [j for j in held if j not in first] if j in row]
        assert row[: len(stays)] == stays


@given(problems())
@settings(max_examples=500)
def test_its_plan_holds_and_nobody_is_short_while_somebody_could_take_it(problem: Problem) -> None:
    check(problem)


@given(odd_problems())
@settings(max_examples=500)
def test_it_answers_whatever_the_problem(problem: Problem) -> None:
    check(problem)


@pytest.mark.deep
@given(st.one_of(problems(items=80, members=20, replicas=8), odd_problems()))
@settings(max_examples=20_000)
def test_it_answers_whatever_the_problem_many_times(problem: Problem) -> None:
    check(problem)


@given(st.one_of(problems(), odd_problems()), st.integers(0, 2**32))
@settings(max_examples=200)
def test_the_order_of_rows_changes_nothing(problem: Problem, seed: int) -> None:
    rng = np.random.default_rng(seed)
    items, members = rng.permutation(len(problem.replicas)), rng.permutation(len(problem.limit))
    number = np.append(np.argsort(members), -1).astype(np.int32)
    # Zones get other numbers too, in another order.
    zone = problem.zone[members]
    if problem.zone.max(initial=0) < 11:
        zone = (zone * 7 + 3) % 11
    shuffled = reordered(problem, items, members, zone)
    assert (plain(shuffled) == number[plain(problem)[items]]).all()


@given(problems(items=12, members=5, replicas=3))
@settings(max_examples=200)
def test_a_plan_of_its_own_stays_as_it_is(problem: Problem) -> None:
    first = plain(problem)
    again = replace(problem, held=first, held_primary=first[:, 0].copy())
    assert (plain(again) == first).all()


def test_it_moves_nothing_for_balance_nor_from_a_member_that_drains() -> None:
    problem = problem_of([1] * 6, [[0]] * 4 + [[1]] * 2, [9, 9, 9], draining=[False, True, False])
    assert plain(problem).tolist() == [[0]] * 4 + [[1]] * 2


def test_bounds_that_nobody_has_proven_are_still_bounds() -> None:
    problem = problem_of([2, 2], [[0], [0]], [2, 2])
    found = Solver()._plain(problem, "the engines failed")
    assert (found.proof.reached["placed"], found.proof.bounds["placed"]) == (4, 4)
    assert min(found.proof.bounds.values()) == 0
    assert not found.optimal


def test_a_lost_replica_goes_to_the_emptiest_for_its_limit_and_the_primary_stays() -> None:
    problem = problem_of([2] * 3, [[0, 4], [0, 1], [0, 2]], [9, 9, 4, 9, 9], live=[True] * 4 + [False])
    assert plain(problem).tolist() == [[0, 3], [0, 1], [0, 2]]


def test_draining_members_take_what_no_other_can() -> None:
    problem = problem_of([1] * 5, [[]] * 5, [3, 9], draining=[False, True])
    assert np.bincount(plain(problem)[:, 0]).tolist() == [3, 2]


def test_the_second_replica_goes_into_a_second_zone_unless_only_a_draining_member_is_there() -> None:
    held = [[0], [0], [0]]
    problem = problem_of([2] * 3, held, [9, 9, 9], [0, 0, 1])
    assert plain(problem)[:, 1].tolist() == [2, 2, 2]
    problem = problem_of([2] * 3, held, [9, 9, 9], [0, 0, 1], draining=[False, False, True])
    assert plain(problem)[:, 1].tolist() == [1, 1, 1]


def test_require_rather_leaves_a_replica_out_and_uses_a_draining_member_of_another_zone() -> None:
    problem = problem_of([2, 3], [[0, 1], [0, 1]], [9, 9, 9], [0, 0, 0], policy=Zones.REQUIRE)
    assert plain(problem).tolist() == [[0, -1, -1], [0, 1, -1]]
    problem = problem_of(
        [2], [[0, 1]], [9, 9, 9], [0, 0, 1], policy=Zones.REQUIRE, draining=[False, False, True]
    )
    assert plain(problem).tolist() == [[0, 2]]


def test_the_last_place_in_a_second_zone_is_for_one_item_only() -> None:
    held = [[0], [0], [1], *[[2]] * 8]
    problem = problem_of([2] * 3 + [1] * 8, held, [999, 999, 9], [0, 0, 1], policy=Zones.REQUIRE)
    counts = (plain(problem)[:3] >= 0).sum(axis=1)
    assert sorted(counts.tolist()) == [1, 1, 2]


def test_under_ignore_the_emptiest_is_taken_in_whatever_zone() -> None:
    problem = problem_of([2], [[0]], [9, 9, 4], [0, 0, 1], policy=Zones.IGNORE)
    assert plain(problem).tolist() == [[0, 1]]


def test_the_primary_comes_first_wherever_it_is_listed() -> None:
    assert plain(problem_of([2], [[0, 1]], [9, 9], primary=[1])).tolist() == [[1, 0]]
    assert plain(problem_of([2], [[0, 1]], [9, 9, 9], primary=[2])).tolist() == [[0, 1]]


def test_above_a_limit_no_item_loses_its_last_replica_to_the_second_of_another() -> None:
    held = [[1, 0]] * 3 + [[0]] * 3
    problem = problem_of([2] * 3 + [1] * 3, held, [3, 3])
    assert plain(problem).tolist() == [[1, -1]] * 3 + [[0, -1]] * 3


def test_every_item_has_its_first_replica_before_any_has_a_second() -> None:
    problem = problem_of([3] * 10, [[]] * 10, [4, 4, 4])
    counts = (plain(problem) >= 0).sum(axis=1)
    assert sorted(counts.tolist()) == [1] * 8 + [2] * 2


def test_a_first_fill_is_even_and_neighbours_do_not_share_all_their_members() -> None:
    n, m = 2000, 50
    plan = plain(problem_of([2] * n, [[]] * n, [200] * m, [j % 5 for j in range(m)]))
    load = np.bincount(plan.ravel(), minlength=m)
    assert load.max() - load.min() <= 2
    others = {tuple(row) for row in np.sort(plan, axis=1).tolist()}
    assert len(others) > 700


def test_fewer_replicas_asked_for_keep_the_first_slots() -> None:
    problem = problem_of([1, 2], [[2, 1, 0], [1, 2, 0]], [9, 9, 9])
    assert plain(problem).tolist() == [[2, -1], [1, 2]]


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (4, 0)])
def test_nothing_to_place_or_nowhere_to_place_it(n: int, m: int) -> None:
    plan = plain(problem_of([2] * n, [[]] * n, [5] * m))
    assert plan.dtype == np.int32
    assert (plan == -1).all()
    assert len(plan) == n
