"""A Lease is read before its holder is believed, where the watch may be behind."""

from __future__ import annotations

from typing import Any

from objects import assignment_object, lease_object, member_object

from berth.controller.follow import Follower
from berth.controller.reads import AGAIN_AFTER, MAX_GETS, LeaseReader
from berth.kinds import LeaseObject, LeaseSpec
from berth.kube import Backoff, Meta, NotFound, ServerError
from berth.pool import Brain, Gone


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


class Stage:
    """Members whose entries are for another session than the one that their Lease was seen with."""

    def __init__(self, client: Any, count: int, holder: str = "seen") -> None:
        self.follower = Follower(client, on_pool=lambda _: None, on_unusable=lambda *_: None)
        self.brain: Brain = self.follower.pool("ns", "pool").brain
        self.again = 0
        for number in range(count):
            name = f"m{number}"
            self.brain.ledger.leases.put(lease_object(f"l-{name}", holder, "1"), 0.0)
            self.brain.observe(member_object(name, 4, lease=f"l-{name}", uid=name), 0.0)
            seen = assignment_object(name, ("x#1@3",), 3, "a", name, written_for="before")
            self.brain.observe(seen, 0.0)
        self.reader = LeaseReader(
            client,
            "ns",
            lambda: self.follower.leases_to_read("ns"),
            lambda name, lease, at: self.follower.put_lease_read("ns", name, lease, at),
            self._silent,
            clock=lambda: 1.0,
            sleep=self._sleep,
            backoff=Backoff(base=0.0, limit=0.0),
        )

    def _silent(self) -> None:
        raise AssertionError("no Lease has run out")

    async def _sleep(self, seconds: float) -> None:
        """The second time nothing is to be read any more, so that the reader ends."""
        self.again += 1
        assert seconds in (0.0, AGAIN_AFTER)
        for name in list(self.brain.leases_to_read()):
            self.brain.observe(Gone("Member", name.removeprefix("l-")), 0.0)

    def successor(self) -> str | None:
        return self.brain.ledger.members[0].successor


async def test_nothing_is_read_where_nothing_is_uncertain() -> None:
    client = Reads({})
    await Stage(client, 0).reader.read()
    assert client.asked == []


async def test_a_holder_that_the_read_shows_too_is_believed() -> None:
    client = Reads({"l-m0": "seen"})
    stage = Stage(client, 1)
    assert stage.successor() is None
    await stage.reader.read()
    assert client.asked == ["l-m0"]
    assert stage.successor() == "seen"


async def test_a_holder_that_the_watch_has_not_shown_yet_is_read_once_more() -> None:
    client = Reads({"l-m0": "another"})
    stage = Stage(client, 1)
    await stage.reader.read()
    assert client.asked == ["l-m0"], "the read itself shows it"
    assert stage.successor() == "another"


async def test_the_holder_that_the_entries_are_for_is_none_that_follows() -> None:
    stage = Stage(Reads({"l-m0": "before"}), 1)
    await stage.reader.read()
    assert stage.successor() is None
    assert not stage.brain.leases_to_read()


async def test_a_lease_that_is_gone_is_read_again_later() -> None:
    client = Reads({})
    stage = Stage(client, 1)
    await stage.reader.read()
    assert stage.again == 1


async def test_a_read_that_fails_is_made_again_later() -> None:
    stage = Stage(Reads({}, ServerError(500, "InternalError", "no")), 1)
    await stage.reader.read()
    assert stage.again == 1


async def test_many_are_read_by_one_list() -> None:
    client = Reads({f"l-m{number}": "seen" for number in range(MAX_GETS + 1)})
    stage = Stage(client, MAX_GETS + 1)
    await stage.reader.read()
    assert client.asked == [""]
    assert len(stage.brain.ledger.sessions.restarted) == MAX_GETS + 1
