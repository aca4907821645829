"""Input of `berth plan -f` that cannot be used: exit code 2 and one line that says what to fix."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cliobjects import Run, item, listed, obj

from berth.cli import documents as reading

PROGRAM = Path(sys.executable).parent / "berth"
API = "apiVersion: berth.dev/v1alpha1"
ITEM = f"{API}\nkind: Item\nmetadata: {{name: a}}\n"
MEMBER = f"{API}\nkind: Member\nmetadata: {{name: m}}\n"
LIST = "apiVersion: v1\nkind: List\n"
NINES = "9" * 5000


def entries(*texts: str) -> str:
    written = json.dumps(list(texts))
    return f"{API}\nkind: Assignment\nmetadata: {{name: m}}\nspec: {{pool: p, term: 1, items: {written}}}\n"


def json_item(**spec: Any) -> str:
    """An Item in JSON; `@@` stands for what `json` does not write."""
    return json.dumps({**item("a"), "spec": spec})


def laughs(first: str, each: str) -> str:
    """Twenty lines of which each holds the one before nine times."""
    lines = [f"x0: &x0 {first}"]
    lines += [f"x{n}: &x{n} {each.replace('@@', ', '.join([f'*x{n - 1}'] * 9))}" for n in range(1, 20)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # An Item is at most once on a Member.
        (entries("x#1@1", "x#1@1"), "document 1 (Assignment m): spec.items[1]: 'x#1@1' lists an Item that "
         "spec.items[0] lists as 'x#1@1': leave one of them out"),
        (entries("w#1@1", "x#1@1", "x#2@3"), "spec.items[2]: 'x#2@3' lists an Item that spec.items[1] lists"),
        (entries("x#0@1:1", "x#1@1"), "spec.items[1]: 'x#1@1' lists an Item that spec.items[0] lists"),
        # Lists.
        (f"{LIST}items: 3\n", "document 1 (List): items: must be a list, not 3; write []"),
        (f"{LIST}items: abc\n", "(List): items: must be a list, not 'abc'"),
        (f"{LIST}items: {{a: b}}\n", "(List): items: must be a list, not a map"),
        (f"{LIST}items: null\n", "(List): items: must be a list, not null"),
        (f"{LIST}items: {NINES}\n", "(List): items: must be a list, not 99999"),
        (LIST, "(List): items: is missing; write []"),
        (f"{API}\nkind: ItemList\nitems: 3\n", "document 1 (ItemList): items: must be a list, not 3"),
        (f"{LIST}items: [{{apiVersion: v1, kind: List, items: 3}}]\n", "items[0] (List): items: must be"),
        ('{"apiVersion": "v1", "kind": "List", "items": [' * 20 + "]}" * 20, "more than 10 Lists within"),
        # Numbers beyond all bounds.
        (f"{ITEM}spec: {{replicas: {NINES}}}\n",
         "(Item a): spec.replicas: must be a whole number, not 999999999999999999999... (5000 digits)"),
        (f"{ITEM}spec: {{replicas: -0x{NINES}}}\n", "spec.replicas: must be a whole number, not -0x9999"),
        (json_item(replicas="@@").replace('"@@"', NINES), "spec.replicas: must be a whole number, not 9999"),
        (f"{ITEM}spec: {{replicas: 1e400}}\n", "spec.replicas: must be a whole number, not 1e400"),
        (f"{ITEM}spec: {{replicas: -.inf}}\n", "spec.replicas: must be a whole number, not -.inf"),
        (f"{ITEM}spec: {{replicas: .nan}}\n", "spec.replicas: must be a whole number, not .nan"),
        (json_item(replicas="@@").replace('"@@"', "1e400"), "must be a whole number, not 1e400"),
        (json_item(replicas="@@").replace('"@@"', "-Infinity"), "must be a whole number, not -Infinity"),
        (json_item(replicas="@@").replace('"@@"', "NaN"), "must be a whole number, not NaN"),
        (f"{MEMBER}spec: {{limit: 1, zone: .inf}}\n", "spec.zone: must be a string (put it in quotes), not"),
        (f"{API}\nkind: Item\nmetadata: {{name: a, generation: {NINES}}}\n",
         "metadata.generation: must be a whole number, not 9999"),
        # Times.
        *(
            (f"{API}\nkind: Item\nmetadata: {{name: a, creationTimestamp: {when}}}\n",
             "(Item a): metadata.creationTimestamp: must be an RFC 3339 time, such as 2026-")
            for when in ("12", "'12'", ".inf", "2026-01-01", "2026-02-30T00:00:00Z", "[1]",
                         "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", "true", NINES)
        ),
        (f"{MEMBER}spec: {{limit: 1}}\nstatus: {{conditions: [{{type: Live, status: 'False', "
         "lastTransitionTime: '0001-01-01T00:00:00+20:00'}]}\n",
         "status.conditions[0].lastTransitionTime: must be an RFC 3339 time"),
        # Depth and size.
        ("[" * 100_000, "document 1: not a Kubernetes object but a list"),
        ("- " * 500_000 + "a\n", "line 1, column 401: nested too deeply"),
        ("? " * 500_000 + "a\n", "a key must be a string"),
        ("a: " + "[" * 500_000, "line 1, column 203: nested too deeply: no Kubernetes object has more than"),
        ("".join(" " * n + "a:\n" for n in range(1000)), "line 201, column 201: nested too deeply"),
        (laughs("lol", "[@@]"), "line 8, column 10: its aliases (*) stand for too many values: write"),
        (laughs("{a: b}", "{<<: [@@]}"), "its aliases (*) stand for too many values"),
        (laughs("{a: b}", "{apiVersion: v1, kind: List, items: [@@]}") + f"{LIST}items: [*x19]\n",
         "its aliases (*) stand for too many values"),
        ("&a [*a]\n", "the alias *a stands for nothing"),
        (f"{API}\nkind: Item\nmetadata: &x {{name: a, y: *x}}\n", "the alias *x stands for nothing"),
        # Characters.
        ("apiVersion\nkind: Item\n", "line 2, column 5: not valid YAML: mapping values are not allowed"),
        ("a: \x00\n", "line 1: not valid YAML: control characters are not allowed"),
        (f"{ITEM}\x00", "line 4: not valid YAML: control characters are not allowed"),
        ('{"a": "\x00"}', "line 1: not valid YAML: control characters are not allowed"),
        (listed(item("a\x00")), r"(Item a\x00): metadata.name 'a\x00' must be a Kubernetes object name"),
        (listed(item("\ud800")), r"metadata.name '\ud800' must be a Kubernetes object name"),
        (listed(item("a", namespace="x/y")), "(Item a): metadata.namespace: must be a DNS label"),
        (listed(item("a", namespace="\ud800")), "(Item a): metadata.namespace: must be a DNS label"),
        (listed(obj("A\x1b[31m\n\nb", "x")), r"kind A\x1b[31m b is not one of berth.dev"),
        (listed(obj("K" * 100_000, "x")), "kind KKKKK"),
        # Keys.
        (f"{ITEM}spec: {{replicas: 1, pool: p, replicas: 2}}\n",
         "line 4, column 30: the key 'replicas' is twice in one map"),
        (f"{ITEM}kind: Item\n", "line 4, column 1: the key 'kind' is twice"),
        ('{"kind": "Item", "spec": {"a": 1, "a": 1}}', "document 1: the key 'a' is twice in one map"),
        (f"{ITEM}1: 2\n", "(Item a): 1: unknown field"),
        (f"{ITEM}spec: {{yes: 2}}\n", "(Item a): spec.yes: unknown field"),
        ("? [a]\n: 1\n", "line 1, column 3: a key must be a string"),
        ("{{a: b}: 1}\n", "line 1, column 2: a key must be a string"),
        (f"{ITEM}<<: 3\n", "line 4, column 5: only maps can be merged (<<)"),
        # Types.
        (f"{API}\nkind: Item\nmetadata: [a]\n", "(Item): metadata: must be a map, not a list"),
        (f"{API}\nkind: Item\nmetadata: a\n", "(Item): metadata: must be a map, not 'a'"),
        (f"{API}\nkind: Item\nmetadata:\n", "(Item): metadata.name: is required"),
        (
            f"{API}\nkind: Item\nmetadata: {{name: 12:30:00}}\n",
            "metadata.name '12:30:00' must be a Kubernetes object name",
        ),
        (f"{API}\nkind: Item\nmetadata: {{name: true}}\n", "(Item true): metadata.name: must be a string"),
        (f"{API}\nkind: Item\nmetadata: {{name: {{a: b}}}}\n", "(Item a map): metadata.name: must be a"),
        (f"{MEMBER}spec: {{limit: true}}\n", "(Member m): spec.limit: must be a whole number, not true"),
        (f"{MEMBER}spec: {{limit: 3.0}}\n", "spec.limit: must be a whole number, not 3.0"),
        (f"{MEMBER}spec: {{limit: 1, draining: 1}}\n", "spec.draining: must be true or false, not 1"),
        (f"{ITEM}spec: {{replicas: !!int abc}}\n", "line 4, column 18: 'abc' is not a valid !!int"),
        (f"{ITEM}spec: {{replicas: !!float ''}}\n", "line 4, column 18: '' is not a valid !!float"),
        (f"{ITEM}spec: {{replicas: !!bool 1}}\n", "line 4, column 18: '1' is not a valid !!bool"),
        (f"{ITEM}spec: !!set {{a}}\n", "is not supported: remove it"),
        ("!!python/object/apply:os.system [exit 7]\n", "python/object/apply:os.system is not supported"),
        (f"{ITEM}spec: {{replicas: 0x_}}\n", "spec.replicas: must be a whole number, not '0x_'"),
        # Entries.
        (entries("x#0@"), "spec.items[0]: entry 'x#0@': slot 0 is the primary and needs an epoch"),
        (entries("a#1@1", "x#-1@1"), "spec.items[1]: entry 'x#-1@1': the slot is '-1', not a number"),
        (entries("x#1@1\n"), r"spec.items[0]: entry 'x#1@1\n': the grant is"),
        (entries("a..b#1@1"), "'a..b' is not a name"),
        (entries("x#1@" + NINES), "spec.items[0]: must have 287 characters or fewer, not 'x#1@99"),
        (entries().replace("[]", "[3]"), "spec.items[0]: must be a string (put it in quotes), not 3"),
        (entries() + "status: {items: [x@1=Done]}\n", "status.items[0]: report 'x@1=Done': the phase is"),
    ],
    ids=lambda value: value[:40].replace("\n", " ") if isinstance(value, str) else None,
)  # fmt: skip
def test_what_is_wrong_is_named_in_one_line_with_its_place(berth: Run, text: str, expected: str) -> None:
    refuses(berth, text, expected)


def refuses(berth: Run, text: str, expected: str) -> None:
    answer = berth("plan", "-f", "-", stdin=text)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("berth: standard input, ")
    assert expected in answer.err
    assert answer.err.count("\n") == 1
    assert answer.err[:-1].isprintable()
    assert len(answer.err) < 700


MEGA = 1_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (lambda: "a" * 50 * MEGA, "document 1: not a Kubernetes object but a string"),
        (lambda: f"{ITEM}spec: {{pool: {'a' * 50 * MEGA}}}\n", "spec.pool: must have 63 characters or fewer"),
        (lambda: listed(item("a" * 50 * MEGA)), "metadata.name 'aaa"),
        (lambda: f"{ITEM}spec: {{replicas: {'9' * 50 * MEGA}}}\n", "999... (50000000 digits)"),
        (lambda: "[" + "1," * 25 * MEGA, "document 1: not a Kubernetes object but a list"),
        (lambda: '"' + "a" * 50 * MEGA, "not valid YAML"),
    ],
)
def test_a_line_of_fifty_megabytes_takes_seconds(berth: Run, text: Callable[[], str], expected: str) -> None:
    whole = text()
    started = time.monotonic()
    refuses(berth, whole, expected)
    assert time.monotonic() - started < 20


def test_a_json_text_that_is_nested_too_deeply_names_the_file(berth: Run) -> None:
    answer = berth("plan", "-f", "-", stdin='{"apiVersion":' + "[" * 100_000)
    assert answer.err.startswith(
        "berth: standard input: nested too deeply: no Kubernetes object has more than"
    )


def test_names_that_look_like_times_are_names_as_for_kubectl(berth: Run) -> None:
    text = (
        f"{API}\nkind: Item\nmetadata: {{name: 2026-01-01, creationTimestamp: 2026-01-01T00:00:00.5+01:00}}\n"
    )
    assert list(berth("plan", "-o", "json", "-f", "-", stdin=text).json["pools"]["default"]["items"]) == [
        "2026-01-01"
    ]


def test_the_content_of_a_foreign_kind_does_no_harm(berth: Run) -> None:
    text = (
        f"apiVersion: v1\nkind: Odd\nbig: {NINES}\nnone: .nan\n1: 2\nyes: no\nraw: !!binary aGFsbG8=\n"
        f"deep: {'[' * 150}{']' * 150}\n---\n{ITEM}"
    )
    answer = berth("plan", "-o", "json", "-f", "-", stdin=text)
    assert answer.code == 0
    assert answer.err == "berth: skipped 1 of kind Odd (v1): not of berth.dev\n"


def test_what_berth_does_not_read_may_be_deep_and_is_compared_all_the_same(berth: Run) -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    named, unnamed = item("a", namespace="x"), item("a")
    named["metadata"]["y"] = unnamed["metadata"]["y"] = deep
    for objects in ([named, named], [named, unnamed]):
        assert berth("plan", "-f", "-", stdin=listed(*objects)).code in (0, 2)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (ITEM.encode("utf-16"), "not UTF-8 text (byte 0): save it in UTF-8"),
        (ITEM.encode("utf-16-le"), "line 1: not valid YAML: control characters are not allowed"),
        (ITEM.encode("utf-32"), "not UTF-8 text (byte 0): save it in UTF-8"),
        (b"a: \xff", "not UTF-8 text (byte 3): save it in UTF-8"),
        (b"", "this file is empty: give one with manifests"),
        (b" \n\n\xef\xbb\xbf"[:3], "this file is empty: give one with manifests"),
    ],
)
def test_a_file_that_is_not_text_is_named(berth: Run, tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_bytes(content)
    answer = berth("plan", "-f", path)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"berth: {path}")
    assert expected in answer.err
    assert answer.err.count("\n") == 1


def test_an_empty_file_in_a_folder_is_passed_over(berth: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").touch()
    (tmp_path / "one.yaml").write_text(ITEM)
    assert berth("plan", "-f", tmp_path).code == 0


def test_files_that_cannot_be_read_are_named_with_the_remedy(
    berth: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "folder.yaml" / "notes.txt").touch()
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    for path, expected in (
        ("/proc/self/mem", "Input/output error: give a file, a folder, or - for standard input"),
        (tmp_path / "none.yaml", "No such file or directory: give a file"),
        (tmp_path / "folder.yaml", "this folder has no manifests (.yaml, .yml, .json)"),
        (tmp_path, "folder.yaml: Is a directory: give a file"),
        (tmp_path / "loop.yaml", "Too many levels of symbolic links"),
        ("x" * 5000, "File name too long"),
    ):
        answer = berth("plan", "-f", path)
        assert (answer.code, answer.err.count("\n"), expected in answer.err) == (2, 1, True), answer
    monkeypatch.setattr(reading, "MAX_BYTES", 1 << 20)
    assert "/dev/zero: larger than 1 MiB" in berth("plan", "-f", "/dev/zero").err


def test_standard_input_that_is_closed_is_named() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{PROGRAM} plan -f - <&-"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "berth: standard input is closed: give a file, or a pipe to read from\n"


def test_input_that_does_not_fit_into_memory_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(f"{ITEM}z: [" + "bc, " * 5_000_000)
    limit = 400 << 20
    done = subprocess.run(
        [PROGRAM, "plan", "-f", path],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        env={"OPENBLAS_NUM_THREADS": "1"},
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr == f"berth: {path}: there is not enough memory to read it: split it up\n"


def test_a_stream_of_many_json_documents_takes_no_longer_than_a_list(berth: Run) -> None:
    started = time.monotonic()
    answer = berth(
        "plan",
        "-o",
        "json",
        "-f",
        "-",
        stdin="".join(map(json.dumps, map(item, map("i{}".format, range(20_000))))),
    )
    assert answer.json["pools"]["p"]["slots"]["wanted"] == 20_000
    assert time.monotonic() - started < 15
