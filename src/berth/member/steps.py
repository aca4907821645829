"""What to do next for one Item, and what to report of it. Pure: no time, no effects."""

from dataclasses import dataclass
from enum import Enum, auto

from berth.kinds import Entry, Phase


class Stage(Enum):
    """How far an Item has come on this Member."""

    ABSENT = auto()  # nothing is here
    PREPARING = auto()  # `prepare` was started and has not returned, or `drop` was: something may be here
    PREPARED = auto()  # `prepare` has returned
    ACTIVATING = auto()  # `activate` was started and has not returned: it may work as primary
    ACTIVE = auto()  # `activate` has returned
    DEACTIVATING = auto()  # `deactivate` was started and has not returned: it may still work as primary


MAYBE_PRIMARY = frozenset({Stage.ACTIVATING, Stage.ACTIVE, Stage.DEACTIVATING})


class Step(Enum):
    """One callback of a worker."""

    PREPARE = "prepare"
    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    DROP = "drop"


FORWARD = frozenset({Step.PREPARE, Step.ACTIVATE})
"""The callbacks that lead to more work; the others release it, and are never cancelled."""

STAGES = {
    Step.PREPARE: (Stage.PREPARING, Stage.PREPARED),
    Step.ACTIVATE: (Stage.ACTIVATING, Stage.ACTIVE),
    Step.DEACTIVATE: (Stage.DEACTIVATING, Stage.PREPARED),
    Step.DROP: (Stage.PREPARING, Stage.ABSENT),
}
"""The stage from the start of a callback until it succeeds, and the stage after that."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far an Item has come here, and under which grant."""

    stage: Stage = Stage.ABSENT
    grant: int = 0  # the grant under which it was prepared
    epoch: int = 0  # the epoch with which it was last activated
    lost: bool = False  # whether the session that held it is over: it can only be released
    stale: bool = False  # whether it must be prepared again: a task that the worker spawned has failed


def wanted(position: Position, target: Entry | None) -> bool:
    """Whether the Item that is here is the one of the target: the same grant, the same session."""
    return target is not None and target.grant == position.grant and not position.lost


def wanted_as_primary(position: Position, target: Entry | None) -> bool:
    """Whether the target is to work as primary under the epoch with which the Item was last activated."""
    return (
        wanted(position, target) and target is not None and target.primary and target.epoch == position.epoch
    )


def next_step(position: Position, target: Entry | None) -> Step | None:
    """The next callback towards `target` (None: released); None if it is reached.

    An `activate` that failed or was cancelled is followed by a `deactivate` before it is retried.
    """
    match position.stage:
        case Stage.ABSENT:
            return None if target is None else Step.PREPARE
        case Stage.ACTIVATING | Stage.DEACTIVATING:
            return Step.DEACTIVATE
        case Stage.ACTIVE:
            stays = wanted_as_primary(position, target) and not position.stale
            return None if stays else Step.DEACTIVATE
    if not wanted(position, target):
        return Step.DROP
    if position.stage is Stage.PREPARING or position.stale:
        return Step.PREPARE
    return Step.ACTIVATE if target is not None and target.primary else None


def superseded(step: Step, position: Position, target: Entry | None) -> bool:
    """Whether the result of the running callback is no longer wanted, so that it should be cancelled."""
    if step is Step.PREPARE:
        return not wanted(position, target)
    return step is Step.ACTIVATE and not wanted_as_primary(position, target)


def phase(position: Position, target: Entry | None, failed: bool) -> Phase | None:
    """What to report; None if the Item is not to be listed.

    `Active` is reported before `activate` starts and until `deactivate` has ended, so it covers all the time
    in which the worker may act as primary: under `Exclusive` the leader promotes another Member once it is no
    longer reported. The exception is a lost Lease: by then everything has been cancelled, and the report is
    one of a new session that has prepared nothing.
    """
    if target is None:
        return None if position.stage is Stage.ABSENT else Phase.FAILED if failed else Phase.DRAINING
    if position.lost:
        return Phase.PREPARING
    if position.stage in MAYBE_PRIMARY:
        return Phase.ACTIVE
    if failed:
        return Phase.FAILED
    if position.stage is Stage.ABSENT:
        return Phase.PREPARING
    if not wanted(position, target):
        return Phase.DRAINING
    if position.stage is Stage.PREPARING or position.stale:
        return Phase.PREPARING
    return Phase.ACTIVE if target.primary else Phase.READY
