"""Makes sure that a new leader has seen all that the one before it wrote."""

from __future__ import annotations

import asyncio

import msgspec

from berth.kinds import AssignmentObject
from berth.kube import ASSIGNMENTS, Client, Deadline, Informer, Meta

POLL = 0.01
"""Seconds between two looks at the cache."""


class _Bare(msgspec.Struct):
    metadata: Meta


async def caught_up(
    client: Client, informer: Informer[AssignmentObject], namespace: str, version: int, deadline: Deadline
) -> None:
    """Return once the cache of Assignments shows everything up to resourceVersion `version`.

    A watch may lag by any amount, and says nothing when nothing happens; so the Assignments are listed
    afresh and the cache is compared with that. Raises ApiError.
    """
    there = await client.list(ASSIGNMENTS.path(namespace), type=_Bare, metadata_only=True, deadline=deadline)
    versions = {each.metadata.name: int(each.metadata.resource_version) for each in there}
    while True:
        await informer.wait_for(max(versions.values(), default=0))
        stale = [
            key
            for key, held in informer.store.items()
            if key[0] == namespace
            and key[1] not in versions
            and int(held.metadata.resource_version) <= version
        ]
        if not stale:
            return
        await asyncio.sleep(POLL)
