"""The loop of one Pool: wait for a burst of events, solve, converge, write, and again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter

import numpy as np

from berth.controller.caught_up import caught_up
from berth.controller.metrics import Metrics
from berth.controller.objects import AssignmentObject
from berth.controller.recorder import Recorder
from berth.controller.settle import Unsettled
from berth.controller.state import PoolState
from berth.controller.term import PoolTerm
from berth.controller.writer import RoundWriter, Written
from berth.converge import Health, Lane, Progress, Round, outage, plan_round
from berth.fleet.arrays import as_rows
from berth.kube import ApiError, Backoff, Client, Deadline, Forbidden, Informer, NotFound
from berth.solve import Touched, reasons, solve
from berth.solve.shares import held_live

logger = logging.getLogger(__name__)

PARALLEL_OBJECT_WORK = 16
"""Assignments created or deleted at once."""
MOST_LINES = 1000
"""Changes of a round that are logged one by one at INFO; of more only their number, each at DEBUG.

A line costs 13 us: those of a first placement of 100,000 Items would hold the event loop up for 3 s.
"""


class PoolLoop:
    """Leads one Pool for as long as this process leads."""

    def __init__(
        self,
        state: PoolState,
        client: Client,
        assignments: Informer[AssignmentObject],
        leader: str,
        deadline: Deadline,
        recorder: Recorder,
        metrics: Metrics,
    ) -> None:
        self._state = state
        self._client = client
        self._assignments = assignments
        self._deadline = deadline
        self._recorder = recorder
        self._metrics = metrics
        self._term = PoolTerm(client, state.namespace, state.name, leader, deadline)
        self._writer = RoundWriter(client, state.namespace, state.name)
        self._unsettled = Unsettled(state.fleet, self._writer, self._term)
        self._backoff = Backoff(limit=5.0)
        self._retry_at: float | None = None
        self._version = 0
        self._since: float | None = None

    async def run(self) -> None:
        """Lead until cancelled. Raises Replaced when another leader has the Pool."""
        await self.begin()
        while True:
            # At once at first: what is to be done has waited for a leader long enough.
            await self.once()
            await self._state.batch.wait(self._next_moment())

    async def begin(self) -> None:
        """Take the Pool over. Raises Replaced."""
        state = self._state
        # What an earlier lead left behind may be out of date: begin with everything.
        state.solution, state.progress = None, Progress()
        state.handoffs.clear()
        self._metrics.queue_age.labels(state.namespace, state.name).set_function(lambda: state.batch.age)
        state.fleet.dirty.converge.update(range(len(state.fleet.items)))
        if self._needed():
            await self._take_over()

    async def once(self) -> None:
        """Make one round, as soon as the cache shows all that the one before has written. Raises Replaced."""
        await self._assignments.wait_for(self._version)
        try:
            edited = self._state.fleet.highest_term > self._term.value
            if edited and self._term.pool is not None:
                await self._term.check()  # by the next leader, or else by hand
            if self._term.pool is None or self._pool_gone() or edited:
                if not self._needed():
                    await self._leave()
                    return
                if not await self._take_over():
                    return
            self._state.busy = True
            await self._round()
        except NotFound:
            await self._take_over()
            self._state.batch.wake()
        except ApiError as error:
            self._fail(error)
        finally:
            self._state.busy = False

    def _next_moment(self) -> float | None:
        moments = (self._state.outage.until, self._retry_at)
        return min((at for at in moments if at is not None), default=None)

    def _pool_gone(self) -> bool:
        pool = self._term.pool
        return pool is not None and pool.metadata.uid == self._state.gone

    def _needed(self) -> bool:
        """Whether there is a Pool, or something that names it: else a deleted one stays deleted."""
        state = self._state
        there = state.pool is not None and state.pool.metadata.uid != state.gone
        members = state.fleet.members.values()
        return there or bool(state.fleet.item_seen) or any(m.seen is not None for m in members)

    async def _leave(self) -> None:
        """Delete what Members that are gone have left behind in a Pool that is gone too."""
        fleet, written = self._state.fleet, Written()
        self._since = self._state.batch.take()
        rows, fleet.dirty.assignments = fleet.dirty.assignments, set()
        await self._mend_objects(rows & fleet.members.keys(), written)
        if written.failed:
            self._fail(written.failed[0])

    def _fail(self, error: ApiError) -> None:
        self._metrics.failed_rounds.labels(self._state.namespace, self._state.name).inc()
        self._state.batch.put_back(self._since)
        delay = max(self._backoff.next(), error.retry_after or 0.0)
        self._retry_at = time.monotonic() + delay
        self._state.failure = str(error)
        self._state.status_due.set()
        logger.warning("pool=%s round failed, again in %.1f s: %s", self._state, delay, error)

    async def _take_over(self) -> bool:
        """Raise the term; False where nothing needs the Pool any more, as when its namespace goes."""
        fleet = self._state.fleet
        while self._needed():
            try:
                pool = await self._term.take_over(fleet.highest_term, self._state.pool)
                version = int(pool.metadata.resource_version)
                await caught_up(
                    self._client, self._assignments, self._state.namespace, version, self._deadline
                )
                # A Pool that came back knows nothing; what was written before it went counts all the same.
                if fleet.highest_term <= self._term.value:
                    break
            except ApiError as error:
                delay = max(self._backoff.next(), error.retry_after or 0.0)
                logger.warning("pool=%s cannot take over, again in %.1f s: %s", self._state, delay, error)
                await asyncio.sleep(delay)
        else:
            return False
        self._backoff.reset()
        self._unsettled.forget()
        self._state.term = self._term.value
        fleet.set_policy(pool.policy())
        self._state.item_status = pool.spec.item_status
        logger.info("pool=%s leading in term %d", self._state, self._term.value)
        return True

    # ---- one round -------------------------------------------------------------------------

    async def _round(self) -> None:
        started = time.monotonic()
        self._retry_at = None
        state, fleet = self._state, self._state.fleet
        self._since = state.batch.take()
        await self._settle()
        self._judge_outage(started)
        self._solve()
        assert state.solution is not None
        items = self._items_to_look_at()
        plan = plan_round(
            fleet,
            state.solution,
            items,
            state.progress,
            term=self._term.value + 1,
            now=time.monotonic(),
            braking=state.outage.braking,
        )
        fleet.former.sweep(time.monotonic())
        self._note_handoffs(items)
        fleet.dirty.item_status.update(items)
        objects = fleet.dirty.assignments
        fleet.dirty.assignments = set()
        written = Written()
        try:
            # Before anything is promoted: what an earlier Member's Assignment lists must be gone by then.
            orphans = {row for row in objects if row in fleet.members and fleet.members[row].orphaned}
            await self._mend_objects(orphans, written)
            self._hold_back(plan, orphans & fleet.dirty.assignments, written)
            if plan.writes:
                if plan.raises_term:
                    state.term = await self._term.raise_by_one()
                with state.undisturbed():
                    written.add(await self._writer.write(plan, self._term.value, self._deadline))
            await self._mend_objects(objects - plan.writes.keys() - orphans, written)
        except BaseException:
            fleet.dirty.converge.update(items)
            fleet.dirty.assignments |= objects
            raise
        self._version = max(self._version, written.version)
        lanes = written.lanes()
        self._tell(written, lanes)
        state.rounds += 1
        self._count(lanes, started)
        state.status_due.set()
        await self._after(written)

    async def _settle(self) -> None:
        if not self._unsettled.items():
            return
        version, error = await self._unsettled.settle(self._deadline)
        self._state.term = self._term.value
        self._version = max(self._version, version)
        await self._assignments.wait_for(self._version)
        if error is not None:
            if isinstance(error, Forbidden):
                await self._term.check()
            self._fail(error)

    def _count(self, lanes: Counter[Lane], started: float) -> None:
        state, metrics = self._state, self._metrics
        labels = (state.namespace, state.name)
        metrics.rounds.labels(*labels).inc()
        metrics.round_seconds.labels(*labels).observe(time.monotonic() - started)
        if self._since is not None:
            metrics.queue_seconds.labels(*labels).observe(max(0.0, started - self._since))
        for lane, count in lanes.items():
            metrics.changes.labels(*labels, lane.value).inc(count)

    def _note_handoffs(self, items: list[int]) -> None:
        # Before the round is written: once it is, an Item may look as if it had never lacked anything.
        state, solution = self._state, self._state.solution
        assert solution is not None
        known = np.array([row for row in items if row < len(solution.primary)], dtype=np.int64)
        here = held_live(state.fleet.arrays.problem(), known)
        wanted = solution.members[known] >= 0
        lacking = set(known[here.sum(axis=1) < wanted.sum(axis=1)].tolist())
        for done in state.handoffs.note(items, state.progress.waits, lacking):
            seconds = self._metrics.handoff_seconds.labels(state.namespace, state.name, done.lane.value)
            seconds.observe(done.seconds)

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

    def _solve(self) -> None:
        state, fleet = self._state, self._state.fleet
        dirty = fleet.dirty
        if state.solution is not None and not dirty.problem:
            return
        dirty.problem = False
        problem = fleet.problem()
        touched = Touched(as_rows(dirty.solve_items), as_rows(dirty.solve_members))
        dirty.solve_items, dirty.solve_members = set(), set()
        previous = state.solution
        state.solution = solve(problem, previous, touched)
        labels = (state.namespace, state.name)
        self._metrics.solve_seconds.labels(*labels, state.solution.engine).observe(state.solution.seconds)
        short = reasons(problem, state.solution)
        either = short.keys() | state.short.keys()
        dirty.item_status.update(r for r in either if short.get(r) is not state.short.get(r))
        state.short = short
        changed = state.solution.changed
        rows = range(len(problem.replicas)) if changed is None else changed.tolist()
        dirty.converge.update(rows)

    def _items_to_look_at(self) -> list[int]:
        state, fleet = self._state, self._state.fleet
        items = {row for row in fleet.dirty.converge if row < len(fleet.items)}
        fleet.dirty.converge = set()
        progress = state.progress
        for row, waiting in progress.for_room.items():
            member = fleet.members.get(row)
            if waiting and member is not None and len(member.entries) < member.limit:
                items |= waiting
        if fleet.policy.max_in_flight is not None and progress.for_budget:
            left = max(0, fleet.policy.max_in_flight - progress.moving)
            items.update(sorted(progress.for_budget)[:left])
        for row in [r for r in items if fleet.items.names[r] is None]:
            progress.forget(row)
            state.handoffs.forget(row)
            items.discard(row)
        if blocked := self._unsettled.items():
            later = {row for row in items if fleet.items.names[row] in blocked}
            fleet.dirty.converge |= later
            items -= later
        return sorted(items)

    async def _mend_objects(self, rows: set[int], written: Written) -> None:
        """Create, replace, delete or rewrite Assignments that need it whatever the Items do."""
        gate = asyncio.Semaphore(PARALLEL_OBJECT_WORK)

        async def mend(row: int) -> None:
            member = self._state.fleet.members.get(row)
            if member is None:
                return
            async with gate:
                try:
                    if member.assignment is not None and not member.owned:
                        await self._writer.remove(member, self._deadline)
                    elif member.seen is not None and (member.assignment is None or member.malformed):
                        self._recorder.malformed(self._state, member)
                        version = await self._writer.put(
                            member, member.entries, self._term.value, self._deadline
                        )
                        written.version = max(written.version, version)
                except ApiError as error:
                    if not isinstance(error, NotFound):
                        written.failed.append(error)
                        self._state.fleet.dirty.assignments.add(row)

        async with asyncio.TaskGroup() as group:
            for row in sorted(rows):
                group.create_task(mend(row))

    def _hold_back(self, plan: Round, orphans: set[int], written: Written) -> None:
        """Leave out promotions of Items that an Assignment which could not be deleted still lists."""
        listed: set[str] = set()
        for row in orphans:
            member = self._state.fleet.members.get(row)
            if member is not None and member.assignment is not None:
                listed.update(text.partition("#")[0] for text in member.assignment.items)
        if not listed:
            return
        for row, edits in list(plan.writes.items()):
            kept = [e for e in edits if e.item not in listed or e.entry is None or e.entry.slot]
            written.again.update(e.item for e in edits if e not in kept)
            plan.writes[row] = kept
            if not kept:
                del plan.writes[row]

    def _tell(self, written: Written, lanes: Counter[Lane]) -> None:
        many = lanes.total() > MOST_LINES
        if many:
            counts = " ".join(f"{lane.value}={count}" for lane, count in sorted(lanes.items()))
            logger.info("pool=%s members=%d %s", self._state, len(written.accepted), counts)
        level = logging.DEBUG if many else logging.INFO
        if not logger.isEnabledFor(level):
            return
        for member, edits in written.accepted:
            for item, entry, _, lane in edits:
                logger.log(
                    level,
                    "pool=%s item=%s member=%s lane=%s %s",
                    self._state,
                    item,
                    member,
                    lane.value,
                    f"slot={entry.slot} grant={entry.grant} epoch={entry.epoch}" if entry else "removed",
                )

    async def _after(self, written: Written) -> None:
        fleet = self._state.fleet
        self._unsettled.note(written)
        fleet.dirty.converge.update(fleet.items.of[name] for name in written.again if name in fleet.items.of)
        if not written.failed:
            self._backoff.reset()
            self._state.failure = ""
            if written.again:
                self._state.batch.wake()
            return
        if any(isinstance(error, Forbidden) for error in written.failed):
            await self._term.check()
        self._fail(written.failed[0])
