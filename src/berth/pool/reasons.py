"""Why an Item has fewer replicas than it asks for."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from berth.solve.model import Problem, Solution, Zones
from berth.solve.shares import placeable, wanted


class Reason(StrEnum):
    """Why an Item has fewer replicas in the plan than it asks for."""

    NO_MEMBERS = "NoMembers"
    """No Member is live with a limit above 0."""
    TOO_FEW_MEMBERS = "TooFewMembers"
    """There are fewer Members that may hold it than replicas, and all of them hold it."""
    LIMIT_REACHED = "LimitReached"
    """The Members' limits are used up."""
    SINGLE_ZONE = "SingleZone"
    """`Require` leaves a replica unplaced rather than have the whole Item in one zone."""


MESSAGES = {
    Reason.NO_MEMBERS: "no Member is live with a limit above 0",
    Reason.TOO_FEW_MEMBERS: "there are fewer live Members with a limit above 0 than replicas asked for",
    Reason.LIMIT_REACHED: "the limits of the live Members are used up",
    Reason.SINGLE_ZONE: "zones: Require needs a second zone, and no other zone has room",
}
"""One sentence for each reason."""


def reasons(problem: Problem, solution: Solution) -> dict[int, Reason]:
    """The reason of each Item row that has fewer replicas placed than `replicas`.

    If two apply, the more fundamental one is given: no Members, too few of them, zones, limits.
    """
    able = placeable(problem)
    placed = (solution.members >= 0).sum(axis=1)
    short = np.flatnonzero(placed < problem.replicas)
    if not len(short):
        return {}
    if not able.any():
        return dict.fromkeys(short.tolist(), Reason.NO_MEMBERS)
    codes = np.where(placed[short] >= wanted(problem)[short], 0, 1)
    load = np.bincount(solution.members[solution.members >= 0], minlength=len(able))
    room = able & (load < problem.limit)
    if problem.zones == Zones.REQUIRE:
        # One replica is left out, the others share a zone, and another Member of that zone has room
        # or there is no other zone: higher limits would not help.
        free = np.bincount(problem.zone[room], minlength=int(problem.zone.max()) + 1)
        members = solution.members[short]
        there = members >= 0
        zone = problem.zone[members[:, 0]]
        alike = (~there | (problem.zone[members] == zone[:, None])).all(axis=1)
        here = free[zone] - (there & room[members]).sum(axis=1)
        elsewhere = int(room.sum()) - free[zone]
        one_out = (problem.replicas[short] >= 2) & (placed[short] == problem.replicas[short] - 1)
        stuck = (here > 0) & (elsewhere == 0) | (not _second_zone(problem))
        left_out = (codes == 1) & one_out & (placed[short] > 0) & alike & stuck
        codes[left_out] = 2
    names = (Reason.TOO_FEW_MEMBERS, Reason.LIMIT_REACHED, Reason.SINGLE_ZONE)
    return {row: names[code] for row, code in zip(short.tolist(), codes.tolist(), strict=True)}


def _second_zone(problem: Problem) -> bool:
    """Whether zones count and at least two of them have a placeable Member."""
    zones = problem.zone[placeable(problem)]
    return problem.zones != Zones.IGNORE and bool((zones != zones[:1]).any())
