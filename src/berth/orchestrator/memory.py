"""Workers in memory, for the tests of programs that use the orchestrator."""

import asyncio
from collections import Counter, defaultdict
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
        self._workers: defaultdict[W, _Worker[T]] = defaultdict(_Worker)

    def tasks(self, worker: W) -> set[T]:
        """The tasks that the worker runs."""
        return set(self._workers[worker].tasks)

    def assign(self, worker: W, tasks: Iterable[T]) -> None:
        """Make the worker run exactly these tasks, without calls."""
        self._workers[worker].tasks = dict.fromkeys(tasks)

    def forget(self, worker: W) -> None:
        """Remove a worker and its tasks, like a crash; the next call creates it anew, empty."""
        self.heal(worker)
        self._workers.pop(worker, None)

    def fail(self, worker: W, *operations: str, error: Exception | None = None) -> None:
        """Make calls to the worker raise `error`: the named ones (`"list"`, `"add"`, `"remove"`), or all."""
        state = self._workers[worker]
        failure = error if error is not None else ConnectionError(f"{worker!r} is down")
        state.errors |= dict.fromkeys(_checked(operations), failure)

    def block(self, worker: W, *operations: str) -> None:
        """Make calls to the worker, the named ones or all, hang until it is healed or they are cancelled."""
        self._workers[worker].blocked |= _checked(operations)

    def heal(self, worker: W) -> None:
        """End `fail` and `block`; hanging calls continue."""
        state = self._workers[worker]
        state.errors, state.blocked = {}, frozenset()
        state.healed.set()
        state.healed = asyncio.Event()

    async def list(self, worker: W) -> tuple[T, ...]:
        """The tasks that the worker runs."""
        return tuple((await self._called(worker, "list")).tasks)

    async def add(self, worker: W, task: T) -> None:
        """Start the task on the worker, unless it already runs there."""
        (await self._called(worker, "add")).tasks[task] = None

    async def remove(self, worker: W, task: T) -> None:
        """Stop the task on the worker, if it runs there."""
        (await self._called(worker, "remove")).tasks.pop(task, None)

    async def _called(self, worker: W, operation: str) -> _Worker[T]:
        """Count the call, and let it take as long or fail as it is set up to."""
        state = self._workers[worker]
        self.calls[operation] += 1
        if self.latency:
            await asyncio.sleep(self.latency)
        if operation in state.blocked:
            await state.healed.wait()
        if operation in state.errors:
            raise state.errors[operation]
        return state


def _checked(operations: tuple[str, ...]) -> frozenset[str]:
    unknown = set(operations) - OPERATIONS
    if unknown:
        raise ValueError(f"operations are {sorted(OPERATIONS)}; got {sorted(unknown)}")
    return frozenset(operations) or OPERATIONS
