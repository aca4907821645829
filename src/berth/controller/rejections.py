"""Plans of one Pool that the certificate rejected: counted, logged, and the problem saved to a file."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from berth.controller.metrics import Metrics
from berth.controller.rejected import log, report
from berth.pool import Brain
from berth.solve import Problem

SAVE_AGAIN = 60.0
"""Seconds between two problems of a Pool that are saved: a defect may show at every event."""


class Names(NamedTuple):
    """What the rows of a problem are called."""

    items: Sequence[str | None]
    members: Sequence[str | None]


class Rejections:
    """Collects what a Solver rejects, in any thread, and reports it beside the Pool's work."""

    def __init__(self, brain: Brain, metrics: Metrics, folder: Path | None = None) -> None:
        """`folder` None: the default one of `berth.controller.rejected`."""
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
        ledger = self._brain.ledger
        return Names(ledger.items.names.copy(), ledger.member_rows.names.copy())

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
            item, member = names.items.__getitem__, names.members.__getitem__
            now = time.monotonic()
            if self._saved_at is not None and now - self._saved_at < SAVE_AGAIN:
                hint = "a problem of this Pool was saved less than a minute ago"
                log(engine, faults, hint, item, member, brain.name, brain.namespace)
                continue
            self._saved_at = now
            where = (brain.name, brain.namespace, self._folder)
            saving = asyncio.create_task(
                asyncio.to_thread(report, engine, faults, problem, item, member, *where)
            )
            self._saving.add(saving)  # the event loop itself keeps no task from being collected
            saving.add_done_callback(self._saving.discard)
