"""What `berth plan -f` reads, prints and refuses: section 8 of the design."""

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from acceptance_paths import BERTH
from user_objects import API, assignment, item, member, pool

Doc = dict[str, Any]
Planned = Callable[..., Doc]
Ran = Callable[..., "subprocess.CompletedProcess[str]"]
TWO = (member("a", 5, zone="x"), member("b", 5, zone="y"))


def test_the_json_has_exactly_the_keys_of_the_contract(plan: Planned) -> None:
    answer = plan(item("i", 2), *TWO)
    got = answer["pools"]["default"]
    assert isinstance(got.pop("seconds"), float)
    levels = got.pop("levels")
    assert all(value.keys() == {"reached", "bound"} for value in levels.values())
    assert {name: value["reached"] for name, value in levels.items() if value["reached"]} == {
        "placed": 2, "shortage": 3, "moves": 2,
    }  # fmt: skip
    assert list(levels) == [
        "given-up", "placed", "shortage", "misplaced", "split-groups", "single-zone", "rollout", "separate",
        "balance", "zone-pairs", "preference", "moves", "draining-age", "primaries-moved",
    ]  # fmt: skip
    primary, other = got["items"]["i"]["members"]
    assert {primary, other} == {"a", "b"}
    assert got == {
        "slots": {"wanted": 2, "placed": 2},
        "members": {
            "a": {"zone": "x", "limit": 5, "items": 1, "primaries": int(primary == "a"), "usage": {}},
            "b": {"zone": "y", "limit": 5, "items": 1, "primaries": int(primary == "b"), "usage": {}},
        },
        "items": {"i": {"members": [primary, other], "missing": 0, "reason": None}},
        "changes": {"add": [["i", "a"], ["i", "b"]], "remove": [], "promote": [["i", primary]]},
        "optimal": True,
    }
    assert set(answer) == {"pools"}


@pytest.mark.parametrize(
    ("docs", "placed", "missing"),
    [
        ([item("i", 1), member("a", 0)], 0, 1),
        ([item("i", 2)], 0, 2),
        ([item("i", 5), *TWO], 2, 3),
        ([item("i", 0), *TWO], 0, 0),
        ([pool(zones="Require"), item("i", 2), member("a", 5, zone="x"), member("b", 5, zone="x")], 1, 1),
        ([pool(zones="Require"), item("i", 1), member("a", 5, zone="x")], 1, 0),
        ([item("i", 2), *(member(n, 5, leaseName=n, live=False) for n in "ab")], 0, 2),
        ([item("i", 2), *(member(n, 5, leaseName=n) for n in "ab")], 2, 0),
        ([item("i", 2), *(member(n, 5, live=False) for n in "ab")], 2, 0),
        ([item("i", 2), *(member(n, 5, draining=True) for n in "ab")], 2, 0),
        ([item("i", 1, pool="other"), *TWO], 0, 1),
    ],
)
def test_what_is_short_is_counted_and_has_a_reason(
    plan: Planned, docs: list[Doc], placed: int, missing: int
) -> None:
    pools = plan(*docs)["pools"]
    got = next(p for p in pools.values() if "i" in p["items"])
    one = got["items"]["i"]
    assert (len(one["members"]), one["missing"]) == (placed, missing)
    assert got["slots"] == {"wanted": placed + missing, "placed": placed}
    assert isinstance(one["reason"], str) if missing else one["reason"] is None


def test_entries_of_dead_and_unknown_members_and_of_gone_items_are_removes(plan: Planned) -> None:
    got = plan(
        item("i", 1),
        item("k", 1),
        *TWO,
        member("dead", 5, live=False, leaseName="dead"),
        assignment("a", ["gone#0@3:3", "i#1@2"], term=4),
        assignment("dead", ["i#0@3:3"], term=4),
        assignment("unknown", ["k#0@4:4"], term=4),
    )["pools"]["default"]
    assert got["items"]["i"]["members"] == ["a"], "who holds it already keeps it"
    assert got["items"]["k"]["members"] == ["b"]
    assert got["members"]["dead"] == {"zone": "", "limit": 5, "items": 0, "primaries": 0, "usage": {}}
    assert got["changes"] == {
        "add": [["k", "b"]],
        "remove": [["gone", "a"], ["i", "dead"], ["k", "unknown"]],
        "promote": [["i", "a"], ["k", "b"]],
    }


def test_what_is_settled_changes_nothing(plan: Planned) -> None:
    got = plan(*TWO, item("i", 2), assignment("a", ["i#1@1"]), assignment("b", ["i#0@1:1"]))["pools"][
        "default"
    ]
    assert got["changes"] == {"add": [], "remove": [], "promote": []}
    assert got["items"]["i"]["members"] == ["b", "a"]


