"""Runs the callbacks of a worker as its Assignment requires: one at a time for each Item."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

from berth.kinds import MAX_PROBLEM_MESSAGE, MAX_PROBLEMS, Entry, Phase, ReadProblem, Report, format_report
from berth.member.item_run import ItemRun, default_pause, describe
from berth.member.steps import FORWARD, Callback, Stage, phase, superseded
from berth.member.worker import Adapter, Held, HeldItem, PlainError, SecondsLeft, Worker

log = logging.getLogger("berth.member")

_QUIET_SECONDS = 60.0  # after this long without a crash of a spawned task, the next counts as the first


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there is to report at one moment."""

    reports: tuple[str, ...]  # as written to `status.items`, sorted
    problems: tuple[ReadProblem, ...]  # as written to `status.problems`
    intents: frozenset[Entry]  # may be activated once this has been written, if they are still the target


@dataclass(eq=False)
class CallbackRunner:
    """Runs the callbacks of a worker, always towards the newest target.

    An async context manager: its tasks live inside it. It knows nothing of Kubernetes; a Session sets its
    target (`set_target`), reads what to report (`snapshot`), and confirms what was written (`confirm`). An
    Item is activated only after the API server has accepted a report of `Active` while the entry was still
    there. From then on a leader that removes the Item knows that it must wait for the release, however late
    this Member learns of the removal.
    """

    worker: Worker
    read_data: Callable[[str], Awaitable[Mapping[str, str]]] | None = None
    """Reads an Item's data before `prepare`."""
    concurrency: int = 64
    """How many `prepare` and `activate` run at a time; `deactivate` and `drop` never wait."""
    pause: Callable[[int], float] = default_pause  # seconds to wait after this many failures in a row
    on_change: Callable[[bool], None] = lambda _urgent: None
    """Called when there is something new to report, with True if the leader may be waiting for it."""
    _busy: int = field(default=0, init=False)
    _waiting: dict[str, None] = field(default_factory=dict, init=False)  # names, first come first served
    _lease_left: SecondsLeft = field(default=lambda: 0.0, init=False)
    _lost: bool = field(default=True, init=False)
    _runs: dict[str, ItemRun] = field(default_factory=dict, init=False)
    _group: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup, init=False)
    _idle: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _closed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.concurrency = max(1, self.concurrency)
        self._idle.set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self.abort()
        if not isinstance(exc[1], asyncio.CancelledError):
            exc = (None, None, None)  # an error propagates by itself, not inside an exception group
        await self._group.__aexit__(*exc)

    def start_session(self, lease_left: SecondsLeft) -> None:
        """Start a session: what is prepared from now on is held under its Lease."""
        self._lease_left, self._lost = lease_left, False

    def set_target(self, entries: Iterable[Entry]) -> None:
        """Make `entries`, the spec of the Assignment, the target; ignored between two sessions."""
        if self._lost:
            return
        targets = {entry.name: entry for entry in entries}
        gone = [name for name in self._runs if name not in targets]
        for name in (*gone, *targets):  # releases first: the leader may be waiting for them
            self._retarget(name, targets.get(name))

    def end_session(self) -> None:
        """The session is over and owns nothing: cancel everything, then clean up.

        Returns immediately; `deactivate` and `drop` follow, and `wait_until_empty` waits for them.
        """
        self._lost = True
        self.revoke()

    def revoke(self) -> None:
        """Nothing that is here is owned any more: cancel it, then clean up. The session may go on."""
        for run in list(self._runs.values()):
            run.target, run.position = None, replace(run.position, lost=True)
            run.revoke()
            self._advance(run)
        self.on_change(True)

    def abort(self) -> None:
        """Cancel everything and run no more callbacks, not even `deactivate` and `drop`."""
        self._closed = True
        for run in self._runs.values():
            run.revoke()
            if run.held is not None:
                run.held.close()

    def confirm(self, snapshot: Snapshot) -> None:
        """`snapshot` was accepted while the target was still the same: its activations may start."""
        for entry in snapshot.intents:
            run = self._runs.get(entry.name)
            if run is not None and run.target == entry:
                run.confirmed = entry
                self._advance(run)

    def snapshot(self) -> Snapshot:
        """What there is to report now."""
        reports: list[str] = []
        problems: list[ReadProblem] = []
        intents: set[Entry] = set()
        for name in sorted(self._runs):
            run = self._runs[name]
            target, failed = run.target, run.failed
            reported = phase(run.position, target, failed)
            if reported is not Phase.ACTIVE:
                run.confirmed = None  # the report of `Active` is out of date
            if reported is None:
                continue
            grant = run.position.grant or (target.grant if target is not None else 0)
            reports.append(format_report(Report(name, grant, reported)))
            if run.message and len(problems) < MAX_PROBLEMS:
                problems.append(ReadProblem(name, grant, run.message))
            if (
                target is not None
                and run.next is Callback.ACTIVATE
                and not failed
                and run.confirmed != target
            ):
                intents.add(target)
        return Snapshot(tuple(reports), tuple(problems), frozenset(intents))

    @property
    def held(self) -> dict[str, HeldItem]:
        """The Items that are here, by name."""
        return {name: run.held for name, run in self._runs.items() if run.held is not None}

    @property
    def empty(self) -> bool:
        """Whether nothing is here and nothing is to be here."""
        return not self._runs

    async def wait_until_empty(self) -> None:
        """Wait until nothing is here."""
        await self._idle.wait()

    def _retarget(self, name: str, new: Entry | None) -> None:
        run = self._runs.get(name)
        if run is None:
            run = self._runs[name] = ItemRun(name)
            self._idle.clear()
        old, run.target = run.target, new
        if old == new:
            return
        if old is None or new is None or (old.grant, old.epoch) != (new.grant, new.epoch):
            run.forget_failure()  # the target is another one: try it immediately
        if run.current is not None and superseded(run.current[0], run.position, new):
            run.cancel_current()
        if run.held is not None and new is not None and new.grant == run.held.grant:
            run.held.slot = new.slot
        self._advance(run)
        # The leader waits for the report of a promotion or demotion. Other reports can be batched.
        self.on_change(run.position.stage is Stage.PREPARED)

    def _due(self, run: ItemRun) -> Callback | None:
        """The next callback to run now; None if there is none, or if it has to wait."""
        if self._closed:
            return None
        callback = run.next
        if run.retry is not None and (callback in FORWARD or callback is run.failed_callback):
            return None  # until the pause is over; the callbacks that undo a failure do not wait
        if callback in FORWARD and self._lease_left() <= 0.0:
            return None  # the session is over, although `end_session` was not called yet
        if callback is Callback.ACTIVATE and run.confirmed != run.target:
            return None
        return callback

    def _advance(self, run: ItemRun) -> None:
        """Start the Item's next callback, if there is one that need not wait."""
        if run.driver is not None or self._closed:
            return
        callback = self._due(run)
        if callback in FORWARD and self._busy >= self.concurrency:
            self._waiting[run.name] = None
            return
        self._waiting.pop(run.name, None)
        if callback is not None:
            self._busy += callback in FORWARD
            run.driver = self._group.create_task(self._drive(run, callback), name=f"berth:{run.name}")
        elif run.position.stage is Stage.ABSENT and run.target is None:
            del self._runs[run.name]
            run.forget_failure()
            if not self._runs:
                self._idle.set()
            self.on_change(True)

    async def _drive(self, run: ItemRun, callback: Callback) -> None:
        try:
            if self._due(run) is callback:  # otherwise the target has changed since
                await self._perform(run, callback)
        finally:
            run.driver = None
            self._busy -= callback in FORWARD
        self._advance(run)
        while self._waiting and not self._closed and self._busy < self.concurrency:
            self._advance(self._runs[next(iter(self._waiting))])

    async def _perform(self, run: ItemRun, callback: Callback) -> None:
        """Run one callback to its end and record the new position of the Item."""
        before = run.position
        held = run.start(callback, partial(self._hold, run))
        self.on_change(False)

        run.cancelled = run.started = False
        task = asyncio.create_task(self._call(run, callback, held), name=f"berth:{run.name}:{callback}")
        run.current = (callback, task)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        finally:
            run.current = None
        if self._closed:
            return
        if not run.started:
            run.undo_start(callback, before)
        if task.cancelled():
            if not run.cancelled:
                self._on_failure(run, callback, f"{callback}: the callback was cancelled")
            return
        error = task.exception()
        if error is None and run.cancelled and callback in FORWARD:
            return  # it succeeded just after it was cancelled, which counts as cancelled
        if error is None:
            run.succeed(callback)
            self.on_change(callback is not Callback.ACTIVATE)
        elif isinstance(error, SystemExit | KeyboardInterrupt):
            raise error
        elif run.cancelled:
            log.info("item %s: %s raised when it was cancelled: %s", run.name, callback, describe(error))
        else:
            _warn(run, f"{callback} failed", error)
            self._on_failure(run, callback, f"{callback}: {describe(error)}")

    def _hold(self, run: ItemRun, target: Entry) -> HeldItem:
        held_type = self.worker.held_type if isinstance(self.worker, Adapter) else Held
        return held_type(run.name, target.slot, target.grant, self._lease_left, partial(self._on_crash, run))

    async def _call(self, run: ItemRun, callback: Callback, held: HeldItem) -> None:
        if callback in (Callback.PREPARE, Callback.DROP):
            await held.stop_tasks(primary_only=False)  # before `prepare`: those of an earlier attempt
        if callback is Callback.PREPARE and self.read_data is not None:
            held.data = await self.read_data(held.name)
        run.started = True
        if isinstance(self.worker, Adapter):
            await self.worker.call(callback, held)
        else:
            await getattr(self.worker, callback)(held)
        if callback is Callback.DEACTIVATE:
            await held.stop_tasks(primary_only=True)
            held.primary, held.epoch = False, held.grant  # immediately: nothing more is spawned as primary

    def _on_failure(self, run: ItemRun, callback: Callback, message: str) -> None:
        run.failures += 1
        self._pause_after(run, callback, message, run.failures)

    def _pause_after(self, run: ItemRun, callback: Callback, message: str, failures: int) -> None:
        def retry() -> None:
            run.retry = None
            self._advance(run)
            self.on_change(True)

        if run.retry is not None:
            run.retry.cancel()
        run.failed_callback, run.message = callback, message[:MAX_PROBLEM_MESSAGE]
        run.retry = asyncio.get_running_loop().call_later(self.pause(failures), retry)
        self.on_change(False)

    def _on_crash(self, run: ItemRun, error: BaseException, primary: bool) -> None:
        """A task that the worker spawned (as primary) has raised `error`."""
        if self._closed or run.position.lost or run.held is None:
            return
        if run.is_ending(primary):
            log.info(
                "item %s: a task of the worker failed while it was ending: %s", run.name, describe(error)
            )
            return
        run.invalidate(primary)
        if run.retry is not None:
            return  # a retry is already scheduled and must not be postponed
        _warn(run, "a task of the worker failed", error)
        now = asyncio.get_running_loop().time()
        run.crashes = 1 if now - run.crashed_at > _QUIET_SECONDS else run.crashes + 1
        run.crashed_at = now
        callback = Callback.ACTIVATE if primary else Callback.PREPARE
        self._pause_after(run, callback, f"task: {describe(error)}", run.crashes)
        self._advance(run)


def _warn(run: ItemRun, what: str, error: BaseException) -> None:
    trace = None if isinstance(error, PlainError) else error
    log.warning("item %s: %s: %s", run.name, what, describe(error), exc_info=trace)
