"""The loop of one Pool: wait for a burst of events, solve, converge, write, and again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable

from berth.controller.assignments import AssignmentObjects, Repaired
from berth.controller.caught_up import caught_up
from berth.controller.metrics import Metrics
from berth.controller.planner import Planner
from berth.controller.recorder import Recorder
from berth.controller.round_log import log_round
from berth.controller.sessions import AGAIN_AFTER, confirm_sessions
from berth.controller.settle import Unsettled
from berth.controller.solving import Solve
from berth.controller.state import PoolState
from berth.controller.term import PoolTerm
from berth.controller.writer import RoundWriter, Written
from berth.kinds import AssignmentObject
from berth.kube import ApiError, Backoff, Client, Deadline, Forbidden, Informer, NotFound
from berth.pool import Lane, Round, policy_of

logger = logging.getLogger(__name__)


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
        solve: Solve,
    ) -> None:
        self._state = state
        self._client = client
        self._assignments = assignments
        self._deadline = deadline
        self._metrics = metrics
        self._planner = Planner(state, recorder, metrics, solve)
        self._term = PoolTerm(client, state.namespace, state.name, leader, deadline)
        self._writer = RoundWriter(client, state.namespace, state.name)
        self._objects = AssignmentObjects(state, self._writer, deadline, recorder)
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
        self._planner.begin()
        self._metrics.queue_age.labels(state.namespace, state.name).set_function(lambda: state.batch.age)
        if self._needed():
            await self._take_over()

    async def once(self) -> None:
        """Make one round, as soon as the cache shows all that the one before has written. Raises Replaced."""
        await self._assignments.wait_for(self._version)
        try:
            if not self._lost() or await self._regain():
                await self._round()
        except NotFound:
            await self._take_over()
            self._state.batch.wake()
        except ApiError as error:
            self._fail(error)
        finally:
            self._state.busy = False

    def _next_moment(self) -> float | None:
        moments = (self._state.outage.until, self._retry_at, self._planner.retry_at)
        return min((at for at in moments if at is not None), default=None)

    # ---- taking over -----------------------------------------------------------------------

    def _lost(self) -> bool:
        """Whether the Pool must be taken over (again): it is gone, or others have written in later terms."""
        term = self._term
        return term.uid in ("", self._state.gone) or self._state.fleet.highest_term > term.value

    async def _regain(self) -> bool:
        """Take the Pool over; False if nothing needs it any more. Raises Replaced."""
        if self._term.uid and self._state.fleet.highest_term > self._term.value:
            await self._term.check()  # written by the next leader, or else by hand
        if self._needed():
            return await self._take_over()
        await self._leave()
        return False

    def _needed(self) -> bool:
        """Whether there is a Pool, or something that names it: else a deleted one stays deleted."""
        state = self._state
        there = state.pool is not None and state.pool.metadata.uid != state.gone
        members = state.fleet.members.values()
        return there or bool(state.fleet.item_seen) or any(m.seen is not None for m in members)

    async def _take_over(self) -> bool:
        """Raise the term; False if nothing needs the Pool any more, as when its namespace goes."""
        state, fleet = self._state, self._state.fleet
        while self._needed():
            try:
                pool = await self._term.take_over(fleet.highest_term, state.pool)
                fleet.set_policy(policy_of(pool))
                version = int(pool.metadata.resource_version)
                await caught_up(self._client, self._assignments, state.namespace, version, self._deadline)
                # A Pool that came back knows nothing; what was written before it went counts all the same.
                if fleet.highest_term <= self._term.value:
                    break
            except ApiError as error:
                delay = max(self._backoff.next(), error.retry_after or 0.0)
                logger.warning("pool=%s cannot take over, again in %.1f s: %s", state, delay, error)
                await asyncio.sleep(delay)
        else:
            return False
        self._backoff.reset()
        self._unsettled.forget()
        self._metrics.term.labels(state.namespace, state.name).set_function(lambda: self._term.value)
        logger.info("pool=%s leading in term %d", state, self._term.value)
        return True

    async def _leave(self) -> None:
        """Delete what Members that are gone have left behind in a Pool that is gone too."""
        fleet = self._state.fleet
        self._since = self._state.batch.take()
        rows, fleet.dirty.assignments = fleet.dirty.assignments, set()
        repaired = await self._objects.repair(rows, self._term.value)
        if repaired.failed:
            fleet.dirty.assignments.update(repaired.failed)
            self._fail(next(iter(repaired.failed.values())))

    # ---- one round -------------------------------------------------------------------------

    async def _round(self) -> None:
        started = time.monotonic()
        self._retry_at = None
        state, fleet = self._state, self._state.fleet
        self._since = state.batch.take()
        await self._settle()
        if await confirm_sessions(self._client, state, self._deadline, time.monotonic):
            self._retry_at = time.monotonic() + AGAIN_AFTER
        await self._planner.solve()
        if self._lost():  # by an event that came while it was solved
            state.batch.put_back(self._since)
            state.batch.wake()
            return
        state.busy = True
        items, plan = self._planner.plan(self._term.value + 1, self._unsettled.items())
        objects, fleet.dirty.assignments = fleet.dirty.assignments, set()
        try:
            written = await self._write(plan, objects)
        except BaseException:
            fleet.dirty.converge.update(items)
            fleet.dirty.assignments |= objects
            raise
        if fleet.dirty.problem:
            state.batch.wake()  # what was out of date when this was planned
        self._version = max(self._version, written.version)
        lanes = written.lanes()
        log_round(str(state), written.accepted, lanes)
        state.rounds += 1
        self._count(lanes, started)
        state.status_due.set()
        await self._after(written)

    async def _write(self, plan: Round, objects: set[int]) -> Written:
        """Write the round, and repair the Assignments of the Member rows `objects`."""
        state, fleet, written = self._state, self._state.fleet, Written()
        # Before anything is promoted: what an earlier Member's Assignment lists must be gone by then.
        orphans = {row for row in objects if row in fleet.members and fleet.members[row].orphaned}
        repaired = await self._objects.repair(orphans, self._term.value)
        self._add(repaired, written)
        self._hold_back(plan, repaired.failed.keys(), written)
        if plan.writes and plan.raises_term:
            await self._term.raise_by_one()
        if plan.writes:
            with state.undisturbed():
                written.add(await self._writer.write(plan, self._term.value, self._deadline))
        rest = objects - plan.writes.keys() - orphans
        self._add(await self._objects.repair(rest, self._term.value), written)
        return written

    def _add(self, repaired: Repaired, written: Written) -> None:
        self._state.fleet.dirty.assignments.update(repaired.failed)
        written.failed += repaired.failed.values()
        written.version = max(written.version, repaired.version)

    async def _settle(self) -> None:
        if not self._unsettled.items():
            return
        version, error = await self._unsettled.settle(self._deadline)
        self._version = max(self._version, version)
        await self._assignments.wait_for(self._version)
        if error is not None:
            if isinstance(error, Forbidden):
                await self._term.check()
            self._fail(error)

    def _hold_back(self, plan: Round, orphans: Iterable[int], written: Written) -> None:
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

    # ---- what came of it -------------------------------------------------------------------

    def _count(self, lanes: Counter[Lane], started: float) -> None:
        state, metrics = self._state, self._metrics
        labels = (state.namespace, state.name)
        metrics.rounds.labels(*labels).inc()
        metrics.round_seconds.labels(*labels).observe(time.monotonic() - started)
        if self._since is not None:
            metrics.queue_seconds.labels(*labels).observe(max(0.0, started - self._since))
        for lane, count in lanes.items():
            metrics.changes.labels(*labels, lane.value).inc(count)

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

    def _fail(self, error: ApiError) -> None:
        self._metrics.failed_rounds.labels(self._state.namespace, self._state.name).inc()
        self._state.batch.put_back(self._since)
        delay = max(self._backoff.next(), error.retry_after or 0.0)
        self._retry_at = time.monotonic() + delay
        self._state.failure = str(error)
        self._state.status_due.set()
        logger.warning("pool=%s round failed, again in %.1f s: %s", self._state, delay, error)
