"""Manifests as a user writes them: files and standard input into checked objects of `berth.dev`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from berth.api import API_VERSION, GROUP, Assignment, Item, Member, Pool
from berth.cli.errors import UsageError

Resource = Item | Member | Assignment | Pool
KINDS: dict[str, type[Resource]] = {"Item": Item, "Member": Member, "Assignment": Assignment, "Pool": Pool}
Key = tuple[str, str, str]
"""Kind, namespace ("" where none is said), name."""
SUFFIXES = (".yaml", ".yml", ".json")


class Document(NamedTuple):
    """One object as it was read, and where it stood."""

    where: str
    """File and position, for messages."""
    body: Any


@dataclass(slots=True)
class Manifests:
    """All objects that were read, by (kind, namespace, name); the namespace is "" where none is said."""

    objects: dict[Key, Resource] = field(default_factory=dict)
    where: dict[Key, str] = field(default_factory=dict)
    foreign: Counter[str] = field(default_factory=Counter)
    """Kinds that are not Berth's, and how many of each."""


def read_manifests(paths: list[str]) -> Manifests:
    """Read and check the files (`-` is standard input, a folder stands for its manifests).

    Raises UsageError, whose message names file, document, field and reason.
    """
    found = Manifests()
    for path in _expanded(paths):
        label = "standard input" if path == "-" else path
        try:
            for document in documents(label, _text(path)):
                for where, body in _unlisted(document):
                    _take(found, where, body)
        except RecursionError:
            raise UsageError(f"{label}: it is nested too deeply") from None
    return found


