"""Which Members of a Pool are older: of those that drain the oldest is emptied first."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from berth.pool.member import MemberState


def rank_ages(members: Iterable[MemberState], ages: np.ndarray) -> set[int]:
    """Write each Member's rank by age into its row of `ages`; the rows for which that changes a plan.

    Creation times are whole seconds; of equals the first by name is the older.
    """

    def created(member: MemberState) -> tuple[str, str]:
        return (member.seen.created if member.seen else "", member.name)

    changed = set()
    for rank, member in enumerate(sorted(members, key=created)):
        if ages[member.row] != rank:
            ages[member.row] = rank
            if member.seen and member.seen.draining:
                changed.add(member.row)
    return changed
