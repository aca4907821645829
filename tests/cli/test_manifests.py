import json
from pathlib import Path

import pytest
from cliobjects import Run, item, listed, member

ITEM = "apiVersion: berth.dev/v1alpha1\nkind: Item\n"
MEMBER = "apiVersion: berth.dev/v1alpha1\nkind: Member\n"


def names(answer) -> set[str]:
    assert answer.code == 0, answer.err
    pools = answer.json["pools"].values()
    return {name for pool in pools for part in ("items", "members") for name in pool[part]}


def test_yaml_documents_json_lists_folders_and_standard_input_are_read(berth: Run, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        f"# a comment\n---\n{ITEM}metadata: {{name: a}}\n---\n---\n{ITEM}metadata: {{name: b}}\n"
    )
    (tmp_path / "two.json").write_text(json.dumps(item("c")) + "\n" + json.dumps(item("d")))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "list.yml").write_text(listed(item("e"), json.loads(listed(item("f")))))
    (folder / "notes.txt").write_text("not read")
    typed = {"apiVersion": "berth.dev/v1alpha1", "kind": "ItemList", "metadata": {}}
    typed["items"] = [{"metadata": {"name": "g"}, "spec": {"pool": "p"}}]
    answer = berth(
        "plan", "-o", "json", "-f", tmp_path / "one.yaml", tmp_path / "two.json",
        "-f", folder, "-f", "-", stdin=json.dumps(typed),
    )  # fmt: skip
    assert names(answer) == set("abcdefg")
    assert answer.err == ""


def test_a_byte_order_mark_unquoted_times_and_nulls_are_as_kubectl_takes_them(berth: Run) -> None:
    text = (
        f"\ufeff{MEMBER}metadata: {{name: m, creationTimestamp: 2026-01-01T00:00:00Z, labels: null}}\n"
        f"spec: {{limit: 3, zone: null}}\nstatus: {{}}\n---\n"
        f"{ITEM}metadata: {{name: a, creationTimestamp: null}}\nspec:\n"
    )
    answer = berth("plan", "-o", "json", "-f", "-", stdin=text)
    assert answer.json["pools"]["default"]["items"]["a"]["members"] == ["m"]


def test_merge_keys_may_override_and_anchors_may_repeat(berth: Run) -> None:
    text = (
        f"{MEMBER}metadata: {{name: m}}\nspec: &spec {{limit: 3, zone: a}}\n---\n"
        "apiVersion: v1\nkind: List\nitems:\n"
        "- &base {apiVersion: berth.dev/v1alpha1, kind: Member, metadata: {name: n}, spec: {limit: 5}}\n"
        "- {<<: *base, metadata: {name: o}}\n"
    )
    assert names(berth("plan", "-o", "json", "-f", "-", stdin=text)) == {"m", "n", "o"}


def test_equal_duplicates_count_once(berth: Run) -> None:
    answer = berth("plan", "-o", "json", "-f", "-", stdin=listed(item("a"), item("a"), member("m")))
    assert answer.json["pools"]["p"]["slots"] == {"wanted": 1, "placed": 1}


def test_differing_objects_of_one_name_are_refused(berth: Run) -> None:
    answer = berth("plan", "-f", "-", stdin=listed(item("a"), item("a", 2)))
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "berth: standard input, document 1, items[1] (Item a): differs from the Item of that name "
        "in standard input, document 1, items[0]: leave one of them out\n"
    )


@pytest.mark.parametrize("space", ["default", "prod"])
@pytest.mark.parametrize("named_first", [False, True])
@pytest.mark.parametrize("options", [(), ("-n", "prod")])
def test_differing_objects_are_refused_when_only_one_of_them_names_its_namespace(
    berth: Run, space: str, named_first: bool, options: tuple[str, ...]
) -> None:
    objects = [item("a"), item("a", 3, namespace=space)]
    answer = berth("plan", *options, "-f", "-", stdin=listed(*(objects[::-1] if named_first else objects)))
    if options and space != "prod":
        assert answer.code == 0, "with -n prod the one without a namespace is that of prod"
        return
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "berth: standard input, document 1, items[1] (Item a): differs from the Item of that name "
        "in standard input, document 1, items[0]: leave one of them out\n"
    )


def test_equal_objects_count_once_when_only_one_of_them_names_its_namespace(berth: Run) -> None:
    objects = (item("a", 1, namespace="x"), item("a"), member("m"))
    answer = berth("plan", "-o", "json", "-f", "-", stdin=listed(*objects))
    assert answer.json["pools"]["p"]["slots"] == {"wanted": 1, "placed": 1}


def test_one_name_in_two_namespaces_or_kinds_is_no_duplicate(berth: Run) -> None:
    objects = (item("a", 1, namespace="x"), item("a", 2, namespace="y"), member("a", namespace="x"))
    assert berth("plan", "-f", "-", stdin=listed(*objects)).code == 0


def test_foreign_kinds_are_skipped_with_a_note(berth: Run) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}
    lists = {"apiVersion": "v1", "kind": "PodList", "items": [pod]}
    answer = berth("plan", "-o", "json", "-f", "-", stdin=listed(pod, pod, lists, item("a")))
    assert names(answer) == {"a"}
    assert answer.err.splitlines() == [
        "berth: skipped 2 of kind Pod (v1): not of berth.dev",
        "berth: skipped 1 of kind PodList (v1): not of berth.dev",
    ]


