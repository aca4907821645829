import itertools
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from cliobjects import Run, assignment, item, listed, live, member, obj, owned_by
from hypothesis import given, settings
from hypothesis import strategies as st

from berth.cli.analysis import plan_pool
from berth.cli.manifests import Manifest, pools_of
from berth.cli.plan import plan_json
from berth.cli.reasons import why_changed
from berth.solve import LEVELS


def planned(berth: Run, *objects: dict, pool: str = "p") -> dict:
    answer = berth("plan", "-f", "-", "-o", "json", stdin=listed(*objects))
    assert answer.code == 0, answer.err
    return answer.json["pools"][pool]


def test_the_json_is_what_the_design_lays_down(berth: Run) -> None:
    objects = (
        member("m-a", 4, zone="a"),
        member("m-b", 4, zone="b"),
        member("m-dead", 9, leaseName="l", status=live("False")),
        item("held", 2),
        item("new", 3),
        item("none", 0),
        assignment("m-a", "held#0@3:5"),
        assignment("m-dead", "held#1@3", "gone#0@2:2"),
    )
    found = planned(berth, *objects)
    assert isinstance(found.pop("seconds"), float)
    new = found["items"].pop("new")
    assert sorted(new.pop("members")) == ["m-a", "m-b"]
    assert new == {"missing": 1, "reason": "TooFewMembers"}
    levels = found.pop("levels")
    assert tuple(levels) == LEVELS
    assert levels["placed"] == {"reached": 4, "bound": 4}
    assert levels["moves"] == {"reached": 3, "bound": 3}
    promoted = dict(found["changes"].pop("promote"))
    assert set(promoted) == {"new"}
    assert found == {
        "slots": {"wanted": 5, "placed": 4},
        "members": {
            "m-a": {"zone": "a", "limit": 4, "items": 2, "primaries": 1, "usage": {}},
            "m-b": {"zone": "b", "limit": 4, "items": 2, "primaries": 1, "usage": {}},
            "m-dead": {"zone": "", "limit": 9, "items": 0, "primaries": 0, "usage": {}},
        },
        "items": {
            "held": {"members": ["m-a", "m-b"], "missing": 0, "reason": None},
            "none": {"members": [], "missing": 0, "reason": None},
        },
        "changes": {
            "add": [["held", "m-b"], ["new", "m-a"], ["new", "m-b"]],
            "remove": [["gone", "m-dead"], ["held", "m-dead"]],
        },
        "optimal": True,
    }


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ([item("a")], "NoMembers"),
        ([item("a"), member("m", 0)], "NoMembers"),
        ([item("a", 2), member("m")], "TooFewMembers"),
        ([item("a"), item("b"), item("c"), member("m", 2)], "LimitReached"),
        ([obj("Pool", "p", {"zones": "Require"}), item("a", 2), member("m"), member("n")], "SingleZone"),
    ],
)
def test_an_item_that_cannot_be_placed_has_a_reason(berth: Run, objects: list[dict], reason: str) -> None:
    found = planned(berth, *objects)
    assert {entry["reason"] for entry in found["items"].values()} - {None} == {reason}
    missing = sum(entry["missing"] for entry in found["items"].values())
    assert missing == found["slots"]["wanted"] - found["slots"]["placed"] == 1


def test_a_member_with_a_lease_is_live_unless_its_condition_is_false(berth: Run) -> None:
    for status, place in (
        (None, ["m"]),
        ("True", ["m"]),
        ("Unknown", ["m"]),
        ("False", []),
    ):
        objects = [item("a"), member("m", leaseName="l", **({"status": live(status)} if status else {}))]
        assert planned(berth, *objects)["items"]["a"]["members"] == place


def test_a_condition_written_by_hand_need_not_be_complete(berth: Run) -> None:
    dead = {"conditions": [{"type": "Live", "status": "False"}]}
    found = planned(berth, item("a"), member("m", leaseName="l", status=dead))
    assert found["items"]["a"] == {"members": [], "missing": 1, "reason": "NoMembers"}


def test_members_that_share_a_lease_are_judged_each_by_its_own_condition(berth: Run) -> None:
    members = [member("m", leaseName="l", status=live("False")), member("n", leaseName="l")]
    assert planned(berth, item("a"), *members)["items"]["a"]["members"] == ["n"]


def test_entries_of_unknown_members_are_removes(berth: Run) -> None:
    found = planned(berth, item("a"), member("m"), assignment("left", "a#0@1:1", "b#1@1"))
    assert found["changes"] == {
        "add": [["a", "m"]],
        "remove": [["a", "left"], ["b", "left"]],
        "promote": [["a", "m"]],
    }
    assert "left" not in found["members"]


