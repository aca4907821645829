"""The choice of primaries along paths is as good as the one by a network with costs."""

import numpy as np
import pytest

from berth.solve.arrays import rank_within
from berth.solve.flow import Network
from berth.solve.model import SCALE
from berth.solve.primaries import _chosen

Choices = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def choices(seed: int) -> Choices:
    """Holders, which of them may be the primary, and each Member's other primaries and its limit."""
    lot = np.random.default_rng(seed)
    n, m = int(lot.integers(1, 120)), int(lot.integers(2, 30))
    width = int(lot.integers(2, min(m, 5) + 1))
    popular = lot.random(m) ** 3  # a few Members hold most Items, so they are in too great demand
    popular = 0.9 * popular / popular.sum() + 0.1 / m
    members = np.array([lot.choice(m, width, replace=False, p=popular) for _ in range(n)])
    allowed = lot.random((n, width)) < 0.8
    allowed[np.arange(n), lot.integers(0, width, n)] = True
    return members, allowed, lot.integers(0, 60, m), lot.integers(200, 400, m)


def unevenness(members: np.ndarray, column: np.ndarray, counts: np.ndarray, limit: np.ndarray) -> int:
    """What the level of even primaries charges: the k-th primary of a Member costs SCALE·k/limit."""
    chosen = np.bincount(members[np.arange(len(members)), column], minlength=len(limit))
    each = zip(counts.tolist(), chosen.tolist(), limit.tolist(), strict=True)
    return sum(SCALE * k // per for have, more, per in each for k in range(have + 1, have + more + 1))


def by_network(chosen: Choices, current: np.ndarray) -> tuple[int, int]:
    """The least unevenness and then the fewest changes, by a network with an arc for each choice."""
    members, allowed, counts, limit = chosen
    item, column = np.nonzero(allowed)
    net = Network("even", "changes")
    ends, items = net.add_nodes(len(limit), hub=True), net.add_nodes(len(members))
    net.add(net.source, items, 0, 1)
    leaves = (current & allowed).any(axis=1)[item] & ~current[item, column]
    net.add(items[item], ends[members[item, column]], 0, 1, changes=leaves)
    owner = np.sort(members[item, column])
    nth = counts[owner] + rank_within(owner) + 1
    net.add(ends[owner], net.sink, 0, 1, even=SCALE * nth // limit[owner])
    totals = net.solve(len(members)).totals
    return totals["even"], totals["changes"]


@pytest.mark.parametrize("seed", range(60))
def test_paths_choose_as_evenly_as_a_network_and_with_as_few_changes(seed: int) -> None:
    members, allowed, counts, limit = chosen = choices(seed)
    rows, current = np.arange(len(members)), np.zeros_like(allowed)
    if seed % 3:  # so few on each Member that none gives its primaries up at once
        some = rows[: 40 if seed % 3 == 1 else 2 * len(limit)]
        current[some, np.random.default_rng(seed).integers(0, allowed.shape[1], len(some))] = True
    column = _chosen(members.T, allowed.T, current.T, counts, limit)
    assert allowed[rows, column].all()
    even, changes = by_network(chosen, current)
    assert unevenness(members, column, counts, limit) == even
    moved = (current & allowed).any(axis=1) & ~current[rows, column]
    assert moved.sum() >= changes
    busiest = np.bincount(members[current & allowed], minlength=len(limit)).max()
    if busiest <= 8:
        assert moved.sum() == changes


def test_a_member_with_far_too_many_gives_them_up() -> None:
    members = np.array([[0, 1], [0, 2]] * 60)
    current = np.zeros(members.shape, np.bool_)
    current[:, 0] = True
    column = _chosen(members.T, np.ones_like(current.T), current.T, np.zeros(3, np.int64), np.full(3, 120))
    assert np.bincount(members[np.arange(120), column]).tolist() == [40, 40, 40]
