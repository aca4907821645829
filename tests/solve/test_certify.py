"""The certificate against a plain reading of the rules, and each of its faults provoked by hand."""

from __future__ import annotations

import ast
import inspect
import math
from collections import Counter
from fractions import Fraction
from itertools import combinations, permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import brute_force, problem_of, problems

from berth.solve.certify import EXAMPLES, certify
from berth.solve.model import LEVELS, Primaries, Problem, Zones

COSTS = (
    *("given-up", "shortage", "misplaced", "single-zone", "balance"),
    *("zone-pairs", "moves", "draining-age", "primaries-moved"),
)
"""What brute force counts after the placed replicas, in its order."""


def plan_of(*rows: list[int], width: int = 3) -> np.ndarray:
    """The rows padded to one width."""
    return np.array([row + [-1] * (width - len(row)) for row in rows], dtype=np.int32).reshape(-1, width)


# ---- a plain reading of section 4 of the design, Item by Item and in fractions ----------------------


def allowed(problem: Problem, plan: np.ndarray) -> bool:
    able = [bool(live) and limit > 0 for live, limit in zip(problem.live, problem.limit, strict=True)]
    load = Counter(plan[plan >= 0].tolist())
    for row, asked in zip(plan.tolist(), problem.replicas.tolist(), strict=True):
        on = [j for j in row if j >= 0]
        zones = Counter(int(problem.zone[j]) for j in on)
        if row[: len(on)] != on or len(set(on)) < len(on) or len(on) > min(asked, sum(able)):
            return False
        if problem.zones == Zones.REQUIRE and asked >= 2 and max(zones.values(), default=0) > asked - 1:
            return False
    return all(able[j] and count <= problem.limit[j] for j, count in load.items())


