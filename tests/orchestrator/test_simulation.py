"""Random histories of a fleet whose workers crash, vanish and refuse, until it settles.

While it runs: no instance too many is ever started on the workers that answered, no worker is
filled above its limit, and what the statistics say is true. In the end: everything that is
expected runs, evenly.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from berth.orchestrator import InMemoryCommunicator, Orchestrator, Task


class Unreliable(InMemoryCommunicator[str, int]):
    """Fails calls at random, before or after they took effect, and checks the calls that it gets."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.chance = chance
        self.failure_rate = 0.0
        self.instances: dict[int, int] = {}
        self.limits: dict[str, int | None] = {}
        self.answered: set[str] = set()
        self.down: set[str] = set()
        self.made: Counter[str] = Counter()

    async def _unless_it_fails(self, call, *arguments):
        if self.chance.random() < 0.3:
            await asyncio.sleep(0)  # so that lanes interleave in many orders
        failing = self.chance.random() < self.failure_rate
        before = self.chance.random() < 0.5
        if failing and before:
            raise ConnectionError("lost on the way there")
        answer = await call(*arguments)
        if failing:
            raise ConnectionError("lost on the way back")
        return answer

    async def list(self, worker):
        if worker in self.down:
            raise ConnectionError("down")
        tasks = await self._unless_it_fails(super().list, worker)
        self.answered.add(worker)
        return tasks

    async def add(self, worker, task):
        self.made["add"] += 1
        assert worker in self.answered, "a worker that was left out got a task"
        if worker in self.down:
            raise ConnectionError("down")
        running = sum(task in self.tasks(w) for w in self.answered)
        assert task not in self.tasks(worker)
        assert running < self.instances[task], "started an instance too many"
        limit = self.limits[worker]
        assert limit is None or len(self.tasks(worker)) < limit, "filled above the limit"
        await self._unless_it_fails(super().add, worker, task)

    async def remove(self, worker, task):
        self.made["remove"] += 1
        assert worker in self.answered
        if worker in self.down:
            raise ConnectionError("down")
        await self._unless_it_fails(super().remove, worker, task)


async def simulate(seed: int, terms: int, failure_rate: float, bound: int | None) -> None:
    chance = random.Random(seed)
    communicator = Unreliable(chance)
    orchestrator = Orchestrator(communicator, moves_per_worker=bound, timeout=60)
    limited = chance.random() < 0.3
    next_task = next_worker = 0

    async def term():
        communicator.answered.clear()
        communicator.instances = {t.definition: t.instances for t in orchestrator.expected_tasks()}
        communicator.made.clear()
        stats = await orchestrator.next_term()
        assert stats.worker_count == len(communicator.answered)
        assert stats.added + stats.removed + stats.failed == communicator.made.total()
        assert stats.moved <= min(stats.added, stats.removed)
        if not failure_rate and not communicator.down:
            running = Counter(t for w in communicator.answered for t in communicator.tasks(w))
            wanted = Counter(communicator.instances)
            assert stats.missing == (wanted - running).total()
        return stats

    for _ in range(terms):
        communicator.failure_rate = failure_rate if chance.random() < 0.7 else 0.0
        for _ in range(chance.randrange(4)):
            workers = sorted(communicator.limits)
            event = chance.randrange(8)
            if event == 0 or not workers:
                worker = f"w{next_worker}"
                next_worker += 1
                communicator.limits[worker] = chance.randint(1, 12) if limited else None
                orchestrator.add_worker(worker, limit=communicator.limits[worker])
                communicator.assign(
                    worker, chance.sample(range(40), chance.randrange(3)) if not limited else []
                )
            elif event == 1 and len(workers) > 1:
                worker = chance.choice(workers)
                orchestrator.remove_worker(worker)
                del communicator.limits[worker]
                communicator.down.discard(worker)
            elif event == 2:
                communicator.down.add(chance.choice(workers))
            elif event == 3:
                worker = chance.choice(workers)
                communicator.forget(worker)  # crashed, and started again
                communicator.down.discard(worker)
            elif event == 4 and next_task:
                orchestrator.remove_task(chance.randrange(next_task))
            else:
                for _ in range(chance.randint(1, 5)):
                    orchestrator.add_task(next_task, instances=chance.choice([1, 1, 1, 2, 3]))
                    next_task += 1
        await term()

    communicator.failure_rate = 0.0
    communicator.down.clear()
    for _ in range(80):
        stats = await term()
        if stats.settled:
            break
    assert stats.settled, stats
    assert stats.failed == stats.skipped == stats.added == stats.removed == 0

    workers = sorted(communicator.limits)
    running = Counter(t for w in workers for t in communicator.tasks(w))
    wanted = {t.definition: min(t.instances, len(workers)) for t in orchestrator.expected_tasks()}
    loads = [len(communicator.tasks(w)) for w in workers]
    if limited:
        assert all(running[t] <= n for t, n in wanted.items())
        assert all(load <= (communicator.limits[w] or 0) for w, load in zip(workers, loads, strict=True))
        assert stats.missing == sum(t.instances for t in orchestrator.expected_tasks()) - sum(loads)
    else:
        assert running == Counter({t: n for t, n in wanted.items() if n})
        assert max(loads) - min(loads) <= 1


@given(
    seed=st.integers(0, 2**32),
    failure_rate=st.sampled_from([0.0, 0.1, 0.4]),
    bound=st.sampled_from([1, 2, None]),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_fleet_with_failing_workers_settles(seed, failure_rate, bound):
    asyncio.run(simulate(seed, terms=12, failure_rate=failure_rate, bound=bound))


@pytest.mark.deep
@given(seed=st.integers(0, 2**64), failure_rate=st.floats(0, 0.8), bound=st.sampled_from([1, 2, 5, None]))
@settings(max_examples=1500, deadline=None)
def test_a_fleet_with_failing_workers_settles_in_many_histories(seed, failure_rate, bound):
    asyncio.run(simulate(seed, terms=30, failure_rate=failure_rate, bound=bound))


async def test_half_of_a_large_fleet_dies_and_comes_back():
    communicator = InMemoryCommunicator[int, int]()
    orchestrator = Orchestrator(communicator)
    orchestrator.update_workers(range(40))
    orchestrator.update_tasks([Task(n, 1 + n % 2) for n in range(800)])
    await orchestrator.next_term()
    for worker in range(20):
        communicator.fail(worker)
    stats = await orchestrator.next_term()
    assert (stats.worker_count, stats.left_out, stats.missing) == (20, 20, 0)
    assert {len(communicator.tasks(w)) for w in range(20, 40)} == {60}
    for worker in range(20):
        communicator.heal(worker)
    stats = await orchestrator.next_term()
    assert stats.removed - stats.moved == 600, "the instances too many go at once"
    while not stats.settled:
        stats = await orchestrator.next_term()
        assert stats.missing == 0
    assert {len(communicator.tasks(w)) for w in range(40)} == {30}
