"""One controller process as a value: a snapshot of the real brain, and what has happened to it since then.

The real loop (`Lead`), writer and terms run over a client whose requests wait for an answer. A brain is a
function of its inputs, so a process in the middle of its writes is its last snapshot and the inputs after
that; they are replayed when the next one comes. Equal processes are one number, so that a step is computed
once, however many fleets contain it.
"""

from __future__ import annotations

import asyncio
import copy
import pickle
from dataclasses import fields
from typing import Any

import numpy as np
from explore_process import Kept, Process, lease_of
from explore_values import (
    ITEMS,
    MEMBERS,
    OLD,
    TICK,
    Cache,
    News,
    Numbers,
    Pool,
    Seat,
)
from objects import item_object, member_object, pool_object

from berth.kinds import AssignmentObject, MemberObject, PoolObject, ReadPoolSpec
from berth.pool import Brain, LeaseChanged, Leases
from berth.solve import Problem, Solution, Touched, solve


class Seats:
    """All controller processes that were met: numbers, and the steps from one to the next."""

    def __init__(self, policy: ReadPoolSpec, reported: bool, numbers: Numbers) -> None:
        self.policy = policy
        self.reported = reported
        self.numbers = numbers
        self.loop = asyncio.new_event_loop()
        self.steps = 0
        """Steps that were computed, not remembered."""
        self._snapshots: dict[Any, int] = {}
        self._kept: list[bytes] = []
        self._forms: list[Any] = []
        self._renamed: dict[int, tuple[int, ...]] = {}
        self.forms: list[tuple[int, ...]] = []
        """What makes each process differ from others, under each renaming."""
        self.known: list[Seat] = []
        """Processes by number."""
        self._numbers: dict[Seat, int] = {}
        self._results: dict[tuple[int, Any], tuple[int, News]] = {}
        self._solutions: dict[bytes, Solution] = {}

    def close(self) -> None:
        self.loop.close()

    def member(self, name: str, limit: int) -> MemberObject:
        """The Member of that name."""
        return member_object(name, limit, lease=f"l-{name}", reported=self.reported, uid=f"u-{name}")

    def pool(self, pool: Pool) -> PoolObject:
        """The Pool as a brain observes it."""
        return pool_object("u-pool", pool.version, self.policy, pool.term, pool.leader)

    def first(self, index: int, cache: Cache) -> int:
        """A process that has just been started and has listed everything."""
        brain = Brain("ns", "pool", Leases())
        brain.observe(self.pool(cache.pool), 0.0)
        for name, count in zip(ITEMS, cache.replicas, strict=True):
            brain.observe(item_object(name, count, f"u-{name}"), 0.0)
        for name, limit in zip(MEMBERS, cache.limits, strict=True):
            brain.observe(self.member(name, limit), 0.0)
            brain.ledger.leases.put(lease_of(name, cache.stamps[MEMBERS.index(name)]), 0.0)
            brain.observe(LeaseChanged(f"l-{name}"), 0.0)
        kept = Kept(brain, 0.0, cache, leading=False, acting=False, ahead=False, woken=False)
        process = Process(index, kept, self)
        process.save(acting=False)
        return self._seat(process)

    def step(self, index: int, number: int, happens: tuple[Any, ...]) -> tuple[int, News]:
        """The process after one more input."""
        found = self._results.get((number, happens))
        if found is None:
            self.steps += 1
            seat = self.known[number]
            process = Process(index, pickle.loads(self._kept[seat.snapshot]), self)
            process.snapshot = seat.snapshot
            for earlier in seat.log:
                process.feed(earlier)
            process.news = News()
            process.feed(happens)
            found = self._results[number, happens] = (self._seat(process), process.news)
            process.close()
        return found

    def _seat(self, process: Process) -> int:
        seat = Seat(
            process.snapshot,
            tuple(process.log),
            process.cache,
            round(process.now / TICK),
            process.leading,
            tuple(request for request, _ in process.requests),
            frozenset(process.brain.leases_to_read()) if process.leading else frozenset(),
        )
        number = self._numbers.setdefault(seat, len(self.known))
        if number == len(self.known):
            self.known.append(seat)
            self.forms.append(self._form(seat))
        return number

    def keep(self, name: str, kept: Kept) -> int:
        """The number of a snapshot; equal ones have the same."""
        form = (name, *canonical(kept))
        number = self._snapshots.get(form)
        if number is None:
            number = self._snapshots[form] = len(self._kept)
            self._kept.append(pickle.dumps(kept, protocol=5))
            self._forms.append(form)
        return number

    def _form(self, seat: Seat) -> tuple[int, ...]:
        form = self._renamed.get(seat.snapshot)
        if form is None:
            form = self._renamed[seat.snapshot] = self.numbers.renamed(self._forms[seat.snapshot])
        return self.numbers.combined([form, *map(self._input, seat.log)])

    def _input(self, happens: tuple[Any, ...]) -> tuple[int, ...]:
        """Numbers of an input, with names instead of places."""
        what, *rest = happens
        if what == "see":
            replicas, limits, pool, assignments, leases = rest
            seen = (_named(ITEMS, replicas), _named(MEMBERS, limits), _named(MEMBERS, leases))
            there = [self.numbers.renamed(each) for each in assignments or ()]
            fixed = self.numbers.renamed((what, pool, seen))
            return self.numbers.combined([fixed], there)
        if what in ("tick", "read"):
            return self.numbers.renamed((what, _named(MEMBERS, rest[0])))
        return self.numbers.renamed(happens)

    async def solve(self, problem: Problem, touched: Touched | None, thorough: bool) -> Solution:
        """The real solver's answer, computed once for each problem."""
        values = (getattr(problem, field.name) for field in fields(problem))
        key = b"|".join(v.tobytes() if isinstance(v, np.ndarray) else repr(v).encode() for v in values)
        if key not in self._solutions:
            self._solutions[key] = solve(copy.deepcopy(problem))
        return self._solutions[key]


