"""The checkers themselves, on histories made by hand."""

from fault_history import (
    Fault,
    Work,
    decreasing_epochs,
    idle_items,
    interruptions,
    overlaps,
    shared_epochs,
)


def work(session: str, epoch: int, *times: float, item: str = "a", pid: int = 1) -> list[Work]:
    return [Work(item, session, epoch, time, pid) for time in times]


def test_one_session_after_the_other_is_fine() -> None:
    history = work("s1", 3, 1.0, 1.5, 2.0) + work("s2", 5, 2.1, 2.2)
    assert list(overlaps(history)) == []
    assert list(decreasing_epochs(history)) == []


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
    assert list(decreasing_epochs(history)) == ["a: epoch 3 of s1 after 5 of s2"]


def test_an_epoch_shared_by_two_processes_is_found_once() -> None:
    fine = work("s1", 3, 1.0, pid=7) + work("s2", 4, 2.0, pid=8) + work("s2", 3, 3.0, item="b", pid=8)
    assert list(shared_epochs(fine)) == []
    twice = work("s1", 3, 1.0, pid=7) + work("s2", 3, 2.0, 3.0, pid=8)
    assert list(shared_epochs(twice)) == ["a: epoch 3 of process 7 (s1), then of process 8 (s2)"]
    assert len(list(shared_epochs(work("s1", 3, 1.0, pid=7) + work("s2", 3, 2.0, pid=7)))) == 1


def test_a_worker_that_pauses_needs_a_fault_of_its_own_or_of_the_api_server() -> None:
    history = work("w1_x", 3, 1.0, 5.0, 5.1)
    paused = "a: w1_x paused for 4.000 s at 1.000 without a fault"
    assert list(interruptions(history, [], pause=2.0, recovery=1.0)) == [paused]
    for place, kind, excused in [
        ("w1", "stop", True),
        ("api", "api", True),
        ("machine", "stall", True),
        ("w2", "stop", False),
        ("controller-0", "kill", False),
        ("w1", "silent", False),
    ]:
        faults = [Fault(kind, place, 0.0, 0.5)]
        assert list(interruptions(history, faults, 2.0, 1.0)) == ([] if excused else [paused]), (place, kind)
    long_ago = [Fault("stop", "w1", 0.0, 0.5)]
    assert list(interruptions(work("w1_x", 3, 8.0, 12.0), long_ago, 2.0, 1.0)) != []


def test_a_session_that_ends_needs_a_fault() -> None:
    history = work("w1_x", 3, 1.0, 1.1) + work("w1_y", 4, 1.5)
    assert list(interruptions(history, [], pause=2.0, recovery=1.0)) == [
        "w1_x ended at 1.100 without a fault, w1_y follows"
    ]
    assert list(interruptions(history, [Fault("kill", "w1", 1.2, 1.3)], 2.0, 1.0)) == []
    other = work("w1_x", 3, 1.0, 1.1) + work("w2_y", 4, 1.5)
    assert list(interruptions(other, [], pause=2.0, recovery=1.0)) == []


def test_items_that_nobody_works_on_are_named() -> None:
    history = work("s1", 3, 1.0, 12.0) + work("s1", 3, 1.0, item="b")
    assert list(idle_items(history, ["a", "b"], since=10.0, bound=5.0)) == [
        "b: nobody works on it 5 s after the last fault"
    ]
