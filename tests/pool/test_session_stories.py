"""Stories in the model: a Member's process is started again under its name, and its entries are given anew.

Whether an epoch is ever worked with by two processes is checked by the model itself, at every step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from protocol_objects import entries
from protocol_world import KINDS, Process
from test_protocol import Protocol
from test_protocol_stories import FINE, held, protocol, unseen

from berth.kinds import Entry


@contextlib.contextmanager
def fleet(*names: str, replicas: int = 1, **options: Any) -> Iterator[Protocol]:
    """Members with Leases that report, and the Item x, which all who should work on."""
    limits = dict.fromkeys(names, 4)
    with protocol(limits, leased=True, **{"reported": True, **options}) as machine:
        machine.put_item("x", replicas)
        machine.all_is_well(4)
        assert len(held(machine)) == replicas
        yield machine


def kill(machine: Protocol, name: str) -> None:
    process = machine.world.processes[name]
    process.running = False
    process.active.clear()


def restart(machine: Protocol, name: str) -> Process:
    """The process is killed and started again at once; it has the Lease, and works as far as it may."""
    kill(machine, name)
    machine.world.start(name)
    machine.workers_work({name})
    return machine.world.processes[name]


def entry(machine: Protocol, name: str, item: str = "x") -> Entry:
    return entries(machine.world.assignments[name])[item]


def primary(machine: Protocol) -> str:
    return next(name for name, slot in held(machine).items() if slot == 0)


def session(machine: Protocol, name: str) -> str:
    return machine.world.assignments[name].written_for


def test_entries_are_written_for_the_holder_of_the_lease() -> None:
    with fleet("m0") as machine:
        assert session(machine, "m0") == machine.world.processes["m0"].session
        kill(machine, "m0")
        lease = machine.world.stores["leases"]["l-m0"]
        machine.world.put("leases", "l-m0", lease._replace(holder=""))
        machine.quiet_rounds(0, 2)
        assert held(machine) == {}
        assert session(machine, "m0") == machine.world.processes["m0"].session, "it stays after a release"


def test_entries_of_a_member_without_a_lease_are_for_no_session() -> None:
    with protocol({"m0": 1}, reported=True) as machine:
        machine.put_item("x", 1)
        machine.all_is_well(3)
        assert session(machine, "m0") == ""
        restart(machine, "m0")
        machine.all_is_well(2)
        assert session(machine, "m0") == ""


def test_a_process_that_is_started_again_within_its_lease_gets_an_epoch_of_its_own() -> None:
    with fleet("m0") as machine:
        before = entry(machine, "m0")
        process = restart(machine, "m0")
        assert not process.phases, "the entries are those of the process before it"
        machine.quiet_rounds(0, 1)
        after = entry(machine, "m0")
        assert session(machine, "m0") == process.session
        assert after.grant > before.grant
        assert after.epoch > before.epoch
        machine.all_is_well(1)
        assert process.active == {"x"}


def test_a_process_that_is_started_again_after_its_lease_gets_new_entries() -> None:
    with fleet("m0") as machine:
        before = entry(machine, "m0")
        kill(machine, "m0")
        machine.time_passes(12.0, set())
        machine.quiet_rounds(0, 1)
        assert held(machine) == {}
        process = restart(machine, "m0")
        machine.all_is_well(2)
        assert entry(machine, "m0").epoch > before.epoch
        assert session(machine, "m0") == process.session
        assert process.active == {"x"}


def test_a_ready_replica_elsewhere_is_promoted_instead() -> None:
    with fleet("m0", "m1", replicas=2) as machine:
        first = primary(machine)
        other = next(name for name in held(machine) if name != first)
        before, kept = entry(machine, first), entry(machine, other)
        process = restart(machine, first)
        machine.quiet_rounds(0, 1)
        assert entry(machine, other).epoch > before.epoch
        assert entry(machine, other).grant == kept.grant, "it is ready, and stays so"
        again = entry(machine, first)
        assert again.slot > 0
        assert again.grant > before.grant
        assert session(machine, first) == process.session


def test_a_replica_that_is_not_ready_is_not_promoted_instead() -> None:
    with fleet("m0", "m1", replicas=2) as machine:
        first = primary(machine)
        other = next(name for name in held(machine) if name != first)
        there = machine.world.assignments[other]
        unsaid = there._replace(reports=(), resource_version=machine.world.version + 1)
        machine.world.put("assignments", other, unsaid)
        restart(machine, first)
        machine.quiet_rounds(0, 1)
        assert primary(machine) == first


def test_an_assumed_member_that_is_started_again_is_not_ready_until_its_entries_are_its_own() -> None:
    with fleet("m0", "m1", replicas=2, reported=False) as machine:
        first = primary(machine)
        restart(machine, first)
        machine.quiet_rounds(0, 1)
        assert primary(machine) != first


def test_a_replica_that_is_started_again_gets_a_new_grant_in_its_slot() -> None:
    with fleet("m0", "m1", replicas=2) as machine:
        first = primary(machine)
        other = next(name for name in held(machine) if name != first)
        stays, before = entry(machine, first), entry(machine, other)
        restart(machine, other)
        machine.quiet_rounds(0, 1)
        assert entry(machine, other).slot == before.slot
        assert entry(machine, other).grant > before.grant
        assert entry(machine, first) == stays


def test_exclusive_gives_a_process_that_was_started_again_its_epoch_at_once() -> None:
    with fleet("m0", exclusive=True) as machine:
        before = entry(machine, "m0")
        restart(machine, "m0")
        machine.quiet_rounds(0, 1)
        assert entry(machine, "m0").slot == 0
        assert entry(machine, "m0").epoch > before.epoch


def test_exclusive_promotes_a_ready_replica_in_the_next_round() -> None:
    with fleet("m0", "m1", replicas=2, exclusive=True) as machine:
        first = primary(machine)
        restart(machine, first)
        machine.quiet_rounds(0, 1)
        assert 0 not in held(machine).values()
        machine.quiet_rounds(0, 1)
        assert primary(machine) != first


def test_exclusive_does_not_wait_for_a_lease_that_has_a_new_holder() -> None:
    """While the old one had only just run out, the entry was left in place."""
    with fleet("m0", exclusive=True) as machine:
        before = entry(machine, "m0")
        kill(machine, "m0")
        machine.time_passes(10.4, set())
        machine.quiet_rounds(0, 1)
        assert held(machine) == {"m0": 0}
        restart(machine, "m0")
        machine.quiet_rounds(0, 1)
        assert entry(machine, "m0").epoch > before.epoch


def test_a_restart_that_the_watch_of_leases_does_not_show_is_found_by_a_read() -> None:
    with fleet("m0") as machine:
        machine.all_is_well(3)
        before, process = entry(machine, "m0"), restart(machine, "m0")
        unseen(machine, 5)
        assert session(machine, "m0") != process.session
        unseen(machine, 15)
        assert session(machine, "m0") == process.session
        assert entry(machine, "m0").epoch > before.epoch


def test_two_restarts_before_the_leader_looks() -> None:
    with fleet("m0") as machine:
        before = entry(machine, "m0")
        restart(machine, "m0")
        process = restart(machine, "m0")
        machine.quiet_rounds(0, 1)
        assert session(machine, "m0") == process.session
        assert entry(machine, "m0").epoch > before.epoch


def test_a_restart_between_two_rounds_of_which_the_leader_hears_late() -> None:
    """What is granted meanwhile is the ended session's, and is given anew together with the rest."""
    with fleet("m0") as machine:
        process = restart(machine, "m0")
        machine.put_item("y", 1)
        machine.round(0, {"items"}, FINE)
        assert held(machine, "y") == {"m0": 0}
        granted = entry(machine, "m0", "y")
        machine.workers_work({"m0"})
        assert not process.active
        machine.quiet_rounds(0, 1)
        assert entry(machine, "m0", "y").epoch > granted.epoch
        machine.all_is_well(1)
        assert process.active == {"x", "y"}


