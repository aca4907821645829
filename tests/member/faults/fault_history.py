"""Checks the work that was recorded: who worked on which Item when, and why anybody stopped.

All times are readings of one machine's boot clock. A worker reads it before it makes sure that it may
work, so a process that was stopped in between is judged by what it knew: the rest is up to fencing tokens.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of work on an Item."""

    item: str
    session: str
    epoch: int
    time: float
    pid: int = 0
    """The process that did it."""

    @property
    def member(self) -> str:
        """The Member whose session it was: the id of a session starts with its name."""
        return self.session.partition("_")[0]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, from its injection until everything it broke was repaired."""

    kind: str
    place: str
    """A worker, a controller, or `api`; `machine` where this machine itself stalled."""
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Interval:
    """From a session's first to its last work on an Item under one epoch."""

    item: str
    session: str
    epoch: int
    start: float
    end: float


def intervals(work: Iterable[Work]) -> list[Interval]:
    """When each session was active on each Item, ordered by Item and start."""
    times: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for each in work:
        times[each.item, each.session, each.epoch].append(each.time)
    found = [Interval(*key, min(times), max(times)) for key, times in times.items()]
    return sorted(found, key=lambda each: (each.item, each.start))


def overlaps(work: Iterable[Work]) -> Iterator[str]:
    """Promise 2 under Exclusive: two sessions active on one Item at the same time."""
    last: dict[str, Interval] = {}
    for each in intervals(work):
        before = last.get(each.item)
        if before is not None and each.start <= before.end and each.session != before.session:
            yield (
                f"{each.item}: {before.session} (epoch {before.epoch}) worked until {before.end:.3f}, "
                f"{each.session} (epoch {each.epoch}) from {each.start:.3f}, "
                f"{before.end - each.start:.3f} s together"
            )
        if before is None or each.end > before.end:
            last[each.item] = each


def decreasing_epochs(work: Iterable[Work]) -> Iterator[str]:
    """Promise 4: what a storage that checks epochs would have refused."""
    highest: dict[str, Work] = {}
    for each in sorted(work, key=lambda each: each.time):
        before = highest.get(each.item)
        if before is not None and each.epoch < before.epoch:
            late, newer = f"epoch {each.epoch} of {each.session}", f"{before.epoch} of {before.session}"
            yield f"{each.item}: {late} after {newer}"
        else:
            highest[each.item] = each


def shared_epochs(work: Iterable[Work]) -> Iterator[str]:
    """Promise 4: an epoch of an Item that two processes, or two sessions of one process, have worked with."""
    first: dict[tuple[str, int], Work] = {}
    reported = set()
    for each in sorted(work, key=lambda each: each.time):
        before = first.setdefault((each.item, each.epoch), each)
        both = (each.item, each.epoch, each.pid, each.session)
        if (before.pid, before.session) != (each.pid, each.session) and both not in reported:
            reported.add(both)
            yield (
                f"{each.item}: epoch {each.epoch} of process {before.pid} ({before.session}), "
                f"then of process {each.pid} ({each.session})"
            )


HARMLESS = frozenset({"silent", "late"})
"""Faults of a worker through which it goes on working: they concern its watches only."""


def interruptions(
    work: Iterable[Work], faults: Iterable[Fault], pause: float, recovery: float
) -> Iterator[str]:
    """Promise 6: a worker without a fault of its own that stops, whatever happens to the controllers.

    A session that pauses for longer than `pause` on an Item whose epoch it keeps, or that ends and is
    followed by another of its Member, needs a fault of that worker, of the API server or of the machine
    not more than `recovery` seconds before.
    """
    causes: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        if fault.kind not in HARMLESS:
            causes[fault.place].append(fault)

    def excused(member: str, start: float, end: float) -> bool:
        return any(
            fault.start <= end and start <= fault.end + recovery
            for place in (member, "api", "machine")
            for fault in causes[place]
        )

    last: dict[tuple[str, str, int], Work] = {}
    sessions: dict[str, Work] = {}
    for each in sorted(work, key=lambda each: each.time):
        before = last.get((each.item, each.session, each.epoch), each)
        gap = each.time - before.time
        if gap > pause and not excused(each.member, before.time, each.time):
            yield f"{each.item}: {each.session} paused for {gap:.3f} s at {before.time:.3f} without a fault"
        last[each.item, each.session, each.epoch] = each
        before = sessions.get(each.member, each)
        if before.session != each.session and not excused(each.member, before.time, each.time):
            yield f"{before.session} ended at {before.time:.3f} without a fault, {each.session} follows"
        sessions[each.member] = each


def idle_items(work: Iterable[Work], items: Iterable[str], since: float, bound: float) -> Iterator[str]:
    """Items that nobody worked on in (since, since + bound]."""
    worked = {each.item for each in work if since < each.time <= since + bound}
    for item in sorted(set(items) - worked):
        yield f"{item}: nobody works on it {bound:g} s after the last fault"
