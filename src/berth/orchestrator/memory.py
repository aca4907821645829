"""Workers in memory, for the tests of programs that use the orchestrator."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic

from berth.orchestrator.model import T, W

OPERATIONS = frozenset({"list", "add", "remove"})


@dataclass(slots=True)
class _Worker(Generic[T]):
    tasks: dict[T, None] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    blocked: frozenset[str] = frozenset()
    healed: asyncio.Event = field(default_factory=asyncio.Event)


class InMemoryCommunicator(Generic[W, T]):
    """A communicator whose workers are dictionaries. The first call to a worker creates it.

    `fail` and `block` make calls to a worker raise or hang, `heal` ends both. `calls["add"]`,
    `calls["remove"]` and `calls["list"]` count the calls, also those that fail.
    """

    def __init__(self, latency: float = 0.0) -> None:
        """`latency`: seconds that each call takes; with 0 it returns without yielding to other tasks."""
        self.latency = latency
        self.calls: Counter[str] = Counter()
        self._workers: dict[W, _Worker[T]] = {}

    def tasks(self, worker: W) -> set[T]:
        """The tasks that the worker runs."""
        return set(self._worker(worker).tasks)

    def assign(self, worker: W, tasks: Iterable[T]) -> None:
        """Make the worker run exactly these tasks, without calls."""
        self._worker(worker).tasks = dict.fromkeys(tasks)

    def forget(self, worker: W) -> None:
        """Remove a worker and its tasks, like a crash; the next call creates it anew, empty."""
        self.heal(worker)
        self._workers.pop(worker, None)

    def fail(self, worker: W, *operations: str, error: Exception | None = None) -> None:
        """Make calls to the worker raise `error`: the named ones (`"list"`, `"add"`, `"remove"`), or all."""
        state = self._worker(worker)
        for operation in _checked(operations):
            state.errors[operation] = error if error is not None else ConnectionError(f"{worker!r} is down")

    def block(self, worker: W, *operations: str) -> None:
        """Make calls to the worker, the named ones or all, hang until it is healed or they are cancelled."""
        state = self._worker(worker)
        state.blocked |= _checked(operations)

    def heal(self, worker: W) -> None:
        """End `fail` and `block`; hanging calls continue."""
        state = self._worker(worker)
        state.errors.clear()
        state.blocked = frozenset()
        state.healed.set()
        state.healed = asyncio.Event()

    async def list(self, worker: W) -> tuple[T, ...]:
        """The tasks that the worker runs."""
        state = self._worker(worker)
        self.calls["list"] += 1
        if self.latency or state.errors or state.blocked:
            await self._wait(state, "list")
        return tuple(state.tasks)

    async def add(self, worker: W, task: T) -> None:
        """Start the task on the worker, unless it already runs there."""
        state = self._worker(worker)
        self.calls["add"] += 1
        if self.latency or state.errors or state.blocked:
            await self._wait(state, "add")
        state.tasks[task] = None

    async def remove(self, worker: W, task: T) -> None:
        """Stop the task on the worker, if it runs there."""
        state = self._worker(worker)
        self.calls["remove"] += 1
        if self.latency or state.errors or state.blocked:
            await self._wait(state, "remove")
        state.tasks.pop(task, None)

    async def _wait(self, state: _Worker[T], operation: str) -> None:
        if self.latency:
            await asyncio.sleep(self.latency)
        if operation in state.blocked:
            await state.healed.wait()
        if operation in state.errors:
            raise state.errors[operation]

    def _worker(self, worker: W) -> _Worker[T]:
        state = self._workers.get(worker)
        if state is None:
            state = self._workers[worker] = _Worker()
        return state


def _checked(operations: tuple[str, ...]) -> frozenset[str]:
    unknown = set(operations) - OPERATIONS
    if unknown:
        raise ValueError(f"operations are {sorted(OPERATIONS)}; got {sorted(unknown)}")
    return frozenset(operations) or OPERATIONS
