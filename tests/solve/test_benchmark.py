"""The benchmark's peer is an independent solver: where it sees every Member, it finds the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.solve.cases import PLAIN, Row, story
from benchmarks.solve.churn import churn
from benchmarks.solve.plot import draw, scaling
from benchmarks.solve.world import world


def tiny(**shape: object) -> list[Row]:
    # Four Members in each zone: the peer's candidates are all of them.
    now = world(400, 7, spare_items=4, spare_members=1, **shape)  # type: ignore[arg-type]
    return list(story("tiny", now, 400, 7, PLAIN.replace("10%_rolled", ""), peer=True))


@pytest.mark.parametrize("shape", [{"zones": (1, 1)}, {"zones": (1, 1), "load": 0.3}])
def test_moves_are_those_of_or_tools(shape: dict[str, object]) -> None:
    for row in tiny(**shape):
        assert row.proven, row
        assert row.checked, row
        assert row.moves == row.least_moves == row.peer_moves, row
        assert row.band_distance == 0


def test_a_churn_is_proven_event_by_event() -> None:
    result = churn(300, 12, 40, peer=False)
    assert result.proven == 40
    assert result.checked


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    sizes = (200, 400)
    draw(scaling(members=20, sizes=sizes), tmp_path / "picture.png", sizes)
    assert (tmp_path / "picture.png").stat().st_size > 1000
