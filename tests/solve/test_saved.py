"""A saved problem is the same one when the command line reads it again."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from problems import problem_of, problems

from berth.cli.analysis import brain_of
from berth.cli.manifests import load_files
from berth.pool import Ledger
from berth.saved import KEPT, Names, manifests, save
from berth.solve.model import Primaries, Problem, Zones
from berth.solve.plain import plain

NOON = datetime(2030, 5, 1, 12, 0, 0, tzinfo=UTC)


def read_again(path: Path, pool: str = "p") -> Ledger:
    pools = load_files([str(path)])
    assert list(pools) == [("ns", pool)]
    return brain_of(pools["ns", pool]).ledger


def described(problem: Problem, item_names: list[Any], member_names: list[Any]) -> dict[str, Any]:
    """All that a solver sees, by name: rows and the numbers of zones and ages may differ."""
    items, members = {}, {}
    for i, name in enumerate(item_names):
        held = [member_names[j] for j in problem.held[i].tolist() if j >= 0]
        primary = int(problem.held_primary[i])
        first = member_names[primary] if primary >= 0 else None
        items[name] = (int(problem.replicas[i]), held, first, int(problem.item_key[i]))
    order = np.argsort(problem.age, kind="stable").tolist()
    for j, name in enumerate(member_names):
        zone = [other for k, other in enumerate(member_names) if problem.zone[k] == problem.zone[j]]
        members[name] = (
            *(int(problem.limit[j]), bool(problem.live[j]), bool(problem.draining[j])),
            *(sorted(zone), order.index(j), int(problem.member_key[j])),
        )
    policy = (int(problem.zones), problem.tolerance, int(problem.primaries))
    return {"items": items, "members": members, "policy": policy}


@given(problems(items=20))
@settings(max_examples=300)
def test_a_problem_that_was_saved_is_the_same_when_it_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, problem: Problem
) -> None:
    # The names that the keys of these problems were made of, so that even ties are decided alike.
    path = save(problem, tmp_path_factory.mktemp("saved"), Names("i{}".format, "m{}".format, "p", "ns"))
    assert path is not None
    fleet = read_again(path)
    again = fleet.problem()
    items = [f"i{row}" for row in range(len(problem.replicas))]
    members = [f"m{row}" for row in range(len(problem.limit))]
    assert described(again, fleet.items.names, fleet.member_rows.names) == described(problem, items, members)

    def by_name(plan: np.ndarray, item_names: list[Any], member_names: list[Any]) -> dict[str, list[str]]:
        rows = zip(item_names, plan.tolist(), strict=True)
        return {name: [member_names[j] for j in row if j >= 0] for name, row in rows}

    expected = by_name(plain(problem), items, members)
    assert by_name(plain(again), fleet.items.names, fleet.member_rows.names) == expected


def test_the_objects_are_what_a_user_would_write() -> None:
    problem = problem_of(
        [2, 0],
        [[1, 0], []],
        [5, 7],
        [3, 0],
        live=[True, False],
        draining=[True, False],
        age=[9, 4],
        policy=Zones.REQUIRE,
        tolerance=12,
        primaries=Primaries.ACTIVE,
    )
    found = list(manifests(problem, Names(pool="feeds", namespace="team")))
    pool, *others = found
    assert pool == {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "Pool",
        "metadata": {"name": "feeds", "namespace": "team"},
        "spec": {"zones": "Require", "balance": {"tolerancePercent": 12, "primaries": "Active"}},
    }
    kinds = {(one["kind"], one["metadata"]["name"]): one for one in others}
    assert kinds["Item", "item-1"]["spec"] == {"pool": "feeds", "replicas": 0}
    assert kinds["Assignment", "member-0"]["spec"] == {"pool": "feeds", "term": 1, "items": ["item-0#1@1"]}
    assert kinds["Assignment", "member-1"]["spec"]["items"] == ["item-0#0@1:1"]
    live, dead = kinds["Member", "member-0"], kinds["Member", "member-1"]
    assert live["spec"] == {"pool": "feeds", "limit": 5, "zone": "zone-3", "draining": True}
    assert "status" not in live
    assert dead["spec"]["leaseName"] == "member-1"
    assert [(c["type"], c["status"]) for c in dead["status"]["conditions"]] == [("Live", "False")]
    assert dead["metadata"]["creationTimestamp"] < live["metadata"]["creationTimestamp"]
    assert json.loads(json.dumps(found)) == found


def test_the_plan_of_a_saved_problem_is_printed_by_the_command_line(tmp_path: Path) -> None:
    problem = problem_of([2, 2], [[0, 1], []], [5, 5, 5], live=[True, True, False])
    path = save(problem, tmp_path)
    program = Path(sys.executable).parent / "berth"
    done = subprocess.run([program, "plan", "-f", path, "-o", "json"], capture_output=True, check=True)
    plan = json.loads(done.stdout)["pools"]["default"]
    assert plan["slots"] == {"wanted": 4, "placed": 4}
    assert plan["items"]["item-0"]["members"] == ["member-0", "member-1"]


def test_rows_without_a_name_are_left_out() -> None:
    problem = problem_of([1, 0], [[0], [1]], [5, 5], live=[True, False])
    found = list(manifests(problem, Names([None, "b"].__getitem__, ["m", None].__getitem__)))
    names = [(one["kind"], one["metadata"]["name"]) for one in found[1:]]
    assert names == [("Item", "b"), ("Member", "m"), ("Assignment", "m")]
    assert found[-1]["spec"]["items"] == []


def test_no_more_than_the_newest_files_stay_and_the_new_one_always(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "er"
    problem = problem_of([1], [[]], [5])
    (tmp_path / "deep").mkdir()
    paths = [save(problem, folder, now=NOON + timedelta(seconds=k)) for k in range(KEPT + 4)]
    assert [path.name for path in sorted(folder.iterdir())] == [path.name for path in paths[4:] if path]
    assert paths[0] is not None
    assert paths[0].name.startswith("berth-problem-20300501T120000Z-")
    early = save(problem, str(folder), now=NOON - timedelta(days=1))
    assert early is not None
    assert early.exists()
    assert len(list(folder.iterdir())) == KEPT


def test_other_files_of_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "berth-problem.json").touch()
    (tmp_path / "notes.txt").touch()
    for k in range(KEPT + 2):
        save(problem_of([1], [[]], [5]), tmp_path, now=NOON + timedelta(seconds=k))
    assert len(list(tmp_path.iterdir())) == KEPT + 2


def test_another_problem_of_the_same_second_is_another_file(tmp_path: Path) -> None:
    one, other = problem_of([1], [[]], [5]), problem_of([2], [[]], [5])
    assert save(one, tmp_path, now=NOON) == save(one, tmp_path, now=NOON)
    assert save(one, tmp_path, now=NOON) != save(other, tmp_path, now=NOON)


def test_a_full_disk_leaves_nothing_behind_and_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[:9])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    assert save(problem_of([1], [[]], [5]), tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert save(problem_of([1], [[]], [5]), tmp_path / "file" / "folder") is None


def test_an_old_file_that_cannot_be_deleted_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "berth-problem-19990101T000000Z-00000000.json").mkdir()
    for k in range(KEPT + 2):
        path = save(problem_of([1], [[]], [5]), tmp_path, now=NOON + timedelta(seconds=k))
        assert path is not None
        assert path.exists()


def test_a_primary_that_is_listed_late_is_saved_as_slot_zero(tmp_path: Path) -> None:
    problem = problem_of([2], [[0, 1]], [5, 5], primary=[1])
    path = save(problem, tmp_path, Names("i{}".format, "m{}".format, "p", "ns"))
    assert path is not None
    fleet = read_again(path)
    again = fleet.problem()
    names = [fleet.member_rows.names[j] for j in again.held[0].tolist() if j >= 0]
    assert names == ["m1", "m0"]
    assert fleet.member_rows.names[again.held_primary[0]] == "m1"


def test_a_primary_that_holds_nothing_is_nobody(tmp_path: Path) -> None:
    problem = replace(problem_of([2], [[0]], [5, 5]), held_primary=np.array([1], dtype=np.int32))
    found = manifests(problem)
    assert [one["spec"]["items"] for one in found if one["kind"] == "Assignment"] == [["item-0#1@1"], []]
