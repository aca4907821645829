"""When Leases run out is noticed by the queue of moments, whatever their durations do."""

from __future__ import annotations

import random

from objects import lease_object
from reading import pass_time

from berth.pool import Leases, Liveness


def test_a_lease_renewed_for_a_shorter_time_runs_out_at_the_earlier_moment():
    leases = Leases()
    leases.put(lease_object("a", "holder", "1", duration=30.0), 0.0)
    leases.put(lease_object("a", "holder", "2", duration=3.0), 10.0)
    assert leases.next_change() == 13.0
    assert pass_time(leases, 12.9) == []
    assert pass_time(leases, 13.0) == ["a"]
    assert leases.liveness("a", 13.0) is Liveness.EXPIRED


def test_the_queue_is_never_late_under_random_renewals():
    rng = random.Random(9)
    leases = Leases()
    now = 0.0
    known: dict[str, Liveness] = {}
    for step in range(5000):
        now += rng.random()
        for name in pass_time(leases, now):
            known[name] = leases.liveness(name, now)
        name = f"lease-{rng.randrange(20)}"
        if rng.random() < 0.5:
            leases.put(lease_object(name, "holder", str(step), duration=float(rng.randint(1, 30))), now)
            known[name] = leases.liveness(name, now)
        assert all(leases.liveness(each, now) is state for each, state in known.items())
    assert len(leases._queue) < 200  # it does not grow by a place for each renewal
