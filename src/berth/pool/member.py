"""What is known of one Member: its object, its Assignment, what that lists and what it reports."""

from __future__ import annotations

from dataclasses import dataclass, field

from berth.kinds import Entry, Phase, Report, parse_entry, parse_report
from berth.pool.liveness import Liveness
from berth.pool.model import AssignmentInfo, MemberInfo

_PREPARED = (Phase.READY, Phase.ACTIVE)


@dataclass(slots=True)
class MemberState:
    """What is known of one Member name. `info` or `assignment` may be missing, not both."""

    name: str
    row: int
    info: MemberInfo | None = None
    assignment: AssignmentInfo | None = None
    entries: dict[str, Entry] = field(default_factory=dict)
    """Entries of the Assignment by Item name; none while the Assignment is an earlier Member's."""
    malformed: tuple[str, ...] = ()
    """What is wrong with `spec.items`, in words; the next write removes such entries."""
    reports: dict[str, Report] = field(default_factory=dict)
    liveness: Liveness = Liveness.MISSING
    session_holds: bool = True
    """Whether the reports are of the session that holds the Lease (true where there is none)."""
    successor: str | None = None
    """Session for which the entries are to be written, in place of the one that they are for now: the new
    holder of its Lease, or the empty string where it has no Lease any more. None where they are right."""
    dead_since: float | None = None
    """Monotonic seconds; None while live."""
    lived: bool = False
    """Whether it was live at any time since this observer knows it."""
    awaited: bool = False
    """Not live, but its Items wait for it (outage delay or brake)."""

    @property
    def live(self) -> bool:
        """Whether its process can be relied on now."""
        return self.info is not None and self.liveness is Liveness.LIVE

    @property
    def owned(self) -> bool:
        """Whether the Assignment exists and belongs to this very Member object."""
        return (
            self.info is not None and self.assignment is not None and self.assignment.owner == self.info.uid
        )

    @property
    def orphaned(self) -> bool:
        """Whether the Assignment exists and belongs to no Member, or to an earlier one of this name."""
        return self.assignment is not None and not self.owned

    @property
    def limit(self) -> int:
        """Most Items that it may hold, 0 when the Member object is gone."""
        return self.info.limit if self.info else 0

    @property
    def written_for(self) -> str:
        """Session that the entries are for; empty where the Assignment names none."""
        return self.assignment.written_for if self.assignment else ""

    @property
    def adopted(self) -> bool:
        """Whether the successor works with these very entries: an older leader wrote them for no session."""
        session = self.assignment.session if self.assignment else None
        return not self.written_for and session == self.successor

    @property
    def restarted(self) -> bool:
        """Whether the entries are another session's than the one that runs, so that each is given anew."""
        return self.successor is not None and self.live and not self.adopted

    @property
    def unstamped(self) -> bool:
        """Whether all that is wrong with the Assignment is the session that it names."""
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
        if entry is None or not self.live or self.info is None or self.restarted:
            return False
        if not self.info.reported:
            return True
        report = self.reports.get(name)
        return (
            report is not None
            and report.grant == entry.grant
            and report.phase in _PREPARED
            and self.session_holds
        )


@dataclass(frozen=True, slots=True)
class Parsed:
    """`spec.items` of an Assignment, read."""

    entries: dict[str, Entry]
    malformed: tuple[str, ...]


def read_entries(old: AssignmentInfo | None, known: dict[str, Entry], items: tuple[str, ...]) -> Parsed:
    """Read `items`; strings that stood in `old` are not parsed again.

    An Item listed twice counts once, as the entry of the higher epoch, then of the lower slot.
    """
    # Of an Item that was listed twice `known` has only one entry: then all are read anew.
    reuse = set(old.items) if old and len(old.items) == len(known) else set()
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
    return Parsed(entries, tuple(malformed))


def read_reports(reports: tuple[str, ...]) -> dict[str, Report]:
    """Read `status.items`; what cannot be read, and what reports an Item twice, is ignored."""
    read: dict[str, Report] = {}
    twice: set[str] = set()
    for text in reports:
        try:
            report = parse_report(text)
        except ValueError:
            continue
        if report.name in read:
            twice.add(report.name)
        read[report.name] = report
    for name in twice:
        del read[name]
    return read
