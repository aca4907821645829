import re
from pathlib import Path

import pytest
from cliobjects import Run

from berth.cli.main import COMMANDS, load_command

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
OWN_PAGES = {"agent"}
"""Commands whose options are described elsewhere."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCS.read_text(), re.M | re.S)


def commands() -> dict[str, object]:
    found = {}

    def walk(path: str, command) -> None:
        inner = getattr(command, "commands", None)
        if inner is None:
            found[path] = command
        for name, sub in (inner or {}).items():
            walk(f"{path} {name}", sub)

    for name in COMMANDS:
        walk(f"berth {name}", load_command(name))
    return found


def test_every_command_and_its_options_are_described() -> None:
    text = DOCS.read_text()
    for path, command in commands().items():
        assert f"`{path}" in text, path
        if path.split()[-1] not in OWN_PAGES:
            for parameter in command.params:  # type: ignore[attr-defined]
                if getattr(parameter, "hidden", False):  # for Berth's own tests
                    continue
                names = [name for name in parameter.opts if name.startswith("--") and name != "--help"]
                assert not names or any(name in text for name in names), (path, names)


def test_every_command_has_a_help_text() -> None:
    assert all(command.help for command in commands().values())  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_has_the_first_line_of_each_help_text(name: str) -> None:
    first = load_command(name).help.split("\n")[0]
    assert first == COMMANDS[name][2]


EXAMPLES = [block for block in blocks("console") if "-f fleet.yaml" in block]


@pytest.mark.parametrize("block", EXAMPLES, ids=[block.split("\n")[0] for block in EXAMPLES])
def test_the_examples_answer_as_described(
    berth: Run, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text(blocks("yaml")[0])
    command, *expected = block.splitlines()
    answer = berth(*command.removeprefix("$ berth ").split())
    assert answer.code == 0, answer.err
    printed = [line.rstrip() for line in answer.out.splitlines()]
    # "..." stands for lines that are left out.
    at = 0
    for line in expected:
        if line != "...":
            assert line in printed[at:], f"{line!r} is not in\n{answer.out}"
            at = printed.index(line, at) + 1


def test_the_examples_are_found() -> None:
    assert len(EXAMPLES) == 2


def test_the_refusal_is_as_described(berth: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.yaml").write_text(blocks("yaml")[0].replace("limit: 0", "limit: -1"))
    described = next(block for block in blocks("console") if "broken.yaml" in block)
    answer = berth("plan", "-f", "broken.yaml")
    assert (answer.code, answer.err) == (2, described.partition("\n")[2])


def test_the_json_has_the_fields_that_are_described(berth: Run, tmp_path: Path) -> None:
    import json

    (tmp_path / "fleet.yaml").write_text(blocks("yaml")[0])
    described = json.loads(blocks("json")[0])["pools"]["feeds"]
    found = berth("plan", "-o", "json", "-f", tmp_path / "fleet.yaml").json["pools"]["feeds"]
    assert found["slots"] == described["slots"]
    assert found.keys() == described.keys()
    assert found["changes"].keys() == described["changes"].keys()
    for part, name in (("members", "worker-a"), ("items", "sports")):
        assert found[part][name].keys() == described[part][name].keys()
