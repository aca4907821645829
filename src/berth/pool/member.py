"""What is known of one Member: its object, its Assignment with entries and reports, and its session."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from berth.kinds import (
    MAX_SESSION,
    AssignmentObject,
    Entry,
    MemberObject,
    Phase,
    Readiness,
    Report,
    parse_entry,
    parse_report,
)
from berth.pool.liveness import UNKNOWN, Leases, Liveness

_PREPARED = (Phase.READY, Phase.ACTIVE)


@dataclass(slots=True)
class MemberState:
    """What is known of one Member name. `info` or `assignment` may be missing, not both."""

    name: str
    row: int
    info: MemberObject | None = None
    assignment: AssignmentObject | None = None
    entries: dict[str, Entry] = field(default_factory=dict)  # by Item; none while an earlier Member owns them
    malformed: tuple[str, ...] = ()  # what is wrong with `spec.items`, in words; the next write removes it
    reports: dict[str, Report] = field(default_factory=dict)
    liveness: Liveness = Liveness.MISSING
    session_holds: bool = True  # whether the reports are of the Lease's holder; true without a Lease
    successor: str | None = None
    """Session for which the entries must be written again: the new holder of its Lease, or the empty string
    if it has no Lease any more. None if they are for the right session."""
    dead_since: float | None = None  # monotonic seconds; None while live
    lived: bool = False  # whether this observer has observed it live
    awaited: bool = False  # not live, but its Items wait for it (outage delay or brake)

    @property
    def uid(self) -> str:
        """uid of the Member object; empty without one."""
        return self.info.metadata.uid if self.info else ""

    @property
    def limit(self) -> int:
        """The maximum number of Items that it may hold, 0 without a Member object."""
        return self.info.spec.limit if self.info else 0

    @property
    def lease(self) -> str:
        """Name of its Lease; empty if it needs none."""
        return (self.info and self.info.spec.lease_name) or ""

    @property
    def reported(self) -> bool:
        """Whether an entry is ready only once the Member reports it (`spec.readiness: Reported`)."""
        return self.info is not None and self.info.spec.readiness is Readiness.REPORTED

    @property
    def session(self) -> str:
        """The session that wrote the status of the Assignment; empty if none has."""
        return self.assignment.status.session if self.assignment else ""

    @property
    def written_for(self) -> str:
        """The session that the entries are for; empty if the Assignment names none."""
        return (self.assignment and self.assignment.spec.session) or ""

    @property
    def live(self) -> bool:
        """Whether its process can be relied on now."""
        return self.info is not None and self.liveness is Liveness.LIVE

    @property
    def owned(self) -> bool:
        """Whether the Assignment exists and belongs to this very Member object."""
        return self.info is not None and self.assignment is not None and self.assignment.owner == self.uid

    @property
    def orphaned(self) -> bool:
        """Whether the Assignment exists and belongs to no Member, or to an earlier one of this name."""
        return self.assignment is not None and not self.owned

    @property
    def listed(self) -> set[str]:
        """Items that the Assignment lists, whoever owns it."""
        return {text.partition("#")[0] for text in (self.assignment.spec.items if self.assignment else ())}

    @property
    def broken(self) -> bool:
        """Whether the Assignment must be created, cleaned, or written with the right session."""
        unusable = self.assignment is None or bool(self.malformed) or self.unstamped
        return self.info is not None and not self.orphaned and unusable

    @property
    def adopted(self) -> bool:
        """Whether the successor works with these very entries: an older leader wrote them for no session."""
        return not self.written_for and self.assignment is not None and self.session == self.successor

    @property
    def restarted(self) -> bool:
        """Whether the entries are for another session than the running one, so that each is granted again."""
        return self.successor is not None and self.live and not self.adopted

    @property
    def unstamped(self) -> bool:
        """Whether only the session that the Assignment names is wrong."""
        return self.successor is not None and self.owned and (self.adopted or not self.entries)

    def session_for(self, entries: dict[str, Entry]) -> str:
        """`spec.session` of a write that leaves these entries here.

        The successor gets nothing that the session before it was granted, or two would have one epoch.
        """
        if self.successor is None:
            return self.written_for
        known = self.entries
        kept = any(name in known and known[name].grant == entry.grant for name, entry in entries.items())
        return self.written_for if kept and not self.adopted else self.successor

    def ready(self, name: str) -> bool:
        """Whether the entry of this Item here is ready (section "Assignment" of the API reference)."""
        entry = self.entries.get(name)
        if entry is None or not self.live or self.restarted:
            return False
        if not self.reported:
            return True
        report = self.reports.get(name)
        return (
            report is not None
            and report.grant == entry.grant
            and report.phase in _PREPARED
            and self.session_holds
        )

    def problem(self, entry: Entry) -> str | None:
        """What the Member reports as the problem of an entry."""
        problems = self.assignment.status.problems if self.assignment else ()
        return next((p.message for p in problems if (p.item, p.grant) == (entry.name, entry.grant)), None)

    def failure(self, item: str) -> str | None:
        """Why the Member reports its entry of this Item as failed; None if it does not."""
        entry, report = self.entries.get(item), self.reports.get(item)
        if entry is None or report is None or not self.session_holds:
            return None
        if (report.grant, report.phase) != (entry.grant, Phase.FAILED):
            return None
        return self.problem(entry) or "it gives no reason"

    @property
    def held_or_reported(self) -> set[str]:
        """Names of the Items that the Member still holds or, if it reports, still reports."""
        return self.entries.keys() | self.reports.keys() if self.reported else set(self.entries)


# ---- sessions: they end, Members stay ---------------------------------------------------------------


class Sessions:
    """The sessions of one Pool's Members, judged by their Leases."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self.restarted: set[int] = set()
        """Members whose entries are for another session than they should be, by row; live or not."""
        self.uncertain: set[int] = set()
        """Members whose Lease was observed with another holder, which may be an earlier one: to be read."""

    def check(self, member: MemberState) -> bool:
        """Derive what is known of a Member's session again; whether that changed."""
        before = (member.session_holds, member.successor)
        member.session_holds = not member.lease or self._leases.holder(member.lease) == member.session
        successor, certain = self._successor(member)
        member.successor = successor if certain else None
        self.forget(member.row)
        if not certain:
            self.uncertain.add(member.row)
        elif successor is not None and member.owned:
            self.restarted.add(member.row)
        return before != (member.session_holds, member.successor)

    def forget(self, row: int) -> None:
        """Forget what was derived for this row."""
        self.restarted.discard(row)
        self.uncertain.discard(row)

    def _successor(self, member: MemberState) -> tuple[str | None, bool]:
        """The session for which the entries must be written again, if any, and whether that is certain."""
        if member.info is None:
            return None, True  # there is nothing to write for
        if not member.lease:
            return ("" if member.written_for else None), True
        holder = self._leases.holder(member.lease)[:MAX_SESSION]
        if holder in ("", UNKNOWN, member.written_for):
            return None, True
        there = member.assignment
        if not member.written_for and (there is None or not there.spec.items or member.session == holder):
            return holder, True
        return holder, self._leases.follows(member.lease, member.written_for)


