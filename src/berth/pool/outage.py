"""Which dead Members are waited for: the outage delay and the brake.

The brake is the node lifecycle controller's zone rule: when most of the fleet seems to die at
once, it is likelier that the observer is wrong or that a repair would make things worse.

Members that die at the same moment are found dead one after the other, as each renewed its Lease
at a time of its own. So the first of them are held until it is known whether most follow, but only
where most of the fleet has been silent for suspiciously long: one that dies alone is not held up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from berth.pool.ledger import Ledger

TOGETHER = 300.0
"""Seconds within which deaths count as happening together."""

LATE = 0.6
"""Share of a Lease's duration after which a silent Member may be one that is dead (three renewals a duration
are usual). The rest of the duration is the longest that a dead one is held for others to follow."""


class Health(NamedTuple):
    """One Member as the brake judges it."""

    row: int
    dead_since: float | None
    """Monotonic seconds, None while it is live."""
    holds: int
    """Entries that it has."""
    duration: float = 0.0
    """Seconds that its Lease lasts; 0 where it has none."""
    silent: float = 0.0
    """Seconds since its Lease was last observed to be renewed."""
    doubted: bool = False
    """Whether only an earlier leader has found it dead: its Items wait until a read confirms that."""


class Outage(NamedTuple):
    """Who is waited for, and until when this stands."""

    awaited: frozenset[int]
    braking: bool
    dead: int
    """Members that died together and count for the brake."""
    counted: int
    """Members that the brake's share is taken of."""
    until: float | None
    """The next moment at which the answer may change by itself."""

    @property
    def notice(self) -> tuple[str, str]:
        """Reason and message of the Event when the brake goes on or off."""
        if not self.braking:
            return "Resumed", "enough Members are live again: removals and moves go on"
        message = f"{self.dead} of {self.counted} Members died together: "
        return "Paused", message + "removals and moves pause until enough of them are back"


NO_OUTAGE = Outage(frozenset(), False, 0, 0, None)


def judge(ledger: Ledger, now: float) -> Outage:
    """Decide for the Members of a Pool as its policy says."""
    policy = ledger.policy
    # One that never lived, as its process is still starting, has not died either.
    members = [m for m in ledger.members.values() if m.info is not None and (m.lived or m.entries)]
    one_died = any(m.dead_since is not None for m in members)  # else silence proves nothing
    return outage(
        (
            Health(
                m.row,
                m.dead_since,
                len(m.entries),
                *(ledger.leases.silence(m.info.lease or "", now) if one_died and m.info else ()),
            )
            for m in members
        ),
        now,
        delay=policy.outage_delay,
        brake_percent=policy.brake_percent,
        brake_min_members=policy.brake_min_members,
    )


def outage(
    members: Iterable[Health], now: float, *, delay: float, brake_percent: int, brake_min_members: int
) -> Outage:
    """Decide at `now` (monotonic seconds) which dead Members keep their Items.

    A Member counts as dying while it still holds something, or for `TOGETHER` seconds after its
    death, so that a wave of deaths counts as one although its first victims are emptied already.
    """
    live = 0
    late: list[Health] = []
    dying: list[Health] = []
    for member in members:
        if member.dead_since is None:
            live += 1
            if member.duration and member.silent > LATE * member.duration:
                late.append(member)
        elif member.holds or now - member.dead_since < TOGETHER:
            dying.append(member)
    counted = live + len(dying)
    brakes = counted >= brake_min_members
    braking = brakes and len(dying) * 100 > brake_percent * counted
    suspected = brakes and (len(dying) + len(late)) * 100 > brake_percent * counted
    awaited = set()
    moments = []
    for member in dying:
        died = member.dead_since or 0.0
        wait = max(delay, (1 - LATE) * member.duration if suspected else 0.0)
        if member.holds and (braking or member.doubted or now - died < wait):
            awaited.add(member.row)
        moments += [at for at in (died + delay, died + wait, died + TOGETHER) if at > now]
    if suspected and awaited:
        moments += [at for member in late if (at := now + member.duration - member.silent) > now]
    return Outage(frozenset(awaited), braking, len(dying), counted, min(moments, default=None))
