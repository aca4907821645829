"""Stories in the model, each the shortest way to a danger that the protocol is made to avoid."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from objects import pool_spec
from protocol_objects import entries
from protocol_world import KINDS
from test_protocol import Protocol

from berth.kinds import Handoff

ALL = set(KINDS)
FINE = ("ok",) * 12


@contextlib.contextmanager
def protocol(
    limits: dict[str, int],
    *,
    reported: bool = False,
    exclusive: bool = False,
    leased: bool = False,
    **options: Any,
) -> Iterator[Protocol]:
    """A Pool of Members, led by the first of two controllers."""
    machine = Protocol()
    try:
        world = machine.world
        world.create_pool()
        pool = world.need_pool()
        rules = pool_spec(handoff=Handoff.EXCLUSIVE if exclusive else Handoff.OVERLAP, **options)
        world.put("pool", "pool", type(pool)(pool.uid, world.version + 1, rules))
        for name, limit in limits.items():
            spec = {"limit": limit, "zone": "", "draining": False, "leased": leased, "reported": reported}
            machine.put_member(name, spec)
        for leader in machine.leaders:
            for kind in KINDS:
                leader.relist(kind)
        machine.elect(0)
        yield machine
        machine.all_is_well(8)
        machine.promises_hold()
    finally:
        machine.close()


def set_limits(machine: Protocol, **limits: int) -> None:
    for name, limit in limits.items():
        machine.world.put("members", name, machine.world.members[name]._replace(limit=limit))


def held(machine: Protocol, item: str = "x") -> dict[str, int]:
    """Slots of the Item by Member."""
    found = {name: entries(there).get(item) for name, there in machine.world.assignments.items()}
    return {name: entry.slot for name, entry in found.items() if entry is not None}


def test_a_write_that_arrives_late_does_not_take_the_last_replica() -> None:
    with protocol({"m0": 1, "m1": 0}) as machine:
        machine.put_item("x", 1)
        machine.all_is_well(3)
        assert held(machine) == {"m0": 0}
        set_limits(machine, m0=0, m1=1)
        machine.quiet_rounds(0, 1)
        assert held(machine) == {"m0": 0, "m1": 1}
        # The write that takes x from m0 gets no answer, and is on its way.
        machine.round(0, ALL, ("ok", "late"))
        assert len(machine.network.late) == 1
        set_limits(machine, m0=1, m1=0)
        machine.quiet_rounds(0, 2)
        machine.arrives_late(0)
        assert held(machine)


def taken_from_m0(machine: Protocol) -> None:
    """x is on m1 and m0; the second controller has seen that; the first one takes it from m0."""
    machine.put_item("x", 1)
    machine.all_is_well(3)
    assert held(machine) == {"m1": 0}
    machine.put_item("x", 2)
    set_limits(machine, m0=1)
    machine.all_is_well(3)
    assert held(machine) == {"m1": 0, "m0": 1}
    for kind in KINDS:
        machine.leaders[1].relist(kind)
    machine.put_item("x", 1)
    set_limits(machine, m0=0)
    machine.round(0, {"items", "members"}, FINE)
    assert held(machine) == {"m1": 0}
    set_limits(machine, m0=1, m1=0)


def test_a_new_leader_does_not_go_by_what_it_has_not_seen_yet() -> None:
    with protocol({"m0": 0, "m1": 1}) as machine:
        taken_from_m0(machine)
        machine.elect(1, False, FINE)
        machine.round(1, {"items", "members"}, FINE)
        assert held(machine) == {"m1": 0}


def test_a_round_waits_until_the_writes_of_the_one_before_are_seen() -> None:
    with protocol({"m0": 0, "m1": 1}) as machine:
        taken_from_m0(machine)
        machine.round(0, {"items", "members"}, FINE)
        assert held(machine) == {"m1": 0}


def test_a_leader_that_was_replaced_is_refused() -> None:
    with protocol({"m0": 1, "m1": 1}) as machine:
        machine.put_item("x", 2)
        machine.all_is_well(3)
        machine.quiet_rounds(1, 1)
        machine.put_item("x", 1)
        machine.round(0, ALL, FINE)
        assert len(held(machine)) == 2, "the first controller does not lead any more"
        machine.network.holder = machine.leaders[1]


def test_what_an_earlier_member_held_is_gone_before_another_is_promoted() -> None:
    with protocol({"m0": 1, "m1": 1}) as machine:
        machine.put_item("x", 2)
        machine.all_is_well(3)
        primary = next(name for name, slot in held(machine).items() if slot == 0)
        machine.world.put("members", primary, None)
        machine.quiet_rounds(0, 1)
        assert list(held(machine).values()) == [0]


def test_what_a_leader_was_about_to_do_when_it_lost_its_lead_is_done_when_it_leads_again() -> None:
    with protocol({"m0": 1, "m1": 1}) as machine:
        machine.put_item("x", 2)
        machine.all_is_well(3)
        primary = next(name for name, slot in held(machine).items() if slot == 0)
        machine.world.put("members", primary, None)
        machine.round(0, ALL, ())
        machine.elect(0, False, ())
        machine.network.late.clear()  # the deletion of the Assignment never arrives
        machine.quiet_rounds(0, 1)
        assert list(held(machine).values()) == [0]


def test_epochs_grow_when_an_item_goes_back_and_forth() -> None:
    with protocol({"m0": 1, "m1": 0}) as machine:
        machine.put_item("x", 1)
        for there in (0, 1, 0, 1):
            set_limits(machine, m0=1 - there, m1=there)
            machine.all_is_well(4)
            assert held(machine) == {f"m{there}": 0}


def test_a_pool_that_came_back_grants_above_every_term_that_was_granted() -> None:
    """The new leader has not seen the grants yet when it takes the Pool over."""
    with protocol({"m0": 1, "m1": 1}) as machine:
        machine.put_item("x", 1)
        for kind in ("items", "members"):
            machine.leaders[1].relist(kind)
        machine.quiet_rounds(0, 2)
        primary = next(iter(held(machine)))
        machine.world.put("pool", "pool", None)
        set_limits(machine, **{primary: 0})
        machine.elect(1, False, FINE)
        machine.all_is_well(4)
        assert held(machine).keys() == {"m0", "m1"} - {primary}


def test_an_item_that_takes_the_row_of_another_while_it_is_solved_does_not_get_its_places() -> None:
    with protocol({"m0": 1, "m1": 1}) as machine:
        machine.world.solves_elsewhere = True
        machine.put_item("z", 2)
        machine.round(0, ALL, ())
        machine.world.put("items", "z", None)
        machine.put_item("x", 1)
        machine.leaders[0].deliver("items", 10)
        machine.quiet_rounds(0, 1)
        assert len(held(machine)) == 1


def test_a_leader_that_is_replaced_while_it_solves_changes_nothing() -> None:
    with protocol({"m0": 1, "m1": 1}) as machine:
        machine.put_item("x", 1)
        machine.all_is_well(3)
        before = held(machine).keys()
        machine.put_item("x", 2)
        machine.world.solves_elsewhere = True
        machine.round(0, ALL, ())
        there = machine.world.assignments["m0"]
        by_hand = there._replace(term=there.term + 9, resource_version=machine.world.version + 1)
        machine.world.put("assignments", "m0", by_hand)
        machine.controller_sees(0, "assignments", 4, False)
        machine.answer_all(machine.leaders[0])
        machine.quiet_rounds(0, 2)
        (new,) = held(machine).keys() - before
        granted = entries(machine.world.assignments[new])["x"].grant
        assert granted > by_hand.term, "it raises its term above the one that it saw first"


def test_a_new_leader_plans_with_what_it_has_seen_last() -> None:
    with protocol({"m0": 0, "m1": 1}) as machine:
        machine.put_item("a", 1)
        machine.all_is_well(1)
        for kind in KINDS:
            machine.leaders[1].relist(kind)
        machine.all_is_well(2)
        set_limits(machine, m0=1)
        machine.put_item("b", 1)
        machine.all_is_well(3)
        before = {name: there.items for name, there in machine.world.assignments.items()}
        for kind in ("items", "members"):
            machine.leaders[1].relist(kind)
        machine.elect(1, False, FINE)
        machine.all_is_well(4)
        assert not machine.leaders[1].brain.progress.waits
        assert {name: there.items for name, there in machine.world.assignments.items()} == before


def leased(machine: Protocol, *names: str, reported: bool = True) -> None:
    """Members with a Lease of ten seconds, and a process each."""
    for name in names:
        spec = {"limit": 4, "zone": "", "draining": False, "leased": True, "reported": reported}
        machine.put_member(name, spec)


def entries_now(machine: Protocol) -> dict[str, tuple[str, ...]]:
    return {name: there.items for name, there in machine.world.assignments.items()}


def unseen(machine: Protocol, seconds: float, *dying: str, answers: tuple[str, ...] = FINE) -> None:
    """Time passes in which no event of a Lease arrives, while all else does."""
    for _ in range(int(seconds / 5)):
        machine.time_passes(5.0, set(dying), silent=True)
        machine.round(0, ALL - {"leases"}, answers)
        machine.workers_work(set(machine.world.members) - set(dying))


def test_a_silent_watch_of_leases_kills_nobody_and_hides_no_death() -> None:
    with protocol({}) as machine:
        leased(machine, "m0", "m1", "m2")
        machine.put_item("x", 1)
        machine.put_item("y", 2)
        machine.all_is_well(4)
        before = entries_now(machine)
        unseen(machine, 60)
        assert entries_now(machine) == before
        dead = next(iter(held(machine)))
        unseen(machine, 25, dead)
        assert held(machine)
        assert dead not in held(machine)


def test_nobody_dies_while_leases_cannot_be_read() -> None:
    with protocol({}) as machine:
        leased(machine, "m0", "m1")
        machine.put_item("x", 1)
        machine.all_is_well(4)
        before = entries_now(machine)
        machine.world.leases_readable = False
        unseen(machine, 30, "m0", "m1", answers=FINE * 2)
        assert entries_now(machine) == before
        machine.world.leases_readable = True
        dead = next(iter(held(machine)))
        machine.world.start(({"m0", "m1"} - {dead}).pop())
        machine.quiet_rounds(0, 3)
        assert dead not in held(machine), "then whoever is dead is found out"


def test_a_new_leader_takes_nothing_from_one_that_is_alive_but_was_found_dead() -> None:
    """It has come back while nobody led, and the new leader has seen no renewal of its Lease."""
    with protocol({}) as machine:
        leased(machine, "m0", "m1", reported=False)
        machine.put_item("x", 1)
        machine.all_is_well(4)
        before = entries_now(machine)
        uid = machine.world.members[next(iter(held(machine)))].uid
        machine.world.said_live[uid] = False
        machine.elect(1, True, FINE)
        for _ in range(3):
            machine.time_passes(5.0, set(), silent=True)
            machine.round(1, ALL - {"leases"}, FINE)
        assert entries_now(machine) == before


def test_exclusive_waits_for_a_lease_that_was_deleted_while_nobody_led() -> None:
    with protocol({}, exclusive=True) as machine:
        spec = {"limit": 1, "zone": "", "draining": False, "leased": True, "reported": True}
        machine.put_member("m0", spec)
        machine.world.start("m0")
        machine.put_item("x", 1)
        machine.all_is_well(4)
        machine.put_member("m1", spec | {"leased": False, "reported": False})
        machine.world.put("leases", "l-m0", None)
        machine.elect(1, True)
        machine.quiet_rounds(1, 3)
        assert held(machine) == {"m0": 0}


def test_exclusive_trusts_a_status_that_does_not_say_active() -> None:
    """A worker that was about to begin is refused by the removal of its entry, and so never begins."""
    with protocol({"m0": 1, "m1": 0}, reported=True, exclusive=True) as machine:
        machine.put_item("x", 1)
        machine.quiet_rounds(0, 2)
        process = machine.world.processes["m0"]
        machine.world.observe(process)
        machine.world.advance(process, "x", "Ready")
        machine.world.report(process)
        machine.world.advance(process, "x", "Active")
        set_limits(machine, m0=0, m1=1)
        machine.quiet_rounds(0, 1)
        machine.workers_work({"m1"})
        machine.quiet_rounds(0, 1)
        assert held(machine) == {"m1": 1}
        machine.world.report(process)
        # A leader that remembers nothing has only the status to go by.
        machine.elect(1, True, FINE)
        machine.quiet_rounds(1, 2)
        assert held(machine) == {"m1": 0}


def test_exclusive_waits_for_a_process_that_works_by_what_an_earlier_member_was_given() -> None:
    with protocol({"m0": 1, "m1": 0}, reported=True, exclusive=True) as machine:
        machine.put_item("x", 1)
        machine.all_is_well(4)
        machine.delete_member(
            "m0",
            True,
            {"limit": 0, "zone": "", "draining": False, "leased": True, "reported": True},
        )
        machine.world.gullible = True
        machine.workers_work({"m0"})
        assert machine.world.at_work("x"), "the new process believed the old Assignment"
        set_limits(machine, m1=1)
        machine.quiet_rounds(0, 3)
        assert held(machine) == {"m1": 1}
