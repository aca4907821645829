"""What a user implements, a Worker of four callbacks, and what it gets: an Item while it is held here."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from berth.member.steps import Callback

SecondsLeft = Callable[[], float]
"""For how many seconds the Lease of a session is certainly still held; 0 if it is not, and then for good.
Each call reads the clock, so a process that was stopped, or whose event loop was blocked, knows at the first.
"""

OnCrash = Callable[[BaseException, bool], None]
"""Called with the error of a task that the worker spawned, and whether it was spawned as primary."""


class HeldItem:
    """What `berth.Held` and `berth.sync.Held` have in common."""

    event_type: ClassVar[type[asyncio.Event | threading.Event]]
    name: str
    """The Item's name."""
    slot: int
    """Its slot in the Assignment: 0 for the primary, also before `activate`; replicas count from 1."""
    primary: bool
    """True from the start of `activate` to the end of `deactivate`."""
    epoch: int
    """The fencing token: grows with each new primary of the Item. For a replica, its grant."""
    grant: int
    """The term in which the Item was given to this Member. Another grant means another `Held`."""
    data: Mapping[str, str]
    """The Item's `spec.data`, as read before `prepare`; empty with `read_data=False`."""
    lost: bool
    """Whether it was revoked: the Lease was lost, the session was stopped, or another session has it."""

    def __init__(self, name: str, slot: int, grant: int, lease_left: SecondsLeft, on_crash: OnCrash) -> None:
        self.name, self.slot, self.grant = name, slot, grant
        self.primary, self.epoch = False, grant
        self.data = MappingProxyType({})
        self.lost = False
        self._lease_left, self._on_crash = lease_left, on_crash
        self._over = self.event_type()
        self._closed = False

    def __repr__(self) -> str:
        role = f"primary epoch={self.epoch}" if self.primary else f"slot={self.slot}"
        return f"<Held {self.name} grant={self.grant} {role}{'' if self.owned() else ' not owned'}>"

    def owned(self) -> bool:
        """Whether this Member certainly still holds the Item. Thread-safe.

        It reads the clock, so it is right even after the event loop was blocked or the process was stopped.
        Once False it stays False. Check it before each write to another system and, as time passes between
        the check and the write, pass `epoch` along for that system to check.
        """
        return self.left > 0.0

    def active(self) -> bool:
        """Whether this Member certainly still holds the Item and works as its primary. Thread-safe."""
        return self.primary and self.owned()

    @property
    def left(self) -> float:
        """Seconds for which it is certainly held without another renewal of the Lease; 0.0 if it is not."""
        return 0.0 if self._over.is_set() else self._lease_left()

    # The methods below are called by the CallbackRunner.

    async def stop_tasks(self, primary_only: bool) -> None:
        """Cancel the tasks that the worker spawned, if it can spawn any, and wait for their end."""

    def revoke(self) -> None:
        """Mark it as lost and cancel its tasks, without waiting."""
        self.lost = True
        self._end()

    def close(self) -> None:
        """Mark it as dropped and cancel its tasks; later ones are cancelled when they are spawned."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        self._over.set()


class Held(HeldItem):
    """One Item, from its `prepare` to the end of its `drop`.

    `slot`, `primary` and `epoch` change in place: a task that works on the Item may read them at any time.
    The callbacks of a `Worker` get these objects; do not create them.
    """

    event_type = asyncio.Event
    _over: asyncio.Event

    def __init__(self, name: str, slot: int, grant: int, lease_left: SecondsLeft, on_crash: OnCrash) -> None:
        super().__init__(name, slot, grant, lease_left, on_crash)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._primary_tasks: set[asyncio.Task[Any]] = set()

    async def wait_over(self) -> None:
        """Return when the Item is no longer held here: it was revoked or dropped."""
        await self._over.wait()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str | None = None) -> asyncio.Task[Any]:
        """Run `work` beside the callbacks for as long as the Item is held.

        Tasks that are spawned while primary are cancelled after `deactivate`, other tasks before `drop`, and
        all of them immediately when the Lease is lost. If `work` raises, the Item is marked `Failed`, and
        activated (or prepared) again after a pause. A task spawned after `drop` is cancelled at once.
        """
        primary = self.primary
        task = asyncio.create_task(work, name=name or f"berth:{self.name}")
        group = self._primary_tasks if primary else self._tasks
        group.add(task)
        task.add_done_callback(lambda done: self._task_done(done, group, primary))
        if self._closed:
            task.cancel()
        return task

    def _task_done(self, task: asyncio.Task[Any], group: set[asyncio.Task[Any]], primary: bool) -> None:
        group.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self._over.is_set():
            self._on_crash(error, primary)

    async def stop_tasks(self, primary_only: bool) -> None:
        """Cancel the spawned tasks, also those that they spawn meanwhile, and wait for their end."""
        while tasks := [*self._primary_tasks, *(() if primary_only else self._tasks)]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _end(self) -> None:
        super()._end()
        for task in (*self._primary_tasks, *self._tasks):
            task.cancel()


class PlainError(Exception):
    """A failure whose message is sufficient: it is logged without a traceback."""


class Worker:
    """Does the work of the Items that are placed on this Member.

    The callbacks of one Item run one at a time, in the order of this drawing; those of different Items run
    concurrently. Each `prepare`, finished or not, is eventually followed by a `drop`, and each `activate`,
    finished or not, by a `deactivate`. So `deactivate` and `drop` must cope with half-finished work, and with
    being called again after they raised.

        prepare ──> (ready) ──> activate ──> (primary) ──> deactivate ──> (ready) ──> drop

    A callback that raises marks the Item `Failed` with the message and is retried after 0.5 s, doubling to
    30 s. A `prepare` or `activate` is cancelled (`asyncio.CancelledError` at its `await`) when its result is
    no longer wanted. When the Lease is lost everything is cancelled, and `deactivate` and `drop` are then
    called with `item.owned()` false: they may clean up locally, but must not write where others read.
    """

    async def prepare(self, item: Held) -> None:
        """Load what the Item needs. Returning means that it is ready here."""

    async def activate(self, item: Held) -> None:
        """Start working as the Item's primary, then return; `item.epoch` is the fencing token."""

    async def deactivate(self, item: Held) -> None:
        """Stop working as primary. Once this has returned, another Member may start."""

    async def drop(self, item: Held) -> None:
        """Release what the Item uses: it is no longer on this Member."""


class Adapter(Worker):
    """A Worker that passes its callbacks on: the CallbackRunner calls `call` in place of the four methods."""

    held_type: ClassVar[type[HeldItem]] = Held
    """The class of the Items that it gets."""

    async def call(self, callback: Callback, item: Any) -> None:
        """Pass one callback on, and return when it has been carried out."""
        raise NotImplementedError
