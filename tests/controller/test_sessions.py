"""A Lease is read before its holder is believed, where the watch may be behind."""

from __future__ import annotations

from typing import Any

import pytest

from berth.controller.lease_reader import MAX_GETS
from berth.controller.sessions import confirm_sessions
from berth.controller.state import PoolState
from berth.kinds import LeaseObject, LeaseSpec
from berth.kube import Meta, NotFound, ServerError
from berth.pool import AssignmentSeen, Leases, LeaseSeen, MemberSeen, PoolFleet


class Reads:
    """A client that reads Leases."""

    def __init__(self, holders: dict[str, str], error: Exception | None = None) -> None:
        self.holders = holders
        self.error = error
        self.asked: list[str] = []

    async def get(self, path: str, *, type: Any, deadline: Any) -> Any:
        name = path.rsplit("/", 1)[1]
        self._ask(name)
        if name not in self.holders:
            raise NotFound(404, "NotFound", name)
        return self._lease(name)

    async def list(self, path: str, *, type: Any, deadline: Any) -> Any:
        self._ask("")
        return [self._lease(name) for name in self.holders]

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error

    def _lease(self, name: str) -> LeaseObject:
        return LeaseObject(metadata=Meta(name, "ns"), spec=LeaseSpec(self.holders[name]))


def pool(count: int, holder: str = "seen") -> PoolState:
    """Members whose entries are for another session than the one that their Lease was seen with."""
    leases = Leases()
    fleet = PoolFleet(leases)
    for number in range(count):
        name = f"m{number}"
        leases.put(LeaseSeen(f"l-{name}", holder, "1"), 0.0)
        fleet.put_member(MemberSeen(name, 4, lease=f"l-{name}", uid=name), 0.0)
        fleet.put_assignment(AssignmentSeen(name, ("x#1@3",), 3, "a", name, written_for="before"), 0.0)
    return PoolState("ns", "pool", fleet)


async def confirm(client: Any, state: PoolState) -> bool:
    return await confirm_sessions(client, state, lambda: float("inf"), lambda: 0.0)


async def test_nothing_is_read_where_nothing_is_uncertain() -> None:
    client = Reads({})
    assert not await confirm(client, pool(0))
    assert client.asked == []


async def test_a_holder_that_the_read_shows_too_is_believed() -> None:
    client, state = Reads({"l-m0": "seen"}), pool(1)
    assert not await confirm(client, state)
    assert client.asked == ["l-m0"]
    assert state.fleet.members[0].successor == "seen"


@pytest.mark.parametrize("holders", [{"l-m0": "before"}, {"l-m0": "another"}, {"l-m0": ""}, {}])
async def test_a_holder_that_the_read_does_not_show_is_read_again_later(holders: dict[str, str]) -> None:
    state = pool(1)
    assert await confirm(Reads(holders), state)
    assert state.fleet.members[0].successor is None


async def test_a_read_that_fails_is_made_again_later() -> None:
    state = pool(1)
    assert await confirm(Reads({}, ServerError(500, "InternalError", "no")), state)
    assert state.fleet.members[0].successor is None


async def test_many_are_read_by_one_list() -> None:
    state = pool(MAX_GETS + 1)
    client = Reads({f"l-m{number}": "seen" for number in range(MAX_GETS + 1)})
    assert not await confirm(client, state)
    assert client.asked == [""]
    assert len(state.fleet.sessions.restarted) == MAX_GETS + 1
