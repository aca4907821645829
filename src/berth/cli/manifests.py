"""Manifests of `berth.dev` as the user wrote them, checked and sorted into Pools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from pydantic import ValidationError

from berth.cli.documents import Document, read_documents
from berth.cli.errors import UsageError, note
from berth.cli.objects import KindObject, Pools, assemble
from berth.cli.validation import explain_error
from berth.cli.values import brief, shown, type_name
from berth.kinds import (
    API_VERSION,
    GROUP,
    Assignment,
    AssignmentObject,
    Item,
    ItemObject,
    Member,
    MemberObject,
    Pool,
    PoolObject,
    is_label,
)
from berth.kinds.model import DNS_LABEL
from berth.words import counted

Resource = Item | Member | Assignment | Pool
KINDS: dict[str, type[Resource]] = {"Item": Item, "Member": Member, "Assignment": Assignment, "Pool": Pool}
_STRUCTS = {"Item": ItemObject, "Member": MemberObject, "Assignment": AssignmentObject, "Pool": PoolObject}
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
    foreign: Counter[str] = Counter()
    manifests = list(read_manifests(paths, foreign))
    for kind, count in sorted(foreign.items()):
        note(f"skipped {count} of kind {kind}: not of berth.dev")
    pools, left_out = pools_of(manifests, namespace)
    if left_out:
        note(f"left out {counted(left_out, 'object')} of other namespaces than {namespace}")
    if not manifests:
        note("the input has no objects of berth.dev")
    return pools


def read_manifests(paths: list[str], foreign: Counter[str]) -> Iterator[Manifest]:
    """Read and check the objects of files; `foreign` counts the kinds that are not Berth's."""
    for document in read_documents(paths):
        for where, body in _unlisted(document):
            kind, version = body["kind"], body["apiVersion"]
            if version.partition("/")[0] == GROUP:
                yield Manifest(where, _checked(where, kind, version, body))
            else:
                foreign[f"{brief(kind)} ({brief(version)})"] += 1


def _unlisted(document: Document, depth: int = 0) -> Iterator[Document]:
    """The document, or the items where it is a List."""
    where, body = document
    if not isinstance(body, dict):
        raise UsageError(f"{where}: not a Kubernetes object but a {type_name(body)}")
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
        raise UsageError(f"{brief(where)}: more than {MAX_LISTS} Lists within each other: give their items")
    items = body.get("items")
    if not isinstance(items, list):
        found = "is missing" if "items" not in body else f"must be a list, not {shown(items)}"
        raise UsageError(f"{where} ({brief(kind)}): items: {found}; write [] for an empty List")
    # The API server leaves kind and apiVersion out of the items of its typed lists.
    implied = {"kind": kind.removesuffix("List"), "apiVersion": version} if ours else {}
    for number, item in enumerate(items):
        inner = {**implied, **item} if isinstance(item, dict) else item
        yield from _unlisted(Document(f"{where}, items[{number}]", inner), depth + 1)


def _checked(where: str, kind: str, version: str, body: dict[str, Any]) -> Resource:
    """The object of an API version of Berth. Raises UsageError."""
    if kind not in KINDS:
        raise UsageError(f"{where}: kind {brief(kind)} is not one of {GROUP}: {', '.join(KINDS)}")
    if version != API_VERSION:
        raise UsageError(f"{where} ({kind}): apiVersion: must be {API_VERSION}, not {brief(version)}")
    try:
        resource = KINDS[kind].model_validate(_completed(body))
    except ValidationError as error:
        meta = body.get("metadata")
        name = meta.get("name", "") if isinstance(meta, dict) else ""
        name = brief(name) if isinstance(name, str) else shown(name)
        raise UsageError(f"{where} ({f'{kind} {name}'.strip()}): {explain_error(error)}") from None
    meta = resource.metadata
    if not meta.name:
        raise UsageError(f"{where} ({kind}): metadata.name: is required")
    where = f"{where} ({kind} {brief(meta.name)})"
    if meta.namespace and not is_label(meta.namespace):
        rule = f"{DNS_LABEL.message}, at most 63 characters"
        raise UsageError(f"{where}: metadata.namespace: {rule}, not {shown(meta.namespace)}")
    if isinstance(resource, Assignment):
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
    """An Item may be in an Assignment once."""
    first: dict[str, int] = {}
    for number, text in enumerate(entries):
        other = first.setdefault(text.partition("#")[0], number)
        if other != number:
            twice = f"{shown(text)} lists an Item that spec.items[{other}] lists as {shown(entries[other])}"
            raise UsageError(f"{where}: spec.items[{number}]: {twice}: leave one of them out")


# ---- Pools -----------------------------------------------------------------------------------------


def pools_of(manifests: Iterable[Manifest], namespace: str | None = None) -> tuple[Pools, int]:
    """The Pools of the objects, and how many objects of other namespaces than `namespace` were left out.

    An object without a namespace belongs to `namespace`; without that to the only namespace that the
    other objects name, else to `default`. Raises UsageError where two objects of one name differ.
    """
    manifests = list(manifests)
    named = {space for _, resource in manifests if (space := resource.metadata.namespace)}
    home = namespace or (named.pop() if len(named) == 1 else DEFAULT_NAMESPACE)
    found: dict[tuple[str, str, str], Manifest] = {}
    for manifest in manifests:
        meta = manifest.resource.metadata
        key = (manifest.resource.kind, meta.namespace or home, meta.name)
        first = found.setdefault(key, manifest)
        if first is not manifest and not _equal(first.resource, manifest.resource, key[1]):
            raise UsageError(
                f"{manifest.where} ({key[0]} {brief(meta.name)}): differs from the {key[0]} of that name in "
                f"{first.where}: leave one of them out"
            )
    inside = [key for key in found if namespace is None or key[1] == namespace]
    return assemble((key[1], _struct(found[key].resource)) for key in inside), len(found) - len(inside)


def _equal(one: Resource, other: Resource, namespace: str) -> bool:
    def named(resource: Resource) -> Resource:
        meta = resource.metadata.model_copy(update={"namespace": namespace})
        return resource.model_copy(update={"metadata": meta})

    try:
        return named(one) == named(other)
    except RecursionError:  # only fields that Berth does not read can be that deep
        return False


def _struct(resource: Resource) -> KindObject:
    """What Berth reads of an object, as it is read from a cluster."""
    fields = resource.model_dump(mode="json", by_alias=True, exclude_none=True, include=_READ)
    found: KindObject = msgspec.convert(fields, _STRUCTS[resource.kind])
    return found
