"""The calls of one term, from what is expected and what the workers run. Pure: no I/O, no clock.

    expected tasks --+                    +-- removals: unknown and surplus tasks, moves
                     +--> solve --> choose
    what they run ---+                    +-- adds: missing instances, moves

The solver decides where every task should finally be. All adds that fill a gap are made, and as many moves as
`moves_per_worker` allows. The next term plans again what this one leaves out: each move that is made is one
fewer for the solver, so the terms converge with the fewest moves.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Generic, NamedTuple

import numpy as np
import numpy.typing as npt

from berth.orchestrator.model import MAX_LIMIT, Expected, T, W
from berth.solve import Problem, Solution, Zones, bands, solve, wanted

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Place = tuple[int, int]  # an instance of a task on a worker: row and column of the problem
NO_MOVE = -1
NO_LIMIT = 2**62
ODD = np.uint64(0x9E3779B97F4A7C15)  # its multiples differ in all 64 bits


class Call(NamedTuple, Generic[T]):
    """One call to make on one worker."""

    task: T
    move: int = NO_MOVE  # the number of the move to which the call belongs, or NO_MOVE
    surplus: bool = False  # for a removal: no instance is missing after it (an unknown task, or one too many)


@dataclass(slots=True)
class Plan(Generic[W, T]):
    """The calls of one term. A move is a removal, then an add with the same number."""

    removals: defaultdict[W, list[Call[T]]] = field(default_factory=lambda: defaultdict(list))
    adds: defaultdict[W, list[Call[T]]] = field(default_factory=lambda: defaultdict(list))
    """For each worker, those that need not wait for a removal come first."""
    moves: int = 0
    postponed: int = 0  # moves that are left to a later term
    missing: int = 0  # wanted instances that no worker runs before the calls are made
    optimal: bool = True
    trouble: str = ""
    """Why the solver failed, so that nothing is moved to even out loads; empty if it did not."""

    def add_calls(
        self, tasks: list[T], workers: list[W], surplus: list[Place], fills: list[Place], moves: list["Move"]
    ) -> None:
        """Add these calls; `tasks` and `workers` are by row and by column."""
        for row, col in surplus:
            self.removals[workers[col]].append(Call(tasks[row], surplus=True))
        for row, col in fills:
            self.adds[workers[col]].append(Call(tasks[row]))
        for move in moves:
            number = NO_MOVE
            if move.target is not None:
                number, self.moves = self.moves, self.moves + 1
                self.adds[workers[move.target]].append(Call(tasks[move.row], number))
            self.removals[workers[move.source]].append(Call(tasks[move.row], number))


class Move(NamedTuple):
    """One removal that the target needs, and the add that belongs to it (None if there is no room)."""

    row: int
    source: int
    target: int | None


@dataclass(slots=True)
class _Changes:
    """What separates the workers from the solver's target."""

    fills: list[Place]  # adds of missing instances
    surplus: list[Place]  # removals after which no instance is missing
    moves: list[Move]
    removals: int  # that the target needs in all; those that are neither surplus nor a move have to wait
    loads: Int64  # by column, with the fills and without the surplus


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
    row_of = {task: row for row, task in enumerate(expected.tasks)}
    held: dict[W, list[int]] = {}
    for worker, running in actual.items():
        held[worker] = [row for task in running if (row := row_of.get(task)) is not None]
        if len(held[worker]) < len(running):
            plan.removals[worker] = [Call(task, surplus=True) for task in running if task not in row_of]

    replicas = np.fromiter((spec.instances for spec in expected.tasks.values()), np.int64, len(row_of))
    plan.missing = int(np.maximum(replicas - _counts(held.values(), len(row_of)), 0).sum())
    workers = [worker for worker in actual if worker not in resting]
    if not row_of or not workers:
        return plan
    # What runs on resting workers stays there, so the others need that many instances fewer.
    on_resting = _counts((held[worker] for worker in actual if worker in resting), len(row_of))
    replicas = np.maximum(replicas - on_resting, 0)
    problem = _problem(expected, replicas, workers, [held[worker] for worker in workers])
    if problem.zones is Zones.IGNORE and is_balanced(problem):
        return plan
    # After a failure another key breaks the ties of the task: the next plan may then choose another worker.
    fails = np.zeros(len(row_of), np.uint64)
    for task, count in (failures or {}).items():
        if task in row_of:
            fails[row_of[task]] = count
    problem.item_key = distinct(problem.item_key) ^ (fails * ODD)
    problem.member_key = distinct(problem.member_key)

    solution = solve(problem)
    plan.optimal = solution.optimal
    plan.trouble = (solution.why or solution.trouble) if solution.engine == "plain" else ""
    changes = _changes(problem, solution)
    limits = [expected.workers[worker].limit for worker in workers]
    excess = changes.loads - [NO_LIMIT if limit is None else limit for limit in limits]
    moves = within_budget(changes.moves, moves_per_worker, changes.loads, fails)
    moves, fills = _within_limits(moves, changes.fills, excess.tolist())
    plan.postponed = changes.removals - len(changes.surplus) - len(moves)
    plan.add_calls(list(row_of), workers, changes.surplus, fills, moves)
    return plan


