"""The checker of the scale benchmark finds what it looks for: a history with each promise broken."""

from __future__ import annotations

import pytest
from benchmarks.scale.history import History, Truth


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def history(*, reported: bool = False, **truth: object) -> History:
    return History(Truth(**truth), Clock(), reported=reported)  # type: ignore[arg-type]


def test_a_history_of_rounds_as_they_should_be_breaks_nothing() -> None:
    h = history(replicas={"a": 2}, limits={"m": 1, "n": 1, "o": 1})
    h.assignment("m", ["a#0@1:1"], 1)
    h.assignment("n", ["a#1@1"], 1)
    h.assignment("o", ["a#2@2"], 2)  # a move: added, then removed, then promoted, then the gap closed
    h.assignment("m", [], 2)
    h.assignment("n", ["a#0@1:2"], 2)
    h.assignment("o", ["a#1@2"], 3)
    assert h.violations == []
    assert h.wrong_items() == []
    assert h.checked == 6


def test_two_primaries_at_once_are_found() -> None:
    h = history(replicas={"a": 2})
    h.assignment("m", ["a#0@1:1"], 1)
    h.assignment("n", ["a#0@1:2"], 2)
    assert h.violations == ["a has slot 0 on n and on m"]


def test_an_item_beyond_the_limit_is_found_and_one_that_was_there_is_not() -> None:
    h = history(limits={"m": 1})
    h.assignment("m", ["a#1@1", "b#1@1"], 1)
    assert h.violations == ["m was given a beyond its limit of 1"]
    h.violations.clear()
    h.assignment("m", ["b#1@1"], 2)
    h.assignment("m", ["b#0@1:3"], 3)
    assert h.violations == []


def test_an_item_twice_on_a_member_is_found() -> None:
    h = history()
    h.assignment("m", ["a#0@1:1", "a#1@1"], 1)
    assert "m lists a twice" in h.violations


def test_an_epoch_and_a_term_that_go_back_are_found() -> None:
    h = history()
    h.assignment("m", ["a#0@5:5"], 5)
    h.assignment("m", [], 5)
    h.assignment("n", ["a#0@3:4"], 6)
    h.assignment("m", [], 4)
    assert h.violations == ["the epoch of a went back to 4 on n", "the term of m went back from 5 to 4"]


def test_the_last_ready_replica_taken_away_is_found() -> None:
    h = history(replicas={"a": 1})
    h.assignment("m", ["a#0@1:1"], 1)
    h.assignment("m", [], 2)
    assert h.violations == ["a was taken from m (slot 0) with 0 ready of 1"]


def test_what_a_dead_member_or_a_deleted_item_loses_breaks_nothing() -> None:
    h = history(replicas={"a": 1}, died={"m": 990.0})
    h.assignment("m", ["a#0@1:1", "gone#0@1:1"], 1)
    h.assignment("n", ["gone#1@1"], 1)
    h.assignment("m", [], 2)
    h.assignment("n", [], 2)
    assert h.violations == []


def test_a_replica_on_a_member_long_dead_does_not_count_as_ready() -> None:
    clock = Clock()
    h = History(Truth(replicas={"a": 1}, died={"n": 990.0}), clock, grace=15.0)
    h.assignment("m", ["a#0@1:1"], 1)
    h.assignment("n", ["a#1@1"], 1)
    clock.now = 1010.0
    h.assignment("m", [], 2)
    assert h.violations == ["a was taken from m (slot 0) with 0 ready of 1"]


@pytest.mark.parametrize(
    ("report", "broken"), [("a@1=Preparing", True), ("a@2=Ready", True), ("a@1=Ready", False)]
)
def test_where_members_report_only_a_report_of_the_same_grant_makes_ready(report: str, broken: bool) -> None:
    h = history(reported=True, replicas={"a": 1})
    h.assignment("m", ["a#0@1:1"], 1, ["a@1=Active"])
    h.assignment("n", ["a#1@1"], 1, [])
    h.reports("n", [report])
    h.assignment("m", [], 2)
    assert bool(h.violations) is broken


def test_a_raised_number_of_replicas_binds_once_the_controller_can_know_it() -> None:
    clock = Clock()
    h = History(Truth(replicas={"a": 2}, raised={"a": (995.0, 1)}), clock, grace=15.0)
    h.assignment("m", ["a#0@1:1"], 1)
    h.assignment("n", ["a#1@1"], 1)
    h.assignment("n", [], 2)
    assert h.violations == []
    h.assignment("n", ["a#1@3"], 3)
    clock.now = 1011.0
    h.assignment("n", [], 4)
    assert h.violations == ["a was taken from n (slot 1) with 1 ready of 2"]


def test_after_a_gap_in_the_history_only_the_state_is_judged() -> None:
    h = history(replicas={"a": 1})
    h.assignment("m", ["a#0@1:1"], 1)
    h.rebuild([("n", ["a#0@2:2"], 2, [])])
    assert h.violations == []
    assert h.wrong_items() == []
    h.rebuild([("m", ["a#0@1:1"], 1, [])])
    assert h.violations == ["the epoch of a went back to 1 on m"]


def test_items_held_wrongly_in_the_end_are_named() -> None:
    h = history(replicas={"a": 2, "b": 1, "c": 1}, died={"dead": 0.0})
    h.assignment("m", ["a#0@1:1", "b#1@1", "x#0@1:1"], 1)
    h.assignment("dead", ["c#0@1:1"], 1)
    assert h.wrong_items() == ["a", "b", "c", "x"]
