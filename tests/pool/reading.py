"""Time that passes while the API server can be read and has nothing new."""

from __future__ import annotations

from berth.pool import Leases, Ledger


def pass_time(leases: Leases, now: float) -> list[str]:
    """Leases whose state changed up to `now`, by time or as a read of theirs has confirmed it."""
    changed = leases.advance(now)
    for name in sorted(leases.unread()):
        same = leases._watches[name].lease
        if leases.put_read(name, same, now, now).changed and name not in changed:
            changed.append(name)
    return changed


def let_time_pass(fleet: Ledger, now: float) -> None:
    """The same for a fleet, which looks at its Members again."""
    for name in pass_time(fleet.leases, now):
        fleet.lease_changed(name, now)