def _counts(held: Iterable[list[int]], size: int) -> Int64:
    """How many of these workers hold each row."""
    return np.bincount(np.fromiter(chain.from_iterable(held), np.int64), minlength=size)


def _problem(
    expected: Expected[W, T], replicas: Int64, workers: list[W], held_by: list[list[int]]
) -> Problem:
    """The problem of these workers, whose rows are in `held_by`; its keys need not be distinct."""
    n, m = replicas.size, len(workers)
    specs = [expected.workers[worker] for worker in workers]
    rows = np.fromiter(chain.from_iterable(held_by), np.int64)
    cols = np.repeat(np.arange(m), [len(held) for held in held_by])
    order, counts = np.argsort(rows, kind="stable"), np.bincount(rows, minlength=n)
    held = np.full((n, max(1, int(counts.max()))), -1, np.int32)
    slots = np.arange(rows.size) - np.repeat(np.cumsum(counts) - counts, counts)
    held[rows[order], slots] = cols[order]
    zone = np.unique([spec.zone for spec in specs], return_inverse=True)[1]
    return Problem(
        item_key=np.fromiter((spec.key for spec in expected.tasks.values()), np.uint64, n),
        replicas=replicas.astype(np.int32),
        held=held,
        held_primary=held[:, 0].copy(),
        member_key=np.fromiter((spec.key for spec in specs), np.uint64, m),
        limit=weights([spec.limit for spec in specs], replicas).astype(np.int32),
        zone=zone.astype(np.int32),
        live=np.ones(m, bool),
        draining=np.zeros(m, bool),
        age=np.arange(m, dtype=np.int64),
        zones=Zones.SPREAD if zone.any() else Zones.IGNORE,
    )


