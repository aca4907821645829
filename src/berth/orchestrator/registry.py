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
    """The expected workers and tasks. Every method is short and thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: dict[W, WorkerSpec] = {}
        self._worker_keys: set[int] = set()
        self._tasks: dict[T, TaskSpec] = {}
        self._task_keys: set[int] = set()

    def snapshot(self) -> Expected[W, T]:
        """Copies that later changes do not affect."""
        with self._lock:
            return Expected(dict(self._workers), dict(self._tasks))

    def expected_tasks(self) -> list[Task[T]]:
        """The tasks in the order in which they were added."""
        with self._lock:
            return [Task(task, spec.instances) for task, spec in self._tasks.items()]

    def add_worker(self, worker: W, limit: int | None, zone: str) -> None:
        """Add a worker; one that is known stays as it is."""
        _check_limit(limit)
        with self._lock:
            if worker not in self._workers:
                self._workers[worker] = self._new_worker(worker, limit, zone)

    def update_worker(self, worker: W, limit: int | EllipsisType | None, zone: str | EllipsisType) -> None:
        """Change what is not `...` of a known worker; KeyError for an unknown one."""
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
        """Forget a worker; an unknown one is no error."""
        with self._lock:
            spec = self._workers.pop(worker, None)
            if spec is not None:
                self._worker_keys.discard(spec.key)

    def update_workers(self, workers: Iterable[W]) -> None:
        """Replace the workers by these; those already known keep their limit and zone."""
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

    def add_task(self, task: T, instances: int) -> None:
        """Add a task; one that is known stays as it is."""
        if isinstance(task, Task):
            raise TypeError(f"add_task takes the task itself and instances=N, not a Task; got {task!r}")
        _check_instances(instances)
        with self._lock:
            if task not in self._tasks:
                self._tasks[task] = self._new_task(task, instances)

    def remove_task(self, task: T) -> None:
        """Forget a task; an unknown one is no error."""
        with self._lock:
            spec = self._tasks.pop(task, None)
            if spec is not None:
                self._task_keys.discard(spec.key)

    def update_tasks(self, tasks: Iterable[Task[T]]) -> None:
        """Replace the tasks by these; of two with one definition the first counts."""
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
