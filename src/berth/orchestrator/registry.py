"""The expected workers and tasks: changed from any thread, read once at the start of a term."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Generic

from berth.orchestrator.keys import stable_key
from berth.orchestrator.model import T, Task, W

MAX_LIMIT = 4096
"""The maximum limit of a worker, and the limit that a worker without one counts as."""
MAX_INSTANCES = 32


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """The properties of a worker besides its value."""

    key: int
    limit: int | None
    zone: str


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """The properties of a task besides its value."""

    key: int
    instances: int


@dataclass(frozen=True, slots=True)
class Expected(Generic[W, T]):
    """The workers and tasks of one term, in the order in which they were added."""

    workers: dict[W, WorkerSpec]
    tasks: dict[T, TaskSpec]


class Registry(Generic[W, T]):
    """The expected workers and tasks: the part of an Orchestrator that any thread may use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: dict[W, WorkerSpec] = {}
        self._worker_keys: set[int] = set()
        self._tasks: dict[T, TaskSpec] = {}
        self._task_keys: set[int] = set()

    def _snapshot(self) -> Expected[W, T]:
        """Copies that later changes do not affect."""
        with self._lock:
            return Expected(dict(self._workers), dict(self._tasks))

    def expected_tasks(self) -> list[Task[T]]:
        """The expected tasks, in the order in which they were added."""
        with self._lock:
            return [Task(task, spec.instances) for task, spec in self._tasks.items()]

    def add_worker(self, worker: W, *, limit: int | None = None, zone: str = "") -> None:
        """Add a worker. A known worker stays as it is.

        `limit` (0 to 4096) is the maximum number of tasks that it may run, and its weight: loads are even in
        proportion to the limits. Without one it counts as a worker with a limit of 4096. If the workers have
        different zones, the instances of a task are spread over them.

        Raises ValueError if the limit is out of range.
        """
        _check_limit(limit)
        with self._lock:
            if worker not in self._workers:
                self._workers[worker] = self._new_worker(worker, limit, zone)

    def update_worker(
        self, worker: W, *, limit: int | EllipsisType | None = ..., zone: str | EllipsisType = ...
    ) -> None:
        """Change the limit or the zone of a worker. A limit of 0 empties it, term by term.

        Raises KeyError if the worker is not known, ValueError if the limit is out of range.
        """
        if limit is not ...:
            _check_limit(limit)
        with self._lock:
            spec = self._workers[worker]
            if limit is not ...:
                spec = replace(spec, limit=limit)
            if zone is not ...:
                spec = replace(spec, zone=zone)
            self._workers[worker] = spec

    def remove_worker(self, worker: W) -> None:
        """Remove a worker: it gets no more calls, and its tasks are placed on the others.

        It does not stop its tasks. To empty it first, call `update_worker(worker, limit=0)` and remove it
        once it runs nothing. An unknown worker is ignored.
        """
        with self._lock:
            spec = self._workers.pop(worker, None)
            if spec is not None:
                self._worker_keys.discard(spec.key)

    def update_workers(self, workers: Iterable[W]) -> None:
        """Replace all workers. Known ones keep their limit and zone; duplicates are ignored."""
        wanted = dict.fromkeys(workers)  # consumed before anything changes: it may raise
        with self._lock:
            known, self._workers, self._worker_keys = self._workers, {}, set()
            for worker in wanted:
                old = known.get(worker)
                if old is not None and old.key not in self._worker_keys:
                    self._worker_keys.add(old.key)
                    self._workers[worker] = old
                else:
                    limit, zone = (old.limit, old.zone) if old is not None else (None, "")
                    self._workers[worker] = self._new_worker(worker, limit, zone)

    def add_task(self, task: T, instances: int = 1) -> None:
        """Add a task that `instances` (0 to 32) workers should run. A known task stays as it is.

        Raises ValueError if `instances` is out of range, TypeError for a `Task` instead of its definition.
        """
        if isinstance(task, Task):
            raise TypeError(f"add_task takes the task itself and instances=N, not a Task; got {task!r}")
        _check_instances(instances)
        with self._lock:
            if task not in self._tasks:
                self._tasks[task] = self._new_task(task, instances)

    def remove_task(self, task: T) -> None:
        """Remove a task: it is stopped wherever it runs. An unknown task is ignored."""
        with self._lock:
            spec = self._tasks.pop(task, None)
            if spec is not None:
                self._task_keys.discard(spec.key)

    def update_tasks(self, tasks: Iterable[Task[T]]) -> None:
        """Replace all tasks. Of several with one definition the first counts.

        Raises ValueError, and changes nothing, if the `instances` of one are out of range.
        """
        wanted: dict[T, int] = {}
        for task in tasks:
            _check_instances(task.instances)
            wanted.setdefault(task.definition, task.instances)
        with self._lock:
            known, self._tasks, self._task_keys = self._tasks, {}, set()
            for definition, instances in wanted.items():
                old = known.get(definition)
                if old is not None and old.key not in self._task_keys:
                    self._task_keys.add(old.key)
                    self._tasks[definition] = TaskSpec(old.key, instances)
                else:
                    self._tasks[definition] = self._new_task(definition, instances)

    def _new_worker(self, worker: W, limit: int | None, zone: str) -> WorkerSpec:
        key = stable_key(worker, self._worker_keys.__contains__)
        self._worker_keys.add(key)
        return WorkerSpec(key, limit, zone)

    def _new_task(self, task: T, instances: int) -> TaskSpec:
        key = stable_key(task, self._task_keys.__contains__)
        self._task_keys.add(key)
        return TaskSpec(key, instances)


def _check_limit(limit: object) -> None:
    if limit is None:
        return
    if not isinstance(limit, int) or not 0 <= limit <= MAX_LIMIT:
        raise ValueError(f"limit must be a whole number from 0 to {MAX_LIMIT}, or None; got {limit!r}")


def _check_instances(instances: object) -> None:
    if not isinstance(instances, int) or not 0 <= instances <= MAX_INSTANCES:
        raise ValueError(f"instances must be a whole number from 0 to {MAX_INSTANCES}; got {instances!r}")
