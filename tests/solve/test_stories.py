"""What an operator does to a fleet, and what the solver makes of it: one story a test."""

from __future__ import annotations

import numpy as np
import pytest
from problems import problem_of

from berth.solve import Primaries, Problem, Solution, Solver, Touched, Zones, bands, keys, solve
from berth.solve.certify import certify


def fleet(
    items: int, members: int, replicas: int, *, limit: int = 0, zones: tuple[int, ...] = (0,)
) -> Problem:
    """A fleet that holds nothing yet; Members take turns in the zones."""
    limit = limit or 2 * items * replicas // members
    return problem_of(
        [replicas] * items,
        [[] for _ in range(items)],
        [limit] * members,
        [zones[row % len(zones)] for row in range(members)],
    )


def settle(solver: Solver, problem: Problem) -> None:
    """The plan comes true, and nothing is left to do."""
    solution = solver.solve(problem)
    problem.held[:] = -1
    problem.held[:, : solution.members.shape[1]] = solution.members
    problem.held_primary[:] = solution.members[:, 0]
    again = solver.solve(problem, Touched(np.arange(len(problem.held), dtype=np.int32), none()))
    assert again.proof.reached["moves"] == 0
    assert np.array_equal(again.members, problem.held[:, : again.members.shape[1]])


def none() -> np.ndarray:
    return np.zeros(0, dtype=np.int32)


def members(*rows: int) -> Touched:
    return Touched(none(), np.array(rows, dtype=np.int32))


def loads(problem: Problem, solution: Solution) -> np.ndarray:
    return np.bincount(solution.members[solution.members >= 0], minlength=len(problem.limit))


def test_the_first_placement_fills_members_and_zones_evenly() -> None:
    problem = fleet(300, 10, 2, zones=(0, 1))
    solution = solve(problem)
    assert loads(problem, solution).tolist() == [60] * 10
    assert solution.proof.reached["single-zone"] == solution.proof.reached["zone-pairs"] == 0
    assert np.bincount(solution.members[:, 0]).tolist() == [30] * 10


def test_a_lost_member_is_shared_by_all_others() -> None:
    problem = fleet(2000, 20, 3, zones=(0, 0, 0, 1, 1))
    solver = Solver()
    settle(solver, problem)
    problem.live[5] = False
    solution = solver.solve(problem, members(5))
    assert solution.engine == "pooled"
    assert solution.proof.reached["moves"] == 300
    assert solution.proof.reached["primaries-moved"] == 0
    primaries = np.bincount(solution.members[:, 0], minlength=20)
    assert primaries[5] == 0
    others = np.delete(primaries, 5)
    assert others.max() - others.min() <= 8


def test_after_a_fleet_has_doubled_a_loss_moves_only_what_was_lost() -> None:
    """If the Items of a Member had all their other replicas in one zone, they could not all go elsewhere."""
    problem = fleet(1000, 21, 2, zones=(0, 1, 2))
    solver = Solver()
    settle(solver, problem)
    for live in (False, True):
        problem.live[:10] = live
        settle(solver, problem)
    for row in range(21):
        problem.live[row] = False
        lost = int((problem.held == row).sum())
        assert solver.solve(problem, members(row)).proof.reached["moves"] <= lost + 2, row
        problem.live[row] = True


def test_balance_between_zones_comes_before_the_fewest_moves() -> None:
    # The last holder in the smaller zone must be replaced there, so others have to leave it.
    problem = fleet(2000, 20, 3, zones=(0, 0, 0, 1, 1))
    solver = Solver()
    settle(solver, problem)
    problem.live[4] = False
    solution = solver.solve(problem, members(4))
    assert solution.optimal
    assert solution.proof.reached["single-zone"] == solution.proof.reached["balance"] == 0
    assert solution.proof.reached["moves"] > 300


def test_a_member_that_joins_is_filled_to_its_share_with_the_fewest_moves() -> None:
    problem = fleet(2000, 20, 3, zones=(0, 0, 0, 1, 1))
    problem.live[7] = False
    solver = Solver()
    settle(solver, problem)
    problem.live[7] = True
    solution = solver.solve(problem, members(7))
    assert loads(problem, solution).tolist() == [300] * 20
    assert solution.proof.reached["moves"] == 300
    assert solution.proof.reached["primaries-moved"] == 0, "no primary moves where others can"


def test_a_limit_of_zero_drains_and_the_drained_member_keeps_nothing() -> None:
    problem = fleet(100, 5, 2)
    solver = Solver()
    settle(solver, problem)
    problem.limit[2] = 0
    solution = solver.solve(problem, members(2))
    assert loads(problem, solution)[2] == 0
    assert solution.proof.reached["moves"] == 40


def test_a_draining_member_keeps_only_what_no_other_can_hold() -> None:
    problem = problem_of([1] * 10, [[0]] * 6 + [[1]] * 4, [6, 7], draining=[True, False])
    solution = solve(problem)
    assert loads(problem, solution).tolist() == [3, 7]
    assert solution.optimal


