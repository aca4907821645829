"""Plans that the certificate rejected: counted, logged, and the problem saved to a file to look at later."""

from __future__ import annotations

import asyncio
import copy
import logging
import re
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from berth.controller.metrics import Metrics
from berth.controller.saved import Names, save
from berth.pool import Brain
from berth.solve import Problem

logger = logging.getLogger(__name__)
SAVE_AGAIN = 60.0
"""Seconds between two problems of a Pool that are saved: a defect may show at every event."""
SHOWN = 3
"""Faults that the log names."""
LONGEST = 1000
"""Characters of a fault that are logged: an engine's exception may say anything."""


def default_folder() -> Path:
    """Where problems are saved by default."""
    try:
        return Path(tempfile.gettempdir()) / "berth"
    except FileNotFoundError:  # nothing is writable; that is found out, and logged, when a file is written
        return Path("/tmp/berth")


def report(
    engine: str,
    faults: Sequence[str],
    problem: Problem,
    names: Names | None = None,
    folder: Path | str | None = None,
) -> Path | None:
    """Save the problem and log what is wrong with the engine's plan; gives the file, None without one.

    Made for `Solver(rejected=...)`, which calls it with the first three. Blocks while it writes: a
    large problem takes a second or two.
    """
    where = default_folder() if folder is None else Path(folder)
    names = names or Names()
    path = save(problem, where, names)
    hint = f"berth plan -f {path}" if path else f"the problem could not be saved in {where}"
    log(engine, faults, hint, names)
    return path


def log(engine: str, faults: Sequence[str], hint: str, names: Names) -> None:
    """Log what is wrong with the engine's plan; `hint` says where the problem is."""
    shown = [_named(fault, names) for fault in faults[:SHOWN]]
    if len(faults) > SHOWN:
        shown.append(f"and {len(faults) - SHOWN} more")
    logger.error(
        "Pool %s/%s: the plan of the %s engine is not used: %s (%s)",
        names.namespace,
        names.pool,
        engine,
        "; ".join(shown),
        hint,
    )


def _named(fault: str, names: Names) -> str:
    """A fault with names in place of rows, which mean nothing to a reader of the log."""

    def name(match: re.Match[str]) -> str:
        found = None
        with suppress(IndexError):
            found = (names.item if match[1] == "Item" else names.member)(int(match[2]))
        return f"{match[1]} {found or match[2]}"

    return re.sub(r"\b(Item|Member) (\d+)\b", name, fault[:LONGEST])


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
