"""Why an Item waits, in the wording that conditions, Events and `berth explain` share."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Why(StrEnum):
    """Machine-readable reasons, as they appear in conditions."""

    NOT_READY = "WaitingForReady"
    LIMIT = "LimitReached"
    NO_PLACE = "NoPlace"
    BUDGET = "MovesLimited"
    RELEASE = "WaitingForRelease"
    PAUSED = "Paused"
    OUTAGE = "WaitingForReturn"
    STEP = "InProgress"


class Wait(NamedTuple):
    """The one thing that an Item waits for now."""

    why: Why
    members: tuple[int, ...] = ()
    """Rows of the Members that it waits for."""


def _names(names: Iterable[str]) -> str:
    names = list(names)
    if len(names) > 3:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def describe(wait: Wait, names: Iterable[str], in_flight: int = 0, budget: int | None = None) -> str:
    """The wait as a sentence; `names` are those of `wait.members`."""
    who = _names(names) or "the Member"
    match wait.why:
        case Why.NOT_READY:
            return f"waiting for {who} to report ready"
        case Why.LIMIT:
            return f"limit reached on {who}"
        case Why.NO_PLACE:
            return f"no other Member has room, so {who} keeps it"
        case Why.BUDGET:
            return f"move budget reached: {in_flight} of {budget} moves in flight"
        case Why.RELEASE:
            return f"waiting for {who} to release it"
        case Why.PAUSED:
            return "paused: too many Members died together"
        case Why.OUTAGE:
            return f"waiting for {who} to return"
        case Why.STEP:
            return "the next step is under way"