def test_an_assignment_of_an_earlier_member_counts_for_nothing(berth: Run) -> None:
    rest = [item("a"), member("m", uid="new")]
    found = planned(berth, *rest, assignment("m", "a#0@1:1", "b#0@1:1", ownerReferences=owned_by("old")))
    assert found["changes"] == {"add": [["a", "m"]], "remove": [], "promote": [["a", "m"]]}
    for own in (assignment("m", "a#0@1:1", ownerReferences=owned_by("new")), assignment("m", "a#0@1:1")):
        assert planned(berth, *rest, own)["changes"] == {"add": [], "remove": [], "promote": []}
    without_uid = [item("a"), member("m"), assignment("m", "a#0@1:1", ownerReferences=owned_by("old"))]
    assert planned(berth, *without_uid)["changes"]["add"] == []


def test_promote_lists_new_holders_of_slot_0_only(berth: Run) -> None:
    objects = [item("stays", 2), item("orphan", 2), member("m"), member("n")]
    objects += [assignment("m", "stays#0@1:4", "orphan#1@1"), assignment("n", "stays#0@1:3", "orphan#2@1")]
    found = planned(berth, *objects)
    assert found["items"]["stays"]["members"] == ["m", "n"], "the higher epoch holds slot 0"
    promoted = found["changes"]["promote"]
    assert promoted == [["orphan", found["items"]["orphan"]["members"][0]]]
    assert found["changes"]["add"] == found["changes"]["remove"] == []


def test_draining_members_give_way_the_oldest_first(berth: Run) -> None:
    when = {"old": "2026-01-01T00:00:00Z", "young": "2026-01-02T01:00:00+02:00"}
    objects = [item("a"), item("b"), member("free", 1)]
    for name, created in when.items():
        objects.append(member(name, draining=True, creationTimestamp=created))
    objects += [assignment("old", "a#0@1:1"), assignment("young", "b#0@1:1")]
    found = planned(berth, *objects)
    assert [found["members"][name]["items"] for name in ("free", "old", "young")] == [1, 0, 1]


def test_pools_of_one_name_in_two_namespaces_are_qualified(berth: Run) -> None:
    objects = [item("a", namespace="x"), item("b", namespace="y"), item("c", pool="q", namespace="y")]
    text = listed(*objects)
    assert set(berth("plan", "-f", "-", "-o", "json", stdin=text).json["pools"]) == {"x/p", "y/p", "q"}
    answer = berth("plan", "-f", "-", "-o", "json", "-n", "y", stdin=text)
    assert set(answer.json["pools"]) == {"p", "q"}
    assert answer.err == "berth: left out 1 object of other namespaces than y\n"


def test_objects_without_a_namespace_join_the_only_one_that_is_named(berth: Run) -> None:
    found = planned(berth, item("a"), member("m", namespace="x"))
    assert found["items"]["a"]["members"] == ["m"]


def test_the_order_of_the_documents_does_not_matter(berth: Run) -> None:
    objects = [item(f"i{n}", n % 4) for n in range(30)]
    objects += [member(f"m{n}", 9 + n, zone="ab"[n % 2]) for n in range(5)]
    objects += [assignment("m1", "i1#0@1:1", "i2#1@1"), assignment("m2", "i2#0@1:1")]
    plans = []
    for seed in range(3):
        random.Random(seed).shuffle(objects)
        found = planned(berth, *objects)
        del found["seconds"]
        plans.append(json.dumps(found))
    assert len(set(plans)) == 1


entries = st.dictionaries(
    st.tuples(st.sampled_from(["m0", "m1", "m2", "gone"]), st.sampled_from(["i0", "i1", "i2", "left"])),
    st.integers(0, 3),
    max_size=9,
)


@settings(max_examples=60, deadline=None)
@given(
    replicas=st.lists(st.integers(0, 4), min_size=3, max_size=3),
    limits=st.lists(st.integers(0, 3), min_size=3, max_size=3),
    dead=st.sets(st.sampled_from(["m0", "m1", "m2"])),
    held=entries,
)
def test_what_is_held_with_the_changes_made_is_what_is_wanted(
    replicas: list[int], limits: list[int], dead: set[str], held: dict[tuple[str, str], int]
) -> None:
    from berth.kinds import Assignment, Item, Member

    objects = [item(f"i{n}", count) for n, count in enumerate(replicas)]
    for n, limit in enumerate(limits):
        more = {"leaseName": "l", "status": live("False")} if f"m{n}" in dead else {}
        objects.append(member(f"m{n}", limit, **more))
    for name, group in itertools.groupby(sorted(held.items()), key=lambda pair: pair[0][0]):
        written = [f"{i}#{slot}@1:2" if slot == 0 else f"{i}#{slot}@1" for (_, i), slot in group]
        objects.append(assignment(name, *written))
    kinds = {"Item": Item, "Member": Member, "Assignment": Assignment}
    pools, _ = pools_of([Manifest("", kinds[body["kind"]].model_validate(body)) for body in objects])
    plan = plan_pool(pools["default", "p"])
    facts = plan_json(plan)

    after = {(i, m) for m, i in held}
    adds, removes = ({tuple(pair) for pair in facts["changes"][part]} for part in ("add", "remove"))
    assert not adds & after
    assert removes <= after
    wanted = {(i, m) for i, entry in facts["items"].items() for m in entry["members"]}
    assert (after | adds) - removes == wanted
    for name, entry in facts["members"].items():
        assert entry["items"] == sum(m == name for _, m in wanted) <= entry["limit"]
        assert entry["primaries"] == sum(e["members"][:1] == [name] for e in facts["items"].values())
        assert entry["items"] == 0 or name not in dead
    assert plan.changes.keys() >= {i for i, _ in adds | removes}
    assert all(why_changed(plan, change) for change in plan.changes.values())


