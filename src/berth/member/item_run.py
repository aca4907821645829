"""The state of one Item in the CallbackRunner: its position, and what it waits for."""

import asyncio
import random

from berth.kinds import Entry
from berth.member.held import Held
from berth.member.steps import Position, Stage, Step, next_step


def default_pause(failures: int) -> float:
    """Seconds to wait after this many failures in a row: 0.5 doubling to 30, spread by a quarter."""
    return min(30.0, 0.5 * 2.0 ** min(failures - 1, 16)) * random.uniform(0.75, 1.25)


class ItemRun:
    """One Item that is here, or is to be here."""

    __slots__ = (
        "cancelled", "confirmed", "crashed_at", "crashes", "current", "driver", "failed_step",
        "failures", "held", "message", "name", "position", "retry", "started",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.position = Position(Stage.ABSENT, 0)
        self.held: Held | None = None
        self.driver: asyncio.Task[None] | None = None
        self.current: tuple[Step, asyncio.Task[None]] | None = None
        self.started = False  # whether `current` has called the worker
        self.cancelled = False  # whether the runner has cancelled `current`
        self.failures = 0
        self.failed_step: Step | None = None
        self.message = ""  # of the last failure, until the failed step has succeeded
        self.retry: asyncio.TimerHandle | None = None
        self.crashes = 0
        self.crashed_at = 0.0
        self.confirmed: tuple[int, int] | None = None  # the grant and epoch that may be activated

    def failed(self, target: Entry | None) -> bool:
        """Whether to report `Failed`; no longer when an activation is about to be retried."""
        return bool(self.message) and not (
            self.retry is None and next_step(self.position, target) is Step.ACTIVATE
        )

    def cancel_current(self, *, again: bool = False) -> None:
        """Cancel the callback that is running, if any: once, so that it can clean up, unless `again`."""
        if self.current is not None and (again or not self.cancelled):
            self.cancelled = True
            self.current[1].cancel()

    def forget_failure(self) -> None:
        """Forget the failures, and do not wait for the retry."""
        self.failures = 0
        self.failed_step = None
        self.message = ""
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None
