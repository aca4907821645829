"""A rolling update of ten Members, with every move counted; docs/rolling-updates.md shows the figures."""

from __future__ import annotations

import math
import time

import pytest
from stage import Stage
from waiting import eventually

pytestmark = pytest.mark.cluster

MEMBERS = 10
ITEMS = 60
REPLICAS = 2
LIMIT = 20


def roll(stage: Stage, surge: bool) -> tuple[int, int, list[int]]:
    """Replace every Member by a new one of another name; adds in all, the least possible, adds a step.

    With `surge` the new one comes before the old one is drained, else after the old one is gone.
    """
    moves, least = [], 0
    for number in range(MEMBERS):
        old, new = f"old-{number}", f"new-{number}"
        started = time.monotonic()
        leaving = len(stage.holds(old))
        if surge:
            stage.member(new, LIMIT, lease=None)
        stage.limit(old, 0)
        eventually(lambda old=old: stage.condition("members", old, "Drained").get("status") == "True")
        stage.api.delete("members", old)
        if not surge:
            stage.member(new, LIMIT, lease=None)
        stage.settle(quiet=0.5)
        moves.append(len(stage.history.adds(started)))
        least += leaving
    return sum(moves), least, moves


@pytest.mark.parametrize(
    "surge", [pytest.param(True, marks=pytest.mark.deep), False], ids=["new-before-old", "old-before-new"]
)
def test_a_rolling_update_of_ten_members_moves_each_replica_at_most_once_more_than_it_must(
    led: Stage, surge: bool
) -> None:
    led.members(*(f"old-{n}" for n in range(MEMBERS)), limit=LIMIT, lease=None)
    led.items(ITEMS, REPLICAS)
    led.settle()
    total, least, moves = roll(led, surge)
    print(f"surge={surge}: {total} moves of {ITEMS * REPLICAS} replicas, {least} had to leave; {moves}")
    # Every replica has to leave its old Member once, whatever is done.
    assert least <= total <= 2 * least
    share = math.ceil(ITEMS * REPLICAS / MEMBERS)
    assert max(moves) <= 2 * share + 2, "no step stirs up what has nothing to do with it"
    assert all(not name.startswith("old") for where in led.held().values() for name in where)
    led.history.check()
