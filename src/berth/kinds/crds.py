"""The CustomResourceDefinitions, generated from the models."""

from typing import Any

from berth.kinds.assignment import Assignment
from berth.kinds.item import Item
from berth.kinds.member import Member
from berth.kinds.model import GROUP, VERSION, Column, Resource
from berth.kinds.pool import Pool
from berth.kinds.schema import structural_schema

RESOURCES: tuple[type[Resource], ...] = (Assignment, Item, Member, Pool)
"""The models of all kinds, sorted by name."""


def custom_resource_definition(model: type[Resource]) -> dict[str, Any]:
    """The CRD of the kind that `model` describes."""
    about = model.about
    subresources: dict[str, Any] = {"status": {}}
    if about.scale:
        subresources["scale"] = dict(about.scale)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{about.plural}.{GROUP}", "labels": {"app.kubernetes.io/part-of": "berth"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": about.name,
                "listKind": f"{about.name}List",
                "plural": about.plural,
                "singular": about.name.lower(),
                "shortNames": list(about.short_names),
                "categories": ["berth"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [_column(column) for column in about.columns],
                    "subresources": subresources,
                    "schema": {"openAPIV3Schema": structural_schema(model)},
                }
            ],
        },
    }


def _column(column: Column) -> dict[str, Any]:
    result: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        result["description"] = column.description
    if column.wide:
        result["priority"] = 1
    return result
