"""A model of everything around a leader: the API server, the workers' processes, time, and the promises."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from protocol_objects import Assignment, Lease, entries, primaries
from protocol_store import KINDS, Broken, Store

from berth.pool import Write

__all__ = ["KINDS", "Broken", "Claim", "Process", "World", "losing"]


def losing(writes: Iterable[Write]) -> dict[str, set[int]]:
    """The rows of the Members that each Item is taken from, by the Item's name."""
    rows: dict[str, set[int]] = {}
    for write in writes:
        for edit in write.edits:
            if edit.entry is None:
                rows.setdefault(edit.item, set()).add(write.row)
    return rows


@dataclass
class Claim:
    """What a leader went by when it planned to take an entry of an Item away."""

    need: int
    """Ready replicas that must stay."""
    counted: frozenset[tuple[str, str, int]]
    """(Member, uid of its Assignment, grant) of the entries that it counted on."""
    dead: bool = False
    """It took the Member for dead."""


@dataclass
class Process:
    """A worker's process. What it does as primary is the truth that `Exclusive` is about."""

    session: str
    member: str
    renewed: float
    running: bool = True
    connected: bool = True
    spec: Assignment | None = None
    """The Assignment as it last saw it."""
    phases: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Item -> (grant, phase), as it would report."""
    active: set[str] = field(default_factory=set)


@dataclass
class World(Store):
    """The API server, its history, and the processes."""

    now: float = 1000.0
    processes: dict[str, Process] = field(default_factory=dict)
    """By Member name, the last one started for it."""
    epochs: dict[str, int] = field(default_factory=dict)
    """Highest epoch that each Item ever had."""
    had: dict[tuple[str, int], str] = field(default_factory=dict)
    """Whose each (Item, epoch) was: the session of a process with a Lease that worked with it."""
    tainted: set[str] = field(default_factory=set)
    """Items with a promotion under `Overlap` behind them, which may have two at work for a while."""
    lease_seconds: float = 10.0
    gullible: bool = False
    """Whether processes go by an Assignment that belongs to an earlier Member of their name."""
    established: str = ""
    """The leader that was the last to complete a take-over."""
    solves_elsewhere: bool = False
    """Whether leaders have their problems solved by another process, which takes time."""
    renewals: dict[str, list[float]] = field(default_factory=dict)
    """When each Lease was renewed."""
    said_live: dict[str, bool] = field(default_factory=dict)
    """By the uid of a Member, what its status says of it."""

    def patch_assignment(
        self,
        leader: str,
        name: str,
        patch: list[dict[str, Any]],
        claims: dict[str, Claim],
        limit: int,
        exclusive: bool,
    ) -> Assignment:
        """A leader's JSON patch of `spec`; promises are checked."""
        old, new = self.replace_spec(name, patch)
        if new is not old:
            self._check_write(leader, old, new, claims, limit, exclusive)
        return new

    # ---- promises -------------------------------------------------------------------------------

    def _check_write(
        self,
        leader: str,
        old: Assignment,
        new: Assignment,
        claims: dict[str, Claim],
        limit: int,
        exclusive: bool,
    ) -> None:
        if self.pool is not None and self.pool.leader == self.established != leader:
            raise Broken(f"5: {leader} was replaced by {self.pool.leader} and changed {new.name}")
        before, after = entries(old), entries(new)
        if len(after) != len(new.items):
            raise Broken(f"3: an Item is listed twice on {new.name}: {new.items}")
        if old.written_for not in ("", new.written_for):
            kept = [n for n in before.keys() & after.keys() if before[n].grant == after[n].grant]
            if kept:
                raise Broken(f"4: {kept} of {old.written_for} on {new.name} now {new.written_for}'s")
        added = after.keys() - before.keys()
        if added and len(before) + len(added) > limit:
            raise Broken(f"3: {sorted(added)} added on {new.name}, which holds {len(before)} of {limit}")
        for name in before.keys() - after.keys():
            claim = claims.get(name)
            if claim is None:
                continue
            if claim.dead:
                process = self.processes.get(new.name)
                at_large = process is not None and process.running and not process.connected
                if exclusive and before[name].primary and at_large and name not in self.tainted:
                    raise Broken(f"2: {name} taken from {new.name}, cut off but not stopped yet")
                continue
            left = [pair for pair in claim.counted if self._holds(*pair, name)]
            if len(left) < claim.need:
                raise Broken(f"1: {name} taken from {new.name}: {left} left, {claim.need} needed")
        for name, entry in after.items():
            was = before.get(name)
            if was != entry and max(entry.grant, entry.epoch) > new.term:
                raise Broken(f"4: {name} given to {new.name} in a term above {new.term}: {entry}")
            if entry.primary and (was is None or was.epoch != entry.epoch):
                if entry.epoch <= self.epochs.get(name, 0):
                    raise Broken(f"4: epoch {entry.epoch} of {name} after {self.epochs[name]}")
                self.epochs[name] = entry.epoch
                if exclusive:
                    self._check_exclusive(name, new.name)
                else:
                    self.tainted.add(name)

    def _holds(self, member: str, uid: str, grant: int, item: str) -> bool:
        there = self.assignments.get(member)
        if there is None or there.uid != uid:
            return True  # taken away by whoever deleted the Assignment, not by a leader's choice
        entry = entries(there).get(item)
        return entry is not None and entry.grant == grant

    def _check_exclusive(self, item: str, member: str) -> None:
        if item in self.tainted:
            return
        others = [p.member for p in self.at_work(item) if p.member != member]
        if others:
            raise Broken(f"2: {item} promoted on {member} while {others} may be at work")

    def at_work(self, item: str) -> list[Process]:
        """Processes that may work as primary of the Item now."""
        return [p for p in self.processes.values() if p.running and item in self.working(p)]

    def working(self, process: Process) -> set[str]:
        """Items that a running process works on as primary.

        An `Assumed` one has released by definition what is gone from its Assignment.
        """
        member = self.members.get(process.member)
        if member is not None and not member.reported:
            there = self.assignments.get(process.member)
            return primaries(there) if self.for_it(process, there) else set()
        return process.active

    def for_it(self, process: Process, there: Assignment | None) -> bool:
        """Whether the entries of an Assignment are for this process."""
        return there is None or there.written_for in ("", process.session)

    def works(self, process: Process, items: set[str]) -> None:
        """The process works on these Items as primary, with the epochs that it has seen."""
        member = self.members.get(process.member)
        if member is None or member.lease is None:
            return  # without a Lease nothing tells one process from the next
        for name in items:
            entry = entries(process.spec)[name]
            whose = self.had.setdefault((name, entry.epoch), process.session)
            if whose != process.session:
                raise Broken(f"4: epoch {entry.epoch} of {name}, {whose} had it, has {process.session}")

    def check(self) -> None:
        """The promises that hold at any time."""
        holders: dict[str, list[str]] = {}
        for assignment in self.assignments.values():
            for name in primaries(assignment):
                holders.setdefault(name, []).append(assignment.name)
        for name, where in holders.items():
            if len(where) > 1:
                raise Broken(f"2: slot 0 of {name} on {where}")

    def check_exclusive(self) -> None:
        """Under `Exclusive` from the beginning: one at work at most."""
        for item in self.epochs.keys() - self.tainted:
            at_work = self.at_work(item)
            if len({p.member for p in at_work}) > 1:
                raise Broken(f"2: {item} is worked on by {[(p.member, p.session) for p in at_work]}")

    # ---- processes ------------------------------------------------------------------------------

    def start(self, member: str) -> None:
        """A new process for the Member, unless one runs."""
        old = self.processes.get(member)
        if old is not None and old.running:
            return
        session = f"s-{member}-{self.uid()}"
        self.processes[member] = Process(session, member, self.now)
        self.renew(member)

    def renew(self, member: str) -> None:
        process = self.processes.get(member)
        seen = self.members.get(member)
        if process is None or not process.running or not process.connected:
            return
        process.renewed = self.now
        if seen is not None and seen.lease is not None:
            version = self.version + 1
            lease = Lease(seen.lease, process.session, f"t{version}", self.lease_seconds, version=version)
            self.put("leases", seen.lease, lease)
            self.renewals.setdefault(seen.lease, []).append(self.now)

    def stop_overdue(self) -> None:
        """Processes that could not renew stop themselves, with a clock that is a tenth slow at worst."""
        for process in self.processes.values():
            seen = self.members.get(process.member)
            if seen is not None and seen.lease is None and process.connected:
                continue
            if self.now >= process.renewed + self.lease_seconds * 1.1:
                process.running = False
                process.active.clear()

    def cut_off(self, process: Process) -> None:
        """Nothing reaches the process any more; it goes on with what it last saw."""
        process.active = set(self.working(process))
        process.connected = False

    def observe(self, process: Process) -> None:
        """The process sees its Assignment as it is now."""
        if not process.running or not process.connected:
            return
        process.spec = self.assignments.get(process.member)
        member = self.members.get(process.member)
        foreign = process.spec is not None and (member is None or process.spec.owner != member.uid)
        others = not self.for_it(process, process.spec)
        if process.spec is None or others or (foreign and not self.gullible):
            process.spec = None
            process.phases.clear()
            process.active.clear()
            return
        wanted = entries(process.spec)
        for name, (grant, _) in list(process.phases.items()):
            if name not in wanted or wanted[name].grant != grant:
                process.active.discard(name)  # deactivated, then gone
                del process.phases[name]
        for name, entry in wanted.items():
            process.phases.setdefault(name, (entry.grant, "Preparing"))
            if not entry.primary and process.phases[name][1] == "Active":
                process.active.discard(name)
                process.phases[name] = (entry.grant, "Ready")
        if member is not None and not member.reported:
            self.works(process, primaries(process.spec))

    def advance(self, process: Process, item: str, phase: str) -> None:
        """The process gets on with one Item."""
        if item not in process.phases or process.spec is None:
            return
        grant, old = process.phases[item]
        if phase == "Active":
            entry = entries(process.spec).get(item)
            if entry is None or not entry.primary or old not in ("Ready", "Active"):
                return
        elif item in process.active:
            return
        process.phases[item] = (grant, phase)  # to be said before it is done

    def report(self, process: Process) -> None:
        """The process writes its status; refused where the spec is another than the one it goes by."""
        there = self.assignments.get(process.member)
        if not process.running or not process.connected or process.spec is None or there is None:
            return
        if (there.uid, there.generation) != (process.spec.uid, process.spec.generation):
            return
        lease = self.stores["leases"].get(self._lease_of(process.member))
        if lease is not None and lease.holder not in ("", process.session):
            return
        reports = tuple(f"{n}@{g}={phase}" for n, (g, phase) in sorted(process.phases.items()))
        new = there._replace(session=process.session, reports=reports, resource_version=self.version + 1)
        if new != there._replace(resource_version=self.version + 1):
            self.put("assignments", process.member, new)
        # Only now that `Active` is written does it begin to work.
        member = self.members.get(process.member)
        if member is not None and member.reported:
            process.active = {n for n, (_, phase) in process.phases.items() if phase == "Active"}
            self.works(process, process.active)

    def _lease_of(self, member: str) -> str:
        seen = self.members.get(member)
        return (seen.lease if seen else None) or ""

    # ---- what people do -------------------------------------------------------------------------

    def forget_epochs(self) -> None:
        """A Pool that comes back is above every term in its Assignments; others may be forgotten."""
        floor = max((a.term for a in self.assignments.values()), default=0)
        self.epochs = {name: min(epoch, floor) for name, epoch in self.epochs.items()}
        self.had = {(name, epoch): who for (name, epoch), who in self.had.items() if epoch <= floor}
