"""Checks the versions of the objects that were recorded, in the order in which the API server made them.

The promises are those of docs/concepts.md; what a message names first is which one was broken.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fault_recorder import Version

from berth.kinds import Entry, parse_entry

STALE = 12.0
"""Seconds by which what a leader knows may be late: longer than any watch is silent."""
SLACK = 0.5
"""Seconds by which the recorder may receive one renewal of a Lease later than the next."""
READY = ("Ready", "Active")

Object = Mapping[str, Any]


def entries_of(assignment: Object | None) -> list[Entry]:
    return [parse_entry(text) for text in _spec(assignment).get("items") or ()]


def _spec(found: Object | None) -> Object:
    return (found or {}).get("spec") or {}


def _status(found: Object | None) -> Object:
    return (found or {}).get("status") or {}


@dataclass
class Lease:
    """How the Lease of a Member was renewed."""

    holder: str = ""
    changed_at: float = 0.0
    """When its holder last changed."""
    renewed_at: float = 0.0
    unrenewed_until: float = 0.0
    """The end of the last time in which it was not renewed for as long as it lasts."""


def broken_promises(versions: Iterable[Version], lease: float) -> Iterator[str]:
    """Everything that no version of an object may be; `lease` is how long those of Members last."""
    yield from Replay(lease).check(versions)


@dataclass
class Replay:
    """The objects as they are after some version."""

    lease: float
    now: dict[str, dict[str, Object]] = field(default_factory=lambda: defaultdict(dict))
    leases: dict[str, Lease] = field(default_factory=lambda: defaultdict(Lease))
    limits: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    """Each limit of a Member and when it was replaced; the last is in force. 0 while there is no Member."""
    ready: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Member -> Items that it holds and has reported as ready."""
    ready_until: dict[tuple[str, str], float] = field(default_factory=dict)
    """(Member, Item) -> when it last ceased to be ready."""
    owners: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    """(Item, epoch) -> the Member and the session that it was given to."""
    epochs: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    leaders: dict[int, str] = field(default_factory=dict)
    """Term -> its leader."""
    grants: int = 0
    """Entries that were checked when they came."""
    removals: int = 0
    """Ready entries that were taken from live Members, so that promises 1 and 9 apply."""

    def check(self, versions: Iterable[Version]) -> Iterator[str]:
        for version in sorted(versions, key=lambda each: each.number):
            yield from self.apply(version)

    def apply(self, version: Version) -> Iterator[str]:
        kind, name = version.kind, version.name
        old = self.now[kind].get(name)
        if version.object is None:
            self.now[kind].pop(name, None)
        else:
            self.now[kind][name] = version.object
        if kind == "leases":
            self._apply_lease(version)
        elif kind == "members":
            limit = _spec(version.object).get("limit", 0)
            self.limits[name].append((version.at, limit))
        elif kind == "pools":
            yield from self._check_pool(version)
        elif kind == "assignments":
            yield from self._check_assignment(version, old)
        if kind in ("leases", "assignments"):
            self._update_ready(name, version.at)

    def _apply_lease(self, version: Version) -> None:
        lease = self.leases[version.name]
        holder = _spec(version.object).get("holderIdentity") or ""
        if version.at - lease.renewed_at > self.lease - SLACK:
            lease.unrenewed_until = version.at
        if holder != lease.holder:
            lease.holder, lease.changed_at = holder, version.at
        lease.renewed_at = version.at

    def _update_ready(self, member: str, at: float) -> None:
        assignment = self.now["assignments"].get(member)
        holder, status = self.leases[member].holder, _status(assignment)
        ready = set()
        if holder and status.get("session") == holder:
            reports = set(status.get("items") or ())
            for entry in entries_of(assignment):
                if any(f"{entry.name}@{entry.grant}={phase}" in reports for phase in READY):
                    ready.add(entry.name)
        for item in self.ready[member] - ready:
            self.ready_until[member, item] = at
        self.ready[member] = ready

    # The checks.

    def _check_pool(self, version: Version) -> Iterator[str]:
        status = _status(version.object)
        term, leader = status.get("term") or 0, status.get("leader") or ""
        if leader and self.leaders.setdefault(term, leader) != leader:
            yield f"5: term {term} is of {self.leaders[term]} and of {leader}"
        for condition in status.get("conditions") or ():
            if condition["type"] == "Degraded" and condition["reason"] == "SolverOverdue":
                yield f"10: {version.name}: {condition['message']}"

    def _check_assignment(self, version: Version, old: Object | None) -> Iterator[str]:
        new, member = version.object, version.name
        if old is not None and new is not None and old["metadata"]["uid"] != new["metadata"]["uid"]:
            old = None
        before = {entry.name: entry for entry in entries_of(old)}
        entries = entries_of(new)
        after = {entry.name: entry for entry in entries}
        if old is not None and _spec(old) == _spec(new):
            return
        yield from self._check_adds(version, before, entries)
        yield from self._check_epochs(member, _spec(new).get("session") or "", before, after)
        yield from self._check_session(version, old, before, after)
        pool = self.now["pools"].get(_spec(new).get("pool") or "")
        term, lowest = _spec(new).get("term") or 0, _status(pool).get("term") or 0
        if before != after and new is not None and not version.gap and term < lowest:
            yield f"5: {member} was written in term {term} after term {lowest} had started"
        if not version.gap:
            for item in sorted(before.keys() - after.keys()):
                yield from self._check_removal(version, before[item])

    def _check_adds(
        self, version: Version, before: Mapping[str, Entry], entries: list[Entry]
    ) -> Iterator[str]:
        names = [entry.name for entry in entries]
        for item in {name for name in names if names.count(name) > 1}:
            yield f"3: {item} twice on {version.name}"
        limit = max(self._recent_limits(version.name, version.at))
        self.grants += len(set(names) - before.keys())
        if set(names) - before.keys() and len(entries) > limit:
            yield f"3: {version.name} was given {len(entries)} Items with a limit of {limit}"

    def _check_epochs(
        self, member: str, session: str, before: Mapping[str, Entry], after: Mapping[str, Entry]
    ) -> Iterator[str]:
        for item, entry in after.items():
            if not entry.primary:
                continue
            owner = self.owners.setdefault((item, entry.epoch), (member, session))
            if owner != (member, session):
                yield (
                    f"4: epoch {entry.epoch} of {item} is of {' in session '.join(owner)} "
                    f"and of {member} in session {session}"
                )
            if entry.epoch < self.epochs[item]:
                yield f"4: epoch {entry.epoch} of {item} on {member} after {self.epochs[item]}"
            self.epochs[item] = max(self.epochs[item], entry.epoch)
            others = [
                other for other, assignment in self.now["assignments"].items()
                if other != member and any(e.name == item and e.primary for e in entries_of(assignment))
            ]  # fmt: skip
            if others and before.get(item) != entry:
                yield f"2: slot 0 of {item} is on {member} and on {', '.join(others)}"

    def _check_session(
        self, version: Version, old: Object | None, before: Mapping[str, Entry], after: Mapping[str, Entry]
    ) -> Iterator[str]:
        sessions = _spec(old).get("session"), _spec(version.object).get("session")
        if sessions[0] is None or sessions[0] == sessions[1]:
            return
        for item in sorted(before.keys() & after.keys()):
            if before[item].grant == after[item].grant:
                yield f"4: {item} on {version.name} kept its grant from {sessions[0]} to {sessions[1]}"

    def _check_removal(self, version: Version, entry: Entry) -> Iterator[str]:
        member, item, at = version.name, entry.name, version.at
        if item not in self.ready[member] or not self._certainly_live(member, at):
            return
        self.removals += 1
        ready = {
            other for other, assignment in self.now["assignments"].items()
            if other != member and self._recently_ready(other, item, at)
            and any(each.name == item for each in entries_of(assignment))
        }  # fmt: skip
        replicas = _spec(self.now["items"].get(item)).get("replicas", 0)
        if len(ready) < replicas:
            yield (
                f"1 or 9: {item} was taken from {member}, which is live, in version {version.number}: "
                f"ready on {sorted(ready)}, wanted {replicas}"
            )

    def _recently_ready(self, member: str, item: str, at: float) -> bool:
        return item in self.ready[member] or self.ready_until.get((member, item), -STALE) > at - STALE

    def _certainly_live(self, member: str, at: float) -> bool:
        """Whether even a leader with late information must hold that the Member is live and not drained."""
        lease = self.leases[member]
        return (
            bool(lease.holder)
            and max(lease.changed_at, lease.unrenewed_until) < at - STALE
            and at - lease.renewed_at < self.lease - SLACK
            and min(self._recent_limits(member, at)) > 0
        )

    def _recent_limits(self, member: str, at: float) -> list[int]:
        """The limit that is in force, and those that were replaced lately; 0 where there was no Member."""
        limits = self.limits[member]
        recent = [limit for set_at, limit in limits if set_at > at - STALE]
        return [*recent, *[limit for _, limit in limits[: len(limits) - len(recent)][-1:]]] or [0]
