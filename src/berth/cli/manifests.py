"""Manifests as a user writes them: files and standard input into checked objects of `berth.dev`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from berth.cli.documents import Document, read_documents
from berth.cli.errors import UsageError
from berth.cli.refusals import reason
from berth.cli.values import brief, shown, type_name
from berth.kinds import API_VERSION, GROUP, Assignment, Item, Member, Pool
from berth.kinds.model import DNS_LABEL

Resource = Item | Member | Assignment | Pool
KINDS: dict[str, type[Resource]] = {"Item": Item, "Member": Member, "Assignment": Assignment, "Pool": Pool}
Key = tuple[str, str, str]
"""Kind, namespace ("" where none is said), name."""
MAX_LISTS = 10
"""Lists within Lists."""


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
    for document in read_documents(paths):
        for where, body in _unlisted(document):
            _take(found, where, body)
    return found


def _unlisted(document: Document, depth: int = 0) -> Iterator[Document]:
    """The document, or what it lists where it is a List."""
    where, body = document
    if not isinstance(body, dict):
        raise UsageError(f"{where}: this is no Kubernetes object but a {type_name(body)}")
    kind, version = body.get("kind"), body.get("apiVersion")
    for name, value in (("kind", kind), ("apiVersion", version)):
        if not isinstance(value, str) or not value:
            raise UsageError(f"{where}: {name}: is required; every Kubernetes object has one")
    kind, version = str(kind), str(version)
    ours = version.startswith(f"{GROUP}/") and kind.endswith("List")
    if not (kind == "List" or ours):
        yield document
        return
    if depth == MAX_LISTS:
        raise UsageError(f"{brief(where)}: Lists within Lists, {MAX_LISTS} deep: give what they list")
    items = body.get("items")
    if not isinstance(items, list):
        found = "is missing" if "items" not in body else f"must be a list, not {shown(items)}"
        raise UsageError(f"{where} ({brief(kind)}): items: {found}; write [] where it lists nothing")
    single = {"kind": kind.removesuffix("List"), "apiVersion": version} if kind != "List" else {}
    for number, item in enumerate(items):
        # The API server leaves kind and apiVersion out of the items of its typed lists.
        inner = {**single, **item} if isinstance(item, dict) else item
        yield from _unlisted(Document(f"{where}, items[{number}]", inner), depth + 1)


def _take(found: Manifests, where: str, body: dict[str, Any]) -> None:
    kind, version = body["kind"], body["apiVersion"]
    group = version.partition("/")[0] if "/" in version else ""
    if group != GROUP:
        found.foreign[f"{brief(kind)} ({brief(version)})"] += 1
        return
    if kind not in KINDS:
        raise UsageError(f"{where}: kind {brief(kind)} is not one of {GROUP}: {', '.join(KINDS)}")
    if version != API_VERSION:
        raise UsageError(f"{where} ({kind}): apiVersion: must be {API_VERSION}, not {brief(version)}")
    resource = _checked(where, kind, body)
    meta = resource.metadata
    if not meta.name:
        raise UsageError(f"{where} ({kind}): metadata.name: is required")
    if meta.namespace and not (len(meta.namespace) <= 63 and DNS_LABEL.accepts(meta.namespace)):
        raise UsageError(
            f"{where} ({kind} {brief(meta.name)}): metadata.namespace: {DNS_LABEL.message}, "
            f"63 characters at most, not {shown(meta.namespace)}"
        )
    if isinstance(resource, Assignment):
        _check_entries(where, resource)
    key = (kind, meta.namespace or "", meta.name)
    known = found.objects.setdefault(key, resource)
    first = found.where.setdefault(key, where)
    if known is not resource and not alike(known, resource):
        raise UsageError(differs(key, where, first))


def _check_entries(where: str, assignment: Assignment) -> None:
    """An Item is at most once on a Member."""
    seen: dict[str, int] = {}
    entries = assignment.spec.items
    for number, text in enumerate(entries):
        first = seen.setdefault(text.partition("#")[0], number)
        if first != number:
            raise UsageError(
                f"{where} (Assignment {brief(assignment.metadata.name)}): spec.items[{number}]: "
                f"{shown(text)} lists an Item that spec.items[{first}] lists as {shown(entries[first])}: "
                "leave one of them out"
            )


def alike(one: Resource, other: Resource) -> bool:
    """Whether two objects say the same."""
    try:
        return one == other
    except RecursionError:  # only what Berth does not read can be so deep
        return False


def differs(key: Key, where: str, first: str) -> str:
    """That the object read at `where` is not the one of that kind and name that was read at `first`."""
    kind, _, name = key
    return (
        f"{where} ({kind} {brief(name)}): differs from the {kind} of that name in {first}: "
        "leave one of them out"
    )


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
        called = brief(name) if isinstance(name, str) else shown(name)
        raise UsageError(f"{where} ({f'{kind} {called}'.strip()}): {reason(error)}") from None


def _complete(status: Any) -> None:
    """Conditions written by hand need say no more than what holds."""
    conditions = status.get("conditions") if isinstance(status, dict) else None
    for condition in conditions if isinstance(conditions, list) else ():
        if isinstance(condition, dict):
            condition.setdefault("reason", "Unknown")
            condition.setdefault("lastTransitionTime", "1970-01-01T00:00:00Z")
