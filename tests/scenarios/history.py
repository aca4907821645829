"""Records all that happened to the Assignments of a namespace, and checks the promises afterwards."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import Any

from api import Api, Object

from berth.kinds import Entry, parse_entry

GRACE = 8.0
"""Seconds that a controller may take to see that a worker died, or an object changed."""


@dataclass
class Event:
    """One change of one object, when we saw it."""

    version: int
    at: float
    kind: str
    type: str
    object: Object

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])


@dataclass
class Change:
    """One entry that came, changed or went."""

    at: float
    item: str
    member: str
    old: Entry | None
    new: Entry | None


def entries(assignment: Object | None) -> dict[str, Entry]:
    """The entries of an Assignment by Item."""
    items = (assignment or {}).get("spec", {}).get("items", [])
    return {entry.name: entry for entry in map(parse_entry, items)}


@dataclass
class History:
    """One watch each on Assignments, Members, Items and the Pools of a namespace."""

    api: Api
    events: list[Event] = field(default_factory=list)
    deaths: list[tuple[float, str]] = field(default_factory=list)
    """When which worker was made to stop renewing its Lease."""
    births: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watches = {kind: self.api.watch(kind) for kind in ("items", "members", "pools", "assignments")}

    def start(self) -> None:
        for kind, watch in self.watches.items():
            watch.on_event = lambda type_, each, kind=kind: self.events.append(
                Event(int(each["metadata"]["resourceVersion"]), time.monotonic(), kind, type_, each)
            )
            watch.start()

    def stop(self) -> None:
        for watch in self.watches.values():
            watch.stop()

    def store(self, kind: str) -> dict[str, Object]:
        """The objects of a kind as last seen."""
        return dict(self.watches[kind].store)

    def last_change(self) -> float:
        """When the spec of an Assignment last changed."""
        return max((change.at for change in self.changes()), default=0.0)

    def changes(self, since: float = 0.0) -> list[Change]:
        """Every entry that came, changed or went, in order."""
        found = []
        before: dict[str, Object] = {}
        for event in [e for e in list(self.events) if e.kind == "assignments"]:
            old, new = before.get(event.name), None if event.type == "DELETED" else event.object
            if old is not None and new is not None and old["metadata"]["uid"] != new["metadata"]["uid"]:
                old = None
            then, now = entries(old), entries(new)
            found += [
                Change(event.at, item, event.name, then.get(item), now.get(item))
                for item in sorted(then.keys() | now.keys())
                if then.get(item) != now.get(item)
            ]
            if new is None:
                before.pop(event.name, None)
            else:
                before[event.name] = new
        return [change for change in found if change.at >= since]

    def adds(self, since: float = 0.0) -> list[tuple[str, str]]:
        """(Item, Member) of each entry that was added."""
        return [(c.item, c.member) for c in self.changes(since) if c.old is None]

    def dead(self, member: str, at: float) -> bool:
        """Whether the worker had stopped renewing by then."""
        died = max((t for t, name in self.deaths if name == member and t <= at), default=None)
        born = max((t for t, name in self.births if name == member and t <= at), default=0.0)
        return died is not None and died > born

    def check(self, *, short: bool = False) -> int:
        """Raise AssertionError where a promise of DESIGN section 5 (1 to 4) was broken; writes checked.

        `short`: the story has more replicas than places, so that the plan may give an Item fewer.
        """
        state = _Replay(self, short)
        for event in sorted(self.events, key=lambda e: e.version):
            state.see(event)
        return state.writes


class _Replay:
    """The objects as they were, event by event in the API server's own order."""

    def __init__(self, history: History, short: bool) -> None:
        self._history = history
        self._short = short
        self._now: dict[str, dict[str, Object]] = {k: {} for k in history.watches}
        self._past: dict[tuple[str, str], list[tuple[float, int]]] = {}
        self._epochs: dict[str, int] = {}
        self._pool_uid = ""
        self.writes = 0

    def see(self, event: Event) -> None:
        store = self._now[event.kind]
        old = store.get(event.name)
        new = None if event.type == "DELETED" else event.object
        if new is None:
            store.pop(event.name, None)
        else:
            store[event.name] = new
        if event.kind == "assignments":
            self.writes += 1
            self._assignment(event, old, new)
        for kind, field_ in (("items", "replicas"), ("members", "limit")):
            if event.kind == kind:
                value = 0 if new is None else int(new["spec"].get(field_, 1))
                self._past.setdefault((kind, event.name), []).append((event.at, value))

    def _recent(self, kind: str, name: str, at: float) -> list[int]:
        """Values that a controller may have gone by at that time."""
        past = self._past.get((kind, name), [])
        now = [value for _, value in past[-1:]]
        return now + [v for (_, v), (until, _) in itertools.pairwise(past) if until > at - GRACE]

    def _assignment(self, event: Event, old: Object | None, new: Object | None) -> None:
        member = event.name
        if old is not None and new is not None and old["metadata"]["uid"] != new["metadata"]["uid"]:
            old = None
        then, now = entries(old), entries(new)
        if new is not None:
            assert len(now) == len(new["spec"].get("items", [])), f"3: an Item twice on {member}: {new}"
        whose = [each["spec"].get("session") if each is not None else None for each in (old, new)]
        if whose[0] is not None and whose[0] != whose[1]:
            kept = [item for item in then.keys() & now.keys() if then[item].grant == now[item].grant]
            assert not kept, f"4: {kept} of {whose[0]} on {member} became {whose[1]}'s with their grants"
        if then == now:
            return
        added = now.keys() - then.keys()
        limits = self._recent("members", member, event.at)
        if added:
            assert len(then) + len(added) <= max(limits, default=0), f"3: {member} beyond {limits}: {now}"
        for item, entry in now.items():
            was = then.get(item)
            if entry.primary and (was is None or was.epoch != entry.epoch):
                last = self._epochs.get(item, 0)
                assert entry.epoch > last, f"4: epoch {entry.epoch} of {item} after {last}"
                self._epochs[item] = entry.epoch
        self._one_primary(event)
        if new is not None and not self._history.dead(member, event.at):
            for item in then.keys() - now.keys():
                self._enough_left(event, item)

    def _one_primary(self, event: Event) -> None:
        holders: dict[str, list[str]] = {}
        for name, assignment in self._now["assignments"].items():
            for item, entry in entries(assignment).items():
                if entry.primary:
                    holders.setdefault(item, []).append(name)
        twice = {item: where for item, where in holders.items() if len(where) > 1}
        assert not twice, f"2: slot 0 twice after {event.name}@{event.version}: {twice}"

    def _enough_left(self, event: Event, item: str) -> None:
        replicas = min(self._recent("items", item, event.at), default=0)
        if not replicas:
            return
        ready = [name for name in self._now["assignments"] if self._ready(name, item, event.at)]
        usable = [m for m in self._now["members"] if max(self._recent("members", m, event.at), default=0)]
        need = 1 if self._short else min(replicas, max(1, len(usable)))
        assert len(ready) >= need, (
            f"1: {item} taken from {event.name}@{event.version}: ready on {ready}, {need} needed"
        )

    def _ready(self, name: str, item: str, at: float) -> bool:
        assignment, member = self._now["assignments"][name], self._now["members"].get(name)
        entry = entries(assignment).get(item)
        if entry is None or member is None or self._history.dead(name, at - GRACE):
            return False
        if member["spec"].get("readiness", "Assumed") == "Assumed":
            return True
        reports: list[Any] = assignment.get("status", {}).get("items", [])
        return any(f"{item}@{entry.grant}={phase}" in reports for phase in ("Ready", "Active"))
