"""Decides what is to be done for one Pool: judge the outage, solve, and take the plan one step further."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

import numpy as np

from berth.controller.metrics import Metrics
from berth.controller.recorder import Recorder
from berth.controller.solving import Solve
from berth.controller.state import PoolState
from berth.pool import Health, Progress, Round, outage, plan_round
from berth.pool.arrays import as_rows
from berth.pool.reasons import reasons
from berth.solve import Touched, held_live

logger = logging.getLogger(__name__)

MAX_TURNS = 3
"""Solves of one round: more than one only if events changed the problem while it was solved."""
RETRY_AFTER = 5.0
"""Seconds after which a solve that went wrong is tried again; twice as many after each further failure."""
MAX_RETRY_AFTER = 60.0


class Planner:
    """The decisions of a Pool's loop. It awaits its solver only, and sends nothing but metrics and Events."""

    def __init__(self, state: PoolState, recorder: Recorder, metrics: Metrics, solve: Solve) -> None:
        self._state = state
        self._recorder = recorder
        self._metrics = metrics
        self._solve = solve
        self._failures = 0
        self.retry_at: float | None = None
        """When the thorough engine is asked again after it has failed; until then quick ones answer."""

    def begin(self) -> None:
        """Forget what an earlier lead has left behind: it may be out of date."""
        state = self._state
        state.solution, state.progress = None, Progress()
        self._failures, self.retry_at = 0, None
        state.handoffs.clear()
        state.fleet.dirty.converge.update(range(len(state.fleet.items)))

    async def solve(self) -> None:
        """Judge outages and bring the target up to date, at the cost of what changed since the last time.

        Events may change the problem while the solver is awaited: it is solved again then, up to
        `MAX_TURNS` times. What is still out of date after that `plan` leaves alone.
        """
        self._judge_outage(time.monotonic())
        for _ in range(MAX_TURNS):
            current = self._state.solution is not None and not self._state.fleet.dirty.problem
            if current and (self.retry_at is None or time.monotonic() < self.retry_at):
                return
            await self._solve_once()
            if self._state.fleet.dirty.problem:
                self._judge_outage(time.monotonic())  # a Member that died meanwhile may be waited for

    async def _solve_once(self) -> None:
        state, fleet = self._state, self._state.fleet
        dirty = fleet.dirty
        problem = fleet.problem()
        ask = self.retry_at is None or time.monotonic() >= self.retry_at
        items, members = dirty.solve_items, dirty.solve_members
        dirty.problem, dirty.solve_items, dirty.solve_members = False, set(), set()
        try:
            touched = None if state.solution is None else Touched(as_rows(items), as_rows(members))
            solution = await self._solve(problem, touched, ask)
        except BaseException:
            dirty.problem = True
            dirty.solve_items |= items
            dirty.solve_members |= members
            raise
        state.solution = solution
        if ask or not solution.trouble:
            self._plan_retry(solution.trouble)
        labels = (state.namespace, state.name)
        self._metrics.solve_seconds.labels(*labels, solution.engine).observe(solution.seconds)
        short = reasons(problem, solution)
        either = short.keys() | state.short.keys()
        dirty.item_status.update(r for r in either if short.get(r) is not state.short.get(r))
        state.short = short
        changed = solution.changed
        dirty.converge.update(range(len(solution.primary)) if changed is None else changed.tolist())

    def _plan_retry(self, trouble: str) -> None:
        """A solve that went wrong is tried again by itself, also if the problem does not change."""
        state = self._state
        if not trouble:
            if self._failures:
                logger.info("pool=%s the solver works again", state)
            self._failures, self.retry_at = 0, None
            return
        self._failures += 1
        delay = min(MAX_RETRY_AFTER, RETRY_AFTER * 2.0 ** min(self._failures - 1, 10))
        self.retry_at = time.monotonic() + delay
        self._metrics.solver_failures.labels(state.namespace, state.name).inc()
        logger.error(
            "pool=%s the solver gave no plan in time, next attempt in %.0f s: %s",
            state,
            delay,
            trouble[:1000],
        )

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
        return items, step

    def _judge_outage(self, now: float) -> None:
        state, fleet = self._state, self._state.fleet
        policy = fleet.policy
        before = state.outage
        # One that never lived, as its process is still starting, has not died either.
        members = [m for m in fleet.members.values() if m.seen is not None and (m.lived or m.entries)]
        one_died = any(m.dead_since is not None for m in members)  # else silence proves nothing
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
        later = {row for row in items if fleet.items.names[row] in blocked} if blocked else set()
        later |= self._out_of_date(items)
        fleet.dirty.converge |= later
        return sorted(items - later)

    def _out_of_date(self, items: set[int]) -> set[int]:
        """Those of the Items whose target an event has overtaken while it was solved.

        A row may even be another Item's or another Member's by now.
        """
        fleet, solution = self._state.fleet, self._state.solution
        assert solution is not None
        if not fleet.dirty.problem:
            return set()
        changed = items & fleet.dirty.solve_items
        rows = np.array([row for row in items - changed if row < len(solution.primary)], dtype=np.int64)
        members = as_rows(fleet.dirty.solve_members)
        concerned = np.isin(solution.members[rows], members).any(axis=1)
        concerned |= np.isin(fleet.arrays.held[rows], members).any(axis=1)
        return changed | set(rows[concerned].tolist())

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
