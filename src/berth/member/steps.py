"""What to do next for one Item, and what to say of it. Pure: a table of decisions, no time and no effects."""

from dataclasses import dataclass
from enum import Enum, auto

from berth.kinds import Entry, Phase


class Stage(Enum):
    """How far an Item has come on this Member."""

    ABSENT = auto()
    """Nothing is here."""
    PREPARING = auto()
    """`prepare` was begun and has not (yet) returned, or `drop` was begun: something may be here."""
    PREPARED = auto()
    """`prepare` has returned."""
    ACTIVATING = auto()
    """`activate` was begun and has not (yet) returned: it may work as primary."""
    ACTIVE = auto()
    """`activate` has returned."""
    DEACTIVATING = auto()
    """`deactivate` was begun and has not (yet) returned: it may still work as primary."""


MAYBE_PRIMARY = frozenset({Stage.ACTIVATING, Stage.ACTIVE, Stage.DEACTIVATING})


class Step(Enum):
    """One callback of a worker."""

    PREPARE = "prepare"
    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Position:
    """Where an Item stands here."""

    stage: Stage
    grant: int
    """The grant under which it was prepared."""
    epoch: int = 0
    """The epoch with which it was last activated."""
    lost: bool = False
    """Whether the session that it was held under is over: it can only be let go of."""
    spoilt: bool = False
    """Whether what was prepared is no longer good: prepare again."""


def wanted(at: Position, target: Entry | None) -> bool:
    """Whether what is here is what the leader wants here: the same grant, held under the same session."""
    return target is not None and target.grant == at.grant and not at.lost


def next_step(at: Position, target: Entry | None) -> Step | None:
    """The next callback on the way to `target` (None: gone from here); None when it is reached.

    Whatever was begun is ended before something else begins, so an `activate` that failed or was
    cancelled is followed by a `deactivate` before it is tried again.
    """
    if at.stage is Stage.ABSENT:
        return None if target is None else Step.PREPARE
    if at.stage in (Stage.ACTIVATING, Stage.DEACTIVATING):
        return Step.DEACTIVATE
    keep = wanted(at, target)
    if at.stage is Stage.ACTIVE:
        stays = keep and target is not None and target.primary and target.epoch == at.epoch and not at.spoilt
        return None if stays else Step.DEACTIVATE
    if not keep:
        return Step.DROP
    if at.stage is Stage.PREPARING or at.spoilt:
        return Step.PREPARE
    return Step.ACTIVATE if target is not None and target.primary else None


def superseded(step: Step, at: Position, target: Entry | None) -> bool:
    """Whether the callback that runs now works towards what is no longer wanted, and is to be cancelled.

    Never for `deactivate` and `drop`: what was begun is ended.
    """
    if step is Step.PREPARE:
        return not wanted(at, target)
    if step is Step.ACTIVATE:
        return not (wanted(at, target) and target is not None and target.primary and target.epoch == at.epoch)
    return False


def phase(at: Position, target: Entry | None, failed: bool) -> Phase | None:
    """What to report; None where the Item is not to be listed.

    `Active` is said before `activate` begins and until `deactivate` has ended, so that it covers all
    the time in which the Item may be worked on as primary here: under `Exclusive` the leader promotes
    another Member once it is no longer said. Only after a loss is it not said: by then everything has
    been cancelled, and the report goes out under a new session that has prepared nothing.
    """
    if target is None:
        return None if at.stage is Stage.ABSENT else Phase.FAILED if failed else Phase.DRAINING
    if at.lost:
        return Phase.PREPARING
    if at.stage in MAYBE_PRIMARY:
        return Phase.ACTIVE
    if at.stage is Stage.ABSENT:
        return Phase.FAILED if failed else Phase.PREPARING
    if not wanted(at, target):
        return Phase.FAILED if failed else Phase.DRAINING
    if failed:
        return Phase.FAILED
    if at.stage is Stage.PREPARING or at.spoilt:
        return Phase.PREPARING
    return Phase.ACTIVE if target.primary else Phase.READY
