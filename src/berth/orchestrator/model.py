"""The types of the library: communicators, tasks, what workers run, and what a term did."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, Protocol, TypeVar

MAX_LIMIT = 4096
"""The maximum limit of a worker, and the limit that a worker without one counts as."""
MAX_INSTANCES = 32

W = TypeVar("W", bound=Hashable)
T = TypeVar("T", bound=Hashable)
W_contra = TypeVar("W_contra", bound=Hashable, contravariant=True)


class Communicator(Protocol[W_contra, T]):
    """How the orchestrator reaches the workers; every method may be called for many workers at once.

    Calls to one worker are made one at a time. Each call is cancelled after the orchestrator's `timeout`; any
    exception means that the call failed. A call must not suppress its cancellation: one that does is given
    up, and its worker is left out of the terms until the call ends.
    """

    async def list(self, worker: W_contra) -> Iterable[T]:
        """Return the tasks that the worker runs now. An error leaves the worker out of this term."""
        ...

    async def add(self, worker: W_contra, task: T) -> None:
        """Start the task on the worker. An error is logged; a later term places the task again.

        A cancelled call may have started the task, so starting one that already runs should succeed.
        """
        ...

    async def remove(self, worker: W_contra, task: T) -> None:
        """Stop the task on the worker; returning means that it has stopped there.

        After an error, which is logged, the task is not started elsewhere in this term.
        Stopping a task that the worker does not run should succeed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Task(Generic[T]):
    """A task that should run, and how many workers should run it."""

    definition: T
    """Any hashable value: what the communicator's `add` and `remove` receive."""
    instances: int = 1
    """How many workers run it, each at most once: 0 to 32. With fewer workers, all of them do."""


@dataclass(frozen=True, slots=True)
class WorkerState(Generic[W, T]):
    """What one worker listed at the start of the last term."""

    worker: W
    tasks: list[T]
    """As the communicator listed them, without duplicates."""


@dataclass(frozen=True, slots=True)
class TermStats:
    """What one term found and did."""

    worker_count: int
    """Workers that answered `list` without an error."""
    term: int = 0
    """1 for the orchestrator's first term, then one more each."""
    left_out: int = 0
    """Workers that did not answer: they got nothing, and their tasks are not counted."""
    resting: int = 0
    """Workers that answered but got nothing, because they started none of their last tasks."""
    added: int = 0
    """Calls of `add` that succeeded."""
    removed: int = 0
    """Calls of `remove` that succeeded."""
    moved: int = 0
    """Instances removed from one worker and added to another; counted in the two above as well."""
    failed: int = 0
    """Calls of `add` and `remove` that raised or timed out."""
    skipped: int = 0
    """Planned calls that were not made: the worker blocked or was full, or a removal failed."""
    missing: int = 0
    """Wanted instances that no answering worker runs at the end, according to the calls."""
    postponed: int = 0
    """Moves that wait for a later term (`moves_per_worker`)."""
    settled: bool = False
    """Whether every worker answered, a plan could be made, and there was nothing to change."""
    optimal: bool = True
    """Whether the solver proved that the plan needs the fewest moves."""
    list_seconds: float = 0.0
    plan_seconds: float = 0.0
    seconds: float = 0.0
    """The duration of the whole term."""


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


def stable_key(value: object) -> int:
    """A 64-bit key of a worker or task, which are only hashable; the same in every process for the same repr.

    The key only breaks ties in the solver. Values whose repr contains an address get another key in another
    process, and then perhaps another of several equally good plans.
    """
    try:
        text = repr(value)
    except Exception:  # a tie-break must not fail because of a value
        text = ""
    kind = type(value)
    seed = f"{kind.__module__}.{kind.__qualname__}:{text}".encode("utf-8", "backslashreplace")
    return int.from_bytes(blake2b(seed, digest_size=8).digest(), "big")