def test_the_leader_is_killed_before_it_has_seen_the_restart() -> None:
    with fleet("m0") as machine:
        before = entry(machine, "m0")
        process = restart(machine, "m0")
        machine.elect(1, True, FINE)
        machine.quiet_rounds(1, 2)
        assert session(machine, "m0") == process.session
        assert entry(machine, "m0").epoch > before.epoch


def test_the_leader_is_killed_between_the_demotion_and_the_promotion() -> None:
    with fleet("m0", "m1", replicas=2) as machine:
        first = primary(machine)
        process = restart(machine, first)
        # The raise of the term and the first of two writes are accepted.
        machine.round(0, set(KINDS), ("ok", "ok"))
        assert 0 not in held(machine).values()
        machine.elect(1, True, FINE)
        machine.quiet_rounds(1, 2)
        assert primary(machine) != first
        assert session(machine, first) == process.session


def test_a_write_without_an_answer_gives_no_epoch_twice() -> None:
    for outcome in ("late", "lost", "unheard", "refused"):
        with fleet("m0", "m1", replicas=2) as machine:
            first = primary(machine)
            before = entry(machine, first)
            process = restart(machine, first)
            machine.round(0, set(KINDS), ("ok", outcome))
            machine.all_is_well(3)
            if machine.network.late:
                machine.arrives_late(0)
            machine.all_is_well(2)
            assert session(machine, first) == process.session
            assert entry(machine, first).grant > before.grant


