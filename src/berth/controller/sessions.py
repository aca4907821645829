"""Makes sure that a Lease has the holder that the watch has shown, before entries are written for it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from berth.controller.lease_reader import read_leases
from berth.controller.state import PoolState
from berth.kube import ApiError, Client, Deadline

logger = logging.getLogger(__name__)

AGAIN_AFTER = 1.0
"""Seconds until a Lease is read again that the watch shows otherwise."""


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
    found = await read_leases(client, state.namespace, sorted(names), deadline)
    errors = [answer for answer in found.values() if isinstance(answer, ApiError)]
    if errors:
        logger.warning("pool=%s cannot read the Leases of %d Members: %s", state, len(errors), errors[0])
    holders = {
        name: lease.spec.holder_identity or ""
        for name, lease in found.items()
        if lease is not None and not isinstance(lease, ApiError)
    }
    for row in list(fleet.sessions.uncertain):
        member = fleet.members[row]
        lease = member.seen.lease if member.seen else None
        if lease in names and holders.get(lease) == fleet.leases.holder(lease):
            fleet.leases.confirm(lease, member.written_for)
            fleet.lease_changed(lease, clock())
    return bool(fleet.sessions.uncertain)
