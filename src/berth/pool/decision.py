"""What goes into the brain of a Pool and what comes out: events, decisions, outcomes and facts."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from berth.kinds import AssignmentObject, ItemObject, MemberObject, PoolObject
from berth.pool.changes import Lane, Write
from berth.pool.member import MemberState
from berth.solve import Problem, Solution, Touched

# ---- events: what `observe` takes besides objects -------------------------------------------------


class Gone(NamedTuple):
    """An object was deleted, or names another Pool now."""

    kind: Literal["Item", "Member", "Assignment", "Pool"]
    name: str  # for a Pool, its uid


class LeaseChanged(NamedTuple):
    """The state or the holder of a Lease changed, by an event, by a read or by time."""

    name: str


class LeaseRead(NamedTuple):
    """A read of a Lease has shown this holder; empty if there is none."""

    name: str
    holder: str


Event = ItemObject | MemberObject | AssignmentObject | PoolObject | Gone | LeaseChanged | LeaseRead

# ---- facts: what to publish -----------------------------------------------------------------------


class Notice(NamedTuple):
    """A Kubernetes Event to record about an object of the Pool's namespace."""

    kind: str
    name: str
    uid: str
    reason: str
    message: str
    warning: bool = True


class LogLine(NamedTuple):
    """A line for the log."""

    level: Literal["info", "warning", "error"]
    message: str


class Solved(NamedTuple):
    """A solve has ended."""

    engine: str
    seconds: float
    failed: bool  # the thorough engine gave no plan in time


class Arrived(NamedTuple):
    """An Item has arrived where the plan wants it."""

    lane: Lane  # RECOVERY if a replica was missing when it set out, else MOVE
    seconds: float


class RoundMade(NamedTuple):
    """A round has ended."""

    accepted: list[Write]
    seconds: float
    queued: float | None  # seconds from the first event that it served until it started; None without one

    @property
    def lanes(self) -> Counter[Lane]:
        """Accepted changes of entries, by what they are for."""
        return Counter(edit.lane for write in self.accepted for edit in write.edits)


class Failed(NamedTuple):
    """Something that was decided could not be done."""

    message: str
    retry_in: float


Fact = Notice | LogLine | Solved | Arrived | RoundMade | Failed

# ---- decisions: what `decide` returns -------------------------------------------------------------


class TakeOver(NamedTuple):
    """Raise the term of the Pool object above `above`; create the object if it is missing."""

    above: int
    known: PoolObject | None  # as last observed: saves a read if nobody has written it since
    check: bool  # whether a later term was observed: check first that no other leader has raised it


class Question(NamedTuple):
    """A problem to solve. Events change its arrays in place while the answer is awaited."""

    problem: Problem
    touched: Touched | None  # what changed since the last answer; None: anything
    thorough: bool  # false while the thorough engine has just failed: only the quick ones are tried


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do next for a Pool.

    One of `take_over`, `solve` and `rewrites`, or a round (`deletes`, `writes` and `repairs`), or nothing.
    """

    take_over: TakeOver | None = None
    solve: Question | None = None
    rewrites: tuple[Write, ...] = ()  # unchanged, so that an earlier write without an answer cannot arrive
    uid: str = ""  # uid of the Pool object that this leader has taken over
    term: int = 0  # the term that the writes name
    raise_term: bool = False  # to `term`, before anything is written: the writes grant or promote
    deletes: tuple[MemberState, ...] = ()  # copies; their Assignments are deleted before any promotion
    writes: tuple[Write, ...] = ()  # at most one per Assignment; an edit waits for the writes of its `after`
    repairs: tuple[Write, ...] = ()  # Assignments to create or clean, after everything else
    facts: tuple[Fact, ...] = ()
    rests: bool = False  # there is nothing to do until the next event, or `wake_at`
    wake_at: float | None = None  # when to decide again at the latest (monotonic s); None: at an event


# ---- outcomes: what `done` takes ------------------------------------------------------------------


@dataclass(slots=True)
class Outcome:
    """What came of a decision."""

    pool: PoolObject | None = None  # the Pool after the take-over
    solution: Solution | None = None
    term: int | None = None  # the term that the Pool is in now, if this leader has raised it
    pool_gone: bool = False  # the Pool object is gone, or is another one: it must be taken over again
    refused: bool = False  # nothing was written, as the term could not be raised
    accepted: list[Write] = field(default_factory=list)  # with the edits that were made
    again: set[str] = field(default_factory=set)  # Items whose edits were not made, to be processed again
    in_doubt: dict[str, set[str]] = field(default_factory=dict)
    """Members whose write got no answer, so that it may yet be accepted, and the Items of its edits."""
    rewritten: set[str] = field(default_factory=set)  # Members whose write in doubt can no longer arrive
    failed_objects: set[int] = field(default_factory=set)  # rows whose Assignment was not written or deleted
    error: str = ""  # the first failure, as the API server words it; empty if everything went well
    retry_in: float = 0.0  # seconds after which a decision that failed is made again
