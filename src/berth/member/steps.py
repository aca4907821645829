"""What to do next for one Item, and what to report of it. Pure: no time, no effects."""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

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


class Callback(StrEnum):
    """One callback of a worker."""

    PREPARE = "prepare"
    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    DROP = "drop"


FORWARD = frozenset({Callback.PREPARE, Callback.ACTIVATE})
"""The callbacks that lead to more work; the others release it, and are never cancelled."""

STAGES = {
    Callback.PREPARE: (Stage.PREPARING, Stage.PREPARED),
    Callback.ACTIVATE: (Stage.ACTIVATING, Stage.ACTIVE),
    Callback.DEACTIVATE: (Stage.DEACTIVATING, Stage.PREPARED),
    Callback.DROP: (Stage.PREPARING, Stage.ABSENT),
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
    # An epoch belongs to a primary: that of a replica is 0.
    return target is not None and target.epoch == position.epoch and wanted(position, target)


def next_callback(position: Position, target: Entry | None) -> Callback | None:
    """The next callback towards `target` (None: released); None if it is reached.

    An `activate` that failed or was cancelled is followed by a `deactivate` before it is retried.
    """
    match position.stage:
        case Stage.ABSENT:
            return None if target is None else Callback.PREPARE
        case Stage.ACTIVATING | Stage.DEACTIVATING:
            return Callback.DEACTIVATE
        case Stage.ACTIVE:
            stays = wanted_as_primary(position, target) and not position.stale
            return None if stays else Callback.DEACTIVATE
    if not wanted(position, target):
        return Callback.DROP
    if position.stage is Stage.PREPARING or position.stale:
        return Callback.PREPARE
    return Callback.ACTIVATE if target is not None and target.primary else None


def superseded(callback: Callback, position: Position, target: Entry | None) -> bool:
    """Whether the result of the running callback is no longer wanted, so that it should be cancelled."""
    if callback is Callback.PREPARE:
        return not wanted(position, target)
    return callback is Callback.ACTIVATE and not wanted_as_primary(position, target)


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
