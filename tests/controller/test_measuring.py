"""What the controller measures of itself: queue age, time under way, the endpoint."""

from __future__ import annotations

import itertools
import urllib.error
import urllib.request

import pytest
from objects import item_object
from prometheus_client import CollectorRegistry, Gauge

from berth.controller.follow import Burst
from berth.controller.metrics import Metrics, endpoint
from berth.pool import Arrived, Lane, Leases, Ledger, Wait, Why
from berth.pool.progress import Progress
from berth.pool.round import due_items


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_way_of_an_item_is_measured_from_the_first_round_to_the_one_that_finds_it_there() -> None:
    clock = Clock()
    progress = Progress({1: Wait(Why.STEP), 2: Wait(Why.STEP)})
    assert progress.arrivals([1, 2], {1}, clock.now) == []
    clock.now += 5
    progress.waits[1] = Wait(Why.NOT_READY)
    assert progress.arrivals([1], (), clock.now) == []
    assert progress.oldest(clock.now) == {"WaitingForReady": 5.0, "InProgress": 5.0}
    clock.now += 2
    progress.waits.clear()
    assert progress.arrivals([1, 2], (), clock.now) == [Arrived(Lane.RECOVERY, 7.0), Arrived(Lane.MOVE, 7.0)]
    assert progress.arrivals([1, 2], (), clock.now) == []


def test_an_item_that_is_gone_is_not_measured() -> None:
    ledger, progress = Ledger(Leases()), Progress({0: Wait(Why.STEP), 1: Wait(Why.STEP)})
    for name in ("gone", "here"):
        ledger.put_item(item_object(name, 1))
    progress.arrivals([0, 1], {0, 1}, 100.0)
    ledger.delete_item("gone")
    due_items(ledger, progress)
    progress.waits.clear()
    assert progress.arrivals([0, 1], (), 105.0) == [Arrived(Lane.RECOVERY, 5.0)]


async def burst(*pauses: float) -> float:
    """Seconds for which a burst_ waits where an event comes at once, and after each of the pauses."""
    clock = Clock()
    coming = list(itertools.accumulate(pauses, initial=clock.now))

    async def sleep(seconds: float) -> None:
        end = clock.now + seconds
        while coming and coming[0] <= end:
            clock.now = coming.pop(0)
            burst_.wake()
        clock.now = end

    burst_ = Burst(clock, sleep)
    coming.pop(0)
    burst_.wake()
    await burst_.wait(None)
    return clock.now - 100.0


async def test_a_burst_ends_when_nothing_has_come_for_the_quiet_time() -> None:
    assert await burst() == pytest.approx(0.02)
    assert await burst(0.015, 0.015, 0.015) == pytest.approx(0.065)
    assert await burst(0.015, 0.03) == pytest.approx(0.035), "the second one begins a burst of its own"


async def test_a_burst_that_does_not_end_is_cut() -> None:
    assert await burst(*[0.015] * 100) == pytest.approx(0.5)


async def test_a_burst_goes_on_while_another_of_its_events_is_about_to_come() -> None:
    clock, reads = Clock(), [100.150]

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        if reads and reads[0] <= clock.now:
            reads.clear()
            waiting.wake()

    waiting = Burst(clock, sleep, more=lambda: bool(reads))
    waiting.wake()
    await waiting.wait(None)
    assert clock.now == pytest.approx(100.180), "the result of the read, and the quiet time after it"
    reads.append(200.0)  # a read that does not end
    waiting.wake()
    await waiting.wait(None)
    assert clock.now == pytest.approx(100.680)


async def test_the_time_for_which_a_lease_was_read_counts_as_quiet_time() -> None:
    clock = Clock()
    waiting = Burst(clock, clock.sleep)
    waiting.wake(clock.now - 0.012)
    await waiting.wait(None)
    assert clock.now == pytest.approx(100.008)
    waiting.wake(clock.now - 5.0)  # a slow read: nothing more is waited for
    await waiting.wait(None)
    assert clock.now == pytest.approx(100.008)
    waiting.wake()
    waiting.wake(clock.now - 0.012)  # an event that came meanwhile has the whole time
    await waiting.wait(None)
    assert clock.now == pytest.approx(100.028)


async def test_a_moment_that_has_come_is_not_waited_for() -> None:
    clock = Clock()
    await Burst(clock=clock).wait(clock.now)
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
