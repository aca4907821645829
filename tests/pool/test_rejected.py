"""What is logged and saved of a plan that the certificate rejected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from objects import item_object, member_object

from berth.pool import Leases, Ledger
from berth.saved import Names, default_folder, report


@pytest.fixture
def fleet() -> Ledger:
    fleet = Ledger(Leases())
    fleet.put_item(item_object("orders", 1))
    fleet.put_member(member_object("m", 3), 0.0)
    return fleet


def test_the_problem_is_saved_by_name_and_the_log_says_where(
    fleet: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = fleet.items.names.__getitem__, fleet.member_rows.names.__getitem__
    faults = [f"fault {n}" for n in range(5)]
    path = report("pooled", faults, fleet.problem(), Names(*rows, "feeds", "team"), tmp_path)
    assert path is not None
    assert path.parent == tmp_path
    assert {one["metadata"]["name"] for one in json.loads(path.read_text())["items"]} == {
        "feeds",
        "orders",
        "m",
    }
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "ERROR",
        "Pool team/feeds: the plan of the pooled engine is not used: fault 0; fault 1; fault 2; and 2 more "
        f"(berth plan -f {path})",
    )


def test_a_problem_that_cannot_be_saved_is_logged_all_the_same(
    fleet: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert report("exact", ["fault"], fleet.problem(), folder=str(tmp_path / "file")) is None
    assert caplog.records[0].getMessage() == (
        "Pool default/default: the plan of the exact engine is not used: fault "
        f"(the problem could not be saved in {tmp_path / 'file'})"
    )


def test_it_is_saved_among_temporary_files_by_default(
    fleet: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = report("quick", ["fault"], fleet.problem())
    assert path is not None
    assert path.parent == default_folder() == tmp_path / "berth"
