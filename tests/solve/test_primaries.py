"""The choice of primaries by maximum flows is as even as the one by a network with costs."""

import numpy as np
import pytest

from berth.solve.model import SCALE
from berth.solve.primaries import _even, _one_by_one


def unevenness(members: np.ndarray, column: np.ndarray, counts: np.ndarray, limit: np.ndarray) -> int:
    """What the level of even primaries charges: the k-th primary of a Member costs SCALE·k/limit."""
    chosen = np.bincount(members[np.arange(len(members)), column], minlength=len(limit))
    each = zip(counts.tolist(), chosen.tolist(), limit.tolist(), strict=True)
    return sum(SCALE * k // per for have, more, per in each for k in range(have + 1, have + more + 1))


@pytest.mark.parametrize("seed", range(40))
def test_maximum_flows_with_cuts_choose_as_evenly_as_the_network_with_costs(seed: int) -> None:
    lot = np.random.default_rng(seed)
    n, m = int(lot.integers(1, 120)), int(lot.integers(2, 30))
    width = int(lot.integers(2, min(m, 5) + 1))
    popular = lot.random(m) ** 3  # a few Members hold most Items, so they are in too great demand
    popular = 0.9 * popular / popular.sum() + 0.1 / m
    members = np.array([lot.choice(m, width, replace=False, p=popular) for _ in range(n)])
    allowed = lot.random((n, width)) < 0.8
    allowed[np.arange(n), lot.integers(0, width, n)] = True
    limit, counts = lot.integers(200, 400, m), lot.integers(0, 60, m)
    network = _one_by_one(members, allowed, np.zeros_like(allowed), counts, limit)
    flows = _even(members, allowed, counts, limit, cuts=m)
    assert flows is not None
    assert allowed[np.arange(n), flows].all()
    assert unevenness(members, flows, counts, limit) == unevenness(members, network, counts, limit)


def test_without_cuts_there_is_no_answer_where_members_are_in_too_great_demand() -> None:
    members = np.array([[0, 3]] * 4 + [[1, 2]] * 2)
    allowed = np.array([[True, False]] * 4 + [[True, True]] * 2)
    counts, limit = np.zeros(4, np.int64), np.full(4, 10)
    assert _even(members, allowed, counts, limit, cuts=0) is None
    with_cuts = _even(members, allowed, counts, limit, cuts=1)
    assert with_cuts is not None
    assert with_cuts[:4].tolist() == [0] * 4
    assert sorted(with_cuts[4:].tolist()) == [0, 1]
