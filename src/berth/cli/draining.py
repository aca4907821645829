"""Draining a Member and taking that back: what is written, and what is still to leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from berth.cli.cluster import NOT_INSTALLED
from berth.cli.errors import UsageError
from berth.cli.explain import missing
from berth.kinds import AssignmentObject, MemberObject
from berth.kube import ASSIGNMENTS, MEMBERS, Client, Conflict, NotFound
from berth.pool import AssignmentSeen, MemberSeen, assignment_seen, member_seen
from berth.pool.member import read_entries, read_reports

LIMIT_BEFORE = "berth.dev/limit-before-drain"
"""Annotation of a drained Member: the limit to return to."""
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Patched:
    """A Member after its limit was set."""

    name: str
    limit: int
    before: int
    """Its limit until now."""
    generation: int
    """The generation of the object that has the new limit."""
    uid: str = ""

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return self.limit != self.before


async def drain(client: Client, namespace: str, name: str) -> Patched:
    """Set a Member's limit to 0; the limit until now is kept in an annotation. Raises UsageError."""

    def edit(member: dict[str, Any]) -> dict[str, Any] | None:
        limit = member["spec"]["limit"]
        if limit == 0:
            return None
        return {"metadata": {"annotations": {LIMIT_BEFORE: str(limit)}}, "spec": {"limit": 0}}

    return await _edit(client, namespace, name, edit)


async def undrain(client: Client, namespace: str, name: str, limit: int | None = None) -> Patched:
    """Give a drained Member `limit`, or the limit that it had. Raises UsageError."""

    def edit(member: dict[str, Any]) -> dict[str, Any] | None:
        kept = (member["metadata"].get("annotations") or {}).get(LIMIT_BEFORE)
        if limit is None and member["spec"]["limit"] > 0:
            return None
        if limit is None and (kept is None or not kept.isdecimal()):
            raise UsageError(
                f"Member {name} has limit 0, and what it was before is not known: give --limit, as in: "
                f"berth undrain {name} --limit 100"
            )
        back = limit if limit is not None else int(kept or 0)
        return {"metadata": {"annotations": {LIMIT_BEFORE: None}}, "spec": {"limit": back}}

    return await _edit(client, namespace, name, edit)


async def check_names(client: Client, namespace: str, names: list[str]) -> None:
    """Raise UsageError for the first name that no Member has, before anything is written."""
    for name in names:
        await _member(client, namespace, name)


async def _member(client: Client, namespace: str, name: str) -> dict[str, Any]:
    try:
        member: dict[str, Any] = await client.get(MEMBERS.path(namespace, name))
    except NotFound:
        raise UsageError(await _no_member(client, namespace, name)) from None
    return member


async def _edit(client: Client, namespace: str, name: str, edit: Any) -> Patched:
    path = MEMBERS.path(namespace, name)
    for attempt in range(ATTEMPTS):
        member = await _member(client, namespace, name)
        before = member["spec"]["limit"]
        patch = edit(member)
        if patch is None:
            return _patched(member, before)
        # What is kept in the annotation must be the limit that is replaced.
        patch["metadata"]["resourceVersion"] = member["metadata"]["resourceVersion"]
        try:
            member = await client.patch(path, patch, "merge")
        except Conflict:
            if attempt + 1 == ATTEMPTS:
                raise
            continue
        return _patched(member, before)
    raise AssertionError("unreachable")


def _patched(member: dict[str, Any], before: int) -> Patched:
    meta = member["metadata"]
    return Patched(meta["name"], member["spec"]["limit"], before, meta["generation"], meta["uid"])


async def _no_member(client: Client, namespace: str, name: str) -> str:
    try:
        members = await client.list(MEMBERS.path(namespace), type=MemberObject)
    except NotFound:
        return NOT_INSTALLED
    return missing("Member", name, [m.metadata.name for m in members], f" in namespace {namespace}")


async def remaining(client: Client, namespace: str, patched: Patched) -> list[str] | None:
    """Items that the Member has not let go of; None while the controller has not seen the new limit.

    A Member that is gone holds nothing, and another of its name is none of our business.
    """
    try:
        member = await client.get(MEMBERS.path(namespace, patched.name), type=MemberObject)
    except NotFound:
        return []
    if member.metadata.uid != patched.uid:
        return []
    try:
        assignment = await client.get(ASSIGNMENTS.path(namespace, patched.name), type=AssignmentObject)
    except NotFound:
        left = []
    else:
        left = items_left(member_seen(member), assignment_seen(assignment))
    seen = member.status.observed_generation if member.status is not None else None
    # A leader that read the old limit may still be about to add something.
    return None if not left and (seen or 0) < patched.generation else left


def items_left(member: MemberSeen, assignment: AssignmentSeen) -> list[str]:
    """Items that a Member still has, or is still releasing, in the sense of its condition `Drained`."""
    if assignment.owner and assignment.owner != member.uid:
        return []
    left = set(read_entries(None, {}, assignment.items).entries)
    if member.reported:
        left |= read_reports(assignment.reports).keys()
    return sorted(left)