def documents(label: str, text: str) -> Iterator[Document]:
    """The documents of a YAML or JSON text; empty ones are left out."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            yield from _json_documents(label, text)
            return
        except json.JSONDecodeError as error:
            if label.endswith(".json"):
                raise UsageError(
                    f"{label}, line {error.lineno}, column {error.colno}: this is no JSON: {error.msg}"
                ) from None
    try:
        for number, body in enumerate(yaml.load_all(text, Loader=_Loader), 1):
            if body is not None:
                yield Document(f"{label}, document {number}", body)
    except yaml.YAMLError as error:
        raise UsageError(f"{label}{_place(error)}: this is no YAML: {_problem(error)}") from None


def _json_documents(label: str, text: str) -> list[Document]:
    decoder = json.JSONDecoder()
    found: list[Document] = []
    at = len(text) - len(text.lstrip())
    while at < len(text):
        body, at = decoder.raw_decode(text, at)
        found.append(Document(f"{label}, document {len(found) + 1}", body))
        at += len(text) - at - len(text[at:].lstrip())
    return found


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: a time is a string, and a key stands once."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # Before `<<` is filled in: a key may be in the map and in what is merged into it.
        if not getattr(node, "berth_checked", False):
            node.berth_checked = True  # type: ignore[attr-defined]
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if len(set(keys)) != len(keys):
                twice = next(key for key in keys if keys.count(key) > 1)
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {twice!r} stands twice", node.start_mark
                )
        super().flatten_mapping(node)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _expanded(paths: list[str]) -> Iterator[str]:
    for path in paths:
        folder = Path(path)
        if path == "-" or not folder.is_dir():
            yield path
            continue
        inside = sorted(str(file) for file in folder.iterdir() if file.suffix in SUFFIXES)
        if not inside:
            raise UsageError(f"{path}: no manifests in this folder ({', '.join(SUFFIXES)})")
        yield from inside


def _text(path: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}: give a file, a folder, or - for standard input"
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: this is no UTF-8 text (byte {error.start})") from None


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)


def _unlisted(document: Document) -> Iterator[Document]:
    """The document, or what it lists where it is a List."""
    where, body = document
    if not isinstance(body, dict):
        raise UsageError(f"{where}: this is no Kubernetes object but a {_type_name(body)}")
    kind, version = body.get("kind"), body.get("apiVersion")
    for name, value in (("kind", kind), ("apiVersion", version)):
        if not isinstance(value, str) or not value:
            raise UsageError(f"{where}: {name}: is required; every Kubernetes object has one")
    items = body.get("items")
    kind, version = str(kind), str(version)
    ours = version.startswith(f"{GROUP}/") and kind.endswith("List")
    if not (kind == "List" or ours) or not isinstance(items, list | None):
        yield document
        return
    single = {"kind": kind.removesuffix("List"), "apiVersion": version} if kind != "List" else {}
    for number, item in enumerate(items or []):
        # The API server leaves kind and apiVersion out of the items of its typed lists.
        inner = {**single, **item} if isinstance(item, dict) else item
        yield from _unlisted(Document(f"{where}, items[{number}]", inner))


def _take(found: Manifests, where: str, body: dict[str, Any]) -> None:
    kind, version = body["kind"], body["apiVersion"]
    group = version.partition("/")[0] if "/" in version else ""
    if group != GROUP:
        found.foreign[f"{kind} ({version})"] += 1
        return
    if kind not in KINDS:
        raise UsageError(f"{where}: kind {kind} is not one of {GROUP}: {', '.join(KINDS)}")
    if version != API_VERSION:
        raise UsageError(f"{where} ({kind}): apiVersion: must be {API_VERSION}, not {version}")
    resource = _checked(where, kind, body)
    meta = resource.metadata
    if not meta.name:
        raise UsageError(f"{where} ({kind}): metadata.name: is required")
    key = (kind, meta.namespace or "", meta.name)
    known = found.objects.setdefault(key, resource)
    first = found.where.setdefault(key, where)
    if known is not resource and known != resource:
        raise UsageError(differs(key, where, first))


def differs(key: Key, where: str, first: str) -> str:
    """That the object read at `where` is not the one of that kind and name that was read at `first`."""
    kind, _, name = key
    return f"{where} ({kind} {name}): differs from the {kind} of that name in {first}"


def _checked(where: str, kind: str, body: dict[str, Any]) -> Resource:
    # As on the API server, a field that is null is as good as absent.
    pruned = {
        name: {k: v for k, v in part.items() if v is not None} if isinstance(part, dict) else part
        for name, part in body.items()
        if part is not None
    }
    _complete(pruned.get("status"))
    try:
        return KINDS[kind].model_validate(pruned)
    except ValidationError as error:
        meta = body.get("metadata")
        name = meta.get("name", "") if isinstance(meta, dict) else ""
        raise UsageError(f"{where} ({f'{kind} {name}'.strip()}): {_reason(error)}") from None


def _complete(status: Any) -> None:
    """Conditions written by hand need say no more than what holds."""
    conditions = status.get("conditions") if isinstance(status, dict) else None
    for condition in conditions if isinstance(conditions, list) else ():
        if isinstance(condition, dict):
            condition.setdefault("reason", "Unknown")
            condition.setdefault("lastTransitionTime", "1970-01-01T00:00:00Z")


def _reason(error: ValidationError) -> str:
    first, *others = error.errors(include_url=False)
    field_ = ""
    for part in first["loc"]:
        field_ += f"[{part}]" if isinstance(part, int) else f".{part}"
    # A rule over the whole object names its field itself.
    prefix = f"{field_.lstrip('.')}: " if field_ else ""
    more = f" (and {len(others)} more)" if others else ""
    return f"{prefix}{_words(dict(first))}{more}"


_NUMBER_WORDS = {
    "greater_than_equal": ("ge", "must be {} or more"),
    "less_than_equal": ("le", "must be {} or less"),
    "string_too_long": ("max_length", "must have {} characters or fewer"),
    "string_too_short": ("min_length", "must have {} characters or more"),
    "too_long": ("max_length", "must have {} entries or fewer"),
    "string_pattern_mismatch": ("pattern", "must match {}"),
    "enum": ("expected", "must be {}"),
    "literal_error": ("expected", "must be {}"),
}
_TYPE_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is no field of this kind",
}
_WANTED = {
    "int_type": "a whole number",
    "string_type": "a string (put it in quotes)",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
}


def _words(error: dict[str, Any]) -> str:
    kind, context, value = error["type"], error.get("ctx") or {}, error.get("input")
    if kind in _TYPE_WORDS:
        return _TYPE_WORDS[kind]
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {_shown(value)}"
    if kind in _NUMBER_WORDS:
        key, words = _NUMBER_WORDS[kind]
        return f"{words.format(context.get(key))}, not {_shown(value)}"
    return str(error["msg"]).removeprefix("Value error, ") + (
        f", not {_shown(value)}" if isinstance(value, str) else ""
    )


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"a {_type_name(value)}"
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _type_name(value: Any) -> str:
    return {dict: "map", list: "list", str: "string", bool: "boolean"}.get(type(value), "number")
