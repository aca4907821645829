"""Brings a worker to what its Assignment says: Items side by side, the callbacks of each one at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Self

from berth.kinds import Entry, Phase, Report, format_report
from berth.member.held import Held
from berth.member.report import MAX_MESSAGE, MAX_PROBLEMS, Intent, Snapshot, Trouble, describe
from berth.member.run import Run, default_pause
from berth.member.steps import Position, Stage, Step, next_step, phase, superseded
from berth.member.tenure import Tenure, never
from berth.member.worker import PlainError, Worker

log = logging.getLogger("berth.member")

_BEGINNINGS = frozenset({Step.PREPARE, Step.ACTIVATE})
_CALM = 60.0  # seconds after which a crash of a spawned task counts as the first again


def _warn(run: Run, what: str, error: BaseException) -> None:
    if isinstance(error, PlainError):
        log.warning("item %s: %s: %s", run.name, what, error)
    else:
        log.warning("item %s: %s", run.name, what, exc_info=error)


class Delivery:
    """Runs the callbacks of a worker, always towards the newest target.

    An async context manager: its tasks live inside it. It knows nothing of Kubernetes; a Session gives
    it targets (`aim`), reads what to report (`snapshot`), and says which reports have been written
    (`written`). An Item is activated only after the API server has accepted a report that says `Active`
    while the entry still stood: from then on a leader that takes the Item away sees that it has to wait
    for its release, however late this Member hears of it.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        read_data: Callable[[str], Awaitable[Mapping[str, str]]] | None = None,
        concurrency: int = 64,
        pause: Callable[[int], float] = default_pause,
        on_change: Callable[[bool], None] = lambda _urgent: None,
    ) -> None:
        """`read_data` gives an Item's data before `prepare`; `concurrency` bounds how many `prepare` and
        `activate` run at a time (`deactivate` and `drop` never wait); `pause` gives the seconds before a
        retry; `on_change(urgent)` is called when there is something new to report, urgent where somebody
        may be waiting for it.
        """
        self._worker = worker
        self._read_data = read_data
        self._concurrency = max(1, concurrency)
        self._busy = 0
        self._waiting: dict[str, None] = {}  # names, first come first served
        self._pause = pause
        self._on_change = on_change
        self._tenure = never()
        self._lost = True
        self._targets: dict[str, Entry] = {}
        self._runs: dict[str, Run] = {}
        self._group = asyncio.TaskGroup()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        self.abort()
        if error is not None and not isinstance(error, asyncio.CancelledError):
            kind = error = trace = None  # it goes on by itself, not wrapped into a group
        await self._group.__aexit__(kind, error, trace)  # type: ignore[arg-type]

    # What a Session says to it.

    def begin(self, tenure: Tenure) -> None:
        """Begin a session: what is prepared from now on is held under `tenure`."""
        self._tenure, self._lost = tenure, False

    def aim(self, entries: Iterable[Entry]) -> None:
        """Make `entries`, the spec of the Assignment, the target; between two sessions nothing is wanted."""
        if self._lost:
            return
        before, self._targets = self._targets, {entry.name: entry for entry in entries}
        gone = [name for name in before if name not in self._targets]
        for name in (*gone, *self._targets):  # releases first: somebody may be waiting for them
            old, new = before.get(name), self._targets.get(name)
            if old != new:
                self._retarget(name, old, new)

    def lose(self) -> None:
        """The session is over: nothing is owned any more. Cancel everything, then tidy up.

        Returns at once; `deactivate` and `drop` of what was held follow, and `settled` waits for them.
        """
        self._tenure.end()
        self._lost = True
        self.take_away()

    def take_away(self) -> None:
        """Nothing of what is here is owned any more: cancel it, then tidy up. The session may go on."""
        self._targets = {}
        for run in list(self._runs.values()):
            run.at = replace(run.at, lost=True)
            run.forget_failure()
            if run.held is not None:
                run.held.take_away()
            run.cancel_current(again=True)
            self._kick(run)
        self._on_change(True)

    def abort(self) -> None:
        """Cancel everything and run nothing more, `deactivate` and `drop` neither."""
        self._closed = True
        for run in self._runs.values():
            run.forget_failure()
            if run.held is not None:
                run.held.take_away()
                run.held.close()
            run.cancel_current(again=True)

    def written(self, snapshot: Snapshot) -> None:
        """`snapshot` was accepted while the spec last aimed at stood: what it announced may begin."""
        for name, grant, epoch in snapshot.intents:
            run = self._runs.get(name)
            target = self._targets.get(name)
            if run is not None and target is not None and (target.grant, target.epoch) == (grant, epoch):
                run.confirmed = (grant, epoch)
                self._kick(run)

    # What it says.

    def snapshot(self) -> Snapshot:
        """What there is to report now."""
        reports: list[str] = []
        troubles: list[Trouble] = []
        intents: set[Intent] = set()
        for name in sorted(self._runs):
            run, target = self._runs[name], self._targets.get(name)
            failed = run.failed(target)
            said = phase(run.at, target, failed)
            if said is not Phase.ACTIVE:
                run.confirmed = None  # what the API server was told no longer stands
            if said is None:
                continue
            grant = run.at.grant or (target.grant if target is not None else 0)
            reports.append(format_report(Report(name, grant, said)))
            if run.message and len(troubles) < MAX_PROBLEMS:
                troubles.append(Trouble(name, grant, run.message))
            if target is None or failed or next_step(run.at, target) is not Step.ACTIVATE:
                continue
            if run.confirmed != (target.grant, target.epoch):
                intents.add((name, target.grant, target.epoch))
        return Snapshot(tuple(reports), tuple(troubles), frozenset(intents))

    @property
    def held(self) -> dict[str, Held]:
        """The Items that are here, by name."""
        return {name: run.held for name, run in self._runs.items() if run.held is not None}

    @property
    def empty(self) -> bool:
        """Whether nothing is here and nothing is wanted here."""
        return not self._runs

    async def settled(self) -> None:
        """Wait until nothing is here."""
        await self._idle.wait()

    # Inside.

    def _retarget(self, name: str, old: Entry | None, new: Entry | None) -> None:
        run = self._runs.get(name)
        if run is None:
            run = self._runs[name] = Run(name)
            self._idle.clear()
        if (
            old is None
            or new is None
            or (old.grant, old.epoch, old.primary) != (new.grant, new.epoch, new.primary)
        ):
            run.forget_failure()  # something else is asked for: try it at once
        if run.current is not None and superseded(run.current[0], run.at, new):
            run.cancel_current()
        self._place(run)
        self._kick(run)
        # Promoted or demoted while prepared: the leader waits for the report. The rest can gather.
        self._on_change(run.at.stage is Stage.PREPARED)

    def _place(self, run: Run) -> None:
        """Let the worker see the slot that it has now."""
        target = self._targets.get(run.name)
        if run.held is not None and target is not None and target.grant == run.held.grant:
            run.held.slot = target.slot

    def _step(self, run: Run) -> Step | None:
        """The next callback to run now; None where there is none, or something to wait for."""
        if self._closed:
            return None
        target = self._targets.get(run.name)
        step = next_step(run.at, target)
        if run.retry is not None and (step in _BEGINNINGS or step is run.failed_step):
            return None  # until the pause is over; what undoes a failure does not wait
        if step in _BEGINNINGS and not self._tenure.valid():
            return None  # the session is over, although nobody has said so yet
        if step is Step.ACTIVATE and target is not None and run.confirmed != (target.grant, target.epoch):
            return None
        return step

    def _kick(self, run: Run) -> None:
        """Have the Item driven on, if there is something to do and nothing to wait for."""
        if run.driver is not None or self._closed:
            return
        step = self._step(run)
        if step in _BEGINNINGS and self._busy >= self._concurrency:
            self._waiting[run.name] = None
            return
        self._waiting.pop(run.name, None)
        if step is not None:
            self._busy += step in _BEGINNINGS
            run.driver = self._group.create_task(self._drive(run, step), name=f"berth:{run.name}")
        elif run.at.stage is Stage.ABSENT and run.name not in self._targets:
            self._remove(run)

    async def _drive(self, run: Run, step: Step) -> None:
        try:
            if self._step(run) is step:  # else the target has changed before this began
                await self._perform(run, step)
        finally:
            run.driver = None
            self._busy -= step in _BEGINNINGS
        self._kick(run)
        while self._waiting and not self._closed and self._busy < self._concurrency:
            self._kick(self._runs[next(iter(self._waiting))])

    def _remove(self, run: Run) -> None:
        del self._runs[run.name]
        run.forget_failure()
        if not self._runs:
            self._idle.set()
        self._on_change(True)

    async def _perform(self, run: Run, step: Step) -> None:
        """Run one callback to its end and note where the Item stands then."""
        before = run.at
        held = self._enter(run, step)
        self._on_change(False)

        run.cancelled = run.begun = False
        task = asyncio.create_task(self._call(run, step, held), name=f"berth:{run.name}:{step.value}")
        run.current = (step, task)
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
        if not run.begun:
            self._leave(run, step, before)
        if task.cancelled():
            if not run.cancelled:
                self._fail(run, step, f"{step.value}: the callback was cancelled")
            return
        error = task.exception()
        if error is None:
            self._done(run, step, held)
        elif isinstance(error, SystemExit | KeyboardInterrupt):
            raise error
        elif run.cancelled:
            log.info("item %s: %s ended as it was cancelled: %s", run.name, step.value, describe(error))
        else:
            _warn(run, f"{step.value} failed", error)
            self._fail(run, step, f"{step.value}: {describe(error)}")

    def _enter(self, run: Run, step: Step) -> Held:
        """Note that a callback begins."""
        target = self._targets.get(run.name)
        if step is Step.PREPARE and target is not None:
            if run.held is None or run.at.stage is Stage.ABSENT:
                run.held = Held(run.name, target.slot, target.grant, self._tenure, self._crashed(run))
            run.at = Position(Stage.PREPARING, target.grant)
        elif step is Step.ACTIVATE and target is not None:
            run.at = replace(run.at, stage=Stage.ACTIVATING, epoch=target.epoch)
            if run.held is not None:
                run.held.primary, run.held.epoch = True, target.epoch
        elif step is Step.DEACTIVATE:
            run.at = replace(run.at, stage=Stage.DEACTIVATING)
        else:
            run.at = replace(run.at, stage=Stage.PREPARING)
        assert run.held is not None, "an Item that is here has been prepared"
        return run.held

    def _leave(self, run: Run, step: Step, before: Position) -> None:
        """Note that a callback was cancelled, or its data could not be read, before the worker was called."""
        run.at = replace(before, lost=run.at.lost)
        if before.stage is Stage.ABSENT:
            run.held = None
        elif step is Step.ACTIVATE and run.held is not None:
            run.held.primary, run.held.epoch = False, run.held.grant

    async def _call(self, run: Run, step: Step, held: Held) -> None:
        if step is Step.PREPARE:
            await held.stop_tasks(primary_only=False)  # of an earlier try
            if self._read_data is not None:
                held.data = await self._read_data(held.name)
        elif step is Step.DROP:
            await held.stop_tasks(primary_only=False)
        run.begun = True
        if step is Step.PREPARE:
            await self._worker.prepare(held)
        elif step is Step.ACTIVATE:
            await self._worker.activate(held)
        elif step is Step.DEACTIVATE:
            await self._worker.deactivate(held)
            await held.stop_tasks(primary_only=True)
            held.primary, held.epoch = False, held.grant  # at once: nothing more is spawned as primary
        else:
            await self._worker.drop(held)

    def _done(self, run: Run, step: Step, held: Held) -> None:
        if run.cancelled and step in _BEGINNINGS:
            return  # it ended well a moment too late: as if it had been cancelled
        if step is Step.PREPARE:
            run.at = replace(run.at, stage=Stage.PREPARED, spoilt=False)
        elif step is Step.ACTIVATE:
            run.at = replace(run.at, stage=Stage.ACTIVE)
        elif step is Step.DEACTIVATE:
            run.at = replace(run.at, stage=Stage.PREPARED)
            run.confirmed = None
        else:
            held.close()
            run.at, run.held, run.confirmed = Position(Stage.ABSENT, 0), None, None
        self._place(run)
        if step is run.failed_step or (step in _BEGINNINGS and run.retry is None):
            run.forget_failure()
        self._on_change(step is not Step.ACTIVATE)

    def _fail(self, run: Run, step: Step, message: str) -> None:
        run.failures += 1
        self._pause_after(run, step, message, self._pause(run.failures))

    def _pause_after(self, run: Run, step: Step, message: str, seconds: float) -> None:
        def again() -> None:
            run.retry = None
            self._kick(run)
            self._on_change(True)

        if run.retry is not None:
            run.retry.cancel()
        run.failed_step, run.message = step, message[:MAX_MESSAGE]
        run.retry = asyncio.get_running_loop().call_later(seconds, again)
        self._on_change(False)

    def _ends(self, run: Run, primary: bool) -> bool:
        """Whether what was spawned (as primary) is being ended here anyway."""
        if run.current is not None and run.current[0] is Step.DROP:
            return True
        target = self._targets.get(run.name)
        return primary and (run.at.stage is Stage.DEACTIVATING or target is None or not target.primary)

    def _crashed(self, run: Run) -> Callable[[BaseException, bool], None]:
        """What happens when something that the worker spawned raises."""

        def crashed(error: BaseException, primary: bool) -> None:
            if self._closed or run.at.lost or run.held is None:
                return
            if self._ends(run, primary):
                log.info("item %s: a task of the worker failed as it ended: %s", run.name, describe(error))
                return
            if not primary:
                run.at = replace(run.at, spoilt=True)
            elif run.at.stage is Stage.ACTIVE:
                run.at = replace(run.at, stage=Stage.ACTIVATING)
            if run.current is not None and run.current[0] in _BEGINNINGS:
                run.cancel_current()
            if run.retry is not None:
                return  # it waits for its next try already, which must not be put off
            _warn(run, "a task of the worker failed", error)
            now = asyncio.get_running_loop().time()
            run.crashes = 1 if now - run.crashed_at > _CALM else run.crashes + 1
            run.crashed_at = now
            step = Step.ACTIVATE if primary else Step.PREPARE
            self._pause_after(run, step, f"task: {describe(error)}", self._pause(run.crashes))
            self._kick(run)

        return crashed
