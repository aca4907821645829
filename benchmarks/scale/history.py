"""Checks the promises on the history of Assignments, write by write, as a watch delivers it.

One watch of one collection delivers all writes in the order in which the API server accepted them, so
what is checked here held at every moment, not only at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from berth.kinds import Entry, parse_entry


@dataclass
class Truth:
    """What the benchmark itself has done, to judge the controller by."""

    replicas: dict[str, int] = field(default_factory=dict)
    """Replicas that an Item asks for; without those being deleted or scaled."""
    limits: dict[str, int] = field(default_factory=dict)
    """The highest limit that a Member had within the last seconds."""
    raised: dict[str, tuple[float, int]] = field(default_factory=dict)
    """When an Item's replicas were raised, and from what: until the controller can know, that counts."""
    died: dict[str, float] = field(default_factory=dict)
    """When a Member was lost or deleted, seconds since the epoch."""


@dataclass
class History:
    """Follows who holds what. `violations` names each broken promise."""

    truth: Truth
    clock: Callable[[], float]
    reported: bool = False
    """Whether an entry is ready only once `status` says so."""
    grace: float = 15.0
    """Seconds in which the controller may rightly believe that a Member lives which has died."""
    held: dict[str, dict[str, Entry]] = field(default_factory=dict)
    """Entries by Member, then by Item."""
    holders: dict[str, dict[str, Entry]] = field(default_factory=dict)
    """The same by Item, then by Member."""
    ready: dict[str, dict[str, int]] = field(default_factory=dict)
    """Grants that a Member reports as prepared, by Member, then by Item."""
    epochs: dict[str, int] = field(default_factory=dict)
    terms: dict[str, int] = field(default_factory=dict)
    checked: int = 0
    violations: list[str] = field(default_factory=list)

    def assignment(self, member: str, items: list[str], term: int, reports: list[str] | None = None) -> None:
        """An Assignment was created or changed."""
        # The state as it was when the controller wrote: reports in the same event came before or after.
        before = self.held.get(member, {})
        after: dict[str, Entry] = {}
        for text in items:
            entry = parse_entry(text)
            if entry.name in after:
                self._broken(f"{member} lists {entry.name} twice")
            after[entry.name] = entry
        if term < self.terms.get(member, 0):
            self._broken(f"the term of {member} went back from {self.terms[member]} to {term}")
        self.terms[member] = term
        gone = [name for name in before if name not in after]
        changed = [entry for name, entry in after.items() if before.get(name) != entry]
        added = [entry for entry in changed if entry.name not in before]
        limit = self.truth.limits.get(member)
        if added and limit is not None and len(after) > limit:
            self._broken(f"{member} was given {added[0].name} beyond its limit of {limit}")
        self.held[member] = after
        for name in gone:
            self._remove(member, name, before[name])
        for entry in changed:
            self._put(member, entry)
        if reports is not None:
            self.reports(member, reports)
        self.checked += len(gone) + len(changed)

    def rebuild(self, assignments: Iterable[tuple[str, list[str], int, list[str]]]) -> None:
        """Begin anew with what was listed, where a part of the history was lost.

        Each is a Member, its entries, its term and its reports. What happened in between is not judged,
        but what may not be in any state is, and epochs must not have gone back.
        """
        self.held, self.holders, self.ready, self.terms = {}, {}, {}, {}
        for member, items, term, reports in assignments:
            self.assignment(member, items, term, reports)

    def gone(self, member: str) -> None:
        """An Assignment was deleted; whatever it listed is held there no longer."""
        for name in self.held.pop(member, {}):
            self.holders[name].pop(member, None)
        self.ready.pop(member, None)
        self.terms.pop(member, None)

    def reports(self, member: str, reports: list[str]) -> None:
        """What a Member says of itself."""
        if not self.reported:
            return
        ready = self.ready[member] = {}
        for text in reports:
            name, _, rest = text.partition("@")
            grant, _, phase = rest.partition("=")
            if phase in ("Ready", "Active"):
                ready[name] = int(grant)

    def wrong_items(self) -> list[str]:
        """Items that are not held exactly as they should be, now: replicas, one primary, slots in order."""
        wrong = []
        for name, wanted in self.truth.replicas.items():
            held = self.holders.get(name, {})
            live = {m: e for m, e in held.items() if m not in self.truth.died}
            if len(live) != len(held) or sorted(e.slot for e in live.values()) != list(range(wanted)):
                wrong.append(name)
        wrong += [name for name, held in self.holders.items() if held and name not in self.truth.replicas]
        return wrong

    def _remove(self, member: str, name: str, was: Entry) -> None:
        others = self.holders.get(name, {})
        others.pop(member, None)
        wanted = self.truth.replicas.get(name)
        died = self.truth.died.get(member)
        if wanted is None or died is not None:
            return
        now = self.clock()
        at, old = self.truth.raised.get(name, (0.0, wanted))
        if now < at + self.grace:
            wanted = min(wanted, old)
        left = sum(self._counts(other, entry, now) for other, entry in others.items())
        if left < wanted:
            self._broken(f"{name} was taken from {member} (slot {was.slot}) with {left} ready of {wanted}")

    def _counts(self, member: str, entry: Entry, now: float) -> bool:
        died = self.truth.died.get(member)
        if died is not None and now > died + self.grace:
            return False
        return not self.reported or self.ready.get(member, {}).get(entry.name) == entry.grant

    def _put(self, member: str, entry: Entry) -> None:
        holders = self.holders.setdefault(entry.name, {})
        holders[member] = entry
        if not entry.primary:
            return
        if entry.epoch < self.epochs.get(entry.name, 0):
            self._broken(f"the epoch of {entry.name} went back to {entry.epoch} on {member}")
        self.epochs[entry.name] = max(entry.epoch, self.epochs.get(entry.name, 0))
        others = [m for m, e in holders.items() if e.primary and m != member]
        if others:
            self._broken(f"{entry.name} has slot 0 on {member} and on {others[0]}")

    def _broken(self, what: str) -> None:
        self.violations.append(what)
