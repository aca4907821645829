"""One round over a fleet: what Items share with each other."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
from objects import assignment_object, item_object, lease_object, member_object, pool_spec
from reading import let_time_pass

from berth.kinds import Entry, Handoff, format_entry
from berth.pool import Leases, Ledger, Why, Write
from berth.pool.changes import Round
from berth.pool.progress import Progress
from berth.pool.reasons import Wait
from berth.pool.round import due_items, plan_round, view_of
from berth.solve import Proof, Solution


def fleet_of(members: dict[str, tuple[int, list[Entry]]], items: dict[str, int], **policy: object) -> Ledger:
    """Members with (limit, entries), Items with replicas."""
    fleet = Ledger(Leases(), pool_spec(**policy))  # type: ignore[arg-type]
    for name, replicas in items.items():
        fleet.put_item(item_object(name, replicas))
    for name, (limit, entries) in members.items():
        fleet.put_member(member_object(name, limit, uid=f"u-{name}"), 0.0)
        texts = tuple(sorted(map(format_entry, entries)))
        fleet.put_assignment(assignment_object(name, texts, 5, f"a-{name}", f"u-{name}", 1), 0.0)
    return fleet


def solution(fleet: Ledger, wanted: dict[str, list[str]]) -> Solution:
    """Who should hold what, slot order."""
    rows = np.full((len(fleet.items), 4), -1, np.int32)
    primary = np.full(len(fleet.items), -1, np.int32)
    for item, members in wanted.items():
        for slot, member in enumerate(members):
            rows[fleet.items.of[item], slot] = fleet.member_rows.of[member]
        if members:
            primary[fleet.items.of[item]] = fleet.member_rows.of[members[0]]
    return Solution(rows, primary, Proof((), ()), "exact", "", 0.0)


def plan(fleet: Ledger, wanted: dict[str, list[str]], progress: Progress | None = None) -> Round:
    rows = [row for row, name in enumerate(fleet.items.names) if name is not None]
    return plan_round(
        fleet, solution(fleet, wanted), rows, progress or Progress(), term=9, now=0.0, braking=False
    )


def written(fleet: Ledger, planned: Round) -> dict[str, list[str]]:
    """Items by Member after the round."""
    found = {}
    for row, member in fleet.members.items():
        write = planned.writes.get(row) or Write.of(member)
        found[member.name] = sorted(write.entries(write.edits))
    return found


def test_adds_of_one_round_count_for_each_others_room() -> None:
    full = [Entry("x", 0, 3, 3)]
    fleet = fleet_of({"a": (2, full), "b": (5, [])}, {"x": 1, "y": 1, "z": 1})
    planned = plan(fleet, {"x": ["b"], "y": ["a"], "z": ["a"]})
    assert len(written(fleet, planned)["a"]) == 2, "x still counts: it goes once b is ready"


def test_room_that_a_removal_frees_is_used_in_the_next_round() -> None:
    fleet = fleet_of({"a": (1, [Entry("x", 1, 3, 0)]), "b": (5, [Entry("x", 0, 3, 3)])}, {"x": 1, "y": 1})
    planned = plan(fleet, {"x": ["b"], "y": ["a"]})
    assert written(fleet, planned) == {"a": [], "b": ["x"]}


def test_a_missing_replica_gets_the_room_before_a_move_does() -> None:
    fleet = fleet_of({"a": (1, []), "b": (5, [Entry("mover", 0, 3, 3)])}, {"mover": 1, "zz-missing": 1})
    planned = plan(fleet, {"mover": ["a"], "zz-missing": ["a"]})
    assert written(fleet, planned)["a"] == ["zz-missing"]


def test_no_more_moves_than_the_budget_begin() -> None:
    held = [Entry(name, 0, 3, 3) for name in "vwxyz"]
    fleet = fleet_of({"a": (9, held), "b": (9, [])}, dict.fromkeys("vwxyz", 1), max_in_flight=2)
    progress = Progress()
    planned = plan(fleet, {name: ["b"] for name in "vwxyz"}, progress)
    assert len(written(fleet, planned)["b"]) == 2
    assert progress.moving == 2
    assert [wait.why for wait in progress.waits.values()].count(Why.BUDGET) == 3


def test_moves_that_the_budget_holds_back_are_found_without_a_look_at_all_that_wait() -> None:
    class Unread(dict[int, Wait]):
        def items(self) -> NoReturn:
            raise AssertionError("there may be 100,000 of them, and a round follows each report")

    held = [Entry(name, 0, 3, 3) for name in "vwx"]
    fleet = fleet_of({"a": (9, held), "b": (9, [])}, dict.fromkeys("vwx", 1), max_in_flight=1)
    progress = Progress(Unread())
    plan(fleet, {name: ["b"] for name in "vwx"}, progress)
    fleet.changed.converge.clear()
    assert due_items(fleet, progress) == set()
    progress.forget(fleet.items.of["v"])
    assert due_items(fleet, progress) == {fleet.items.of["w"]}
    progress.forget(fleet.items.of["w"])
    assert due_items(fleet, progress) == {fleet.items.of["x"]}


def test_moves_that_another_leader_has_started_count_for_the_budget() -> None:
    """Whatever the order of the names: `z` is on its way, so `a` waits."""
    held = [Entry("a", 0, 3, 3), Entry("z", 0, 3, 3)]
    fleet = fleet_of({"m": (9, held), "n": (9, [Entry("z", 1, 4, 0)])}, {"a": 1, "z": 1}, max_in_flight=1)
    progress = Progress()
    planned = plan(fleet, {"a": ["n"], "z": ["n"]}, progress)
    assert written(fleet, planned)["n"] == ["z"]
    assert progress.waits[fleet.items.of["a"]].why is Why.BUDGET


def test_an_item_that_waits_for_room_is_found_by_its_member() -> None:
    fleet = fleet_of({"a": (0, []), "b": (5, [Entry("x", 0, 3, 3)])}, {"x": 2})
    progress = Progress()
    plan(fleet, {"x": ["b", "a"]}, progress)
    row, member = fleet.items.of["x"], fleet.member_rows.of["a"]
    assert progress.waits[row].why is Why.LIMIT
    assert progress.for_room[member] == {row}
    progress.forget(row)
    assert progress.for_room[member] == set()


def test_a_round_that_only_takes_away_needs_no_new_term() -> None:
    fleet = fleet_of({"a": (5, [Entry("x", 1, 3, 0)]), "b": (5, [Entry("x", 0, 3, 3)])}, {"x": 1})
    assert not plan(fleet, {"x": ["b"]}).raises_term
    assert plan(fleet, {"x": ["a"]}).raises_term


def test_a_round_remembers_its_members_as_they_were() -> None:
    fleet = fleet_of({"a": (5, [Entry("x", 0, 3, 3)])}, {})
    planned = plan(fleet, {})
    row = fleet.member_rows.of["a"]
    fleet.delete_assignment("a", 1.0)
    member = planned.writes[row].member
    assert member.assignment is not None
    assert set(member.entries) == {"x"}


def test_an_expired_primary_lingers_under_exclusive_until_it_has_surely_stopped() -> None:
    fleet = fleet_of({"b": (5, [Entry("x", 1, 3, 0)])}, {"x": 2}, handoff=Handoff.EXCLUSIVE)
    fleet.leases.put(lease_object("l", "s", "r", 10.0), 0.0)
    fleet.put_member(member_object("a", 5, lease="l", uid="u"), 0.0)
    fleet.put_assignment(assignment_object("a", ("x#0@3:3",), 5, "i", "u", 1), 0.0)
    for now, stays in ((10.0, True), (11.0, False)):
        let_time_pass(fleet, now)
        held = view_of(fleet, fleet.items.of["x"], solution(fleet, {"x": ["b"]}), now).holdings
        assert [h.stopped for h in held if h.slot == 0] == [not stays]
        assert ("x" in written(fleet, plan(fleet, {"x": ["b"]}))["a"]) is stays