def reading(problem: Problem, plan: np.ndarray) -> dict[str, int]:
    m = len(problem.limit)
    live = [j for j in range(m) if problem.live[j]]
    able = [j for j in live if problem.limit[j] > 0]
    sharing = [j for j in live if not problem.draining[j]]
    leaving = sorted((j for j in live if problem.draining[j]), key=lambda j: -problem.age[j])
    room = sum(int(problem.limit[j]) for j in sharing)
    want = [min(asked, len(able)) for asked in problem.replicas.tolist()]
    load = Counter(plan[plan >= 0].tolist())
    found: dict[str, int] = dict.fromkeys(LEVELS, 0)

    for j in live:
        limit = int(problem.limit[j])
        low, high = 0, limit
        if j in sharing:
            share = Fraction(limit * min(sum(want), room), max(room, 1))
            slack = math.floor(share * problem.tolerance / 100)
            low, high = math.floor(share) - slack, math.ceil(share) + slack
        distance = max(low - load[j], load[j] - high, 0)
        found["balance"] += sum(4096 * k // max(limit, 1) for k in range(1, distance + 1))
    for rank, j in enumerate(leaving, 1):
        found["misplaced"] += load[j]
        found["draining-age"] += rank * load[j]

    several = problem.zones != Zones.IGNORE and len({int(problem.zone[j]) for j in able}) > 1
    for i, row in enumerate(plan.tolist()):
        on = [j for j in row if j >= 0]
        held = [j for j in problem.held[i].tolist() if j in live]
        zones = [int(problem.zone[j]) for j in on]
        found["given-up"] += max(0, min(len(held), want[i]) - len(on))
        found["placed"] += len(on)
        found["shortage"] += len(on) * (len(on) + 1) // 2
        found["single-zone"] += several and len(on) == want[i] >= 2 and len(set(zones)) == 1
        if problem.zones != Zones.IGNORE:
            found["zone-pairs"] += sum(a == b for a, b in combinations(zones, 2))
        found["moves"] += sum(j not in held for j in on)
        primary = int(problem.held_primary[i])
        keeps = on[:1] if problem.primaries == Primaries.PROMOTION else on
        found["primaries-moved"] += primary in held and primary not in keeps
    return found


@st.composite
def plans(draw: st.DrawFn) -> tuple[Problem, np.ndarray]:
    """A problem and some plan for it: much of what is held, some of it wrong."""
    problem = draw(problems())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    wrong = draw(st.sampled_from([0.0, 0.0, 0.02, 0.1]))
    n, m = len(problem.replicas), len(problem.limit)
    able = np.flatnonzero(problem.live & (problem.limit > 0)).tolist()
    room = problem.limit.copy()
    width = draw(st.integers(1, 7))
    plan = np.full((n, width), -1, dtype=np.int32)
    for i in range(n):
        row = [j for j in problem.held[i].tolist() if j in able and rng.random() < 0.7]
        row += [j for j in rng.permutation(able).tolist() if j not in row]
        row = [j for j in row if room[j] > 0 or rng.random() < wrong]
        most = min(width, int(problem.replicas[i]) + int(rng.random() < wrong))
        row = row[: int(rng.integers(0, most + 1)) if rng.random() < 0.4 else most]
        if row and rng.random() < wrong:
            row[-1] = int(rng.integers(0, m))
        room[row] -= 1
        plan[i, : len(row)] = row
    return problem, plan


def check(problem: Problem, plan: np.ndarray) -> None:
    certificate = certify(problem, plan)
    assert (not certificate.faults) == allowed(problem, plan), certificate.faults
    # Of an Item with too many entries the surplus is looked at no further.
    if not any("at most" in fault for fault in certificate.faults):
        assert certificate.reached == reading(problem, plan)
        assert tuple(certificate.reached) == LEVELS


@given(plans())
@settings(max_examples=600)
def test_all_levels_and_the_verdict_are_those_of_a_plain_reading(drawn: tuple[Problem, np.ndarray]) -> None:
    check(*drawn)


@pytest.mark.deep
@given(plans())
@settings(max_examples=20_000)
def test_all_levels_and_the_verdict_are_those_of_a_plain_reading_many_times(
    drawn: tuple[Problem, np.ndarray],
) -> None:
    check(*drawn)


@given(problems(items=2, members=3, replicas=3))
@settings(max_examples=120)
def test_the_best_plan_that_is_certified_is_the_best_that_brute_force_finds(problem: Problem) -> None:
    n, m = len(problem.replicas), len(problem.limit)
    rows = [list(some) for size in range(m + 1) for some in permutations(range(m), size)]
    found = [certify(problem, plan_of(*plan)) for plan in product(rows, repeat=n)]
    ranked = [
        [-one.reached["placed"], *(one.reached[name] for name in COSTS)] for one in found if not one.faults
    ]
    best = min(ranked)
    assert (-best[0], *best[1:]) == brute_force(problem)


@pytest.mark.parametrize("policy", list(Zones))
def test_plans_wider_than_any_pool_asks_for_are_counted_too(policy: Zones) -> None:
    wide = 40
    problem = problem_of(
        [wide, 3], [list(range(wide)), [2]], [2] * wide, [j % 3 for j in range(wide)], policy=policy
    )
    plan = plan_of(list(range(wide)), [2, 1], width=wide + 2)
    check(problem, plan)
    plan[0, 4] = 7
    assert certify(problem, plan).faults == ("Item 0 is placed twice on Member 7",)


def test_it_shares_no_code_with_any_engine() -> None:
    tree = ast.parse(Path(inspect.getfile(certify)).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert {name for name in imported if name and name.startswith("berth")} == {"berth.solve.model"}


# ---- the levels by hand -----------------------------------------------------------------------------


def test_balance_weighs_each_unit_outside_of_the_band_by_the_limit() -> None:
    problem = problem_of([1] * 6, [[0]] * 6, [6, 3, 3])
    # Shares 3, 1.5, 1.5: Member 0 is 3 above, Members 1 and 2 (bands 1 to 2) are 1 below each.
    above, below = 4096 // 6 + 2 * 4096 // 6 + 3 * 4096 // 6, 2 * (4096 // 3)
    assert certify(problem, plan_of(*[[0]] * 6)).reached["balance"] == above + below


def test_the_oldest_member_that_drains_weighs_most() -> None:
    problem = problem_of([1] * 3, [[0], [1], [1]], [9] * 3, draining=[True, True, False], age=[5, 3, 0])
    reached = certify(problem, plan_of([0], [1], [1])).reached
    assert (reached["misplaced"], reached["draining-age"]) == (3, 1 + 2 * 2)


def test_what_a_member_with_limit_zero_holds_can_be_given_up() -> None:
    problem = problem_of([1, 1], [[0], [0]], [0, 1])
    assert certify(problem, plan_of([1], [])).reached["given-up"] == 1


@pytest.mark.parametrize(("primaries", "moved"), [(Primaries.PROMOTION, 1), (Primaries.ACTIVE, 0)])
def test_a_primary_that_becomes_a_replica_is_taken_unless_primaries_are_active(
    primaries: Primaries, moved: int
) -> None:
    problem = problem_of([2], [[0, 1]], [9, 9], primaries=primaries)
    assert certify(problem, plan_of([1, 0])).reached["primaries-moved"] == moved
    assert certify(problem, plan_of([0, 1])).reached["primaries-moved"] == 0
    assert certify(problem, plan_of([1])).reached["primaries-moved"] == 1


# ---- faults -----------------------------------------------------------------------------------------


def right() -> tuple[Problem, np.ndarray]:
    """A plan that holds: Member 3 is dead, Member 4 has the limit 0, Members 0 and 1 are a zone."""
    held = [[0, 2], [1, 2], [2, 0], [3, 4]]
    problem = problem_of(
        [2, 2, 2, 2, 0],
        [*held, []],
        [2, 3, 4, 9, 0],
        [0, 0, 1, 1, 1],
        live=[True, True, True, False, True],
        policy=Zones.REQUIRE,
    )
    return problem, plan_of([0, 2], [1, 2], [2, 0], [1, 2], [])


def changed(*cells: tuple[int, int, int]) -> np.ndarray:
    plan = right()[1]
    for row, slot, member in cells:
        plan[row, slot] = member
    return plan


def test_a_right_plan_has_no_faults() -> None:
    certificate = certify(*right())
    assert certificate.faults == ()
    assert certificate.reached["placed"] == 8


@pytest.mark.parametrize(
    ("plan", "fault"),
    [
        (changed((1, 0, 0)), "Member 0 has 3 Items, above its limit of 2"),
        (changed((3, 1, 4)), "Member 4 has 1 Item, above its limit of 0"),
        (changed((3, 1, 3)), "Member 3 is not live but has 1 Item"),
        (changed((0, 1, 0), (2, 1, 1)), "Item 0 is placed twice on Member 0"),
        (changed((0, 2, 1)), "Item 0 has 3 replicas but wants at most 2"),
        (changed((4, 0, 1)), "Item 4 has 1 replica but wants at most 0"),
        (changed((2, 1, -1), (0, 1, 1)), "Item 0 has all 2 replicas in one zone"),
        (changed((0, 0, -1)), "Item 0 has an empty slot before a filled one"),
        (changed((4, 2, 1)), "Item 4 has an empty slot before a filled one"),
        (changed((1, 1, 5)), "Item 1 is on Member row 5, which does not exist"),
        (changed((1, 1, -2)), "Item 1 is on Member row -2, which does not exist"),
        (changed((1, 1, 2**31 - 1)), f"Item 1 is on Member row {2**31 - 1}, which does not exist"),
    ],
)
def test_each_rule_that_a_plan_breaks_is_a_fault(plan: np.ndarray, fault: str) -> None:
    faults = certify(right()[0], plan).faults
    assert fault in faults
    if fault.startswith("Item 0 is placed twice"):
        assert len(faults) == 2  # and wholly in one zone
    else:
        assert faults == (fault,)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (right()[1].astype(np.float64), "dtype int32, not float64"),
        (np.full((5, 2), np.nan), "dtype int32, not float64"),
        (right()[1].astype(object), "dtype int32, not object"),
        (right()[1].astype(np.int64), "dtype int32, not int64"),
        (right()[1].astype(np.uint32), "dtype int32, not uint32"),
        (right()[1].astype(">i4"), "dtype int32, not >i4"),
        (right()[1] >= 0, "dtype int32, not bool"),
        (right()[1].tolist(), "a numpy.ndarray, not list"),
        (None, "a numpy.ndarray, not NoneType"),
        (np.ma.masked_array(right()[1], mask=True), "a numpy.ndarray, not MaskedArray"),
        (right()[1].view(np.matrix), "a numpy.ndarray, not matrix"),
        (right()[1][:, 0], "not (5,)"),
        (right()[1][:4], "not (4, 3)"),
        (right()[1][:, :0], "not (5, 0)"),
        (right()[1][None], "not (1, 5, 3)"),
        (np.int32(3), "a numpy.ndarray, not int32"),
        (np.array(3, dtype=np.int32), "not ()"),
    ],
)
@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_what_is_no_plan_at_all_is_a_fault_and_counts_nothing(plan: Any, words: str) -> None:
    certificate = certify(right()[0], plan)
    assert len(certificate.faults) == 1
    assert words in certificate.faults[0]
    assert certificate.reached == dict.fromkeys(LEVELS, 0)


