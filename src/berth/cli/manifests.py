"""Manifests of `berth.dev` as the user wrote them, checked and sorted into Pools."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from pydantic import ValidationError

from berth import kinds
from berth.cli.documents import Document, read_documents
from berth.cli.errors import UsageError, brief, note
from berth.cli.objects import KindObject, Pools, assemble
from berth.cli.yaml_reader import Unbounded
from berth.kinds.model import DNS_LABEL
from berth.words import counted

Resource = kinds.Item | kinds.Member | kinds.Assignment | kinds.Pool
KINDS: dict[str, tuple[type[Resource], type[KindObject]]] = {
    "Item": (kinds.Item, kinds.ItemObject),
    "Member": (kinds.Member, kinds.MemberObject),
    "Assignment": (kinds.Assignment, kinds.AssignmentObject),
    "Pool": (kinds.Pool, kinds.PoolObject),
}
"""What checks an object, and what it is read as."""
_READ: Any = {
    "metadata": {"name", "uid", "generation", "creation_timestamp", "owner_references"},
    "spec": True,
    "status": True,
}
MAX_LISTS = 10
"""Lists within Lists."""
DEFAULT_NAMESPACE = "default"


class Manifest(NamedTuple):
    """A checked object, and where it was read, for messages."""

    where: str
    resource: Resource


def load_files(paths: list[str], namespace: str | None = None) -> Pools:
    """Read files (`-` is standard input, a folder stands for its manifests) as Pools.

    Prints notes about what is left out to standard error. Raises UsageError, whose message names file,
    document, field and reason.
    """
    manifests: list[Manifest] = []
    foreign: Counter[str] = Counter()
    for document in read_documents(paths):
        for where, body in _unlisted(document):
            if body["apiVersion"].partition("/")[0] == kinds.GROUP:
                manifests.append(Manifest(where, _checked(where, body)))
            else:
                foreign[f"{brief(body['kind'])} ({brief(body['apiVersion'])})"] += 1
    for kind, count in sorted(foreign.items()):
        note(f"skipped {count} of kind {kind}: not of berth.dev")
    pools, left_out = pools_of(manifests, namespace)
    if left_out:
        note(f"left out {counted(left_out, 'object')} of other namespaces than {namespace}")
    if not manifests:
        note("the input has no objects of berth.dev")
    return pools


def pools_of(manifests: list[Manifest], namespace: str | None = None) -> tuple[Pools, int]:
    """The Pools of the objects, and how many objects of other namespaces than `namespace` were left out.

    An object without a namespace belongs to `namespace`; without that to the only namespace that the
    other objects name, else to `default`. Raises UsageError where two objects of one name differ.
    """
    named = {space for _, resource in manifests if (space := resource.metadata.namespace)}
    home = namespace or (named.pop() if len(named) == 1 else DEFAULT_NAMESPACE)
    found: dict[tuple[str, str, str], Manifest] = {}
    for manifest in manifests:
        kind, meta = manifest.resource.kind, manifest.resource.metadata
        first = found.setdefault((kind, meta.namespace or home, meta.name), manifest)
        if first is not manifest and not _equal(first.resource, manifest.resource):
            differs = f"differs from the {kind} of that name in {first.where}: leave one of them out"
            raise UsageError(f"{manifest.where} ({kind} {brief(meta.name)}): {differs}")
    inside = [key for key in found if namespace is None or key[1] == namespace]
    return assemble(_struct(found[key].resource, key[1]) for key in inside), len(found) - len(inside)


def _equal(one: Resource, other: Resource) -> bool:
    """Whether two objects are equal, or differ in that only one of them names the namespace of both."""
    meta = other.metadata.model_copy(update={"namespace": one.metadata.namespace})
    try:
        return one == other.model_copy(update={"metadata": meta})
    except RecursionError:  # only fields that Berth does not read can be that deep
        return False


def _struct(resource: Resource, namespace: str) -> KindObject:
    """What Berth reads of an object, as it is read from a cluster."""
    fields = resource.model_dump(mode="json", by_alias=True, exclude_none=True, include=_READ)
    fields["metadata"]["namespace"] = namespace
    return msgspec.convert(fields, KINDS[resource.kind][1])


# ---- checks ----------------------------------------------------------------------------------------


def _unlisted(document: Document, depth: int = 0) -> Iterator[Document]:
    """The document, or the items where it is a List."""
    where, body = document
    if not isinstance(body, dict):
        raise UsageError(f"{where}: not a Kubernetes object but a {_type_name(body)}")
    for name in ("kind", "apiVersion"):
        if not body.get(name) or not isinstance(body[name], str):
            raise UsageError(f"{where}: {name}: is required; every Kubernetes object has one")
    kind, version = body["kind"], body["apiVersion"]
    ours = version.startswith(f"{kinds.GROUP}/") and kind.endswith("List")
    if not (kind == "List" or ours):
        yield document
        return
    if depth == MAX_LISTS:
        raise UsageError(f"{brief(where)}: more than {MAX_LISTS} Lists within each other: give their items")
    items = body.get("items")
    if not isinstance(items, list):
        found = "is missing" if "items" not in body else f"must be a list, not {_shown(items)}"
        raise UsageError(f"{where} ({brief(kind)}): items: {found}; write [] for an empty List")
    # The API server leaves kind and apiVersion out of the items of its typed lists.
    implied = {"kind": kind.removesuffix("List"), "apiVersion": version} if ours else {}
    for number, item in enumerate(items):
        inner = {**implied, **item} if isinstance(item, dict) else item
        yield from _unlisted(Document(f"{where}, items[{number}]", inner), depth + 1)


def _checked(where: str, body: dict[str, Any]) -> Resource:
    """The object of an API version of Berth. Raises UsageError."""
    kind, version = body["kind"], body["apiVersion"]
    if kind not in KINDS:
        raise UsageError(f"{where}: kind {brief(kind)} is not one of {kinds.GROUP}: {', '.join(KINDS)}")
    if version != kinds.API_VERSION:
        raise UsageError(f"{where} ({kind}): apiVersion: must be {kinds.API_VERSION}, not {brief(version)}")
    try:
        resource = KINDS[kind][0].model_validate(_completed(body))
    except ValidationError as error:
        meta = body.get("metadata")
        name = meta.get("name", "") if isinstance(meta, dict) else ""
        name = brief(name) if isinstance(name, str) else _shown(name)
        raise UsageError(f"{where} ({f'{kind} {name}'.strip()}): {_explained(error)}") from None
    meta = resource.metadata
    if not meta.name:
        raise UsageError(f"{where} ({kind}): metadata.name: is required")
    where = f"{where} ({kind} {brief(meta.name)})"
    if meta.namespace and not kinds.is_label(meta.namespace):
        rule = f"{DNS_LABEL.message}, at most 63 characters"
        raise UsageError(f"{where}: metadata.namespace: {rule}, not {_shown(meta.namespace)}")
    if isinstance(resource, kinds.Assignment):
        _check_entries(where, resource.spec.items)
    return resource


def _completed(body: dict[str, Any]) -> dict[str, Any]:
    """The object without fields that are null, as on the API server, and with complete conditions."""
    pruned = {
        name: {k: v for k, v in part.items() if v is not None} if isinstance(part, dict) else part
        for name, part in body.items()
        if part is not None
    }
    status = pruned.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    for condition in conditions if isinstance(conditions, list) else ():
        if isinstance(condition, dict):  # one written by hand needs only a type and a status
            condition.setdefault("reason", "Unknown")
            condition.setdefault("lastTransitionTime", "1970-01-01T00:00:00Z")
    return pruned


def _check_entries(where: str, entries: Sequence[str]) -> None:
    """Raise UsageError where an Item is twice in an Assignment."""
    first: dict[str, int] = {}
    for number, text in enumerate(entries):
        other = first.setdefault(text.partition("#")[0], number)
        if other != number:
            twice = f"{_shown(text)} lists an Item that spec.items[{other}] lists as {_shown(entries[other])}"
            raise UsageError(f"{where}: spec.items[{number}]: {twice}: leave one of them out")


# ---- what is wrong, in words -----------------------------------------------------------------------

_RULES = {
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "string_too_long": "must have {max_length} characters or fewer",
    "string_too_short": "must have {min_length} characters or more",
    "too_long": "must have {max_length} entries or fewer",
    "string_pattern_mismatch": "must match {pattern}",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "string_type": "must be a string (put it in quotes)",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a map",
    "model_type": "must be a map",
}
"""What a value must be, by pydantic's types of errors."""
_PARSERS = {("spec", "items"): kinds.parse_entry, ("status", "items"): kinds.parse_report}
"""Fields whose strings have a parser, which says better than their pattern what is wrong."""


