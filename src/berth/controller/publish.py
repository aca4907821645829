"""Publishes log lines, Events, metrics and statuses of a Pool, without delaying placement."""

import asyncio
import logging
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from prometheus_client import Gauge

from berth import kube
from berth.controller.follow import Clock, FollowedPool, Follower, Sleep
from berth.controller.metrics import Metrics
from berth.controller.writes import write_all
from berth.kinds import API_VERSION, PoolObject
from berth.pool import (
    Arrived,
    Fact,
    Failed,
    LogLine,
    Notice,
    RoundMade,
    Solved,
    Status,
    Statuses,
    StatusWrite,
    Write,
)

logger = logging.getLogger(__name__)

MAX_LINES = 1000
"""Up to this many changes of a round are logged one by one at INFO; if there are more, at DEBUG.

A line costs 13 us: those of a first placement of 100,000 Items would block the event loop for 3 s.
"""
RATE = 200.0
"""Status writes per second, for one Pool."""
PARALLEL = 4
"""Status writes in flight at once."""
PAUSE = 0.25
"""Seconds before each pass, to collect changes."""
STEP = 0.05
"""Seconds between two checks whether Assignments are being written."""
STAND_BACK = 20
"""Checks for which a status waits while Assignments are being written; then it is written anyway."""
STAND_BACK_PASS = 200
"""The same before a pass, which itself takes a while."""
CHUNK = 64
"""Items whose statuses are compared before other tasks get their turn."""
QUEUE = 1000
"""Maximum number of Events that wait to be written."""
AGAIN_AFTER = 300.0
"""Seconds during which the same Event of the same object is recorded only once."""


