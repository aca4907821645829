"""The rows of the table: one family, event and start each, solved, judged and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.solve.bounds import bound
from benchmarks.solve.facts import facts
from benchmarks.solve.families import (
    SMALL_EVENTS,
    Fleet,
    Size,
    cases,
    happen,
    hold,
    prepared,
    turn,
)  # fmt: skip
from benchmarks.solve.go_peer import solve_gazette
from benchmarks.solve.judge import Verdict, count, judge
from benchmarks.solve.peer import PeerResult, within
from berth.solve import Solver
from berth.solve.model import LEVELS, Int32, Problem, Solution, Touched

KEPT = "kept"
"""The start of a running brain: its own placement, come true, and the state of the solver kept."""
KEPT_RUNS = 15
"""A small event takes a few milliseconds, so the median of many runs is cheap, and noise hardly moves it."""
ENOUGH = 1.0
"""Seconds after which a case is not repeated."""
DEADLINE = 60.0
"""Seconds that OR-tools has."""
LARGE_PEER = ("regular", "limits 1:10", "zones 10:3:1", "3% room")
"""Families of 100,000 Items that OR-tools is tried on: half a minute each."""


@dataclass
class Figures:
    """A plan, whoever made it. Without a plan `note` says why, and all else is None."""

    seconds: float | None = None
    moves: int | None = None
    short: int | None = None
    """Replicas that are wanted and not placed."""
    fullest: float | None = None
    """The largest load, in parts of its limit."""
    outside: int | None = None
    """Entries by which loads are outside of their bands, or on Members that drain."""
    single: int | None = None
    """Items wholly in one zone."""
    balance: int | None = None
    """The level `balance`, which looks at how far outside a load is."""
    pairs: int | None = None
    """Pairs of replicas of an Item in one zone."""
    note: str = ""


@dataclass
class Row:
    size: str
    family: str
    event: str
    start: str
    berth: Figures
    ortools: Figures
    gazette: Figures
    wrong: list[str]
    """Hard rules broken, and levels that the solver counts otherwise than the judge."""
    missed: str | None
    """The first level up to `zone-pairs` that is not at its bound, or whose bound is not proven."""
    least_moves: int | None
    proven: str | None
    """The first level that the solver does not prove; None: it proves all."""
    engine: str
    why: str
    runs: list[float] = field(default_factory=list)

    @property
    def certified(self) -> bool:
        return not self.wrong

    @property
    def over(self) -> float | None:
        """Moves above the bound, in parts of it."""
        if self.least_moves is None or self.berth.moves is None:
            return None
        return (self.berth.moves - self.least_moves) / max(1, self.least_moves)

    @property
    def close(self) -> bool:
        """Moves are within 0.5%, or one, of the bound."""
        over = self.over
        return over is not None and over * max(1, self.least_moves or 0) <= max(
            1, 0.005 * (self.least_moves or 0)
        )

    @property
    def proven_to_moves(self) -> bool:
        return self.proven is None or LEVELS.index(self.proven) > LEVELS.index("moves")

    def record(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "over": self.over, "certified": self.certified}


def figures(problem: Problem, plan: Int32, seconds: float) -> Figures:
    """Count what a table shows of a plan of shape (n, v)."""
    f = facts(problem)
    reached = count(problem, plan)
    load = np.bincount(plan[plan >= 0], minlength=len(problem.limit))[f.members]
    away = np.where(f.drains, load, np.maximum(f.low - load, 0) + np.maximum(load - f.high, 0))
    return Figures(
        seconds=seconds,
        moves=reached["moves"],
        short=int(f.wanted.sum()) - reached["placed"],
        fullest=float((load / f.limit).max(initial=0)),
        outside=int(away.sum()),
        single=reached["single-zone"],
        balance=reached["balance"],
        pairs=reached["zone-pairs"],
    )


def of_peer(problem: Problem, found: PeerResult) -> Figures:
    if found.plan is None:
        return Figures(note=found.why)
    return figures(problem, found.plan, found.seconds)


@dataclass
class Bench:
    """Makes rows at one size; what several rows begin with is made once."""

    size: Size
    runs: int = 3
    ortools: bool = True
    gazette: Path | None = None
    """The program of `go_peer`; None: that column is left out."""
    _own: dict[str, Int32] = field(default_factory=dict)
    _solver: Solver = field(default_factory=Solver)
    """For what is solved from arrays: it is asked to read everything again, but its helper is warm."""

    def __enter__(self) -> Bench:
        self._solver.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._solver.close()

    def rows(
        self, families: Sequence[str] = (), events: Sequence[str] = (), starts: Sequence[str] = ()
    ) -> Iterator[Row]:
        """All rows that are asked for; empty lists ask for all."""
        others = [start for start in starts if start != KEPT]
        wanted = cases(families, events, others) if others or not starts else []
        by_family: dict[str, list[tuple[str, str]]] = {}
        for family, event, start in wanted:
            by_family.setdefault(family, []).append((event, start))
        if not starts or KEPT in starts:
            for family, _, _ in cases(families, ["nothing"], ["own"]):
                by_family.setdefault(family, [])
        for family, some in by_family.items():
            if not starts or KEPT in starts:
                yield from self.kept(
                    family, [event for event in events or SMALL_EVENTS if event in SMALL_EVENTS]
                )
            fleets: dict[str, Fleet] = {}
            for event, start in some:
                if start not in fleets:
                    fleets = {start: prepared(family, self.size, start, self.own(family))}
                now = deepcopy(fleets[start])
                turn(now)
                happen(now, event)
                yield self.row(family, event, start, now.problem)

    def own(self, family: str) -> Callable[[Problem], Int32]:
        """Plans for a family, solved once."""

        def plan(problem: Problem) -> Int32:
            if family not in self._own:
                self._own = {family: self._solver.solve(problem).members}
            return self._own[family]

        return plan

    def row(self, family: str, event: str, start: str, problem: Problem) -> Row:
        """Solve from the arrays alone."""
        runs, found = self.timed(lambda: self._solver.solve(problem))
        return self.judged(family, event, start, problem, found, runs)

    def kept(self, family: str, events: Sequence[str]) -> Iterator[Row]:
        """Small events that happen to a settled fleet, with the solver's state kept."""
        now, solver = prepared(family, self.size, "own", self.own(family)), Solver()
        solver.start()
        turn(now)
        for _ in range(2):  # the second time only primaries and the like may still settle
            hold(now.problem, solver.solve(now.problem).members)
        settled = deepcopy(now.problem)
        solver.solve(now.problem)
        for event in events:
            runs: list[float] = []
            while True:
                what = happen(now, event)
                begun = perf_counter()
                found = solver.solve(now.problem, what)
                runs.append(perf_counter() - begun)
                if len(runs) >= max(self.runs, KEPT_RUNS) or sum(runs) >= ENOUGH:
                    break
                undo(now.problem, settled, what)
                solver.solve(now.problem, what)
            yield self.judged(family, event, KEPT, now.problem, found, runs)
            undo(now.problem, settled, what)
            solver.solve(now.problem, what)
        solver.close()

    def timed(self, work: Callable[[], Solution]) -> tuple[list[float], Solution]:
        runs: list[float] = []
        while True:
            begun = perf_counter()
            found = work()
            runs.append(perf_counter() - begun)
            if len(runs) >= self.runs or sum(runs) >= ENOUGH:
                return runs, found

    def judged(
        self, family: str, event: str, start: str, problem: Problem, found: Solution, runs: list[float]
    ) -> Row:
        best = bound(problem)
        verdict = judge(problem, found.members, best)
        return Row(
            size=self.size.name,
            family=family,
            event=event,
            start=start,
            berth=figures(problem, found.members, float(np.median(runs))),
            ortools=self._ortools(family, event, start, problem, best.levels),
            gazette=self._gazette(event, start, problem),
            wrong=verdict.broken + miscounted(verdict, found),
            missed=verdict.missed,
            least_moves=verdict.least_moves,
            proven=found.proof.first_open,
            engine=found.engine,
            why=found.why,
            runs=runs,
        )

    def _ortools(
        self, family: str, event: str, start: str, problem: Problem, levels: dict[str, int]
    ) -> Figures:
        """One event of each family, from one foreign start, too; all of them would take hours."""
        tried = (event == "one lost" and start in ("own", "random")) or start == "empty"
        if self.size.members >= 1000:
            tried = event == "one lost" and start == "own" and family in LARGE_PEER
        if not self.ortools or not tried:
            return Figures()
        return of_peer(problem, within(DEADLINE, problem, levels))

    def _gazette(self, event: str, start: str, problem: Problem) -> Figures:
        """At the large size: every event from its own start, one from the others."""
        tried = start != KEPT and (self.size.members < 1000 or start == "own" or event == "one lost")
        if self.gazette is None or not tried:
            return Figures()
        runs = self.runs if self.size.members < 1000 else 1
        return of_peer(problem, solve_gazette(self.gazette, problem, runs))


def miscounted(verdict: Verdict, found: Solution) -> list[str]:
    """Levels that the solver counts otherwise than the judge."""
    return [
        f"{name} is {verdict.reached[name]}, not {found.proof.reached[name]}"
        for name in LEVELS
        if verdict.reached[name] != found.proof.reached[name]
    ]


def undo(problem: Problem, settled: Problem, what: Touched) -> None:
    """Take back what an event changed."""
    problem.replicas[what.items] = settled.replicas[what.items]
    for name in ("limit", "zone", "live", "draining"):
        getattr(problem, name)[what.members] = getattr(settled, name)[what.members]
