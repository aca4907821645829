"""The loop of one Pool: wait for a burst of events, solve, converge, write, and again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter

from berth.controller.batch import QUIET
from berth.controller.caught_up import caught_up
from berth.controller.metrics import Metrics
from berth.controller.objects import AssignmentObject
from berth.controller.planner import Planner
from berth.controller.recorder import Recorder
from berth.controller.sessions import AGAIN_AFTER, confirm_sessions
from berth.controller.settle import Unsettled
from berth.controller.state import PoolState
from berth.controller.term import PoolTerm
from berth.controller.writer import RoundWriter, Written
from berth.converge import Lane, Round
from berth.kube import ApiError, Backoff, Client, Deadline, Forbidden, Informer, NotFound

logger = logging.getLogger(__name__)

ON_ITS_WAY = 0.001
"""Seconds after which a request has left, and the event loop may be held up without delaying it."""
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
        self._planner = Planner(state, recorder, metrics)
        self._term = PoolTerm(client, state.namespace, state.name, leader, deadline)
        self._writer = RoundWriter(client, state.namespace, state.name)
        self._unsettled = Unsettled(state.fleet, self._writer, self._term)
        self._backoff = Backoff(limit=5.0)
        self._retry_at: float | None = None
        self._version = 0
        self._since: float | None = None

    async def run(self) -> None:
        """Lead until cancelled. Raises Replaced when another leader has the Pool."""
        try:
            await self.begin()
            while True:
                # At once at first: what is to be done has waited for a leader long enough.
                await self.once()
                await self._state.batch.wait(self._next_moment(), self.think_ahead)
        finally:
            self._term.abandon()

    async def begin(self) -> None:
        """Take the Pool over. Raises Replaced."""
        state = self._state
        self._planner.begin()
        self._metrics.queue_age.labels(state.namespace, state.name).set_function(lambda: state.batch.age)
        if self._needed():
            await self._take_over()

    def think_ahead(self) -> None:
        """Solve already while a burst may go on, and raise the term where its round will grant.

        Not where solving takes longer than the quiet: then it would hold up what it should speed up.
        """
        target = self._state.solution
        quick = target is not None and target.seconds < QUIET
        leads = self._term.pool is not None and not self._pool_gone()
        if quick and leads and not self._unsettled.items() and self._assignments.has_seen(self._version):
            self._prepare()

    def _prepare(self) -> None:
        """Solve, and begin to raise the term where the next round will grant."""
        self._planner.solve()
        if self._planner.expects_grants:
            self._term.reserve()

    async def once(self) -> None:
        """Make one round, as soon as the cache shows all that the one before has written. Raises Replaced."""
        await self._assignments.wait_for(self._version)
        try:
            upcoming = await self._term.upcoming()
            edited = self._state.fleet.highest_term >= upcoming
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
                await self._term.upcoming()  # which an attempt before this one may have begun to raise
                thinking = asyncio.get_running_loop().call_later(ON_ITS_WAY, self._planner.solve)
                try:
                    pool = await self._term.take_over(fleet.highest_term, self._state.pool)
                finally:
                    thinking.cancel()
                fleet.set_policy(pool.policy())
                self._state.item_status = pool.spec.item_status
                self._prepare()
                version = int(pool.metadata.resource_version)
                await caught_up(
                    self._client, self._assignments, self._state.namespace, version, self._deadline
                )
                # What was seen only now changes what is held, and so the target.
                fleet.dirty.problem |= bool(fleet.dirty.solve_items)
                # A Pool that came back knows nothing; what was written before it went counts all the same.
                if fleet.highest_term < await self._term.upcoming():
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
        logger.info("pool=%s leading in term %d", self._state, self._term.value)
        return True

    # ---- one round -------------------------------------------------------------------------

    async def _round(self) -> None:
        started = time.monotonic()
        self._retry_at = None
        state, fleet = self._state, self._state.fleet
        self._since = state.batch.take()
        await self._settle()
        if await confirm_sessions(self._client, state, self._deadline, time.monotonic):
            self._retry_at = time.monotonic() + AGAIN_AFTER
        term = await self._term.upcoming()
        self._planner.solve()
        items, plan = self._planner.plan(term, self._unsettled.items())
        objects = fleet.dirty.assignments
        fleet.dirty.assignments = set()
        written = Written()
        try:
            # Before anything is promoted: what an earlier Member's Assignment lists must be gone by then.
            orphans = {row for row in objects if row in fleet.members and fleet.members[row].orphaned}
            await self._mend_objects(orphans, written)
            self._hold_back(plan, orphans & fleet.dirty.assignments, written)
            if plan.writes and plan.raises_term:
                state.term = await self._term.claim()
            else:
                self._term.spend()
            if plan.writes:
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
                    elif member.seen is not None and (
                        member.assignment is None or member.malformed or member.unstamped
                    ):
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
