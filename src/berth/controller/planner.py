"""Decides what is to be done for one Pool: judge the outage, solve, and take the plan one step further."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from berth.controller.metrics import Metrics
from berth.controller.recorder import Recorder
from berth.controller.state import PoolState
from berth.converge import Health, Progress, Round, new_in, outage, plan_round
from berth.fleet.arrays import as_rows
from berth.solve import Touched, reasons, solve
from berth.solve.shares import held_live


class Planner:
    """The decisions of a Pool's loop. It awaits nothing and sends nothing but metrics and Events."""

    def __init__(self, state: PoolState, recorder: Recorder, metrics: Metrics) -> None:
        self._state = state
        self._recorder = recorder
        self._metrics = metrics
        self.expects_grants = False
        """Whether the next round will most likely grant: Items came to lack a replica that can be given."""

    def begin(self) -> None:
        """Forget what an earlier lead has left behind: it may be out of date."""
        state = self._state
        state.solution, state.progress = None, Progress()
        state.handoffs.clear()
        state.fleet.dirty.converge.update(range(len(state.fleet.items)))
        self.expects_grants = False

    def solve(self) -> None:
        """Judge outages and bring the target up to date, at the cost of what changed since the last time."""
        self._judge_outage(time.monotonic())
        state, fleet = self._state, self._state.fleet
        dirty = fleet.dirty
        if state.solution is not None and not dirty.problem:
            return
        problem = fleet.problem()
        touched = Touched(as_rows(dirty.solve_items), as_rows(dirty.solve_members))
        previous = state.solution
        state.solution = solve(problem, previous, touched)
        dirty.problem = False
        dirty.solve_items, dirty.solve_members = set(), set()
        labels = (state.namespace, state.name)
        self._metrics.solve_seconds.labels(*labels, state.solution.engine).observe(state.solution.seconds)
        short = reasons(problem, state.solution)
        either = short.keys() | state.short.keys()
        dirty.item_status.update(r for r in either if short.get(r) is not state.short.get(r))
        state.short = short
        changed = state.solution.changed
        rows = range(len(problem.replicas)) if changed is None else changed.tolist()
        dirty.converge.update(rows)
        self.expects_grants |= self._can_gain(self._lacking(rows))

    def plan(self, term: int, blocked: set[str]) -> tuple[list[int], Round]:
        """The Items to look at, by row, and the step that the rules allow them; it grants in `term`.

        `blocked` names Items that are left alone until a later round. Needs a solution.
        """
        state, fleet = self._state, self._state.fleet
        assert state.solution is not None
        items = self._items_to_look_at(blocked)
        now = time.monotonic()
        step = plan_round(
            fleet, state.solution, items, state.progress, term=term, now=now, braking=state.outage.braking
        )
        fleet.former.sweep(now)
        self._note_handoffs(items)
        fleet.dirty.item_status.update(items)
        self.expects_grants = False
        return items, step

    def _judge_outage(self, now: float) -> None:
        state, fleet = self._state, self._state.fleet
        policy = fleet.policy
        before = state.outage
        # One that never lived, as its process is still starting, has not died either.
        members = [m for m in fleet.members.values() if m.seen is not None and (m.lived or m.entries)]
        one_died = any(m.dead_since is not None for m in members)  # else silence tells nothing
        state.outage = outage(
            (
                Health(
                    m.row,
                    m.dead_since,
                    len(m.entries),
                    *(fleet.leases.silence(m.seen.lease or "", now) if one_died and m.seen else ()),
                )
                for m in members
            ),
            now,
            delay=policy.outage_delay,
            brake_percent=policy.brake_percent,
            brake_min_members=policy.brake_min_members,
        )
        # All of them: one that came back and died again in between has to be told anew.
        for row in before.kept | state.outage.kept:
            if row in fleet.members:
                fleet.keep(row, row in state.outage.kept)
        if before.braking != state.outage.braking:
            fleet.dirty.converge.update(state.progress.waits)
            self._recorder.brake(state, state.outage)

    def _items_to_look_at(self, blocked: set[str]) -> list[int]:
        state, fleet = self._state, self._state.fleet
        items = {row for row in fleet.dirty.converge if row < len(fleet.items)}
        fleet.dirty.converge = set()
        progress = state.progress
        for row, waiting in progress.for_room.items():
            member = fleet.members.get(row)
            if waiting and member is not None and len(member.entries) < member.limit:
                items |= waiting
        for row in fleet.sessions.restarted:
            member = fleet.members[row]
            if member.restarted:  # all its entries in one write, or its new session gets none of them
                items.update(fleet.items.of[name] for name in member.entries)
        if fleet.policy.max_in_flight is not None and progress.for_budget:
            left = max(0, fleet.policy.max_in_flight - progress.moving)
            items.update(sorted(progress.for_budget)[:left])
        for row in [r for r in items if fleet.items.names[r] is None]:
            progress.forget(row)
            state.handoffs.forget(row)
            items.discard(row)
        if blocked:
            later = {row for row in items if fleet.items.names[row] in blocked}
            fleet.dirty.converge |= later
            items -= later
        return sorted(items)

    def _note_handoffs(self, items: list[int]) -> None:
        # Before the round is written: once it is, an Item may look as if it had never lacked anything.
        state = self._state
        for done in state.handoffs.note(items, state.progress.waits, self._lacking(items)):
            seconds = self._metrics.handoff_seconds.labels(state.namespace, state.name, done.lane.value)
            seconds.observe(done.seconds)

    def _lacking(self, items: Iterable[int]) -> set[int]:
        """Those of the Items that have fewer live replicas than the target gives them."""
        solution = self._state.solution
        assert solution is not None
        known = np.array([row for row in items if row < len(solution.primary)], dtype=np.int64)
        here = held_live(self._state.fleet.arrays.problem(), known)
        wanted = solution.members[known] >= 0
        return set(known[here.sum(axis=1) < wanted.sum(axis=1)].tolist())

    def _can_gain(self, items: set[int]) -> bool:
        """Whether any of the Items is to go to a Member that has an Assignment already."""
        fleet, solution = self._state.fleet, self._state.solution
        assert solution is not None
        return any(fleet.members[row].owned for row in np.unique(new_in(fleet, solution, items)).tolist())
