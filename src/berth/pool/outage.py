"""Which dead Members are awaited: the outage delay and the brake.

The brake follows the zone rule of Kubernetes' node lifecycle controller: if most of the fleet seems to die at
once, it is more likely that the observer is wrong, or that a repair would make things worse.

Members that die at the same moment are found dead one after the other, because each renewed its Lease
at a different time. So the Items of the first ones are kept until it is known whether most Members follow,
but only if most of the fleet has been silent for suspiciously long: a single death delays no recovery.
"""

from collections.abc import Iterable
from typing import NamedTuple

from berth.kinds import ReadOutage
from berth.pool.ledger import Ledger
from berth.pool.liveness import Leases
from berth.pool.member import MemberState

TOGETHER = 300.0  # seconds within which deaths count as happening together

LATE = 0.6
"""Share of a Lease's duration after which a silent Member may be dead (three renewals per duration
are usual). A dead Member's Items are kept for at most the rest of the duration while others may follow."""


class OutageState(NamedTuple):
    """Which dead Members are awaited, and until when that holds."""

    awaited: frozenset[int]
    braking: bool
    dead: int  # Members that died together and count for the brake
    counted: int  # Members of which `dead` is a share
    until: float | None  # the next moment at which the answer may change by itself

    @property
    def reason(self) -> str:
        """Why removals and moves are paused while the brake is on."""
        return f"{self.dead} of {self.counted} Members died together: removals and moves are paused"


NO_OUTAGE = OutageState(frozenset(), False, 0, 0, None)


def judge(ledger: Ledger, before: OutageState, now: float) -> OutageState:
    """Apply the Pool's policy to its Members: those of the result are awaited from now on."""
    # A Member whose process is still starting never lived, so it has not died.
    members = [m for m in ledger.members.values() if m.info is not None and (m.lived or m.entries)]
    state = outage(members, ledger.leases, now, ledger.policy.outage)
    # All of them: one that came back and died again in between has to be marked again.
    for row in before.awaited | state.awaited:
        if row in ledger.members:
            ledger.set_awaited(row, row in state.awaited)
    return state


def outage(members: Iterable[MemberState], leases: Leases, now: float, policy: ReadOutage) -> OutageState:
    """Decide at `now` (monotonic seconds) which dead Members keep their Items.

    A Member counts as dying while it still holds something, or for `TOGETHER` seconds after its
    death, so that a wave of deaths counts as one even after its first Members have been emptied.
    """
    live: list[MemberState] = []
    dying: list[tuple[MemberState, float]] = []
    for member in members:
        if member.dead_since is None:
            live.append(member)
        elif member.entries or now - member.dead_since < TOGETHER:
            dying.append((member, member.dead_since))
    # When the Leases of long silent Members expire; without a death, silence proves nothing.
    silences = (leases.silence(member.lease, now) for member in live if dying)
    late = [now + duration - silent for duration, silent, _ in silences if silent > LATE * duration]
    counted = len(live) + len(dying)

    def brakes(dead: int) -> bool:
        return counted >= policy.brake_min_members and dead * 100 > policy.brake_percent * counted

    braking, suspected = brakes(len(dying)), brakes(len(dying) + len(late))
    awaited = set()
    moments = []
    for member, died in dying:
        duration, _, unconfirmed = leases.silence(member.lease, now)
        wait = max(policy.delay_seconds, (1 - LATE) * duration if suspected else 0.0)
        # One that only an earlier leader found dead keeps its Items until a read confirms the death.
        if member.entries and (braking or unconfirmed or now - died < wait):
            awaited.add(member.row)
        moments += [died + policy.delay_seconds, died + wait, died + TOGETHER]
    if suspected and awaited:
        moments += late
    until = min((at for at in moments if at > now), default=None)
    return OutageState(frozenset(awaited), braking, len(dying), counted, until)
