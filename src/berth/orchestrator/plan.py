"""The calls of one term, from what is expected and what the workers run. Pure: no I/O, no clock.

    expected tasks --+                    +-- removals: unknown and surplus tasks, moves
                     +--> solve --> choose
    what they run ---+                    +-- adds: missing instances, moves

The solver decides where every task should finally be. `_choose` takes all adds that fill a gap, and as many
moves as `moves_per_worker` allows. The next term plans again what this one leaves out: each move that is made
is one fewer for the solver, so the terms converge with the fewest moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Generic, NamedTuple

import numpy as np
import numpy.typing as npt

from berth.orchestrator.model import T, W
from berth.orchestrator.registry import MAX_LIMIT, Expected, WorkerSpec
from berth.solve import Primaries, Problem, Solution, Zones, solve

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
NO_MOVE = -1
NO_LIMIT = 2**62


class Step(NamedTuple, Generic[T]):
    """One call to make on one worker."""

    task: T
    move: int = NO_MOVE
    """The number of the move to which the call belongs, or NO_MOVE."""
    surplus: bool = False
    """For a removal: no instance is missing after it (an unknown task, or an instance too many)."""


@dataclass(slots=True)
class Plan(Generic[W, T]):
    """The calls of one term. A move is a removal, then an add with the same number."""

    removals: dict[W, list[Step[T]]] = field(default_factory=dict)
    adds: dict[W, list[Step[T]]] = field(default_factory=dict)
    """For each worker, those that need not wait for a removal come first."""
    moves: int = 0
    postponed: int = 0
    """Moves that are left to a later term."""
    missing: int = 0
    """Wanted instances that no worker runs before the calls are made."""
    optimal: bool = True
    trouble: str = ""
    """Why the solver failed, so that nothing is moved to even out loads; empty if it did not."""


@dataclass(frozen=True, slots=True)
class _Draft(Generic[W, T]):
    """The problem of a term, and what its rows and columns are."""

    problem: Problem
    tasks: list[T]
    """By row of the problem."""
    workers: list[W]
    """By column of the problem."""
    rows: Int64
    cols: Int64
    """Row and column of each instance that runs."""
    limits: Int64
    """By column; NO_LIMIT without one."""
    failures: UInt64
    """Calls that failed lately, by row."""


def plan_term(
    expected: Expected[W, T],
    actual: Mapping[W, list[T]],
    *,
    moves_per_worker: int | None,
    resting: Set[W] = frozenset(),
    failures: Mapping[T, int] | None = None,
    solve: Callable[[Problem], Solution] = solve,
) -> Plan[W, T]:
    """The calls that bring the answering workers closer to what is expected.

    `actual` holds the workers that answered, without duplicate tasks. A `resting` worker keeps what it has
    and gets nothing; the others share the rest. `failures` counts the calls that failed for a task lately:
    such a task is moved last, and ties that concern it are broken in another way.
    """
    plan: Plan[W, T] = Plan()
    draft = _draft(expected, actual, resting, failures or {}, plan)
    if draft is not None:
        solution = solve(draft.problem)
        plan.optimal = solution.optimal
        plan.trouble = (solution.why or solution.trouble) if solution.engine == "plain" else ""
        _choose(draft, solution, moves_per_worker, plan)
    return plan


def _draft(
    expected: Expected[W, T],
    actual: Mapping[W, list[T]],
    resting: Set[W],
    failures: Mapping[T, int],
    plan: Plan[W, T],
) -> _Draft[W, T] | None:
    """Put what needs no solver into `plan`; the problem for the rest, None if there is none."""
    tasks = list(expected.tasks)
    rows, cols = _locate(expected, actual, plan)
    specs = list(expected.tasks.values())
    replicas = np.fromiter((s.instances for s in specs), np.int64, len(specs))
    plan.missing = int(np.maximum(replicas - np.bincount(rows, minlength=len(tasks)), 0).sum())

    names = list(actual)
    is_active = np.array([w not in resting for w in names], bool)
    if not tasks or not is_active.any():
        return None
    on_resting = ~is_active[cols]
    replicas = np.maximum(replicas - np.bincount(rows[on_resting], minlength=len(tasks)), 0)
    renumber = np.cumsum(is_active) - 1
    rows, cols = rows[~on_resting], renumber[cols[~on_resting]]
    names = [w for w, active in zip(names, is_active.tolist(), strict=True) if active]
    workers = [expected.workers[w] for w in names]
    limits = weights([s.limit for s in workers], replicas)
    zoned = len({s.zone for s in workers}) > 1

    if not zoned and is_settled(replicas, limits, rows, cols):
        return None
    keys = np.fromiter((s.key for s in specs), np.uint64, len(specs))
    fails = np.fromiter((failures.get(t, 0) for t in tasks), np.uint64, len(tasks))
    keys ^= _scatter(fails)
    problem = _problem(keys, replicas, limits, workers, rows, cols, zoned)
    hard_limits = np.array([NO_LIMIT if s.limit is None else s.limit for s in workers], np.int64)
    return _Draft(problem, tasks, names, rows, cols, hard_limits, fails)


def weights(limits: Sequence[int | None], replicas: Int64) -> Int64:
    """The limit of each worker in the solver; a worker without a limit gets one that does not bind.

    It counts like the greatest of the given limits, or more if they cannot hold everything. A weight so high
    that it never binds would leave the workers with limits empty.
    """
    given = [limit for limit in limits if limit is not None]
    unlimited = len(limits) - len(given)
    if not unlimited:
        return np.array(given, np.int64)
    wanted = int(np.minimum(replicas, unlimited + np.count_nonzero(given)).sum())
    floor = max(given) if any(given) else MAX_LIMIT
    weight = max(floor, -(-(wanted - sum(given)) // unlimited))
    return np.array([weight if limit is None else limit for limit in limits], np.int64)


def is_settled(replicas: Int64, limits: Int64, rows: Int64, cols: Int64) -> bool:
    """Whether nothing can be improved, apart from zones: every instance runs, every load is in its band."""
    wanted = np.minimum(replicas, np.count_nonzero(limits))
    if not np.array_equal(np.bincount(rows, minlength=replicas.size), wanted):
        return False
    loads = np.bincount(cols, minlength=limits.size)
    capacity = int(limits.sum())
    shared = limits * min(int(wanted.sum()), capacity)
    divisor = max(capacity, 1)
    return bool(np.all((loads >= shared // divisor) & (loads <= -(-shared // divisor))))


def _locate(expected: Expected[W, T], actual: Mapping[W, list[T]], plan: Plan[W, T]) -> tuple[Int64, Int64]:
    """Row and column of each expected task that runs; the removal of unknown tasks is put into `plan`."""
    row_of = {task: row for row, task in enumerate(expected.tasks)}
    rows: list[int] = []
    cols: list[int] = []
    for col, (worker, running) in enumerate(actual.items()):
        known = [row for task in running if (row := row_of.get(task)) is not None]
        if len(known) < len(running):
            plan.removals[worker] = [Step(task, surplus=True) for task in running if task not in row_of]
        rows += known
        cols += [col] * len(known)
    return np.array(rows, np.int64), np.array(cols, np.int64)


def _scatter(counts: UInt64) -> UInt64:
    """Spread counts over all 64 bits (the finaliser of splitmix64); 0 stays 0."""
    x = counts * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), np.uint64)


def _problem(
    keys: UInt64,
    replicas: Int64,
    limits: Int64,
    workers: list[WorkerSpec],
    rows: Int64,
    cols: Int64,
    zoned: bool,
) -> Problem:
    n, m = replicas.size, len(workers)
    counts = np.bincount(rows, minlength=n)
    order = np.argsort(rows, kind="stable")
    starts = np.cumsum(counts) - counts
    held = np.full((n, max(1, int(counts.max()))), -1, np.int32)
    held[rows[order], np.arange(rows.size) - starts[rows[order]]] = cols[order]
    zone_numbers = {zone: number for number, zone in enumerate(sorted({s.zone for s in workers}))}
    return Problem(
        item_key=keys,
        replicas=replicas.astype(np.int32),
        held=held,
        held_primary=held[:, 0].copy(),
        member_key=np.fromiter((s.key for s in workers), np.uint64, m),
        limit=limits.astype(np.int32),
        zone=np.fromiter((zone_numbers[s.zone] for s in workers), np.int32, m),
        live=np.ones(m, bool),
        draining=np.zeros(m, bool),
        age=np.arange(m, dtype=np.int64),
        zones=Zones.SPREAD if zoned else Zones.IGNORE,
        tolerance=0,
        primaries=Primaries.PROMOTION,
    )


@dataclass(slots=True)
class _Move:
    """One removal that the target needs, and the add that belongs to it (None if there is no room)."""

    row: int
    source: int
    target: int | None


def _choose(draft: _Draft[W, T], solution: Solution, moves_per_worker: int | None, plan: Plan[W, T]) -> None:
    """Put into `plan` what fills a gap or removes a surplus, and the moves that are allowed in this term."""
    problem, tasks, names, rows, cols = draft.problem, draft.tasks, draft.workers, draft.rows, draft.cols
    n, m = problem.replicas.size, problem.limit.size
    placed = solution.members[:n]
    at = np.nonzero(placed >= 0)
    target = at[0].astype(np.int64) * m + placed[at]
    held = rows * m + cols
    to_add = np.setdiff1d(target, held, assume_unique=True)
    to_remove = np.setdiff1d(held, target, assume_unique=True)

    loads = np.bincount(cols, minlength=m)
    add_rows, add_cols = np.divmod(to_add, m)
    plain = ~np.isin(add_rows, to_remove // m)
    fills = list(zip(add_rows[plain].tolist(), add_cols[plain].tolist(), strict=True))
    loads += np.bincount(add_cols[plain], minlength=m)

    removes_of, adds_of = _by_row(to_remove, m), _by_row(to_add[~plain], m)
    running = np.bincount(rows, minlength=n)
    surplus: list[tuple[int, int]] = []
    moves: list[_Move] = []
    for row, sources in removes_of.items():
        targets = adds_of.get(row, [])
        sources.sort(key=lambda c: -loads[c])
        targets.sort(key=lambda c: loads[c])
        excess = int(running[row] - problem.replicas[row])
        if excess > 0:  # moves are planned once the surplus is certainly gone
            surplus += [(row, c) for c in sources[:excess]]
            loads[sources[:excess]] -= 1
            plan.postponed += len(sources) - excess
            continue
        gaps = max(0, len(targets) - len(sources))
        fills += [(row, c) for c in targets[:gaps]]
        loads[targets[:gaps]] += 1
        ends: list[int | None] = [*targets[gaps:], *[None] * (len(sources) - len(targets) + gaps)]
        moves += [_Move(row, source, end) for source, end in zip(sources, ends, strict=True)]

    chosen = _within_budget(moves, moves_per_worker, loads, draft.failures)
    chosen, fills = _within_limits(chosen, fills, loads, draft.limits)
    plan.postponed += len(moves) - len(chosen)
    for row, col in surplus:
        plan.removals.setdefault(names[col], []).append(Step(tasks[row], surplus=True))
    adds: list[list[Step[T]]] = [[] for _ in names]
    for row, col in fills:
        adds[col].append(Step(tasks[row]))
    plan.adds = {name: steps for name, steps in zip(names, adds, strict=True) if steps}
    for move in chosen:
        number = NO_MOVE
        if move.target is not None:
            number, plan.moves = plan.moves, plan.moves + 1
            plan.adds.setdefault(names[move.target], []).append(Step(tasks[move.row], number))
        plan.removals.setdefault(names[move.source], []).append(Step(tasks[move.row], number))


def _by_row(codes: Int64, m: int) -> dict[int, list[int]]:
    grouped: dict[int, list[int]] = {}
    for code in codes.tolist():
        grouped.setdefault(code // m, []).append(code % m)
    return grouped


def _within_budget(moves: list[_Move], budget: int | None, loads: Int64, fails: UInt64) -> list[_Move]:
    """At most `budget` moves from each worker: those to the emptiest workers, failed tasks last."""
    if budget is None:
        return moves
    left: dict[int, int] = {}
    chosen: list[_Move] = []
    load_of = loads.tolist()
    for move in sorted(
        moves, key=lambda v: (int(fails[v.row]), -1 if v.target is None else load_of[v.target], v.row)
    ):
        room = left.setdefault(move.source, budget)
        if room > 0:
            left[move.source] = room - 1
            chosen.append(move)
    return chosen


def _within_limits(
    moves: list[_Move], fills: list[tuple[int, int]], loads: Int64, limits: Int64
) -> tuple[list[_Move], list[tuple[int, int]]]:
    """Drop moves, then fills, that would exceed a worker's limit while moves away from it are postponed.

    `loads` includes the fills. Dropping a move leaves its source fuller, so this repeats until nothing
    changes; two full workers that swap keep both moves.
    """
    after = loads.copy()
    for move in moves:
        after[move.source] -= 1
        if move.target is not None:
            after[move.target] += 1
    while True:
        kept: list[_Move] = []
        for move in moves:
            if move.target is not None and after[move.target] > limits[move.target]:
                after[move.target] -= 1
                after[move.source] += 1
            else:
                kept.append(move)
        if len(kept) == len(moves):
            break
        moves = kept
    if not np.any(after > limits):
        return moves, fills
    fitting: list[tuple[int, int]] = []
    for row, col in fills:
        if after[col] > limits[col]:
            after[col] -= 1
        else:
            fitting.append((row, col))
    return moves, fitting