def weights(limits: Sequence[int | None], replicas: Int64) -> Int64:
    """The limit of each worker in the solver; a worker without a limit gets one that does not bind.

    It counts like the greatest of the given limits, or more if they cannot hold everything. A weight so high
    that it never binds would leave the workers with limits empty.
    """
    given = [limit for limit in limits if limit is not None]
    unlimited = len(limits) - len(given)
    if not unlimited:
        return np.array(given, np.int64)
    total = int(np.minimum(replicas, unlimited + np.count_nonzero(given)).sum())
    floor = max(given) if any(given) else MAX_LIMIT
    weight = max(floor, -(-(total - sum(given)) // unlimited))
    return np.array([weight if limit is None else limit for limit in limits], np.int64)


def is_balanced(problem: Problem) -> bool:
    """Whether nothing can be improved, apart from zones: every instance runs, every load is in its band."""
    held, (low, high) = problem.held >= 0, bands(problem)
    loads = np.bincount(problem.held[held], minlength=problem.limit.size)
    runs = np.array_equal(np.count_nonzero(held, axis=1), wanted(problem))
    return runs and bool(np.all((loads >= low) & (loads <= high)))


def distinct(keys: UInt64) -> UInt64:
    """The keys without repetition: of unequal values with one repr, the first has the key of that repr."""
    keys = keys.copy()
    while True:
        repeated = np.ones(keys.size, bool)
        repeated[np.unique(keys, return_index=True)[1]] = False
        if not repeated.any():
            return keys
        keys[repeated] += np.arange(1, np.count_nonzero(repeated) + 1, dtype=np.uint64) * ODD


def _changes(problem: Problem, solution: Solution) -> _Changes:
    """The adds and removals that lead to the solution, those of one task paired as moves."""
    n, m = problem.replicas.size, problem.limit.size
    held, target = _codes(problem.held, m), _codes(solution.members[:n], m)
    to_add = np.setdiff1d(target, held, assume_unique=True)
    to_remove = np.setdiff1d(held, target, assume_unique=True)
    plain = ~np.isin(to_add // m, to_remove // m)
    fills = list(zip((to_add[plain] // m).tolist(), (to_add[plain] % m).tolist(), strict=True))
    loads = np.bincount(held % m, minlength=m) + np.bincount(to_add[plain] % m, minlength=m)

    running = np.count_nonzero(problem.held >= 0, axis=1)
    adds_of = _by_row(to_add[~plain], m)
    surplus: list[Place] = []
    moves: list[Move] = []
    for row, sources in _by_row(to_remove, m).items():
        targets = adds_of.get(row, [])
        sources.sort(key=lambda c: -loads[c])
        targets.sort(key=lambda c: loads[c])
        excess = int(running[row] - problem.replicas[row])
        if excess > 0:  # moves are planned once the surplus is certainly gone
            surplus += [(row, c) for c in sources[:excess]]
            loads[sources[:excess]] -= 1
            continue
        gaps = max(0, len(targets) - len(sources))
        fills += [(row, c) for c in targets[:gaps]]
        loads[targets[:gaps]] += 1
        moves += [Move(row, *ends) for ends in zip_longest(sources, targets[gaps:])]
    return _Changes(fills, surplus, moves, len(to_remove), loads)


def _codes(table: npt.NDArray[np.int32], m: int) -> Int64:
    """Row and column of each entry of the table, as one number: row · m + column."""
    at = np.nonzero(table >= 0)
    return np.asarray(at[0] * m + table[at], np.int64)


def _by_row(codes: Int64, m: int) -> dict[int, list[int]]:
    grouped: dict[int, list[int]] = {}
    for code in codes.tolist():
        grouped.setdefault(code // m, []).append(code % m)
    return grouped


def within_budget(moves: list[Move], budget: int | None, loads: Int64, fails: UInt64) -> list[Move]:
    """At most `budget` moves from each worker: those to the emptiest workers, failed tasks last."""
    if budget is None:
        return moves
    taken: Counter[int] = Counter()
    chosen: list[Move] = []
    load_of = loads.tolist()
    for move in sorted(
        moves, key=lambda v: (int(fails[v.row]), -1 if v.target is None else load_of[v.target], v.row)
    ):
        if taken[move.source] < budget:
            taken[move.source] += 1
            chosen.append(move)
    return chosen


def _within_limits(
    moves: list[Move], fills: list[Place], excess: list[int]
) -> tuple[list[Move], list[Place]]:
    """Drop moves, then fills, that would exceed a worker's limit while moves away from it are postponed.

    `excess` is by how much the load of each worker, with the fills, is above its limit. Dropping a move
    leaves its source fuller, so this repeats until nothing changes; two full workers that swap keep both
    moves.
    """
    for move in moves:
        excess[move.source] -= 1
        if move.target is not None:
            excess[move.target] += 1
    while True:
        kept: list[Move] = []
        for move in moves:
            if move.target is not None and excess[move.target] > 0:
                excess[move.target] -= 1
                excess[move.source] += 1
            else:
                kept.append(move)
        if len(kept) == len(moves):
            break
        moves = kept
    if max(excess) <= 0:
        return moves, fills
    fitting: list[Place] = []
    for row, col in fills:
        if excess[col] > 0:
            excess[col] -= 1
        else:
            fitting.append((row, col))
    return moves, fitting
