"""Assignment: what one Member should hold, and what it reports that it holds."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from berth.kinds import model
from berth.kinds.entry import ENTRY_MAX_LENGTH, ENTRY_PATTERN, REPORT_MAX_LENGTH, REPORT_PATTERN
from berth.kinds.member import MAX_LIMIT
from berth.kinds.meta import HasMeta, Part

MAX_ENTRIES = 2 * MAX_LIMIT
"""Twice a Member's highest limit: it may still be releasing as many entries as it holds."""

MAX_PROBLEMS = 64
MAX_PROBLEM_MESSAGE = 1024
MAX_SESSION = 253

# A plain pattern and not a rule: it is checked on every entry of every write, and a list of
# thousands is beyond the cost that the API server grants to CEL.
_EntryText = Annotated[str, Field(max_length=ENTRY_MAX_LENGTH, pattern=ENTRY_PATTERN)]
_ReportText = Annotated[str, Field(max_length=REPORT_MAX_LENGTH, pattern=REPORT_PATTERN)]


class AssignmentSpec(model.Shape):
    """What the Member should hold; written only by the leader."""

    pool: model.PoolName
    """The Member's pool."""
    term: model.Term
    """The leader's term when it wrote this."""
    session: Annotated[str, Field(min_length=1, max_length=MAX_SESSION)] | None = None
    """The session that the entries are for: the holder of the Member's Lease when they were written. No other
    session works on them. Absent if the Member has no Lease."""
    items: Annotated[tuple[_EntryText, ...], model.atomic(MAX_ENTRIES)] = ()
    """The entries, sorted by name: `NAME#SLOT@GRANT` for a replica, `NAME#0@GRANT:EPOCH` for the primary."""


class ItemProblem(model.Observed):
    """Why a Member could not do what an entry asks."""

    item: model.ObjectName
    """The Item's name."""
    grant: model.Term
    """The grant that the problem is about."""
    message: Annotated[str, Field(max_length=MAX_PROBLEM_MESSAGE)]
    """What went wrong, in human-readable form."""


class AssignmentStatus(model.Observed):
    """What the Member holds; written only by the Member."""

    session: Annotated[str, Field(max_length=MAX_SESSION)] = ""
    """The session that reports: one run of the process, and the holder of its Lease."""
    items: Annotated[tuple[_ReportText, ...], model.atomic(MAX_ENTRIES)] = ()
    """The reports: `NAME@GRANT=PHASE`, where PHASE is Preparing, Ready, Active, Draining or Failed."""
    problems: Annotated[tuple[ItemProblem, ...], model.atomic(MAX_PROBLEMS)] = ()
    """Why Items failed; only the first 64 are listed."""


class Assignment(model.Resource):
    """What one Member should hold and what it holds. It has the Member's name and is owned by it."""

    about: ClassVar[model.Kind] = model.Kind(
        "Assignment",
        short_names=("ba",),
        columns=(
            model.column("Pool", ".spec.pool", description="The Member's pool"),
            model.column("Term", ".spec.term", "integer", "The leader's term when it last wrote"),
            model.column("Session", ".status.session", description="The process that reports", wide=True),
            model.AGE,
        ),
        rules=(
            model.Rule(
                "self.spec.pool != oldSelf.spec.pool || self.spec.term >= oldSelf.spec.term",
                "must not decrease: the writer is no longer the leader of the pool",
                field=".spec.term",
            ),
        ),
    )

    kind: Literal["Assignment"] = "Assignment"
    spec: AssignmentSpec
    status: AssignmentStatus | None = None


class ReadAssignmentSpec(Part, frozen=True):
    """`spec` of an Assignment."""

    pool: str = "default"
    term: int = 0
    session: str | None = None
    """The session that the entries are for; None if the Member has no Lease or an older leader wrote it."""
    items: tuple[str, ...] = ()


class ReadProblem(Part, frozen=True):
    """One of `status.problems`."""

    item: str = ""
    grant: int = 0
    message: str = ""


class ReadAssignmentStatus(Part, frozen=True):
    """`status` of an Assignment."""

    session: str = ""
    items: tuple[str, ...] = ()
    problems: tuple[ReadProblem, ...] = ()


class AssignmentObject(HasMeta, frozen=True):
    """An Assignment as it is read."""

    spec: ReadAssignmentSpec = ReadAssignmentSpec()
    status: ReadAssignmentStatus = ReadAssignmentStatus()

    @property
    def owner(self) -> str:
        """The uid of the Member that owns it; empty if none does."""
        return next((owner.uid for owner in self.metadata.owner_references if owner.kind == "Member"), "")

    def for_another(self, session: str) -> bool:
        """Whether its entries are for a session other than that one."""
        return self.spec.session is not None and self.spec.session != session

    def of_another(self, uid: str) -> bool:
        """Whether it is owned by a Member other than the one with that uid.

        The leader replaces such an Assignment, because it was written for an earlier Member of this name. An
        Assignment without an owner was created by hand and is used as it is.
        """
        return self.owner not in ("", uid)
