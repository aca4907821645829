"""Checks what was recorded: who worked on which Item when, and what stood in the Assignments.

All times are readings of one machine's boot clock, taken by the worker itself before it made sure that it
may work; so a process that was stopped in between is judged by what it knew: fencing tokens are for the rest.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from berth.kinds import parse_entry


@dataclass(frozen=True)
class Work:
    """One piece of work on an Item."""

    item: str
    session: str
    epoch: int
    time: float
    pid: int = 0
    """The process that did it."""


@dataclass(frozen=True)
class Seen:
    """What stood in a Member's Assignment from some resourceVersion on; None where it was deleted."""

    version: int
    member: str
    entries: tuple[str, ...] | None


@dataclass(frozen=True)
class Interval:
    """From a session's first to its last work on an Item under one epoch."""

    item: str
    session: str
    epoch: int
    begin: float
    end: float


def intervals(work: Iterable[Work]) -> list[Interval]:
    """When each session was active on each Item, ordered by Item and begin."""
    times: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for each in work:
        times[each.item, each.session, each.epoch].append(each.time)
    found = [Interval(*key, min(times), max(times)) for key, times in times.items()]
    return sorted(found, key=lambda each: (each.item, each.begin))


def overlaps(work: Iterable[Work]) -> Iterator[str]:
    """Under Exclusive: two sessions active on one Item at the same time."""
    last: dict[str, Interval] = {}
    for each in intervals(work):
        before = last.get(each.item)
        if before is not None and each.begin <= before.end and each.session != before.session:
            yield (
                f"{each.item}: {before.session} (epoch {before.epoch}) worked until {before.end:.3f}, "
                f"{each.session} (epoch {each.epoch}) from {each.begin:.3f}, "
                f"{before.end - each.begin:.3f} s together"
            )
        if before is None or each.end > before.end:
            last[each.item] = each


def epochs_that_go_back(work: Iterable[Work]) -> Iterator[str]:
    """What a storage that checks epochs would have refused."""
    highest: dict[str, Work] = {}
    for each in sorted(work, key=lambda each: each.time):
        before = highest.get(each.item)
        if before is not None and each.epoch < before.epoch:
            late, newer = f"epoch {each.epoch} of {each.session}", f"{before.epoch} of {before.session}"
            yield f"{each.item}: {late} after {newer}"
        else:
            highest[each.item] = each


def epochs_of_two(work: Iterable[Work]) -> Iterator[str]:
    """An epoch of an Item that two processes, or two sessions of one process, have worked with."""
    first: dict[tuple[str, int], Work] = {}
    told = set()
    for each in sorted(work, key=lambda each: each.time):
        before = first.setdefault((each.item, each.epoch), each)
        both = (each.item, each.epoch, each.pid, each.session)
        if (before.pid, before.session) != (each.pid, each.session) and both not in told:
            told.add(both)
            yield (
                f"{each.item}: epoch {each.epoch} of process {before.pid} ({before.session}), "
                f"then of process {each.pid} ({each.session})"
            )


def bad_assignments(seen: Iterable[Seen]) -> Iterator[str]:
    """An epoch given twice, one that goes back, or two slots 0 of an Item at one time."""
    holders: dict[tuple[str, int], str] = {}
    highest: dict[str, int] = defaultdict(int)
    now: dict[str, dict[str, int]] = defaultdict(dict)  # member -> item -> epoch
    for each in sorted(seen, key=lambda each: each.version):
        entries = [parse_entry(text) for text in each.entries or ()]
        primaries = {entry.name: entry.epoch for entry in entries if entry.primary}
        now[each.member] = primaries
        for item, epoch in primaries.items():
            if holders.setdefault((item, epoch), each.member) != each.member:
                yield f"{item}: epoch {epoch} given to {holders[item, epoch]} and to {each.member}"
            if epoch < highest[item]:
                yield f"{item}: epoch {epoch} after {highest[item]}"
            highest[item] = max(highest[item], epoch)
            others = [member for member, held in now.items() if member != each.member and item in held]
            if others:
                yield f"{item}: slot 0 at {each.member} and at {', '.join(others)} in version {each.version}"


def idle(work: Iterable[Work], items: Iterable[str], since: float, bound: float) -> Iterator[str]:
    """Items that nobody worked on in (since, since + bound]."""
    worked = {each.item for each in work if since < each.time <= since + bound}
    for item in sorted(set(items) - worked):
        yield f"{item}: nobody works on it {bound:g} s after the last fault"
