"""Plans that the certificate rejected: counted, logged, and the problem saved beside the Pool's work."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Sequence
from pathlib import Path

from berth.controller.metrics import Metrics
from berth.pool import Brain
from berth.saved import Names, log, report
from berth.solve import Problem

SAVE_AGAIN = 60.0
"""Seconds between two problems of a Pool that are saved: a defect may show at every event."""


class Rejections:
    """Collects what a Solver rejects, in any thread, and reports it beside the Pool's work."""

    def __init__(self, brain: Brain, metrics: Metrics, folder: Path | None = None) -> None:
        """`folder` None: `default_folder()`."""
        self._brain = brain
        self._metrics = metrics
        self._folder = folder
        self._noted: list[tuple[str, Sequence[str], Problem]] = []
        self._saved_at: float | None = None
        self._saving: set[asyncio.Task[Path | None]] = set()
        for engine in ("pooled", "exact", "plain"):  # at 0: Prometheus sees no increase to a first value
            metrics.plans_rejected.labels(brain.namespace, brain.name, engine)
        metrics.solver_failures.labels(brain.namespace, brain.name)

    def note(self, engine: str, faults: Sequence[str], problem: Problem) -> None:
        """Take note of an answer that was not used; what `Solver` takes as `rejected`."""
        self._noted.append((engine, faults, copy.deepcopy(problem)))

    def names(self) -> Names:
        """What the rows are called now."""
        brain, ledger = self._brain, self._brain.ledger
        items, members = ledger.items.names.copy(), ledger.member_rows.names.copy()
        return Names(items.__getitem__, members.__getitem__, brain.name, brain.namespace)

    def report(self, names: Names | None = None) -> None:
        """Report what was noted, with these names or the present ones.

        Call it in the event loop; what takes long is done in a thread.
        """
        noted, self._noted = self._noted, []
        if not noted:
            return
        names, brain = names or self.names(), self._brain
        for engine, faults, problem in noted:
            self._metrics.plans_rejected.labels(brain.namespace, brain.name, engine).inc()
            now = time.monotonic()
            if self._saved_at is not None and now - self._saved_at < SAVE_AGAIN:
                hint = "a problem of this Pool was saved less than a minute ago"
                log(engine, faults, hint, names)
                continue
            self._saved_at = now
            saving = asyncio.create_task(
                asyncio.to_thread(report, engine, faults, problem, names, self._folder)
            )
            self._saving.add(saving)  # the event loop itself keeps no task from being collected
            saving.add_done_callback(self._saving.discard)