@dataclass
class Publisher:
    """Publishes the facts and the statuses of one Pool while this process leads it."""

    pool: FollowedPool
    follower: Follower
    client: kube.Client
    deadline: kube.Deadline
    recorder: "Recorder"
    metrics: Metrics
    clock: Clock = time.monotonic
    sleep: Sleep = asyncio.sleep

    def __post_init__(self) -> None:
        brain = self._brain = self.pool.brain
        self._statuses = Statuses(brain)
        self._labels = (brain.namespace, brain.name)
        self._due = asyncio.Event()
        self._backoff = kube.Backoff(limit=5.0)
        self._next_slot = 0.0
        self._reasons: defaultdict[Gauge, set[str]] = defaultdict(set)
        """The reasons for which a metric has a series of this Pool."""
        self.metrics.queue_age.labels(*self._labels).set_function(lambda: brain.age(self.clock()))

    # ---- facts -----------------------------------------------------------------------------

    def publish(self, facts: Iterable[Fact]) -> None:
        """Publish the facts of a decision or an outcome; `run` then writes the statuses."""
        self._due.set()
        for fact in facts:
            self._publish(fact)

    def _publish(self, fact: Fact) -> None:
        metrics, labels = self.metrics, self._labels
        match fact:
            case Notice():
                self.recorder.record(self._brain.namespace, fact)
            case LogLine(level, message):
                getattr(logger, level)("pool=%s %s", self._brain, message)
            case Solved(engine, seconds, failed):
                metrics.solve_seconds.labels(*labels, engine).observe(seconds)
                metrics.solver_failures.labels(*labels).inc(failed)
            case Arrived(lane, seconds):
                metrics.handoff_seconds.labels(*labels, lane.value).observe(seconds)
            case RoundMade():
                self._publish_round(fact)
            case Failed(message, retry_in):
                metrics.failed_rounds.labels(*labels).inc()
                logger.warning("pool=%s round failed, retrying in %.1f s: %s", self._brain, retry_in, message)

    def _publish_round(self, made: RoundMade) -> None:
        metrics, labels = self.metrics, self._labels
        metrics.rounds.labels(*labels).inc()
        metrics.round_seconds.labels(*labels).observe(made.seconds)
        if made.queued is not None:
            metrics.queue_seconds.labels(*labels).observe(made.queued)
        lanes = made.lanes
        for lane, count in lanes.items():
            metrics.changes.labels(*labels, lane.value).inc(count)
        many = lanes.total() > MAX_LINES
        if many:
            counts = " ".join(f"{lane.value}={count}" for lane, count in sorted(lanes.items()))
            logger.info("pool=%s members=%d %s", self._brain, len(made.accepted), counts)
        _log_changes(str(self._brain), made.accepted, logging.DEBUG if many else logging.INFO)

    # ---- statuses --------------------------------------------------------------------------

    async def run(self) -> None:
        """Write statuses until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            await self.sleep(PAUSE)
            await self._stand_back(STAND_BACK_PASS)
            errors = []
            for write in (self._write_members, self._write_pool, self._write_items):
                try:
                    await write()
                except kube.ApiError as error:  # of one kind: the others are written anyway
                    errors.append(error)
            if not errors:
                self._backoff.reset()
                continue
            delay = max(self._backoff.next(), *(failure.retry_after or 0.0 for failure in errors))
            for failure in errors:
                level = logging.WARNING if isinstance(failure, kube.Forbidden) else logging.INFO
                text = "pool=%s cannot write a status, next attempt in %.1f s: %s"
                logger.log(level, text, self._brain, delay, failure)
            await self.sleep(delay)
            self._due.set()

    async def _write_members(self) -> None:
        store = self.follower.informer(kube.MEMBERS, self._brain.namespace).store
        writes, notices = self._statuses.members(store, timestamp())
        for notice in notices:
            self.recorder.record(self._brain.namespace, notice)
        await self._write(kube.MEMBERS, writes, lambda rows: self._statuses.put_back(members=rows))

    async def _write_items(self) -> None:
        store = self.follower.informer(kube.ITEMS, self._brain.namespace).store
        rows = self._statuses.take_items()
        for start in range(0, len(rows), CHUNK):
            writes = self._statuses.items(rows[start : start + CHUNK], store, timestamp())
            try:
                await self._write(kube.ITEMS, writes, lambda rows: self._statuses.put_back(items=rows))
            except kube.ApiError:
                self._statuses.put_back(items=rows[start + CHUNK :])
                raise
            # For a new leader this is every Item, mostly without a write that would let other tasks run.
            await self.sleep(0)

    async def _write(
        self, resource: kube.Resource, writes: Iterable[StatusWrite], put_back: Callable[[set[int]], None]
    ) -> None:
        """Write these statuses. `put_back` gets the rows of those that fail; the first error is raised."""
        work = ((one.row, partial(self._write_in_turn, resource, one)) for one in writes)
        failed = await write_all(work, PARALLEL)
        put_back(set(failed))
        if failed:
            raise next(iter(failed.values()))

    async def _write_in_turn(self, resource: kube.Resource, write: StatusWrite) -> None:
        await self._stand_back(STAND_BACK)
        now = self.clock()
        self._next_slot = max(now, self._next_slot + 1.0 / RATE)
        if self._next_slot > now:
            await self.sleep(self._next_slot - now)
        await self._patch(resource, write.name, write.status)

    async def _patch(self, resource: kube.Resource, name: str, status: Status | None) -> None:
        path = resource.path(self._brain.namespace, name, "status")
        await self.client.patch(path, {"status": status}, kind="merge", deadline=self.deadline)

    async def _stand_back(self, steps: int) -> None:
        for _ in range(steps):
            if not self._brain.writing:
                break
            await self.sleep(STEP)

    async def _write_pool(self) -> None:
        brain = self._brain
        # Read each time, as its conditions are not watched: it is one Pool, at most a few times a second.
        path = kube.POOLS.path(brain.namespace, brain.name)
        try:
            pool = await self.client.get(path, type=PoolObject, deadline=self.deadline)
        except kube.NotFound:
            self.pool.burst.wake()
            return
        unusable = self.follower.unusable(brain.namespace)
        status, changed = self._statuses.pool(unusable, pool.status, pool.metadata.generation, timestamp())
        self._export(status)
        if changed:
            await self._patch(kube.POOLS, brain.name, status)

    def _export(self, status: Status) -> None:
        metrics, labels, brain = self.metrics, self._labels, self._brain
        members = [member for member in brain.ledger.members.values() if member.info is not None]
        metrics.term.labels(*labels).set(brain.term)
        metrics.items.labels(*labels).set(status["items"])
        metrics.members.labels(*labels).set(len(members))
        metrics.live_members.labels(*labels).set(sum(member.live for member in members))
        metrics.limits.labels(*labels).set(sum(member.limit for member in members if member.live))
        for name, value in status["slots"].items():
            metrics.slots.labels(*labels, name).set(value)
        short = Counter(reason.value for reason in brain.target.short.values())
        waiting = Counter(wait.why.value for wait in brain.progress.waits.values())
        for gauge, counts in ((metrics.unplaced, short), (metrics.waiting, waiting)):
            self._reasons[gauge].update(counts)
            for reason in self._reasons[gauge]:  # 0 for one that no longer applies
                gauge.labels(*labels, reason).set(counts[reason])
        oldest = brain.progress.oldest(self.clock())
        for reason in self._reasons[metrics.oldest_wait] - oldest.keys():
            metrics.oldest_wait.remove(*labels, reason)
        self._reasons[metrics.oldest_wait] = set(oldest)
        for reason, age in oldest.items():
            metrics.oldest_wait.labels(*labels, reason).set(time.time() - age)
        metrics.moves_in_flight.labels(*labels).set(brain.progress.moving)
        metrics.paused.labels(*labels).set(brain.outage.braking)


def _log_changes(pool: str, accepted: list[Write], level: int) -> None:
    if not logger.isEnabledFor(level):
        return
    for write in accepted:
        member = write.member.name
        for item, entry, _, lane in write.edits:
            what = f"slot={entry.slot} grant={entry.grant} epoch={entry.epoch}" if entry else "removed"
            logger.log(level, "pool=%s item=%s member=%s lane=%s %s", pool, item, member, lane.value, what)


class Recorder:
    """Queues Events and writes them one after the other; it drops those that do not fit in the queue."""

    def __init__(self, client: kube.Client, leader: str, clock: Clock = time.monotonic) -> None:
        self._client = client
        self._leader = leader
        self._clock = clock
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(QUEUE)
        self._recorded: dict[tuple[str, ...], float] = {}

    async def run(self) -> None:
        """Write queued Events until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._client.create(kube.EVENTS.path(event["metadata"]["namespace"]), event)
            except kube.ApiError as error:
                logger.info("the API server refused an Event: %s", error)

    def record(self, namespace: str, notice: Notice) -> None:
        """Queue an Event about an object, unless the same one was recorded recently."""
        now = self._clock()
        kind, name, uid, reason, message, warning = notice
        key = (kind, namespace, name, reason, message)
        if now - self._recorded.get(key, -AGAIN_AFTER) < AGAIN_AFTER:
            return
        if len(self._recorded) > 10 * QUEUE:
            self._recorded = {k: at for k, at in self._recorded.items() if now - at < AGAIN_AFTER}
        self._recorded[key] = now
        stamp = timestamp()
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{name[:200]}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": kind,
                "namespace": namespace,
                "name": name,
                "uid": uid,
            },
            "reason": reason,
            "message": message[:1000],
            "type": "Warning" if warning else "Normal",
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "source": {"component": "berth"},
            "reportingComponent": "berth.dev/controller",
            "reportingInstance": self._leader[:128],
        }
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            logger.info("too many Events; dropping: %s", message)


def timestamp() -> str:
    """The present time in the format of conditions and Events."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
