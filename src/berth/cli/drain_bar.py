"""Progress of a drain on a terminal: a bar for each Member."""

from __future__ import annotations

from typing import Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from berth.cli.bars import console
from berth.words import counted


class Bars:
    """Bars that fill while Items leave; a context manager whose value is called with what is left."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[words]}"),
            TimeElapsedColumn(),
            console=console(),
        )
        self._tasks: dict[str, TaskID] = {}
        self._most: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def __call__(self, left: dict[str, list[str] | None]) -> None:
        """Show how many Items each Member still has; None: not known yet."""
        for name, items in left.items():
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=None, words="")
            if items is None:
                self._progress.update(self._tasks[name], words="waiting for the controller")
                continue
            most = self._most[name] = max(self._most.get(name, 0), len(items))
            self._progress.update(
                self._tasks[name],
                # An empty bar of nothing would pulse for ever: a Member that had nothing is done.
                total=max(most, 1),
                completed=most - len(items) if items else max(most, 1),
                words=f"{counted(len(items), 'Item')} left" if items else "empty",
            )
