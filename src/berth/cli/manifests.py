"""Manifests of `berth.dev` as the user wrote them, checked and sorted into Pools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from berth.cli.documents import Document, read_documents
from berth.cli.errors import UsageError, note
from berth.cli.objects import Condition, Conditions, PoolObjects, Pools, pool_in
from berth.cli.validation import explain_error
from berth.cli.values import brief, shown, type_name
from berth.fleet import AssignmentSeen, ItemSeen, MemberSeen, Policy
from berth.kinds import API_VERSION, GROUP, Assignment, Item, Member, Pool, PrimaryBalance, Readiness
from berth.kinds import Condition as ConditionModel
from berth.kinds.model import DNS_LABEL
from berth.words import counted

Resource = Item | Member | Assignment | Pool
KINDS: dict[str, type[Resource]] = {"Item": Item, "Member": Member, "Assignment": Assignment, "Pool": Pool}
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
        note(f"berth: skipped {count} of kind {kind}: not of berth.dev")
    pools, left_out = pools_of(manifests, namespace)
    if left_out:
        note(f"berth: left out {counted(left_out, 'object')} of other namespaces than {namespace}")
    if not manifests:
        note("berth: the input has no objects of berth.dev")
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
    if meta.namespace and not (len(meta.namespace) <= 63 and DNS_LABEL.accepts(meta.namespace)):
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


def _check_entries(where: str, entries: list[str]) -> None:
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
    pools: Pools = {}
    left_out = 0
    for (_, space, _), (_, resource) in found.items():
        if namespace is not None and space != namespace:
            left_out += 1
            continue
        name = resource.metadata.name if isinstance(resource, Pool) else resource.spec.pool
        _put(pool_in(pools, space, name), resource)
    return pools, left_out


def _equal(one: Resource, other: Resource, namespace: str) -> bool:
    def named(resource: Resource) -> Resource:
        meta = resource.metadata.model_copy(update={"namespace": namespace})
        return resource.model_copy(update={"metadata": meta})

    try:
        return named(one) == named(other)
    except RecursionError:  # only fields that Berth does not read can be that deep
        return False


def _put(pool: PoolObjects, resource: Resource) -> None:
    name = resource.metadata.name
    if isinstance(resource, Item):
        meta = resource.metadata
        pool.items[name] = ItemSeen(name, resource.spec.replicas, meta.uid or "", meta.generation or 0)
        pool.item_conditions[name] = _conditions(resource.status.conditions if resource.status else ())
    elif isinstance(resource, Member):
        pool.members[name] = _member(resource)
        pool.member_conditions[name] = _conditions(resource.status.conditions if resource.status else ())
    elif isinstance(resource, Assignment):
        pool.assignments[name] = _assignment(resource)
    else:
        pool.policy = _policy(resource)
        if resource.status is not None:
            pool.term, pool.leader = resource.status.term or 0, resource.status.leader or ""
            pool.conditions = _conditions(resource.status.conditions)


def _member(member: Member) -> MemberSeen:
    meta, spec = member.metadata, member.spec
    return MemberSeen(
        name=meta.name,
        limit=spec.limit,
        zone=spec.zone,
        draining=spec.draining,
        lease=spec.lease_name,
        reported=spec.readiness is Readiness.REPORTED,
        uid=meta.uid or "",
        created=_utc(meta.creation_timestamp),
        generation=meta.generation or 0,
    )


def _assignment(assignment: Assignment) -> AssignmentSeen:
    meta, spec, status = assignment.metadata, assignment.spec, assignment.status
    return AssignmentSeen(
        name=meta.name,
        items=tuple(spec.items),
        term=spec.term,
        uid=meta.uid or "",
        owner=next((owner.uid for owner in meta.owner_references or () if owner.kind == "Member"), ""),
        generation=meta.generation or 0,
        session=status.session if status else "",
        reports=tuple(status.items) if status else (),
        problems=tuple((p.item, p.grant, p.message) for p in status.problems) if status else (),
        written_for=spec.session or "",
    )


def _policy(pool: Pool) -> Policy:
    spec = pool.spec
    return Policy(
        handoff=spec.handoff,
        zones=spec.zones,
        tolerance=spec.balance.tolerance_percent,
        active_primaries=spec.balance.primaries is PrimaryBalance.ACTIVE,
        max_in_flight=spec.moves.max_in_flight,
        outage_delay=float(spec.outage.delay_seconds),
        brake_percent=spec.outage.brake_percent,
        brake_min_members=spec.outage.brake_min_members,
        item_status=spec.item_status,
    )


def _conditions(conditions: Iterable[ConditionModel]) -> Conditions:
    return tuple(
        Condition(c.type, c.status.value, c.reason, c.message, _utc(c.last_transition_time))
        for c in conditions
    )


def _utc(when: datetime | None) -> str:
    """RFC 3339 in UTC, which compares as text."""
    return "" if when is None else when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
