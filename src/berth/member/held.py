"""An Item as a worker sees it while it is held here."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any

from berth.member.tenure import Tenure

log = logging.getLogger("berth.member")

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Held:
    """One Item, from its `prepare` to the end of its `drop`.

    `slot`, `primary` and `epoch` change in place: a task that works on the Item may look at them at
    any time. Do not make one of these; the callbacks of a `Worker` are given them.
    """

    __slots__ = (
        "_calls", "_closed", "_on_crash", "_over", "_primary_tasks", "_tasks", "_tenure",
        "data", "epoch", "grant", "lost", "name", "primary", "slot",
    )  # fmt: skip

    name: str
    """The Item's name."""
    slot: int
    """Its slot in the Assignment: 0 for the primary, also while it is on its way there; else from 1."""
    primary: bool
    """True from the start of `activate` to the end of `deactivate`."""
    epoch: int
    """The fencing token: grows with each new primary of the Item. For a replica, its grant."""
    grant: int
    """The term in which the Item was given to this Member; another grant, another `Held`."""
    data: Mapping[str, str]
    """The Item's `spec.data`, as read before `prepare`."""
    lost: bool
    """Whether it was taken away: the Lease was lost, or the session ended at once, or another one has it."""

    def __init__(
        self,
        name: str,
        slot: int,
        grant: int,
        tenure: Tenure,
        on_crash: Callable[[BaseException, bool], None] | None = None,
    ) -> None:
        self.name = name
        self.slot = slot
        self.grant = grant
        self.epoch = grant
        self.primary = False
        self.data = _NOTHING
        self._tenure = tenure
        self.lost = False
        self._over = asyncio.Event()
        self._closed = False
        self._calls: list[Callable[[], object]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._primary_tasks: set[asyncio.Task[Any]] = set()
        self._on_crash = on_crash

    def __repr__(self) -> str:
        role = f"primary epoch={self.epoch}" if self.primary else f"slot={self.slot}"
        return f"<Held {self.name} grant={self.grant} {role}{'' if self.owned() else ' not owned'}>"

    def owned(self) -> bool:
        """Whether this Member surely still holds the Item. From any thread.

        Looks at the clock itself, so it is right also when the event loop was blocked or the process
        stopped. Once False it stays False. What is written elsewhere should be preceded by this and,
        as time passes between the look and the write, carry `epoch` for the far side to check.
        """
        return not self._over.is_set() and self._tenure.valid()

    def active(self) -> bool:
        """Whether this Member surely still holds the Item and works as its primary."""
        return self.primary and self.owned()

    @property
    def left(self) -> float:
        """Seconds for which this is surely ours if the Lease were not renewed again; 0 when not owned."""
        return 0.0 if self._over.is_set() else self._tenure.left

    async def wait_over(self) -> None:
        """Return when the Item is no longer owned here: taken away, or dropped."""
        await self._over.wait()

    def on_over(self, call: Callable[[], object]) -> None:
        """Have `call` called once, in the event loop's thread, when the Item is no longer owned here."""
        if self._over.is_set():
            call()
        else:
            self._calls.append(call)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str | None = None) -> asyncio.Task[Any]:
        """Run `work` beside the callbacks for as long as the Item is held.

        What is spawned while primary is cancelled after `deactivate`, anything else before `drop`, and
        all of it at once when the Lease is lost. If it raises, the Item is marked `Failed`, and
        activated (or prepared) again after a pause. Once the Item is dropped, what is spawned is cancelled.
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
        if error is not None and self._on_crash is not None and not self._over.is_set():
            self._on_crash(error, primary)

    # The rest is for the delivery.

    async def stop_tasks(self, primary_only: bool) -> None:
        """Cancel what was spawned and wait for it to end, and for what it may have spawned meanwhile."""
        while tasks := [*self._primary_tasks, *(() if primary_only else self._tasks)]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def take_away(self) -> None:
        """Make it not owned and cancel what was spawned, without waiting."""
        self.lost = True
        self._end()

    def close(self) -> None:
        """Make it not owned: it was dropped. Nothing that was spawned goes on, and nothing more is begun."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        self._over.set()
        for task in (*self._primary_tasks, *self._tasks):
            task.cancel()
        calls, self._calls = self._calls, []
        for call in calls:
            try:
                call()
            except Exception:
                log.exception("item %s: what was to be called at its end failed", self.name)
