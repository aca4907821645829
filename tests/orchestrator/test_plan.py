"""Properties of the plan of a term, and of terms one after the other where no call fails."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from berth.orchestrator.model import Expected, TaskSpec, WorkerSpec
from berth.orchestrator.plan import NO_MOVE, Move, distinct, plan_term, within_budget


def expected_of(instances, limits, zones=None):
    zones = zones or [""] * len(limits)
    return Expected(
        workers={
            f"w{n}": WorkerSpec(1000 + n, limit, zone)
            for n, (limit, zone) in enumerate(zip(limits, zones, strict=True))
        },
        tasks={n: TaskSpec(5000 + n, count) for n, count in enumerate(instances)},
    )


def carry_out(plan, actual, bound):
    """Make the calls of a plan on `actual`, checking that each is allowed; return how many moved."""
    halves = Counter()
    for worker, steps in plan.removals.items():
        unforced = [step for step in steps if not step.surplus]
        assert bound is None or len(unforced) <= bound
        for step in steps:
            actual[worker].remove(step.task)  # raises if it is not there
            halves[step.move] += 1
    for worker, steps in plan.adds.items():
        waiting = [step.move != NO_MOVE for step in steps]
        assert waiting == sorted(waiting), "adds that wait for nothing come first"
        for step in steps:
            assert step.task not in actual[worker]
            actual[worker].append(step.task)
            halves[step.move] += step.move != NO_MOVE
    del halves[NO_MOVE]
    assert set(halves) == set(range(plan.moves))
    assert all(count == 2 for count in halves.values())
    return plan.moves


def settle(expected, actual, bound, most):
    total = 0
    for _ in range(most):
        plan = plan_term(expected, actual, moves_per_worker=bound)
        if not plan.adds and not plan.removals:
            assert plan.postponed == 0
            return total
        assert plan.optimal
        total += carry_out(plan, actual, bound)
    raise AssertionError(f"not settled after {most} terms: {actual}")


def least_moves(loads, missing):
    """Fewest moves to even loads out, when `missing` new instances are placed as well."""
    mean, rest = divmod(sum(loads) + missing, len(loads))
    shares = [mean + (place < rest) for place in range(len(loads))]
    return sum(max(0, load - share) for load, share in zip(sorted(loads, reverse=True), shares, strict=True))


bounds = st.sampled_from([1, 2, 3, None])


@given(
    held=st.lists(st.lists(st.integers(0, 39), max_size=12), min_size=1, max_size=6),
    tasks=st.integers(0, 40),
    bound=bounds,
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_single_instances_settle_evenly_with_the_fewest_moves(held, tasks, bound):
    seen: set[int] = set()
    actual = {}
    for number, wanted in enumerate(held):
        actual[f"w{number}"] = [t for t in dict.fromkeys(wanted) if t not in seen]
        seen.update(wanted)
    expected = expected_of([1] * tasks, [None] * len(held))
    kept = [sum(t < tasks for t in running) for running in actual.values()]
    missing = tasks - sum(kept)
    total = settle(expected, actual, bound, most=60)
    assert total == least_moves(kept, missing)
    assert Counter(t for running in actual.values() for t in running) == Counter(range(tasks))
    loads = [len(running) for running in actual.values()]
    assert max(loads) - min(loads) <= 1


@given(
    instances=st.lists(st.integers(0, 4), max_size=12),
    held=st.lists(st.sets(st.integers(0, 14)), min_size=1, max_size=5),
    bound=bounds,
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_many_instances_with_surplus_and_unknown_tasks_settle_evenly(instances, held, bound):
    actual = {f"w{number}": sorted(tasks) for number, tasks in enumerate(held)}
    expected = expected_of(instances, [None] * len(held))
    settle(expected, actual, bound, most=60)
    counts = Counter(t for running in actual.values() for t in running)
    for task, wanted in enumerate(instances):
        assert counts.pop(task, 0) == min(wanted, len(held))
    assert not counts, "unknown tasks are gone"
    loads = [len(running) for running in actual.values()]
    assert max(loads) - min(loads) <= 1


@given(
    instances=st.lists(st.integers(1, 3), min_size=1, max_size=10),
    held=st.lists(st.sets(st.integers(0, 9)), min_size=2, max_size=5),
    bound=st.sampled_from([1, 2]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_small_steps_make_no_more_moves_than_one_large_one(instances, held, bound):
    instances = [min(wanted, len(held)) for wanted in instances]
    room = Counter(dict(enumerate(instances)))
    actual = {}
    for number, tasks in enumerate(held):
        actual[f"w{number}"] = [t for t in sorted(tasks) if room[t] > 0]
        room.subtract(actual[f"w{number}"])
    expected = expected_of(instances, [None] * len(held))
    at_once = {worker: list(tasks) for worker, tasks in actual.items()}
    assert settle(expected, actual, bound, most=60) == settle(expected, at_once, None, most=2)


@given(
    instances=st.lists(st.integers(0, 3), max_size=10),
    limits=st.lists(st.none() | st.integers(0, 8), min_size=1, max_size=5),
    held=st.data(),
    bound=bounds,
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_limits_and_zones_settle_within_the_limits(instances, limits, held, bound):
    zones = held.draw(st.lists(st.sampled_from(["", "a"]), min_size=len(limits), max_size=len(limits)))
    actual = {
        f"w{n}": sorted(held.draw(st.sets(st.integers(0, 11), max_size=limit or 6)))
        for n, limit in enumerate(limits)
    }
    expected = expected_of(instances, limits, zones)
    settle(expected, actual, bound, most=80)
    for limit, running in zip(limits, actual.values(), strict=True):
        assert limit is None or len(running) <= limit
    counts = Counter(t for running in actual.values() for t in running)
    assert all(count <= instances[task] for task, count in counts.items())
    if None in limits:
        assert all(counts[task] >= min(1, wanted) for task, wanted in enumerate(instances)), (
            "each runs somewhere"
        )


@given(
    instances=st.lists(st.integers(1, 3), min_size=1, max_size=10),
    held=st.lists(st.sets(st.integers(0, 12)), min_size=2, max_size=5),
    resting=st.integers(0, 4),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_resting_worker_keeps_what_it_has_and_gets_nothing(instances, held, resting):
    assume(resting < len(held))
    actual = {f"w{number}": sorted(tasks) for number, tasks in enumerate(held)}
    plan = plan_term(
        expected_of(instances, [None] * len(held)), actual, moves_per_worker=None, resting={f"w{resting}"}
    )
    assert f"w{resting}" not in plan.adds
    assert all(step.task >= len(instances) for step in plan.removals.get(f"w{resting}", []))
    carry_out(plan, actual, None)
    counts = Counter(t for running in actual.values() for t in running)
    for task, wanted in enumerate(instances):
        others = wanted - (task in actual[f"w{resting}"])
        assert counts[task] - (task in actual[f"w{resting}"]) == min(others, len(held) - 1)


def test_of_several_moves_those_of_tasks_that_failed_come_last_and_emptier_targets_first():
    moves = [Move(0, 0, 1), Move(1, 0, 2), Move(2, 0, 1), Move(3, 3, 1)]
    loads = np.array([9, 5, 2, 9])
    for bound, failed, rows in [
        (1, [], [1, 3]),
        (1, [1], [0, 3]),
        (2, [1], [0, 2, 3]),
        (3, [0], [0, 1, 2, 3]),
    ]:
        fails = np.array([row in failed for row in range(4)], np.uint64)
        assert sorted(move.row for move in within_budget(moves, bound, loads, fails)) == rows


def test_keys_are_never_shared_and_the_first_of_equal_ones_stays():
    keys = np.array([7, 3, 7, 7, 2**64 - 1, 3], np.uint64)
    apart = distinct(keys)
    assert len(set(apart.tolist())) == 6
    assert apart[[0, 1, 4]].tolist() == [7, 3, 2**64 - 1]
    assert distinct(apart).tolist() == apart.tolist()