# ---- the texts of an Assignment ---------------------------------------------------------------------


def read_entries(
    old: AssignmentObject | None, known: dict[str, Entry], items: tuple[str, ...]
) -> tuple[dict[str, Entry], tuple[str, ...]]:
    """The entries of `items` by Item name, and what is wrong with some, in words.

    Strings that were in `old`, whose entries are `known`, are not parsed again. An Item that is listed twice
    counts once, as the entry with the higher epoch, then with the lower slot.
    """
    # If an Item was listed twice `known` has only one of its entries: then all are parsed again.
    reuse = set(old.spec.items) if old and len(old.spec.items) == len(known) else set()
    entries: dict[str, Entry] = {}
    malformed: list[str] = []
    for text in items:
        name = text.partition("#")[0]
        entry = known.get(name) if text in reuse else None
        if entry is None:
            try:
                entry = parse_entry(text)
            except ValueError as error:
                malformed.append(str(error))
                continue
        other = entries.get(name)
        if other is not None:
            malformed.append(f"Item {name} is listed more than once")
            entry = max(entry, other, key=lambda e: (e.epoch, -e.slot))
        entries[name] = entry
    return entries, tuple(malformed)


def read_reports(reports: tuple[str, ...]) -> dict[str, Report]:
    """Read `status.items`; what cannot be read, and what reports an Item twice, is ignored."""
    read = []
    for text in reports:
        with suppress(ValueError):
            read.append(parse_report(text))
    times = Counter(report.name for report in read)
    return {report.name: report for report in read if times[report.name] == 1}
