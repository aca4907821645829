"""Why an Item has fewer replicas than it asks for."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from berth.solve.problem import Problem, Solution, Zones
from berth.solve.shares import placeable, wanted


class Reason(StrEnum):
    """Why an Item is short, or what else to say of its placement."""

    NO_MEMBERS = "NoMembers"
    """No Member is live with a limit above 0."""
    TOO_FEW_MEMBERS = "TooFewMembers"
    """More replicas than Members that may hold one each; all of those hold it."""
    LIMIT_REACHED = "LimitReached"
    """The Members' limits are used up."""
    SINGLE_ZONE = "SingleZone"
    """`Require` rather leaves a replica out than the Item wholly in one zone."""


MESSAGES = {
    Reason.NO_MEMBERS: "no Member is live with a limit above 0",
    Reason.TOO_FEW_MEMBERS: "there are fewer live Members with a limit above 0 than replicas asked for",
    Reason.LIMIT_REACHED: "the limits of the live Members are used up",
    Reason.SINGLE_ZONE: "zones: Require wants a second zone, and no other zone has room",
}
"""One sentence for each reason."""


def reasons(problem: Problem, solution: Solution) -> dict[int, Reason]:
    """The reason of each Item row that has fewer replicas placed than `replicas`.

    Where two apply the more fundamental is named: no Members, too few of them, zones, limits.
    """
    able = placeable(problem)
    placed = (solution.members >= 0).sum(axis=1)
    short = np.flatnonzero(placed < problem.replicas)
    if not len(short):
        return {}
    if not able.any():
        return dict.fromkeys(short.tolist(), Reason.NO_MEMBERS)
    want = wanted(problem)
    load = np.bincount(solution.members[solution.members >= 0], minlength=len(able))
    room = able & (load < problem.limit)
    found: dict[int, Reason] = {}
    for row in short.tolist():
        if placed[row] >= want[row]:
            found[row] = Reason.TOO_FEW_MEMBERS
            continue
        here = solution.members[row, : placed[row]]
        others = room.copy()
        others[here] = False
        zones = np.unique(problem.zone[here])
        blocked = (
            problem.zones == Zones.REQUIRE
            and problem.replicas[row] >= 2
            and placed[row] == problem.replicas[row] - 1
            and (len(zones) == 1 or (placed[row] == 0))
        )
        if (
            blocked
            and (placed[row] == 0 or not (others & (problem.zone != zones[0])).any())
            and (others.any() or not (able & (problem.zone != (zones[0] if len(zones) else -1))).any())
        ):
            found[row] = Reason.SINGLE_ZONE
        else:
            found[row] = Reason.LIMIT_REACHED
    return found