def test_nothing_at_all_is_a_plan_of_nothing(berth: Run) -> None:
    answer = berth("plan", "-o", "json", "-f", "-")
    assert (answer.code, answer.json) == (0, {"pools": {}})
    assert "no objects of berth.dev" in answer.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{ITEM}metadata: {{name: a}}\nspec: {{replicas: -1}}\n",
         "document 1 (Item a): spec.replicas: must be 0 or more, not -1"),
        (f"---\n{ITEM}metadata: {{name: a}}\n---\n{MEMBER}metadata: {{name: b}}\n",
         "document 2 (Member b): spec: is required"),
        (f"{MEMBER}metadata: {{name: b}}\nspec: {{limit: ten}}\n",
         "(Member b): spec.limit: must be a whole number, not 'ten'"),
        (f"{MEMBER}metadata: {{name: b}}\nspec: {{limit: 5000}}\n",
         "spec.limit: must be 4096 or less, not 5000"),
        (f"{MEMBER}metadata: {{name: b}}\nspec: {{zone: 3}}\n",
         "spec.zone: must be a string (put it in quotes), not 3 (and 1 more)"),
        (f"{ITEM}metadata: {{name: a}}\nspec: {{replicsa: 2}}\n", "spec.replicsa: unknown field"),
        (f"{ITEM}metadata: {{name: A_b}}\n", "metadata.name 'A_b' must be a Kubernetes object name"),
        (f"{ITEM}metadata: {{generateName: a-}}\n", "(Item): metadata.name: is required"),
        (f"{ITEM}metadata: [a]\n", "(Item): metadata: must be a map, not a list"),
        (f"{ITEM}metadata: {{name: a}}\nspec: {{pool: Big}}\n", "spec.pool: must be a DNS label"),
        ("apiVersion: berth.dev/v1alpha1\nkind: Pool\nmetadata: {name: p}\nspec: {zones: Some}\n",
         "spec.zones: must be 'Spread', 'Require' or 'Ignore', not 'Some'"),
        ("apiVersion: berth.dev/v1alpha1\nkind: Assignment\nmetadata: {name: m}\n"
         "spec: {pool: p, term: 1, items: [a#b]}\n",
         "(Assignment m): spec.items[0]: entry 'a#b': expected NAME#SLOT@GRANT"),
        ("apiVersion: berth.dev/v1alpha1\nkind: Shard\nmetadata: {name: x}\n",
         "document 1: kind Shard is not one of berth.dev: Item, Member, Assignment, Pool"),
        ("apiVersion: berth.dev/v1\nkind: Item\nmetadata: {name: x}\n",
         "(Item): apiVersion: must be berth.dev/v1alpha1, not berth.dev/v1"),
        ("kind: Item\n", "document 1: apiVersion: is required"),
        ("apiVersion: v1\n", "document 1: kind: is required"),
        ("just words\n", "document 1: not a Kubernetes object but a string"),
        ("- a\n", "document 1: not a Kubernetes object but a list"),
        ("a: [\n", "line 2, column 1: not valid YAML"),
        (f"{ITEM}metadata: {{name: a}}\nspec: {{pool: a, pool: b}}\n",
         "line 4, column 17: the key 'pool' is twice in one map"),
        ('{"kind": "Item",', "not valid YAML"),
        ("a: \x01\n", "not valid YAML"),
        ('{"a":' * 50000, "nested too deeply"),
        (listed(item("a"), {"kind": "Item"}), "document 1, items[1]: apiVersion: is required"),
    ],
)  # fmt: skip
def test_input_that_cannot_be_used_is_named_in_one_line(berth: Run, text: str, expected: str) -> None:
    answer = berth("plan", "-f", "-", stdin=text)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("berth: standard input")
    assert expected in answer.err
    assert answer.err.count("\n") == 1


def test_a_broken_json_file_is_named_with_its_line(berth: Run, tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    path.write_text('{"kind":\n "Item"')
    answer = berth("plan", "-f", path)
    assert answer.code == 2
    assert answer.err.startswith(f"berth: {path}, line 2, column 8: not valid JSON")


def test_files_that_cannot_be_read_are_named(berth: Run, tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    assert berth("plan", "-f", missing).err == (
        f"berth: {missing}: No such file or directory: give a file, a folder, or - for standard input\n"
    )
    assert "this folder has no manifests" in berth("plan", "-f", tmp_path).err
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    answer = berth("plan", "-f", tmp_path / "latin.yaml")
    assert (answer.code, "not UTF-8 text (byte 3)" in answer.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["plan", "--bogus"], "No such option: --bogus; see berth plan --help"),
        (["plan", "-o", "xml", "-f", "-"], "'-o': 'xml' is not one of 'table', 'json'"),
        (["plan", "fleet.yaml"], "fleet.yaml: give files after -f, as in: berth plan -f fleet.yaml"),
        (["plan", "-f", "-", "-n", "x", "-A"], "give --namespace or --all-namespaces, not both"),
        (["plan", "-f", "-", "--context", "x"], "files need no cluster"),
        (["nonsense"], "No such command 'nonsense'; see berth --help"),
        (["explain", "item"], "Missing argument 'NAME'; see berth explain --help"),
        (["drain"], "Missing argument 'MEMBER'; see berth drain --help"),
        (["drain", "m", "--timeout", "5s"], "--timeout needs --wait"),
        (["drain", "m", "--wait", "--timeout", "soon"], "--timeout is a time such as 90s, 10m"),
        (["undrain", "m", "--limit", "0"], "'--limit': Input should be greater than or equal to 1"),
        (["status", "--kubeconfig", "/nowhere"], "kubeconfig /nowhere: no such file"),
    ],
)  # fmt: skip
def test_wrong_options_are_answered_in_one_line_with_the_remedy(
    berth: Run, arguments: list[str], expected: str
) -> None:
    answer = berth(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert expected in answer.err
    assert answer.err.count("\n") == 1
