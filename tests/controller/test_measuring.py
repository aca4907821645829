"""What the controller measures of itself: queue age, time under way, the endpoint."""

from __future__ import annotations

import itertools
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Gauge

from berth.controller.batch import Batch
from berth.controller.endpoint import endpoint
from berth.controller.handoffs import Finished, Handoffs
from berth.controller.metrics import Metrics
from berth.controller.state import PoolState
from berth.converge import Lane, Wait, Why
from berth.fleet import Leases, PoolFleet


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_way_of_an_item_is_measured_from_the_first_round_to_the_one_that_finds_it_there() -> None:
    clock = Clock()
    handoffs = Handoffs(clock)
    assert handoffs.note([1, 2], {1: Wait(Why.STEP), 2: Wait(Why.STEP)}, lacking={1}) == []
    clock.now += 5
    waits = {1: Wait(Why.NOT_READY), 2: Wait(Why.STEP)}
    assert handoffs.note([1], waits, lacking=()) == []
    assert handoffs.oldest(waits) == {"WaitingForReady": 5.0, "InProgress": 5.0}
    clock.now += 2
    assert handoffs.note([1, 2], {}, lacking=()) == [
        Finished(Lane.RECOVERY, 7.0),
        Finished(Lane.MOVE, 7.0),
    ]
    assert handoffs.note([1, 2], {}, lacking=()) == []


def test_an_item_that_is_gone_or_was_led_by_another_is_not_measured() -> None:
    clock = Clock()
    handoffs = Handoffs(clock)
    handoffs.note([1, 2], {1: Wait(Why.STEP), 2: Wait(Why.STEP)}, lacking={1, 2, 3})
    handoffs.forget(1)
    assert [f.lane for f in handoffs.note([1, 2], {}, lacking={1, 2, 3})] == [Lane.RECOVERY]
    handoffs.note([3], {3: Wait(Why.STEP)}, lacking={1, 2, 3})
    handoffs.clear()
    assert handoffs.note([3], {}, lacking={1, 2, 3}) == []


def test_the_age_of_the_queue_is_that_of_the_first_event_until_a_round_has_served_it() -> None:
    batch = Batch()
    assert batch.age == 0.0
    assert batch.take() is None
    batch.wake()
    first = batch.take()
    assert first is not None
    assert batch.age == 0.0
    batch.wake()
    batch.put_back(first)
    assert batch.take() == first, "a round that failed leaves its events as old as they were"
    batch.put_back(None)
    assert batch.age == 0.0


async def burst(*pauses: float) -> float:
    """Seconds for which a batch waits where an event comes at once, and after each of the pauses."""
    clock = Clock()
    coming = list(itertools.accumulate(pauses, initial=clock.now))

    async def sleep(seconds: float) -> None:
        end = clock.now + seconds
        while coming and coming[0] <= end:
            clock.now = coming.pop(0)
            batch.wake()
        clock.now = end

    batch = Batch(quiet=0.02, longest=0.2, clock=clock, sleep=sleep)
    coming.pop(0)
    batch.wake()
    await batch.wait(None)
    return clock.now - 100.0


async def test_a_burst_ends_when_nothing_has_come_for_the_quiet_time() -> None:
    assert await burst() == pytest.approx(0.02)
    assert await burst(0.015, 0.015, 0.015) == pytest.approx(0.065)
    assert await burst(0.015, 0.03) == pytest.approx(0.035), "the second one begins a burst of its own"


async def test_a_burst_that_does_not_end_is_cut() -> None:
    assert await burst(*[0.015] * 100) == pytest.approx(0.2)


async def test_a_moment_that_has_come_is_not_waited_for() -> None:
    clock = Clock()
    await Batch(clock=clock).wait(clock.now)
    assert clock.now == 100.0


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_endpoint_serves_metrics_and_says_when_it_is_ready() -> None:
    registry = CollectorRegistry()
    Gauge("some", "Some.", registry=registry).set(7)
    ready = [False]
    with endpoint(0, registry, lambda: ready[0]) as port:
        url = f"http://127.0.0.1:{port}"
        assert get(f"{url}/readyz") == (503, "not ready\n")
        ready[0] = True
        assert get(f"{url}/readyz") == (200, "ok\n")
        status, text = get(f"{url}/metrics")
        assert status == 200
        assert "some 7.0" in text
        assert get(f"{url}/secrets")[0] == 404
    with pytest.raises(OSError, match="refused"):
        get(f"{url}/metrics")


def test_a_replica_that_stops_leading_speaks_of_no_pool_but_keeps_its_counters() -> None:
    metrics = Metrics()
    metrics.items.labels("a", "b").set(3)
    metrics.queue_age.labels("a", "b").set_function(lambda: 1.0)
    metrics.rounds.labels("a", "b").inc()
    metrics.forget_pools()
    names = {s.name for family in metrics.registry.collect() for s in family.samples if "pool" in s.labels}
    assert names == {"berth_rounds_total", "berth_rounds_created"}


def test_every_metric_has_a_sentence_and_a_conventional_name() -> None:
    for family in Metrics().registry.collect():
        assert family.name.startswith("berth_")
        assert family.documentation.endswith(".")
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_what_is_heard_of_assignments_while_they_are_written_is_read_afterwards_in_order() -> None:
    state = PoolState("ns", "p", PoolFleet(Leases()))
    read: list[int] = []

    def fail() -> None:
        raise ValueError

    with state.undisturbed():
        state.hear(lambda: read.append(1))
        state.hear(fail)
        state.hear(lambda: read.append(2))
        assert read == []
    assert read == [1, 2], "one that fails stops no other"
    state.hear(lambda: read.append(3))
    assert read == [1, 2, 3]
