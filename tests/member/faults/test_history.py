"""The checker itself, on histories made by hand."""

from fault_history import (
    Seen,
    Work,
    bad_assignments,
    epochs_of_two,
    epochs_that_go_back,
    idle,
    overlaps,
)


def work(session: str, epoch: int, *times: float, item: str = "a", pid: int = 1) -> list[Work]:
    return [Work(item, session, epoch, time, pid) for time in times]


def test_one_after_the_other_is_fine() -> None:
    history = work("s1", 3, 1.0, 1.5, 2.0) + work("s2", 5, 2.1, 2.2)
    assert list(overlaps(history)) == []
    assert list(epochs_that_go_back(history)) == []


def test_two_sessions_at_once_are_found() -> None:
    history = work("s1", 3, 1.0, 1.5, 2.0) + work("s2", 5, 1.9, 2.2)
    assert list(overlaps(history)) == [
        "a: s1 (epoch 3) worked until 2.000, s2 (epoch 5) from 1.900, 0.100 s together"
    ]


def test_a_short_interval_within_a_long_one_is_found_and_the_long_one_is_not_forgotten() -> None:
    history = work("s1", 3, 1.0, 9.0) + work("s2", 5, 2.0, 3.0) + work("s3", 6, 5.0, 6.0)
    assert len(list(overlaps(history))) == 2


def test_different_items_may_be_worked_on_at_once() -> None:
    assert list(overlaps(work("s1", 3, 1.0, 2.0) + work("s2", 3, 1.0, 2.0, item="b"))) == []


def test_a_late_writer_is_found_by_its_epoch() -> None:
    history = work("s1", 3, 1.0) + work("s2", 5, 2.0) + work("s1", 3, 3.0)
    assert list(epochs_that_go_back(history)) == ["a: epoch 3 of s1 after 5 of s2"]


def test_an_epoch_that_two_processes_have_had_is_found_once() -> None:
    fine = work("s1", 3, 1.0, pid=7) + work("s2", 4, 2.0, pid=8) + work("s2", 3, 3.0, item="b", pid=8)
    assert list(epochs_of_two(fine)) == []
    twice = work("s1", 3, 1.0, pid=7) + work("s2", 3, 2.0, 3.0, pid=8)
    assert list(epochs_of_two(twice)) == ["a: epoch 3 of process 7 (s1), then of process 8 (s2)"]
    assert len(list(epochs_of_two(work("s1", 3, 1.0, pid=7) + work("s2", 3, 2.0, pid=7)))) == 1


def test_assignments_are_checked_for_epochs_and_for_two_primaries() -> None:
    fine = [Seen(1, "w1", ("a#0@1:2",)), Seen(2, "w1", ()), Seen(3, "w2", ("a#0@3:3",))]
    assert list(bad_assignments(fine)) == []
    assert list(bad_assignments([Seen(1, "w1", ("a#0@1:2",)), Seen(2, "w2", ("a#0@1:3",))])) != []
    again = [Seen(1, "w1", ("a#0@1:2",)), Seen(2, "w1", None), Seen(3, "w2", ("a#0@2:2",))]
    assert list(bad_assignments(again)) == ["a: epoch 2 given to w1 and to w2"]
    back = [Seen(1, "w1", ("a#0@1:5",)), Seen(2, "w1", ()), Seen(3, "w2", ("a#0@2:4",))]
    assert list(bad_assignments(back)) == ["a: epoch 4 after 5"]


def test_items_that_nobody_works_on_are_named() -> None:
    history = work("s1", 3, 1.0, 12.0) + work("s1", 3, 1.0, item="b")
    assert list(idle(history, ["a", "b"], since=10.0, bound=5.0)) == [
        "b: nobody works on it 5 s after the last fault"
    ]
