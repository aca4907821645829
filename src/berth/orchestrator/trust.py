"""Remembers failed calls, so that a worker that answers but cannot start tasks gets none for a while."""

from collections import Counter
from collections.abc import Container
from typing import Generic

from berth.orchestrator.model import T, W

STRIKES = 2
"""Terms in a row in which a worker started none of its tasks, before it rests."""
MAX_REST = 32
"""Terms; the first rest is 2, each further one twice as long."""


class Trust(Generic[W, T]):
    """Counts failures; one success restores the trust.

    A task that also fails on a second worker is itself to blame, and no worker rests because of it.
    """

    def __init__(self) -> None:
        self.failures: Counter[T] = Counter()
        """Failed calls for a task since the last that succeeded."""
        self._failed_on: dict[T, set[W]] = {}
        self._strikes: Counter[W] = Counter()
        self.rest: dict[W, int] = {}
        """The workers that should get nothing in this term, and for how many terms."""
        self._started: set[W] = set()
        self._refused: set[W] = set()

    def succeeded(self, worker: W, task: T, *, started: bool) -> None:
        """Record a successful call; `started` for an add."""
        self.failures.pop(task, None)
        if started:
            self._started.add(worker)
            self._failed_on.pop(task, None)

    def failed(self, worker: W, task: T, *, started: bool) -> None:
        """Record a failed call; `started` for an add."""
        self.failures[task] += 1
        if started:
            where = self._failed_on.setdefault(task, set())
            where.add(worker)
            if len(where) == 1:
                self._refused.add(worker)

    def end_term(self, workers: Container[W], tasks: Container[T]) -> None:
        """End a term: count strikes and rests, forget removed workers and tasks."""
        self.rest = {worker: left - 1 for worker, left in self.rest.items() if left > 1}
        for worker in self._started:
            self._strikes.pop(worker, None)
            self.rest.pop(worker, None)
        for worker in self._refused - self._started:
            self._strikes[worker] += 1
            if (more := self._strikes[worker] - STRIKES) >= 0:
                self.rest[worker] = min(2 ** (more + 1), MAX_REST)
        self._started.clear()
        self._refused.clear()
        self._strikes = Counter({w: n for w, n in self._strikes.items() if w in workers})
        self.rest = {w: n for w, n in self.rest.items() if w in workers}
        self.failures = Counter({t: n for t, n in self.failures.items() if t in tasks})
        self._failed_on = {t: where for t, where in self._failed_on.items() if t in tasks}
