"""One Item on its way: where it stands here, and what it waits for. Kept by the Delivery."""

import asyncio
import random

from berth.kinds import Entry
from berth.member.held import Held
from berth.member.steps import Position, Stage, Step, next_step


def default_pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 0.5 doubling to 30, spread by a quarter."""
    return min(30.0, 0.5 * 2.0 ** min(failures - 1, 16)) * random.uniform(0.75, 1.25)


class Run:
    """One Item that is here, or wanted here."""

    __slots__ = (
        "at", "begun", "cancelled", "confirmed", "crashed_at", "crashes", "current", "driver",
        "failed_step", "failures", "held", "message", "name", "retry",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.at = Position(Stage.ABSENT, 0)
        self.held: Held | None = None
        self.driver: asyncio.Task[None] | None = None
        self.current: tuple[Step, asyncio.Task[None]] | None = None
        self.begun = False  # whether the worker was called in it
        self.cancelled = False  # whether `current` was cancelled from here
        self.failures = 0
        self.failed_step: Step | None = None
        self.message = ""  # of the last failure, until what failed has succeeded
        self.retry: asyncio.TimerHandle | None = None
        self.crashes = 0
        self.crashed_at = 0.0
        self.confirmed: tuple[int, int] | None = None  # the grant and epoch that may be activated

    def failed(self, target: Entry | None) -> bool:
        """Whether to report `Failed`; not once an activation is about to be tried again."""
        return bool(self.message) and not (self.retry is None and next_step(self.at, target) is Step.ACTIVATE)

    def cancel_current(self, *, again: bool = False) -> None:
        """Cancel the callback that runs, if one does.

        Once, so that it can tidy up in peace; `again` for when there is no time for that.
        """
        if self.current is not None and (again or not self.cancelled):
            self.cancelled = True
            self.current[1].cancel()

    def forget_failure(self) -> None:
        """Start afresh, without waiting for the next try."""
        self.failures = 0
        self.failed_step = None
        self.message = ""
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None
