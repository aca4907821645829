"""Converts the JSON schemas of pydantic to the structural schemas that a CRD requires."""

from typing import Any

from berth.kinds.model import VALIDATIONS, Resource

Json = dict[str, Any]

_KEPT = (
    "type",
    "format",
    "description",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "maxItems",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    VALIDATIONS,
)

_ROOT: Json = {
    "apiVersion": {"type": "string", "description": "The version of the API that the object is written in."},
    "kind": {"type": "string", "description": "The kind of the object."},
    # A CRD may mention only the name of the metadata, which rules need to refer to it.
    "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
}


def structural_schema(model: type[Resource]) -> Json:
    """The `openAPIV3Schema` of the kind that `model` describes.

    References are resolved. `X | None` becomes an optional X: a null is refused, or replaced by the default
    if there is one. A status has no defaults, because it is always written as a whole.
    """
    source = model.model_json_schema(by_alias=True)
    definitions = source.get("$defs", {})
    properties = dict(_ROOT)
    for name in ("spec", "status"):
        properties[name] = _convert(source["properties"][name], definitions, defaults=name == "spec")
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
    node = _resolve(node, definitions)
    result = {key: node[key] for key in _KEPT if key in node}
    if "description" in result:
        result["description"] = _one_line(result["description"])
    if result.get("type") == "integer":
        result["format"] = "int32" if node.get("maximum", 2**31) < 2**31 else "int64"
    if defaults and node.get("default") is not None:
        # The API server fills in the defaults of an object's fields.
        is_object = "properties" in node
        result["default"] = {} if is_object else node["default"]
    if "items" in node:
        result["items"] = _convert(node["items"], definitions, defaults=defaults)
    if isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _convert(
            node["additionalProperties"], definitions, defaults=defaults
        )
    if "properties" in node:
        result["properties"] = {
            name: _convert(child, definitions, defaults=defaults)
            for name, child in node["properties"].items()
        }
        if required := node.get("required"):
            result["required"] = list(required)
    return result


def _resolve(node: Json, definitions: Json) -> Json:
    """`node`, merged with its reference and with its only alternative to null; its own keys win."""
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        return _resolve(_merge(target, node, without="$ref"), definitions)
    if "anyOf" in node:
        choices = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
        if len(choices) != 1:
            raise ValueError(f"a structural schema cannot choose between types: {node}")
        return _resolve(_merge(choices[0], node, without="anyOf"), definitions)
    return node


def _merge(inner: Json, outer: Json, *, without: str) -> Json:
    merged = {**inner, **{key: value for key, value in outer.items() if key != without}}
    if rules := [*inner.get(VALIDATIONS, ()), *outer.get(VALIDATIONS, ())]:
        merged[VALIDATIONS] = rules
    return merged


def _one_line(text: str) -> str:
    return " ".join(text.split())
