"""Converts the JSON schemas of pydantic to the structural schemas that a CRD requires."""

from functools import partial
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from berth.kinds.model import VALIDATIONS, Resource

Json = dict[str, Any]

_KEPT = (
    "type", "format", "description", "enum", "minimum", "maximum", "minLength", "maxLength", "pattern",
    "maxItems", "maxProperties", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", VALIDATIONS,
)  # fmt: skip

_ROOT: Json = {
    "apiVersion": {"type": "string", "description": "The version of the API that the object is written in."},
    "kind": {"type": "string", "description": "The kind of the object."},
    # A CRD may mention only the name of the metadata, which rules need to refer to it.
    "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
}


class _WithoutNull(GenerateJsonSchema):
    """`X | None` becomes an optional X: a null is refused, or replaced by the default if there is one."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Json:
        return self.generate_inner(schema["schema"])


def structural_schema(model: type[Resource]) -> Json:
    """The `openAPIV3Schema` of the kind that `model` describes.

    References are resolved. A status has no defaults, because it is always written as a whole.
    """
    source = model.model_json_schema(schema_generator=_WithoutNull)
    properties = dict(_ROOT)
    for name in ("spec", "status"):
        properties[name] = _convert(source["properties"][name], source["$defs"], defaults=name == "spec")
    result: Json = {
        "type": "object",
        "description": _one_line(source["description"]),
        "properties": properties,
    }
    if "spec" in source.get("required", ()):
        result["required"] = ["spec"]
    if model.about.rules:
        result[VALIDATIONS] = [rule.manifest() for rule in model.about.rules]
    return result


def _convert(node: Json, definitions: Json, *, defaults: bool) -> Json:
    if "$ref" in node:
        node = {**definitions[node["$ref"].removeprefix("#/$defs/")], **node}
    result = {key: node[key] for key in _KEPT if key in node}
    if "description" in result:
        result["description"] = _one_line(result["description"])
    if result.get("type") == "integer":
        result["format"] = "int32" if node.get("maximum", 2**31) < 2**31 else "int64"
    if defaults and node.get("default") is not None:
        # The API server fills in the defaults of an object's fields.
        result["default"] = {} if "properties" in node else node["default"]
    inner = partial(_convert, definitions=definitions, defaults=defaults)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            result[key] = inner(node[key])
    if "properties" in node:
        result["properties"] = {name: inner(child) for name, child in node["properties"].items()}
        if required := node.get("required"):
            result["required"] = list(required)
    return result


def _one_line(text: str) -> str:
    return " ".join(text.split())
