"""Which statuses of a Pool must be written, and the figures that describe it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from berth.kinds import ItemObject, ItemStatusMode, Key, MemberObject, ReadPoolStatus
from berth.pool.brain import Brain
from berth.pool.conditions import Conditions, Status, item_status, member_status, pool_status, same_status
from berth.pool.decision import Notice


class StatusWrite(NamedTuple):
    """A status to write."""

    name: str
    row: int
    status: Status | None
    """None: it is removed."""


class Statuses:
    """Which statuses of a Pool must be written. `wall` is the time of day, as conditions have it.

    `store` has the objects as the API server has them, by namespace and name.
    """

    def __init__(self, brain: Brain) -> None:
        self._brain = brain
        self._changed = brain.ledger.changed
        self._ready: dict[str, int] = {}

    def members(self, store: Mapping[Key, MemberObject], wall: str) -> tuple[list[StatusWrite], list[Notice]]:
        """The statuses of Members that have changed, and the Events of those that have died."""
        members = self._brain.ledger.members
        rows, self._changed.member_status = sorted(self._changed.member_status), set()
        writes, notices = [], []
        for row in rows:
            member = members.get(row)
            there = store.get((self._brain.namespace, member.name)) if member else None
            if member is None or member.info is None or there is None:
                if member is not None:
                    self._ready.pop(member.name, None)
                continue
            status = member_status(member, Conditions(there.status.conditions if there.status else (), wall))
            self._ready[member.name] = status["ready"]
            if there.reported_live and not member.live:
                live = status["conditions"][0]
                notices.append(Notice("Member", member.name, member.uid, live["reason"], live["message"]))
            if not same_status(status, there.status):
                writes.append(StatusWrite(member.name, row, status))
        return writes, notices

    def take_items(self) -> list[int]:
        """The rows of the Items whose status may have changed."""
        rows, self._changed.item_status = sorted(self._changed.item_status), set()
        return rows

    def items(self, rows: list[int], store: Mapping[Key, ItemObject], wall: str) -> list[StatusWrite]:
        """The statuses of these Items, as far as they have changed."""
        ledger = self._brain.ledger
        mode = ledger.policy.item_status
        writes = []
        for row in rows:
            name = ledger.items.names[row] if row in ledger.generations else None
            there = store.get((self._brain.namespace, name)) if name else None
            if name is None or there is None:
                continue
            old = there.status
            if mode is ItemStatusMode.NONE:
                if old is not None:  # a stale status is worse than none
                    writes.append(StatusWrite(name, row, None))
                continue
            status = item_status(self._brain, row, Conditions(old.conditions if old else (), wall))
            healthy = all(condition["status"] == "True" for condition in status["conditions"])
            if mode is ItemStatusMode.PROBLEMS and old is None and healthy:
                continue
            if not same_status(status, old):
                writes.append(StatusWrite(name, row, status))
        return writes

    def pool(
        self, unusable: dict[str, str], old: ReadPoolStatus | None, generation: int, wall: str
    ) -> tuple[Status, bool]:
        """The Pool's status without its term, and whether it has changed."""
        names = {m.name for m in self._brain.ledger.members.values() if m.info is not None}
        self._ready = {name: count for name, count in self._ready.items() if name in names}
        ready = sum(self._ready.values())
        status = pool_status(self._brain, ready, unusable, Conditions(old.conditions if old else (), wall))
        status["observedGeneration"] = generation
        return status, not same_status(status, old)

    def put_back_members(self, rows: set[int]) -> None:
        """The statuses of these Members were not written."""
        self._changed.member_status |= rows

    def put_back_items(self, rows: set[int]) -> None:
        """The statuses of these Items were not written."""
        self._changed.item_status |= rows


class Gauges(NamedTuple):
    """Figures of a Pool as it is now, beside those of its status."""

    members: int
    live: int
    limit: int
    """Sum of the limits of live Members."""
    short: Counter[str]
    """Items that have fewer replicas in the plan than they ask for, by reason."""
    waiting: Counter[str]
    """Items that are not where the plan wants them, by what they wait for."""
    oldest: dict[str, float]
    """Seconds for which the one that waits longest has been under way, by what it waits for."""
    moving: int
    paused: bool


def gauges(brain: Brain, now: float) -> Gauges:
    """The figures at `now` (monotonic seconds)."""
    members = [m for m in brain.ledger.members.values() if m.info is not None]
    waits = brain.progress.waits
    return Gauges(
        members=len(members),
        live=sum(m.live for m in members),
        limit=sum(m.limit for m in members if m.live),
        short=Counter(reason.value for reason in brain.target.short.values()),
        waiting=Counter(wait.why.value for wait in waits.values()),
        oldest=brain.progress.oldest(now),
        moving=brain.progress.moving,
        paused=brain.outage.braking,
    )
