"""The state of the fleet that is explored, and the promises that must hold in it."""

from __future__ import annotations

from typing import Any, NamedTuple

from explore_values import ITEMS, LEASE, MEMBERS, OLD, TICK, Assignment, News, Pool, Request
from explore_workers import Member, at_work, entries, is_primary
from protocol_store import Broken


class Item(NamedTuple):
    """An Item, and the epochs that it had."""

    name: str
    replicas: int
    epoch: int = 0
    """The highest."""
    had: frozenset[tuple[int, str]] = frozenset()
    """Epochs, and the sessions that worked with them."""


class Late(NamedTuple):
    """A write that its sender has given up and that may still arrive."""

    leader: str
    request: Request


class State(NamedTuple):
    """Everything at one moment."""

    pool: Pool
    established: str
    """The leader that was the last to complete a take-over."""
    holder: int
    """Who was elected last."""
    items: tuple[Item, ...]
    members: tuple[Member, ...]
    seats: tuple[int, ...]
    """The controllers' processes, by their numbers."""
    late: frozenset[Late]
    left: int
    """How many more disturbances there may be."""


def written(
    exclusive: bool, state: State, leader: str, member: Member, new: Assignment, request: Request
) -> State:
    """An Assignment is written; whether it may be."""
    if state.pool.leader == state.established != leader:
        raise Broken(f"5: {leader} was replaced by {state.pool.leader} and changed {new.name}")
    before, after = entries(member.assignment), entries(new)
    if len(after) != len(new.items):
        raise Broken(f"3: an Item is listed twice on {new.name}: {new.items}")
    if member.assignment.written_for not in ("", new.written_for):
        kept = [n for n in before.keys() & after.keys() if before[n].grant == after[n].grant]
        if kept:
            raise Broken(f"4: {kept} on {new.name} stay, though it is {new.written_for}'s now")
    _check_removals(exclusive, state, member, before.keys() - after.keys(), request)
    items = state.items
    for name, entry in after.items():
        was = before.get(name)
        if was != entry and max(entry.grant, entry.epoch) > new.term:
            raise Broken(f"4: {entry} is given to {new.name} in a term above {new.term}")
        if not entry.primary or (was is not None and was.epoch == entry.epoch):
            continue
        index = ITEMS.index(name)
        if entry.epoch <= items[index].epoch:
            raise Broken(f"4: epoch {entry.epoch} of {name} after {items[index].epoch}")
        items = with_(items, index, items[index]._replace(epoch=entry.epoch))
        others = [m.name for m in state.members if m.name != new.name and at_work(m, name)]
        if exclusive and others:
            raise Broken(f"2: {name} is promoted on {new.name} while {others} may be at work")
    members = with_(state.members, MEMBERS.index(new.name), member._replace(assignment=new))
    return state._replace(items=items, members=members)


def _check_removals(exclusive: bool, state: State, member: Member, gone: set[str], request: Request) -> None:
    for name, need, counted in request.claims:
        if name not in gone:
            continue
        if need == "dead":
            if exclusive and at_work(member, name):
                raise Broken(f"2: {name} is taken from {member.name}, which has not stopped yet")
            continue
        left = [pair for pair in counted if _holds(state, *pair, name)]
        if len(left) < need:
            raise Broken(f"1: {name} is taken from {member.name}: {left} left, {need} needed")


def check_deaths(state: State, news: News) -> None:
    """Whoever is taken for dead had not renewed its Lease for as long as it lasts when it was read."""
    for name, read in news.deaths:
        member = state.members[MEMBERS.index(name)]
        if any(read < age * TICK < read + LEASE for age in member.renewals if age < OLD):
            raise Broken(f"9: {name} is taken for dead, though it renewed its Lease")


def check(exclusive: bool, state: State) -> None:
    """The promises that hold at any time."""
    for name in ITEMS:
        holders = [m.name for m in state.members if is_primary(m.assignment, name)]
        if len(holders) > 1:
            raise Broken(f"2: slot 0 of {name} is on {holders}")
        working = [m.name for m in state.members if at_work(m, name)]
        if exclusive and len(working) > 1:
            raise Broken(f"2: {working} work on {name}")


def with_(values: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    return (*values[:index], value, *values[index + 1 :])


def _holds(state: State, member: str, grant: int, item: str) -> bool:
    entry = entries(state.members[MEMBERS.index(member)].assignment).get(item)
    return entry is not None and entry.grant == grant
