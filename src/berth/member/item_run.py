"""One Item in the CallbackRunner: its position, the callback that runs, and what it waits for."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from berth.kinds import Entry
from berth.member.steps import FORWARD, STAGES, Callback, Position, Stage, next_callback
from berth.member.worker import HeldItem


def default_pause(failures: int) -> float:
    """Seconds to wait after this many failures in a row: 0.5 doubling to 30, spread by a quarter."""
    return min(30.0, 0.5 * 2.0 ** min(failures - 1, 16)) * random.uniform(0.75, 1.25)


def describe(error: BaseException) -> str:
    """One line about an error, for a person."""
    try:
        text = " ".join(str(error).split()) or "no message"
    except Exception:
        text = "no message that can be read"
    # File names that are not UTF-8 contain surrogates, which JSON cannot represent.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"{type(error).__name__}: {text}"


@dataclass(slots=True, eq=False)
class ItemRun:
    """One Item that is here, or is to be here."""

    name: str
    target: Entry | None = None  # its entry in the Assignment; None if it is to be released
    position: Position = field(default_factory=Position)
    held: HeldItem | None = None  # what the worker gets; None while the stage is ABSENT
    driver: asyncio.Task[None] | None = None  # runs the present callback, and starts the next one
    current: tuple[Callback, asyncio.Task[None]] | None = None  # the callback that is running
    started: bool = False  # whether `current` has called the worker
    cancelled: bool = False  # whether the runner has cancelled `current`
    failures: int = 0  # failed callbacks in a row
    failed_callback: Callback | None = None
    message: str = ""  # of the last failure, until the failed callback has succeeded
    retry: asyncio.TimerHandle | None = None  # set during the pause before the failed callback is retried
    crashes: int = 0  # errors in a row in tasks that the worker spawned
    crashed_at: float = 0.0  # the event loop's time of the last one
    confirmed: Entry | None = None  # may be activated, because `Active` has been reported for it

    @property
    def next(self) -> Callback | None:
        """The next callback towards the target."""
        return next_callback(self.position, self.target)

    @property
    def failed(self) -> bool:
        """Whether to report `Failed`; no longer when an activation is about to be retried."""
        return bool(self.message) and not (self.retry is None and self.next is Callback.ACTIVATE)

    def cancel_current(self, *, again: bool = False) -> None:
        """Cancel the callback that is running, if any: once, so that it can clean up, unless `again`."""
        if self.current is not None and (again or not self.cancelled):
            self.cancelled = True
            self.current[1].cancel()

    def forget_failure(self) -> None:
        """Forget the failures, and do not wait for the retry."""
        self.failures, self.failed_callback, self.message = 0, None, ""
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None

    def revoke(self) -> None:
        """Nothing is owned any more: cancel everything."""
        self.forget_failure()
        if self.held is not None:
            self.held.revoke()
        self.cancel_current(again=True)

    def start(self, callback: Callback, hold: Callable[[Entry], HeldItem]) -> HeldItem:
        """Record that a callback starts; `hold` creates the object for the worker."""
        target = self.target
        if callback is Callback.PREPARE and target is not None:
            if self.held is None:
                self.held = hold(target)
            self.position = Position(Stage.PREPARING, target.grant)
        else:
            self.position = replace(self.position, stage=STAGES[callback][0])
        assert self.held is not None, "an Item that is here was prepared"
        if callback is Callback.ACTIVATE and target is not None:
            self.position = replace(self.position, epoch=target.epoch)
            self.held.primary, self.held.epoch = True, target.epoch
        return self.held

    def undo_start(self, callback: Callback, before: Position) -> None:
        """Undo `start`: the callback was cancelled, or its data unreadable, before the worker was called."""
        self.position = replace(before, lost=self.position.lost)
        if before.stage is Stage.ABSENT:
            self.held = None
        elif callback is Callback.ACTIVATE and self.held is not None:
            self.held.primary, self.held.epoch = False, self.held.grant

    def succeed(self, callback: Callback) -> None:
        """Record that a callback has succeeded."""
        stale = self.position.stale and callback is not Callback.PREPARE
        self.position = replace(self.position, stage=STAGES[callback][1], stale=stale)
        if callback not in FORWARD:
            self.confirmed = None
        if callback is Callback.DROP and self.held is not None:
            self.held.close()
            self.position, self.held = Position(), None
        if callback is self.failed_callback or (callback in FORWARD and self.retry is None):
            self.forget_failure()

    def is_ending(self, primary: bool) -> bool:
        """Whether the tasks that the worker spawned (as primary) are being ended anyway."""
        if self.current is not None and self.current[0] is Callback.DROP:
            return True
        ends = self.position.stage is Stage.DEACTIVATING or self.target is None or not self.target.primary
        return primary and ends

    def invalidate(self, primary: bool) -> None:
        """A task that the worker spawned (as primary) has failed: prepare (or activate) the Item again."""
        if not primary:
            self.position = replace(self.position, stale=True)
        elif self.position.stage is Stage.ACTIVE:
            self.position = replace(self.position, stage=Stage.ACTIVATING)
        if self.current is not None and self.current[0] in FORWARD:
            self.cancel_current()