def test_the_oldest_draining_member_is_emptied_first() -> None:
    held = [[row % 3] for row in range(9)]
    problem = problem_of([1] * 9, held, [3, 3, 5], draining=[True, True, False], age=[7, 2, 9])
    solution = solve(problem)
    assert loads(problem, solution).tolist() == [3, 1, 5]


def test_shortage_gives_every_item_its_first_before_any_its_second() -> None:
    problem = fleet(10, 3, 3, limit=5)
    placed = (solve(problem).members >= 0).sum(axis=1)
    assert sorted(placed.tolist()) == [1] * 5 + [2] * 5


def test_tolerance_lets_loads_stray() -> None:
    held = [[0]] * 55 + [[1]] * 45
    strict = problem_of([1] * 100, held, [100, 100])
    assert solve(strict).proof.reached["moves"] == 5
    loose = problem_of([1] * 100, held, [100, 100], tolerance=10)
    assert bands(loose)[0].tolist() == [45, 45]
    assert solve(loose).proof.reached["moves"] == 0


def test_primaries_stay_unless_they_are_asked_to_balance() -> None:
    held = [[0, 1]] * 10
    sticky = problem_of([2] * 10, held, [20, 20])
    assert solve(sticky).members[:, 0].tolist() == [0] * 10
    active = problem_of([2] * 10, held, [20, 20], primaries=Primaries.ACTIVE)
    assert np.bincount(solve(active).members[:, 0]).tolist() == [5, 5]


def test_a_new_primary_is_one_that_holds_the_item_already() -> None:
    problem = problem_of([3] * 4, [[0, 1]] * 4, [9] * 4, live=[False, True, True, True])
    assert solve(problem).members[:, 0].tolist() == [1] * 4


def test_replicas_that_stay_keep_their_order_and_new_ones_come_last() -> None:
    problem = problem_of([3], [[4, 2, 0]], [5] * 5, live=[True, True, False, True, True])
    row = solve(problem).members[0].tolist()
    assert row[:2] == [4, 0]
    assert row[2] in (1, 3)


@pytest.mark.parametrize("zones", list(Zones))
def test_nothing_crashes_where_there_is_nothing(zones: Zones) -> None:
    for problem in (
        problem_of([], [], [], policy=zones),
        problem_of([3, 1], [[], []], [], policy=zones),
        problem_of([], [], [4, 4], policy=zones),
        problem_of([2, 2], [[0, 1], [1]], [0, 0], policy=zones),
        problem_of([9, 9], [[], [1]], [4, 4], policy=zones),
        problem_of([2], [[0, 1]], [4, 4], live=[False, False], policy=zones),
    ):
        solution = solve(problem)
        assert solution.optimal
        assert not certify(problem, solution.members, solution.proof.bounds).faults


def test_arrays_may_grow_between_two_solves() -> None:
    problem, solver = fleet(20, 4, 2), Solver()
    solver.solve(problem)
    bigger = problem_of([2] * 30, [[] for _ in range(30)], [20] * 6)
    new = np.arange(20, 30, dtype=np.int32)
    solution = solver.solve(bigger, Touched(new, np.array([4, 5], dtype=np.int32)))
    fresh = solve(bigger)
    assert np.array_equal(solution.members, fresh.members)
    assert solution.proof == fresh.proof


def test_a_first_fill_is_even_however_wide_the_tolerance() -> None:
    for zones in ((0,), (0, 1)):
        problem = fleet(20, 2, 1, limit=20, zones=zones)
        problem.tolerance = 50
        assert loads(problem, solve(problem)).tolist() == [10, 10]
    problem = problem_of([1] * 30, [[]] * 30, [40, 20], tolerance=50)
    assert loads(problem, solve(problem)).tolist() == [20, 10]


def test_rows_that_changed_are_named_and_older_plans_stay_as_they_were() -> None:
    problem, solver = fleet(50, 5, 2), Solver()
    settle(solver, problem)
    before = solver.solve(problem, members())
    kept = before.members.copy()
    problem.live[1] = False
    after = solver.solve(problem, members(1))
    assert np.array_equal(before.members, kept)
    differs = (before.members != after.members).any(axis=1)
    assert after.changed is not None
    assert after.changed.tolist() == np.flatnonzero(differs).tolist()


def test_keys_are_those_of_every_process() -> None:
    assert [hex(key) for key in keys(["orders-0007", "ü"]).tolist()] == [
        "0xe0d8072167889c3e",
        "0x55f19df5c1392f37",
    ]


def test_more_than_32_replicas_and_the_largest_limits_are_no_problem() -> None:
    problem = problem_of([40, 3], [[], []], [4096] * 50)
    solver = Solver()
    settle(solver, problem)
    problem.replicas[1] = 45
    solution = solver.solve(problem, Touched(np.array([1], dtype=np.int32), none()))
    assert (solution.members >= 0).sum(axis=1).tolist() == [40, 45]
    assert solution.optimal
