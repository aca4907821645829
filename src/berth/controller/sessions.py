"""Makes sure that a Lease has the holder that the watch has shown, before entries are written for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from berth.controller.objects import LeaseObject
from berth.controller.state import PoolState
from berth.kube import LEASES, ApiError, Client, Deadline

logger = logging.getLogger(__name__)

AGAIN_AFTER = 1.0
"""Seconds until a Lease is read again that the watch shows otherwise."""
MAX_SINGLE = 8
"""Leases that are read one by one; of more the whole namespace is listed."""


async def confirm_sessions(
    client: Client, state: PoolState, deadline: Deadline, clock: Callable[[], float]
) -> bool:
    """Read the Leases of Members that may have been started again; whether some are still uncertain.

    A leader that saw a Lease change hands needs no read. One that has just begun may have a watch that is
    behind: it would take the entries from the session that runs, and give them to one that has ended.
    """
    fleet = state.fleet
    names = set()
    for row in fleet.sessions.uncertain:
        seen = fleet.members[row].seen
        if seen is not None and seen.lease is not None:
            names.add(seen.lease)
    if not names:
        return False
    path = LEASES.path(state.namespace)
    try:
        # Not a GET: the controller may list Leases and watch them, and needs no other right.
        if len(names) > MAX_SINGLE:
            there = await client.list(path, type=LeaseObject, deadline=deadline)
        else:
            selectors = [{"fieldSelector": f"metadata.name={name}"} for name in sorted(names)]
            reads = [client.list(path, each, type=LeaseObject, deadline=deadline) for each in selectors]
            there = [lease for found in await asyncio.gather(*reads) for lease in found]
    except ApiError as error:
        logger.warning("pool=%s cannot read the Leases of Members: %s", state, error)
        return True
    holders = {lease.metadata.name: lease.spec.holder_identity or "" for lease in there}
    for row in list(fleet.sessions.uncertain):
        member = fleet.members[row]
        lease = member.seen.lease if member.seen else None
        if lease in names and holders.get(lease) == fleet.leases.holder(lease):
            fleet.leases.confirm(lease, member.written_for)
            fleet.lease_changed(lease, clock())
    return bool(fleet.sessions.uncertain)