def _named(names: tuple[str, ...], values: tuple[Any, ...] | None) -> Any:
    if values is None:
        return None
    return frozenset(zip(names, values, strict=True))


def _ticks_since(renewed: str | None, tick: int) -> int | None:
    return min(OLD, tick - int(renewed[1:])) if renewed else None


def _assignment(there: AssignmentObject) -> tuple[Any, ...]:
    spec, status = there.spec, there.status
    return (there.metadata.generation, spec.items, spec.term, spec.session, status.session, status.items)


def canonical(kept: Kept) -> tuple[Any, ...]:
    """All that the future of a process depends on, by name, with times relative to its clock.

    Left out is what follows from the rest, or only statuses, Events and metrics are made of.
    """
    brain, now, cache, leading, acting, ahead, woken = kept
    ledger, target, progress = brain.ledger, brain.target, brain.progress
    items, members, leases = ledger.items.names, ledger.member_rows.names, ledger.leases
    changed, former = ledger.changed, ledger.former

    def ago(at: float) -> float:
        return min(OLD * TICK, now - at)

    tick = round(now / TICK)
    seen = cache._replace(
        replicas=frozenset(zip(ITEMS, cache.replicas, strict=True)),  # type: ignore[arg-type]
        limits=frozenset(zip(MEMBERS, cache.limits, strict=True)),  # type: ignore[arg-type]
        assignments=frozenset(cache.assignments),  # type: ignore[arg-type]
        stamps=frozenset(  # type: ignore[arg-type]
            (m, holder, min(OLD, tick - at)) for m, (holder, at) in zip(MEMBERS, cache.stamps, strict=True)
        ),
    )
    watches = frozenset(
        (
            name,
            watch.holder,
            _ticks_since(watch.lease.spec.renew_time, tick),
            ago(watch.at),
            watch.deleted,
            watch.found_dead,
            watch.renewed,
            ago(watch.read_at),
            watch.liveness(now).value,
            watch.unread(now),
            leases._last[name].value,
            leases._former.get(name),
            leases._confirmed.get(name),
        )
        for name, watch in leases._watches.items()
    )
    states = frozenset(
        (
            m.name,
            m.assignment and _assignment(m.assignment),
            m.liveness.value,
            m.session_holds,
            m.successor,
            m.dead_since is None,
            m.lived,
            m.awaited,
        )
        for m in ledger.members.values()
    )
    rows = (
        changed.problem,
        frozenset(items[r] for r in changed.solve_items),
        frozenset(members[r] for r in changed.solve_members),
        frozenset(items[r] for r in changed.converge),
        frozenset(members[r] for r in changed.assignments),
        frozenset(members[r] for r in ledger.sessions.restarted),
        frozenset(members[r] for r in ledger.sessions.uncertain),
    )
    primaries = (
        frozenset((item, frozenset(lasts.values())) for item, lasts in former._of.items()),
        frozenset((item, frozenset(names)) for item, names in former._releasing.items() if names),
    )
    plan = None
    if target.solution is not None:
        plan = frozenset(
            (items[row], tuple(members[m] for m in placed if m >= 0))
            for row, placed in enumerate(target.solution.members.tolist())
        )
    waits = (
        frozenset(
            (items[row], wait.why.value, frozenset(members[m] for m in wait.members if m >= 0))
            for row, wait in progress.waits.items()
        ),
        frozenset((items[row], count) for row, count in progress.in_flight.items()),
    )
    doubt = frozenset((name, frozenset(items)) for name, items in brain._in_doubt._pending.items())
    lead = (
        leading,
        acting,
        ahead,
        woken,
        brain.term,
        brain.pool and (brain.pool.term, brain.pool.leader, brain.pool.metadata.resource_version),
        brain.uid,
        ledger.highest_term,
        brain._finished,
        brain._again,
        brain._started is None,
        target._asked is None,
        frozenset(members[r] for r in brain.outage.awaited),
        brain.outage.braking,
    )
    return (lead, seen, watches, states, rows, primaries, plan, waits, doubt)