def test_a_new_leader_whose_watch_of_leases_is_behind_takes_nothing_from_a_running_session() -> None:
    with fleet("m0") as machine:
        machine.leaders[1].relist("leases")
        process = restart(machine, "m0")
        machine.all_is_well(2)
        assert process.active == {"x"}
        before = machine.world.assignments["m0"].items
        for kind in ("items", "members", "assignments"):
            machine.leaders[1].relist(kind)
        machine.elect(1, False, FINE)
        machine.round(1, {"items"}, FINE)
        assert session(machine, "m0") == process.session
        assert machine.world.assignments["m0"].items == before
        machine.all_is_well(2)
        assert machine.world.assignments["m0"].items == before


def test_a_write_that_cannot_give_all_entries_anew_leaves_them_to_the_session_before() -> None:
    """The Item y is left alone, as a write of m1 that concerns it may yet arrive."""
    with fleet("m0", "m1", replicas=2) as machine:
        machine.put_item("y", 2)
        machine.all_is_well(4)
        machine.put_item("y", 1)
        machine.round(0, {"items"}, ("late", "late"))
        restart(machine, "m0")
        machine.round(0, set(KINDS), ("refused",) * 3)
        machine.all_is_well(4)
        assert session(machine, "m0") == machine.world.processes["m0"].session


def test_entries_that_wait_for_a_dead_member_stay_with_the_session_that_they_were_for() -> None:
    """It was started again, and died before the leader looked."""
    with fleet("m0", outage_delay=30.0) as machine:
        machine.put_item("y", 1)
        machine.all_is_well(3)
        before = session(machine, "m0")
        restart(machine, "m0")
        kill(machine, "m0")
        for kind in KINDS:
            machine.leaders[0].deliver(kind, 10_000)
        machine.world.now += 12.0
        machine.leaders[0].time_passes()
        machine.spin()
        machine.answer_all(machine.leaders[0])  # the read that confirms the death
        machine.world.put("items", "y", None)
        machine.quiet_rounds(0, 2)
        assert held(machine) == {"m0": 0}
        assert session(machine, "m0") == before


def test_a_pause_and_an_outage_delay_hold_nothing_back() -> None:
    with fleet("m0", "m1", "m2", outage_delay=300.0, brake_percent=10, brake_min_members=3) as machine:
        first = primary(machine)
        before = entry(machine, first)
        for name in ("m0", "m1", "m2"):
            kill(machine, name)
        machine.time_passes(12.0, set())
        machine.quiet_rounds(0, 1)
        assert machine.leaders[0].brain.outage.braking
        process = restart(machine, first)
        machine.quiet_rounds(0, 1)
        assert machine.leaders[0].brain.outage.braking
        assert entry(machine, first).epoch > before.epoch
        assert session(machine, first) == process.session


def as_an_older_leader_wrote_it(machine: Protocol, name: str) -> None:
    there = machine.world.assignments[name]
    old = there._replace(
        written_for="", generation=there.generation + 1, resource_version=machine.world.version + 1
    )
    machine.world.put("assignments", name, old)


def test_an_upgrade_names_the_session_that_works_with_the_entries_and_changes_nothing_else() -> None:
    with fleet("m0", "m1", replicas=2) as machine:
        before = {name: machine.world.assignments[name].items for name in ("m0", "m1")}
        for name in before:
            as_an_older_leader_wrote_it(machine, name)
        machine.elect(1, True, FINE)
        machine.quiet_rounds(1, 2)
        for name, items in before.items():
            assert session(machine, name) == machine.world.processes[name].session
            assert machine.world.assignments[name].items == items


def test_an_upgrade_gives_entries_anew_that_no_report_of_the_running_session_speaks_for() -> None:
    with fleet("m0") as machine:
        before = entry(machine, "m0")
        as_an_older_leader_wrote_it(machine, "m0")
        kill(machine, "m0")
        machine.world.start("m0")
        machine.elect(1, True, FINE)
        machine.quiet_rounds(1, 2)
        assert session(machine, "m0") == machine.world.processes["m0"].session
        assert entry(machine, "m0").epoch > before.epoch


def test_entries_are_given_anew_for_no_session_when_a_member_gives_up_its_lease() -> None:
    with fleet("m0") as machine:
        before = entry(machine, "m0")
        machine.world.put("members", "m0", machine.world.members["m0"]._replace(lease=None))
        machine.quiet_rounds(0, 2)
        assert session(machine, "m0") == ""
        assert entry(machine, "m0").epoch > before.epoch
