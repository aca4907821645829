"""Writes statuses lazily: at a bounded rate, only what changed, never in the way of placement."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import cache
from typing import Any

import msgspec
from prometheus_client import Gauge

from berth.controller.cluster import Cluster
from berth.controller.metrics import Metrics
from berth.controller.recorder import Recorder
from berth.controller.state import PoolState
from berth.controller.statuses import Status, item_status, member_status, pool_status
from berth.kinds import ItemStatusMode, PoolObject, ReadCondition
from berth.kube import (
    ITEMS,
    MEMBERS,
    POOLS,
    ApiError,
    Backoff,
    Client,
    Deadline,
    Forbidden,
    NotFound,
    Resource,
)

logger = logging.getLogger(__name__)

RATE = 200.0
"""Status writes per second, for one Pool."""
PARALLEL = 4
PAUSE = 0.25
"""Seconds between two passes, in which changes gather."""
STEP = 0.05
STAND_BACK = 20
"""Steps for which a status waits while a round is under way; then it is written all the same."""
STAND_BACK_PASS = 200
"""The same before a pass, which looks at everything that is dirty and takes a while of its own."""


class StatusWriter:
    """Writes the statuses of one Pool while this process leads it."""

    def __init__(
        self,
        state: PoolState,
        cluster: Cluster,
        client: Client,
        deadline: Deadline,
        recorder: Recorder,
        metrics: Metrics,
    ) -> None:
        self._state = state
        self._cluster = cluster
        self._client = client
        self._deadline = deadline
        self._recorder = recorder
        self._metrics = metrics
        self._backoff = Backoff(limit=5.0)
        self._ready: dict[str, int] = {}
        self._next_slot = 0.0

    async def run(self) -> None:
        """Write until cancelled."""
        state = self._state
        dirty = state.fleet.dirty
        dirty.member_status.update(state.fleet.members)
        dirty.item_status.update(state.fleet.item_seen)
        while True:
            await state.status_due.wait()
            state.status_due.clear()
            await asyncio.sleep(PAUSE)
            await self._stand_back(STAND_BACK_PASS)
            errors: list[ApiError] = []
            for write in (self._members, self._pool, self._items):
                try:
                    await write()
                except ApiError as error:  # of one kind: the others are written all the same
                    errors.append(error)
            if not errors:
                self._backoff.reset()
                continue
            delay = max(self._backoff.next(), *(e.retry_after or 0.0 for e in errors))
            for one in errors:
                level = logging.WARNING if isinstance(one, Forbidden) else logging.INFO
                logger.log(level, "pool=%s a status was not written, again in %.1f s: %s", state, delay, one)
            await asyncio.sleep(delay)
            state.status_due.set()

    async def _members(self) -> None:
        state = self._state
        rows, state.fleet.dirty.member_status = sorted(state.fleet.dirty.member_status), set()
        store = self._cluster.informer_of(self._cluster.members, state.namespace).store
        work: list[tuple[Resource, str, Status | None, int]] = []
        for row in rows:
            member = state.fleet.members.get(row)
            seen = store.get((state.namespace, member.name)) if member else None
            if member is None or member.seen is None or seen is None:
                if member is not None:
                    self._ready.pop(member.name, None)
                continue
            old = seen.status
            status = member_status(member, old.conditions if old else ())
            self._ready[member.name] = status["ready"]
            was_live = _holds(old.conditions, "Live") if old else None
            if was_live and not member.live:
                message = status["conditions"][0]["message"]
                reason = status["conditions"][0]["reason"]
                self._recorder.say("Member", state.namespace, member.name, member.seen.uid, reason, message)
            if not same_status(status, old):
                work.append((MEMBERS, member.name, status, row))
        await self._write(work, state.fleet.dirty.member_status)

    async def _items(self) -> None:
        state = self._state
        rows, state.fleet.dirty.item_status = sorted(state.fleet.dirty.item_status), set()
        store = self._cluster.informer_of(self._cluster.items, state.namespace).store
        mode = state.fleet.policy.item_status
        for start in range(0, len(rows), 64):
            work: list[tuple[Resource, str, Status | None, int]] = []
            for row in rows[start : start + 64]:
                item = state.fleet.item_seen.get(row)
                seen = store.get((state.namespace, item.name)) if item else None
                if item is None or seen is None:
                    continue
                old = seen.status
                if mode is ItemStatusMode.NONE:
                    if old is not None:
                        # What is not kept up to date would be wrong before long.
                        work.append((ITEMS, item.name, None, row))
                    continue
                status = item_status(state, row, old.conditions if old else ())
                if mode is ItemStatusMode.PROBLEMS and old is None and _all_true(status):
                    continue
                if not same_status(status, old):
                    work.append((ITEMS, item.name, status, row))
            try:
                await self._write(work, state.fleet.dirty.item_status)
            except ApiError:
                state.fleet.dirty.item_status.update(rows[start:])
                raise
            # A new leader looks at every Item and mostly finds nothing to write: others must have their turn.
            await asyncio.sleep(0)

    async def _write(self, work: list[tuple[Resource, str, Status | None, int]], again: set[int]) -> None:
        gate = asyncio.Semaphore(PARALLEL)
        failed: list[ApiError] = []

        async def write(resource: Resource, name: str, status: Status | None, row: int) -> None:
            async with gate:
                await self._take_turn()
                try:
                    await self._client.patch(
                        resource.path(self._state.namespace, name, "status"),
                        {"status": status},
                        kind="merge",
                        deadline=self._deadline,
                    )
                except NotFound:
                    pass
                except ApiError as error:
                    again.add(row)
                    failed.append(error)

        async with asyncio.TaskGroup() as group:
            for resource, name, status, row in work:
                group.create_task(write(resource, name, status, row))
        if failed:
            raise failed[0]

    async def _stand_back(self, steps: int) -> None:
        for _ in range(steps):
            if not self._state.busy:
                break
            await asyncio.sleep(STEP)

    async def _take_turn(self) -> None:
        await self._stand_back(STAND_BACK)
        now = time.monotonic()
        self._next_slot = max(now, self._next_slot + 1.0 / RATE)
        if self._next_slot > now:
            await asyncio.sleep(self._next_slot - now)

    async def _pool(self) -> None:
        state = self._state
        members = {m.name for m in state.fleet.members.values() if m.seen is not None}
        self._ready = {name: count for name, count in self._ready.items() if name in members}
        path = POOLS.path(state.namespace, state.name)
        # One Pool, at most a few times a second: read afresh rather than watched.
        try:
            pool = await self._client.get(path, type=PoolObject, deadline=self._deadline)
        except NotFound:
            state.batch.wake()
            return
        old = pool.status
        status = pool_status(
            state,
            sum(self._ready.values()),
            self._cluster.unusable(state.namespace),
            old.conditions if old else (),
        )
        status["observedGeneration"] = pool.metadata.generation
        self._export(status)
        if not same_status(status, old):
            await self._client.patch(
                path + "/status", {"status": status}, kind="merge", deadline=self._deadline
            )

    def _export(self, status: Status) -> None:
        state, metrics = self._state, self._metrics
        labels = (state.namespace, state.name)
        members = [m for m in state.fleet.members.values() if m.seen is not None]
        metrics.items.labels(*labels).set(status["items"])
        metrics.members.labels(*labels).set(len(members))
        metrics.live_members.labels(*labels).set(sum(m.live for m in members))
        metrics.limits.labels(*labels).set(sum(m.limit for m in members if m.live))
        for name, value in status["slots"].items():
            metrics.slots.labels(*labels, name).set(value)
        for gauge, values in (
            (metrics.unplaced, [r.value for r in state.short.values()]),
            (metrics.waiting, [w.why.value for w in state.progress.waits.values()]),
        ):
            for reason in _reasons(gauge, labels) | set(values):
                gauge.labels(*labels, reason).set(values.count(reason))
        ages = state.handoffs.oldest(state.progress.waits)
        for reason in _reasons(metrics.oldest_wait, labels) | ages.keys():
            if reason in ages:
                metrics.oldest_wait.labels(*labels, reason).set(time.time() - ages[reason])
            else:
                metrics.oldest_wait.remove(*labels, reason)
        metrics.moves_in_flight.labels(*labels).set(state.progress.moving)
        metrics.paused.labels(*labels).set(state.outage.braking)


def same_status(new: Status, old: Any) -> bool:
    """Whether a status that was read says what `new` would say."""
    if old is None:
        return False
    for key, value in new.items():
        there: Any = getattr(old, _snake(key))
        if key == "conditions":
            there = [(c.type, c.status, c.reason, c.message, c.last_transition_time) for c in there]
            value = [tuple(c.values()) for c in value]
        elif isinstance(there, tuple):
            there = list(there)
        elif isinstance(there, msgspec.Struct):
            there = msgspec.structs.asdict(there)
        if there != value:
            return False
    return True


def _reasons(gauge: Gauge, pool: tuple[str, str]) -> set[str]:
    """The reasons for which `gauge` has a series of the Pool."""
    labels = [sample.labels for family in gauge.collect() for sample in family.samples]
    return {of["reason"] for of in labels if (of["namespace"], of["pool"]) == pool}


@cache
def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name)


def _holds(conditions: tuple[ReadCondition, ...], type_: str) -> bool:
    return any(c.type == type_ and c.status == "True" for c in conditions)


def _all_true(status: Status) -> bool:
    return all(c["status"] == "True" for c in status["conditions"])
