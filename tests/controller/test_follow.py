"""Objects go to the Pool that they name; Leases that may have to be read are noticed."""

from __future__ import annotations

from typing import Any

from berth.controller.follow import FollowedPool, Follower
from berth.kinds import (
    AssignmentObject,
    ItemObject,
    LeaseObject,
    LeaseSpec,
    MemberObject,
    Meta,
    ReadAssignmentSpec,
    ReadItemSpec,
    ReadMemberSpec,
)


class Stage:
    """A Follower that no API server feeds, and its clock."""

    def __init__(self) -> None:
        client: Any = None
        self.now = 100.0
        self.new: list[FollowedPool] = []
        self.follower = Follower(
            client, on_pool=self.new.append, on_unusable=lambda *_: None, clock=lambda: self.now
        )

    def names(self, pool: str) -> set[str]:
        """The Items and Members that the brain of a Pool knows."""
        ledger = self.follower.pool("ns", pool).brain.ledger
        return {*ledger.items.of, *ledger.member_rows.of}

    def item(self, name: str, pool: str) -> None:
        item = ItemObject(Meta(name, "ns"), ReadItemSpec(pool))
        self.follower._on_spec("Item", None, item)

    def member(self, name: str, pool: str, lease: str | None = None) -> None:
        member = MemberObject(Meta(name, "ns", f"u-{name}"), ReadMemberSpec(4, pool, lease_name=lease))
        self.follower._on_spec("Member", None, member)

    def lease(self, name: str) -> None:
        lease = LeaseObject(Meta(name, "ns", resource_version="1"), LeaseSpec("someone", 10, "then"))
        self.follower._on_lease(None, lease)


def test_each_object_goes_to_the_pool_that_it_names() -> None:
    stage = Stage()
    stage.item("x", "one")
    stage.item("y", "two")
    stage.member("m", "two")
    assert (stage.names("one"), stage.names("two")) == ({"x"}, {"y", "m"})
    assert [str(pool.brain) for pool in stage.new] == ["ns/one", "ns/two"]


def test_an_assignment_that_names_another_pool_is_gone_from_the_first() -> None:
    stage = Stage()
    before = AssignmentObject(Meta("m", "ns", "a", "1"), ReadAssignmentSpec("one", items=("x#1@3",)))
    after = AssignmentObject(Meta("m", "ns", "a", "2"), ReadAssignmentSpec("two", items=("x#1@3",)))
    stage.follower._on_assignment(None, before)
    assert stage.names("one") == {"m"}
    stage.follower._on_assignment(before, after)
    assert (stage.names("one"), stage.names("two")) == (set(), {"m"})


def test_an_event_asks_for_reads_only_where_it_may_have_made_one_due() -> None:
    stage = Stage()
    stage.lease("not-a-members")
    stage.lease("l")
    stage.now += 11.0
    for leases in stage.follower._leases.values():
        leases.advance(stage.now)
    stage.item("x", "p")
    stage.member("other", "p")
    assert not stage.follower.reads_due.is_set(), "the Lease that has run out is nobody's here"
    stage.member("m", "p", lease="l")
    assert stage.follower.reads_due.is_set()
    assert stage.follower.leases_to_read("ns") == {"l"}


def test_a_read_that_shows_a_renewal_counts_as_one_and_says_that_the_watch_had_missed_it() -> None:
    stage = Stage()
    stage.lease("l")
    stage.member("m", "p", lease="l")
    stage.now += 11.0
    stage.follower._leases["ns"].advance(stage.now)
    renewed = LeaseObject(Meta("l", "ns", resource_version="2"), LeaseSpec("someone", 10, "now"))
    assert stage.follower.put_lease_read("ns", "l", renewed, stage.now)
    assert not stage.follower.leases_to_read("ns")
    assert not stage.follower.put_lease_read("ns", "l", renewed, stage.now), "only once"
    (member,) = stage.follower.pool("ns", "p").brain.ledger.members.values()
    assert member.live


def test_a_burst_of_a_pool_goes_on_until_its_leases_have_been_read() -> None:
    stage = Stage()
    for name in ("l", "nobodys"):
        stage.lease(name)
    stage.member("m", "p", lease="l")
    burst, other = (stage.follower.pool("ns", pool).burst for pool in ("p", "other"))
    assert not burst.more()
    stage.now += 11.0
    stage.follower._leases["ns"].advance(stage.now)
    assert burst.more()
    assert not other.more()
    started = stage.now
    stage.now += 0.012
    stage.follower.put_lease_read("ns", "l", None, started)
    assert not burst.more(), "it is dead, as the read has shown"
    assert burst._last == started, "what the read took is part of the quiet time"
