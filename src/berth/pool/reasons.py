"""Why an Item waits or is short of replicas, in the words that conditions and `berth explain` share."""

from enum import StrEnum
from typing import NamedTuple

import numpy as np

from berth.solve.model import Problem, Solution, Zones
from berth.solve.shares import placeable, wanted


class Why(StrEnum):
    """Why an Item waits, as in conditions."""

    NOT_READY = "WaitingForReady"
    LIMIT = "LimitReached"
    NO_PLACE = "NoPlace"
    BUDGET = "MovesLimited"
    RELEASE = "WaitingForRelease"
    PAUSED = "Paused"
    OUTAGE = "WaitingForReturn"
    STEP = "InProgress"


WORDS = {
    Why.NOT_READY: "waiting for {who} to report ready",
    Why.LIMIT: "limit reached on {who}",
    Why.NO_PLACE: "no other Member has room, so {who} keeps it",
    Why.BUDGET: "move budget reached: {in_flight} of {budget} moves in flight",
    Why.RELEASE: "waiting for {who} to release it",
    Why.PAUSED: "paused: too many Members died together",
    Why.OUTAGE: "waiting for {who} to return",
    Why.STEP: "the next step is under way",
}
"""Each wait as a sentence; `who` are the Members that it is for."""


class Wait(NamedTuple):
    """The one thing that an Item waits for now."""

    why: Why
    members: tuple[int, ...] = ()  # rows of the Members that it waits for


def listed(names: list[str]) -> str:
    """Names in a sentence, three at most."""
    if len(names) > 3:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]])) or "the Member"


class Reason(StrEnum):
    """Why an Item has fewer replicas in the plan than it asks for."""

    NO_MEMBERS = "NoMembers"
    TOO_FEW_MEMBERS = "TooFewMembers"
    LIMIT_REACHED = "LimitReached"
    SINGLE_ZONE = "SingleZone"


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
        one_zone = bool((problem.zone[able] == problem.zone[able][0]).all())
        stuck = (here > 0) & (elsewhere == 0) | one_zone
        left_out = (codes == 1) & one_out & (placed[short] > 0) & alike & stuck
        codes[left_out] = 2
    names = (Reason.TOO_FEW_MEMBERS, Reason.LIMIT_REACHED, Reason.SINGLE_ZONE)
    return {row: names[code] for row, code in zip(short.tolist(), codes.tolist(), strict=True)}
