"""The workers of the exploration: Members with the processes behind them.

What a process does next for an Item, and reports of it, is decided by the rules of the real Session.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from explore_values import ITEMS, OLD, Assignment

from berth.kinds import Entry, Report, format_report, parse_entry
from berth.member.steps import Callback, Position, Stage, next_callback, phase


class Process(NamedTuple):
    """A worker's process."""

    session: int = 1
    running: bool = True
    connected: bool = True
    positions: frozenset[tuple[str, Position]] = frozenset()


class Member(NamedTuple):
    """A Member with its Assignment, its Lease and the process behind it."""

    name: str
    limit: int
    assignment: Assignment
    process: Process = Process()
    holder: str = ""
    renewals: tuple[int, ...] = (0,)
    """Steps of time since the renewals of its Lease, the latest first."""
    reported_live: bool | None = None
    """What its status says."""


def session_of(member: str, number: int) -> str:
    return f"s-{member}-{number}"


def renewed(renewals: tuple[int, ...]) -> tuple[int, ...]:
    return (0, *(age for age in renewals if 0 < age < OLD))


def stopped(process: Process) -> Process:
    return process._replace(running=False, connected=True, positions=frozenset())


@lru_cache(100_000)
def entries(assignment: Assignment) -> dict[str, Entry]:
    return {entry.name: entry for entry in map(parse_entry, assignment.items)}


def is_primary(assignment: Assignment, item: str) -> bool:
    entry = entries(assignment).get(item)
    return entry is not None and entry.primary


def at_work(member: Member, item: str) -> bool:
    """Whether its process may work as primary of the Item."""
    return any(n == item and p.stage is Stage.ACTIVE for n, p in member.process.positions)


def fates(member: Member) -> Iterator[tuple[str, str, Member]]:
    """What may befall a worker's process: the disturbance that it is, if any, words, and the Member then."""
    process = member.process
    session = session_of(member.name, process.session)
    started = Process(process.session + 1)
    holder = session_of(member.name, started.session)
    renewals = renewed(member.renewals)
    yield (
        "restart",
        f"{member.name} is started again",
        member._replace(process=started, holder=holder, renewals=renewals),
    )
    if not process.running:
        return
    ended = member._replace(process=stopped(process))
    yield "death", f"{session} is killed", ended
    if not process.connected:
        back = member._replace(process=process._replace(connected=True))
        yield "", f"{session} is back", back._replace(renewals=renewals)
        return
    yield "death", f"{session} gives up its Lease and ends", ended._replace(holder="", renewals=renewals)
    yield "cut", f"{session} is cut off", member._replace(process=process._replace(connected=False))


def worked(member: Member) -> tuple[Member, dict[str, int], str] | None:
    """The Member once its process has worked, the epochs with which it started to, and that in words."""
    process, there = member.process, member.assignment
    session = session_of(member.name, process.session)
    if not (process.running and process.connected and there.generation) or member.holder != session:
        return None
    own = there.written_for in ("", session)
    targets = entries(there) if own else {}
    positions = dict(process.positions) if own else {}
    started: dict[str, int] = {}
    reports = []
    for name in ITEMS:
        target = targets.get(name)
        position = _advanced(positions.pop(name, Position(Stage.ABSENT, 0)), target)
        reported = phase(position, target, failed=False)
        if target is not None and next_callback(position, target) is Callback.ACTIVATE:
            started[name] = target.epoch  # it was reported before it starts
            position = Position(Stage.ACTIVE, position.grant, target.epoch)
        if position.stage is not Stage.ABSENT:
            positions[name] = position
        if reported is not None:
            grant = position.grant or (target.grant if target else 0)
            reports.append(format_report(Report(name, grant, reported)))
    if own:
        there = there._replace(session=session, reports=tuple(reports))
    process = process._replace(positions=frozenset(positions.items()))
    changed = member._replace(process=process, assignment=there)
    if changed == member:
        return None
    words = [f"{name} {position.stage.name}" for name, position in sorted(positions.items())]
    return changed, started, f"{session} works: {', '.join(words) or 'nothing is here'}"


def _advanced(position: Position, target: Entry | None) -> Position:
    """The position after the callbacks that are due: one forwards, or all that release."""
    while (step := next_callback(position, target)) is not None and step is not Callback.ACTIVATE:
        if step is Callback.PREPARE:
            started = position.stage is Stage.PREPARING
            assert target is not None
            return Position(Stage.PREPARED if started else Stage.PREPARING, target.grant)
        released = step is Callback.DROP
        position = Position(Stage.ABSENT, 0) if released else Position(Stage.PREPARED, position.grant)
    return position