def _explained(error: ValidationError) -> str:
    """The first thing that is wrong: the field, and what it needs."""
    first, *others = error.errors(include_url=False)
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{brief(part)}" for part in first["loc"])
    # A rule over the whole object names the field itself.
    prefix = f"{field.removeprefix('.')}: " if field else ""
    more = f" (and {len(others)} more)" if others else ""
    return f"{prefix}{_fault(dict(first))}{more}"


def _fault(error: dict[str, Any]) -> str:
    kind, value = error["type"], error.get("input")
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return "unknown field"
    if kind == "string_pattern_mismatch" and (parse := _PARSERS.get(error["loc"][:2])):
        try:
            parse(str(value))
        except ValueError as wrong:
            return brief(str(wrong), 400)
    if kind in _RULES:
        return f"{_RULES[kind].format(**error.get('ctx', {}))}, not {_shown(value)}"
    # A rule over the whole object says what it found, and its input is not worth quoting.
    quoted = "" if kind == "value_error" and not error["loc"] else f", not {_shown(value)}"
    return str(error["msg"]).removeprefix("Value error, ") + quoted


def _shown(value: Any) -> str:
    """A value as a message quotes it."""
    if isinstance(value, dict | list):
        return f"a {_type_name(value)}"
    if isinstance(value, Unbounded):
        return str(value)
    # Cut before it is escaped too: it may have 50 MB.
    return brief(repr(value[:80]) if isinstance(value, str) else json.dumps(value, default=str))


def _type_name(value: Any) -> str:
    """The type of a value, in the words of YAML."""
    return {dict: "map", list: "list", str: "string", bool: "boolean"}.get(type(value), "number")