def test_the_same_objects_in_any_order_and_form_give_the_same_plan(ran: Ran, tmp_path: Path) -> None:
    docs = [item(f"i{n}", n % 4) for n in range(40)]
    docs += [member(f"m{n}", 5 + n, zone="abc"[n % 3]) for n in range(7)]
    texts = {"sorted": yaml.safe_dump_all(docs)}
    random.Random(1).shuffle(docs)
    texts["shuffled"] = yaml.safe_dump_all(docs)
    texts["list"] = json.dumps({"apiVersion": "v1", "kind": "List", "items": docs})
    answers = []
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        done = ran("-f", str(tmp_path / name), "-o", "json")
        assert (done.returncode, done.stderr) == (0, "")
        answers.append(json.loads(done.stdout))
    (tmp_path / "1.yaml").write_text(yaml.safe_dump_all(docs[:20]))
    (tmp_path / "2.yaml").write_text(yaml.safe_dump_all(docs[20:]))
    done = ran("-f", str(tmp_path / "1.yaml"), "-f", str(tmp_path / "2.yaml"), "-o", "json")
    answers.append(json.loads(done.stdout))
    for answer in answers:
        answer["pools"]["default"].pop("seconds")
    assert all(answer == answers[0] for answer in answers)


def test_first_primaries_are_shared_by_limit(plan: Planned) -> None:
    got = plan(*(item(f"i{n:02}", 2) for n in range(30)), *(member(f"m{n}", 10 * (n + 1)) for n in range(3)))[
        "pools"
    ]["default"]
    assert [got["members"][f"m{n}"]["items"] for n in range(3)] == [10, 20, 30]
    assert [got["members"][f"m{n}"]["primaries"] for n in range(3)] == [5, 10, 15]


def test_primaries_move_for_balance_only_where_the_pool_says_active(plan: Planned) -> None:
    docs = [*(item(f"i{n}", 2) for n in range(6)), member("a", 6, zone="x"), member("b", 6, zone="y")]
    docs.append(assignment("a", [f"i{n}#0@2:2" for n in range(6)], term=3))
    docs.append(assignment("b", [f"i{n}#1@3" for n in range(6)], term=3))
    assert plan(*docs)["pools"]["default"]["changes"] == {"add": [], "remove": [], "promote": []}
    got = plan(pool(balance={"primaries": "Active"}), *docs)["pools"]["default"]
    assert [len(got["changes"][key]) for key in ("add", "remove", "promote")] == [0, 0, 3]
    assert [got["members"][name]["primaries"] for name in "ab"] == [3, 3]


def test_foreign_kinds_are_skipped_with_a_note(ran: Ran) -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    done = ran("-f", "-", "-o", "json", text=yaml.safe_dump_all([other, item("i", 1), *TWO]))
    assert done.returncode == 0
    assert "ConfigMap" in done.stderr
    assert json.loads(done.stdout)["pools"]["default"]["slots"]["placed"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (yaml.safe_dump({"apiVersion": API, "kind": "Foo", "metadata": {"name": "x"}}), "Foo"),
        (yaml.safe_dump_all([item("i", 1), item("i", 2)]), "i"),
        (yaml.safe_dump(item("i", 33)), "spec.replicas"),
        (yaml.safe_dump(member("a", 4097)), "spec.limit"),
        (
            yaml.safe_dump({"apiVersion": API, "kind": "Member", "metadata": {"name": "a"}, "spec": {}}),
            "limit",
        ),
        (yaml.safe_dump(assignment("a", ["i#0@1"])), "spec.items"),
        (yaml.safe_dump(pool(handoff="Sometimes")), "spec.handoff"),
        ("a: [", "YAML"),
        ("- 1", ""),
    ],
)
def test_input_that_cannot_be_used_is_refused_in_one_line(ran: Ran, text: str, said: str) -> None:
    done = ran("-f", "-", "-o", "json", text=text)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_a_file_that_is_missing_is_refused_in_one_line(ran: Ran, tmp_path: Path) -> None:
    done = ran("-f", str(tmp_path / "none.yaml"))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "none.yaml" in done.stderr


def test_the_same_object_twice_is_one(plan: Planned) -> None:
    assert plan(item("i", 1), item("i", 1), *TWO)["pools"]["default"]["slots"]["wanted"] == 1


def test_the_table_names_what_cannot_be_placed(ran: Ran) -> None:
    done = ran("-f", "-", text=yaml.safe_dump_all([item("wide", 5), *TWO]))
    assert done.returncode == 0
    assert "TooFewMembers" in done.stdout
    assert "wide" in done.stdout


def test_the_command_itself_reads_standard_input_and_exits_with_the_code() -> None:
    command = [str(BERTH), "plan", "-f", "-", "-o", "json"]
    good = subprocess.run(
        command, check=False, input=yaml.safe_dump(item("i", 1)), capture_output=True, text=True, timeout=60
    )
    assert good.returncode == 0
    assert json.loads(good.stdout)["pools"]["default"]["slots"] == {"wanted": 1, "placed": 0}
    bad = subprocess.run(command, check=False, input="a: [", capture_output=True, text=True, timeout=60)
    assert (bad.returncode, bad.stdout, len(bad.stderr.splitlines())) == (2, "", 1)