@given(st.integers(0, 2**32), st.integers(0, 6), st.integers(0, 6), st.integers(0, 5))
@settings(max_examples=400)
def test_no_array_makes_it_raise(seed: int, n: int, v: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    problem = problem_of([2] * n, [[]] * n, [3] * m, policy=Zones(int(rng.integers(3))))
    plan = rng.integers(-2, m + 2, (n, v)).astype(rng.choice([np.int32, np.int32, np.int32, np.int64]))
    if not rng.integers(4):
        plan = np.asfortranarray(plan)
    if plan.dtype == np.int32 and v:
        assert (not certify(problem, plan).faults) == (
            bool((plan >= -1).all() and (plan < m).all()) and allowed(problem, plan)
        )
    else:
        assert certify(problem, plan).faults


def test_a_plan_may_be_wider_or_narrower_than_what_is_asked_for() -> None:
    problem = problem_of([3, 3], [[], []], [9] * 3)
    for width in (1, 2, 3, 9):
        plan = plan_of([0], [1], width=width)
        assert not certify(problem, plan).faults
        assert certify(problem, plan).reached == reading(problem, plan)


def test_several_broken_rules_are_all_named() -> None:
    problem = problem_of([2, 1], [[], []], [1, 1], live=[True, False])
    assert certify(problem, plan_of([0], [0, 1])).faults == (
        "Item 1 has 2 replicas but wants at most 1",
        "Member 0 has 2 Items, above its limit of 1",
    )


def test_the_first_few_are_named_and_the_others_counted() -> None:
    n = EXAMPLES + 3
    problem = problem_of([1] * 2 * n, [[]] * 2 * n, [1] * n)
    plan = plan_of(*[[k // 2] for k in range(2 * n)])
    (fault,) = certify(problem, plan).faults
    assert fault.startswith("Member 0 has 2 Items, above its limit of 1; Member 1 has")
    assert fault.count("above its limit") == EXAMPLES
    assert fault.endswith("; and 3 more Members")


# ---- bounds -----------------------------------------------------------------------------------------


def bounds(**other: Any) -> dict[str, int]:
    return {**certify(*right()).reached, **{name.replace("_", "-"): value for name, value in other.items()}}


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (bounds(), None),
        (bounds(moves=3), "the bound of moves is 3, but the plan beats it with 2"),
        (bounds(placed=7), "the bound of placed is 7, but the plan beats it with 8"),
        (bounds(moves=1), None),
        (bounds(placed=9), None),
        # A bound holds among the plans that are equal on the levels before.
        (bounds(shortage=0, moves=3), None),
        (bounds(placed=7, moves=3), "the bound of placed is 7, but the plan beats it with 8"),
        (bounds(moves=float("nan")), "the bound of moves must be an integer, not nan"),
        (bounds(moves=None), "the bound of moves must be an integer, not None"),
        ({}, "the bound of given-up must be an integer, not None"),
        (bounds(moves=np.int64(2)), None),
    ],
)
def test_a_bound_that_the_plan_beats_is_a_fault(given: dict[str, int], fault: str | None) -> None:
    problem, plan = right()
    assert certify(problem, plan).reached["moves"] == 2
    assert certify(problem, plan, given).faults == (() if fault is None else (fault,))
