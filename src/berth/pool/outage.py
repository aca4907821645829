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
    """Whether nothing but the word of an earlier leader says that it is dead: its Items wait until a read
    of its Lease confirms that."""


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


NO_OUTAGE = Outage(frozenset(), False, 0, 0, None)


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