def test_the_table_shows_bars_reasons_and_the_proof(berth: Run) -> None:
    objects = (
        member("m-a", 4),
        member("m-b", 4),
        member("m-drain", 0),
        member("m-dead", 4, leaseName="l", status=live("False")),
        item("busy", 3),
        item("left", 1),
        item("lost", 1),
        assignment("m-drain", "left#0@1:1"),
        assignment("m-dead", "lost#0@1:1", "gone#1@1"),
    )
    answer = berth("plan", "-f", "-", stdin=listed(*objects))
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert lines[0] == "Pool p: 4 of 5 slots placed on 4 Members; 4 to add, 3 to remove, 3 to promote"
    assert lines[1].startswith("Proven optimal in all 14 levels by the ")
    row = {line.split()[0]: line for line in lines if line}
    assert "████" in row["m-a"]
    assert row["m-a"].endswith("in band  live    ")
    assert "draining" in row["m-drain"]
    assert "not live" in row["m-dead"]
    assert row["gone"].split() == ["gone", "m-dead", "-", "the", "Item", "is", "gone"]
    assert "m-drain is draining" in row["left"]
    assert "m-dead is not live" in row["lost"]
    assert "1 of 3  TooFewMembers  there are fewer live Members" in lines[-1]


def test_the_table_of_a_converged_fleet_reports_that_nothing_changes(berth: Run) -> None:
    objects = (member("m"), item("a"), assignment("m", "a#0@1:1"))
    assert "Nothing changes." in berth("plan", "-f", "-", stdin=listed(*objects)).out
    assert "There are no Pools" in berth("plan", "-f", "-").out


def test_long_tables_are_cut_unless_all_is_asked_for(berth: Run) -> None:
    text = listed(member("m", 100), *(item(f"i{n:02}") for n in range(50)))
    assert "... and 30 more; --all shows them" in berth("plan", "-f", "-", stdin=text).out
    out = berth("plan", "-f", "-", "--all", stdin=text).out
    assert all(f"i{n:02}" in out for n in range(50))


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], {"numpy", "pydantic", "yaml", "aiohttp", "kubernetes", "kopf", "ortools"}),
        (["plan", "-f", "-"], {"aiohttp", "kubernetes", "kopf"}),
    ],
)
def test_a_command_loads_only_what_it_needs(arguments: list[str], heavy: set[str]) -> None:
    script = (
        "import sys; from berth.cli import main\n"
        "try: main()\n"
        f"finally: print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        input=listed(item("a")),
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == "[]\n"


def test_a_reader_that_closes_the_pipe_causes_no_error() -> None:
    text = listed(*(item(f"i{n}") for n in range(3000)))
    program = Path(sys.executable).parent / "berth"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {program} plan -f - -o json | head -1"],
        input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_a_locale_without_bars_gets_a_table_all_the_same() -> None:
    program = Path(sys.executable).parent / "berth"
    done = subprocess.run(
        [program, "plan", "-f", "-"], env={"PYTHONIOENCODING": "latin-1"},
        input=listed(member("m"), item("a")), capture_output=True, encoding="latin-1", check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "????" in done.stdout


@pytest.mark.deep
def test_a_hundred_thousand_items_are_planned_from_yaml(berth: Run, tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    kind = (
        "apiVersion: berth.dev/v1alpha1\nkind: {}\nmetadata:\n  name: {}\nspec:\n  pool: p\n  {}: {}\n---\n"
    )
    with path.open("w") as file:
        file.writelines(kind.format("Member", f"m{n}", "limit", 400) for n in range(1000))
        file.writelines(kind.format("Item", f"i{n}", "replicas", 3) for n in range(100_000))
    found = berth("plan", "-f", path, "-o", "json").json["pools"]["p"]
    assert found["slots"] == {"wanted": 300_000, "placed": 300_000}
    assert {entry["items"] for entry in found["members"].values()} == {300}
