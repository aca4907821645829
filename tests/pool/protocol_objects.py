"""The objects of the model, as flat values: what the API server stores, and what it shows of each."""

from __future__ import annotations

from typing import Any, NamedTuple

from objects import assignment_object, item_object, lease_object, member_object, pool_object

from berth.kinds import Entry, ReadPoolSpec, parse_entry


class Item(NamedTuple):
    name: str
    replicas: int
    uid: str
    generation: int = 1


class Member(NamedTuple):
    name: str
    limit: int
    zone: str
    draining: bool
    lease: str | None
    reported: bool
    uid: str
    created: str
    generation: int = 1


class Assignment(NamedTuple):
    name: str
    items: tuple[str, ...]
    term: int
    uid: str
    owner: str
    generation: int
    resource_version: int
    session: str = ""
    reports: tuple[str, ...] = ()
    problems: tuple[tuple[str, int, str], ...] = ()
    written_for: str = ""


class Pool(NamedTuple):
    uid: str
    version: int
    policy: ReadPoolSpec
    term: int = 0
    leader: str = ""


class Lease(NamedTuple):
    name: str
    holder: str
    renewed: str
    duration: float
    transitions: int = 0
    version: int = 0


SHOWN = {
    Item: item_object,
    Member: member_object,
    Assignment: assignment_object,
    Pool: pool_object,
    Lease: lease_object,
}


def shown(value: Any) -> Any:
    """The object as it is read."""
    build: Any = SHOWN[type(value)]
    return build(*value)


def entries(assignment: Assignment | None) -> dict[str, Entry]:
    """The entries of an Assignment by Item."""
    parsed = [parse_entry(text) for text in (assignment.items if assignment else ())]
    return {entry.name: entry for entry in parsed}


def primaries(assignment: Assignment | None) -> set[str]:
    """Items of which an Assignment lists slot 0."""
    return {name for name, entry in entries(assignment).items() if entry.primary}
