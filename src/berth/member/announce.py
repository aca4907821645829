"""Puts this process's Member on the API server, and takes it away again."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from berth.kube import (
    LEASES,
    ApiError,
    Backoff,
    Client,
    Conflict,
    ConnectionLost,
    NotFound,
    OwnerReference,
    ServerError,
    TooManyRequests,
)
from berth.kube.lease import lease_spec, released
from berth.member.objects import ITEMS, MEMBER_LABEL, MEMBERS, ItemObject, MemberObject
from berth.member.settings import Settings, SettingsError

log = logging.getLogger("berth.member")


class NameTaken(Exception):  # noqa: N818 - says what is so, as the errors of berth.kube do
    """Another live session holds the Member's name; two processes must not share one."""


def owners(settings: Settings) -> list[OwnerReference]:
    """The owner of Member and Lease: the pod that runs this, where it is known."""
    if settings.pod is None:
        return []
    name, uid = settings.pod
    return [OwnerReference(api_version="v1", kind="Pod", name=name, uid=uid)]


def labels(settings: Settings) -> dict[str, str]:
    """The labels of the Lease. A label's value is shorter than a name may be; it serves people only."""
    return {MEMBER_LABEL: settings.name[:63].rstrip("-.")}


async def announce(client: Client, namespace: str, settings: Settings, limit: int | None) -> str:
    """Create the Member, or take over the one that is there; its uid. The caller holds its Lease.

    `limit` None leaves a limit that is there as it is: an operator may have changed it meanwhile.
    Raises ApiError, and SettingsError where the Member belongs to another Pool.
    """
    path = MEMBERS.path(namespace, settings.name)
    spec: dict[str, Any] = {
        "leaseName": settings.name,
        "zone": settings.zone,
        "readiness": settings.readiness,
    }
    if limit is not None:
        spec["limit"] = limit
    while True:
        try:
            there = await client.get(path, type=MemberObject)
        except NotFound:
            first_limit = settings.limit if limit is None else limit
            body = {
                "apiVersion": MEMBERS.api_version,
                "kind": "Member",
                "metadata": {
                    "name": settings.name,
                    "namespace": namespace,
                    "ownerReferences": msgspec.to_builtins(owners(settings)),
                },
                "spec": {**spec, "pool": settings.pool, "limit": first_limit},
            }
            try:
                made = await client.create(MEMBERS.path(namespace), body, type=MemberObject)
            except Conflict:
                continue
            return made.metadata.uid
        if there.spec.pool != settings.pool:
            raise SettingsError(
                f"Member {namespace}/{settings.name} exists in pool {there.spec.pool!r}, and cannot move to "
                f"{settings.pool!r}: delete it, or give this one another name"
            )
        # The owner too: that of an earlier pod of this name would have the Member deleted with it.
        patch: dict[str, Any] = {"spec": spec}
        if settings.pod is not None:
            patch["metadata"] = {"ownerReferences": msgspec.to_builtins(owners(settings))}
        try:
            taken = await client.patch(path, patch, "merge", type=MemberObject, idempotent=True)
        except NotFound:
            continue
        return taken.metadata.uid


async def find_member(client: Client, namespace: str, settings: Settings) -> str | None:
    """The uid of the Member on the API server; None where there is none with our Lease.

    Raises ApiError; Conflict while it is on its way out, held up by a finalizer.
    """
    try:
        member = await client.get(MEMBERS.path(namespace, settings.name), type=MemberObject)
    except NotFound:
        return None
    if member.metadata.deletion_timestamp is not None:
        raise Conflict(409, "Terminating", "it is being deleted")
    return member.metadata.uid if member.spec.lease_name == settings.name else None


async def set_limit(client: Client, namespace: str, settings: Settings, limit: int) -> None:
    """Patch the Member's limit. Raises ApiError."""
    patch = {"spec": {"limit": limit}}
    await client.patch(MEMBERS.path(namespace, settings.name), patch, "merge", idempotent=True)


async def withdraw(client: Client, namespace: str, settings: Settings) -> None:
    """Delete the Member. Raises ApiError."""
    try:
        await client.delete(MEMBERS.path(namespace, settings.name), idempotent=True)
    except NotFound:
        log.info("member %s was gone already", settings.name)


async def read_data(client: Client, namespace: str, item: str) -> dict[str, str]:
    """The `spec.data` of an Item. Raises LookupError where there is no such Item, ApiError."""
    try:
        return (await client.get(ITEMS.path(namespace, item), type=ItemObject)).spec.data
    except NotFound:
        raise LookupError(f"there is no Item {namespace}/{item}") from None


async def release_for(client: Client, namespace: str, name: str, session: str) -> None:
    """Release the Lease if that session, which is over, is still named as its holder; waits for an answer."""
    path = LEASES.path(namespace, name)
    backoff = Backoff(base=0.1, limit=2.0)
    while True:
        try:
            lease: dict[str, Any] = await client.get(path, timeout=3.0)
            if lease_spec(lease).holder_identity == session:
                await client.update(path, released(lease, datetime.now(UTC)), timeout=3.0)
            return
        except (ConnectionLost, ServerError, TooManyRequests, Conflict, msgspec.DecodeError) as error:
            log.debug("member %s: its last Lease cannot be released yet: %s", name, error)
        except ApiError:
            return  # it is gone, or not ours to touch: it expires by itself
        await asyncio.sleep(backoff.next())
