import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from berth.cli.crds import crds_command
from berth.kinds.crds import HEADER, RESOURCES, custom_resource_definition, manifests

ROOT = Path(__file__).parents[2]

app = typer.Typer()
app.command("crds")(crds_command)
runner = CliRunner()


def schema_of(kind: str) -> dict[str, Any]:
    (crd,) = [custom_resource_definition(m) for m in RESOURCES if m.about.name == kind]
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def nodes(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from nodes(node[key], f"{path}[]")


def all_nodes() -> list[tuple[str, dict[str, Any]]]:
    kinds = [model.about.name for model in RESOURCES]
    return [found for kind in kinds for found in nodes(schema_of(kind), kind)]


def test_the_files_in_crds_are_what_the_models_give() -> None:
    there = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    assert there == manifests(), "run `make crds`"


def test_every_field_has_a_type_a_description_and_nothing_that_a_crd_cannot_hold() -> None:
    for path, node in all_nodes():
        assert isinstance(node["type"], str), path
        assert not {"$ref", "anyOf", "allOf", "$defs", "title", "const"} & node.keys(), path
        if not path.endswith("[]") and ".metadata" not in path:
            assert node["description"], path


def test_every_string_list_and_map_has_a_bound() -> None:
    # A field without one is priced at its greatest size by the API server's budget for CEL, and by users.
    for path, node in all_nodes():
        if path.endswith((".apiVersion", ".kind")) or ".metadata" in path:
            continue
        bounded = "maxLength" in node or "enum" in node or node.get("format") == "date-time"
        assert node["type"] != "string" or bounded, path
        assert node["type"] != "array" or "maxItems" in node, path
        assert "additionalProperties" not in node or "maxProperties" in node, path


def test_every_list_declares_how_it_is_merged() -> None:
    for path, node in all_nodes():
        if node["type"] == "array":
            wanted = "map" if path.endswith(".conditions") else "atomic"
            assert node["x-kubernetes-list-type"] == wanted, path


def test_a_status_has_no_defaults() -> None:
    for path, node in all_nodes():
        if ".status" in path:
            assert "default" not in node, path


def test_entries_have_one_pattern_and_no_rules() -> None:
    entries = schema_of("Assignment")["properties"]["spec"]["properties"]["items"]
    assert set(entries["items"]) == {"type", "maxLength", "pattern"}
    assert "x-kubernetes-validations" not in entries


def test_the_policy_is_applied_after_the_kind_that_it_needs() -> None:
    files = sorted(manifests())
    assert files.index("term-fencing.yaml") > files.index("pools.yaml")


def test_crds_are_printed_as_one_stream() -> None:
    result = runner.invoke(app)
    assert result.exit_code == 0
    documents = list(yaml.safe_load_all(result.output))
    assert [document["kind"] for document in documents] == [
        *["CustomResourceDefinition"] * 4,
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ]


def test_a_check_names_what_differs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    generate = runpy.run_path(str(ROOT / "tools" / "generate.py"))
    for name, text in manifests().items():
        (tmp_path / name).write_text(text)
    files = {tmp_path / name: text for name, text in manifests().items()}
    monkeypatch.setitem(generate["differing"].__globals__, "CRDS", tmp_path)
    assert generate["differing"](files) == []
    (tmp_path / "items.yaml").write_text("kind: Nothing\n")
    (tmp_path / "pools.yaml").unlink()
    (tmp_path / "old.yaml").write_text(HEADER)
    (tmp_path / "kustomization.yaml").write_text("resources: []\n")
    found = sorted(path.name for path in generate["differing"](files))
    assert found == ["items.yaml", "old.yaml", "pools.yaml"]


@pytest.mark.parametrize("model", RESOURCES, ids=lambda model: str(model.about.name))
def test_every_kind_is_in_the_category_berth(model: Any) -> None:
    assert custom_resource_definition(model)["spec"]["names"]["categories"] == ["berth"]
