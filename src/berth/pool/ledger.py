"""What is known of one Pool: indexes, the problem's arrays, and what changed since it was processed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from berth.kinds import AssignmentObject, Entry, ItemObject, MemberObject, ReadPoolSpec, Report
from berth.pool.arrays import Arrays, Changed, Rows, rank_ages
from berth.pool.former import FormerPrimaries
from berth.pool.liveness import Leases, Liveness
from berth.pool.member import MemberState, Sessions, read_entries, read_reports
from berth.solve import Primaries, Problem, Zones

MAX_COUNTED_TERM = 10**12
"""No leader gets here, at a thousand terms a second in thirty years: a higher term was written by hand.

To go above that would use up the terms that the API server accepts.
"""


class Ledger:
    """The Items, Members and Assignments of one Pool in one namespace.

    Time is a parameter: `now` is always the observer's monotonic clock, in seconds.
    Each event costs in proportion to what it changes, never to the size of the fleet.
    """

    def __init__(self, leases: Leases, policy: ReadPoolSpec | None = None) -> None:
        self.leases = leases
        self.policy = policy or ReadPoolSpec()
        self.arrays = Arrays()
        self.items = Rows()
        self.generations: dict[int, int] = {}
        """Generation of each Item that exists, by row. A row without one is an Item that is only listed
        somewhere. Nothing else is kept of an Item but its name and replicas, as there may be very many."""
        self.member_rows = Rows()
        self.members: dict[int, MemberState] = {}
        self.changed = Changed()
        self.former = FormerPrimaries(leases, self.member_named)
        self.sessions = Sessions(leases)
        self.highest_term = 0  # of the terms, grants and epochs observed below MAX_COUNTED_TERM
        self._by_lease: dict[str, set[int]] = defaultdict(set)
        self._zones: dict[str, int] = {}
        self._ages_stale = False

    # ---- events ----------------------------------------------------------------------------

    def set_policy(self, policy: ReadPoolSpec) -> None:
        """Take over a changed `spec` of the Pool: from an event, or from the answer of a take-over."""
        old, self.policy = self.policy, policy
        if old.item_status != policy.item_status:
            self.changed.item_status.update(self.generations)
        if replace(old, item_status=policy.item_status) != policy:
            self.changed.problem = True
            self.changed.converge.update(range(len(self.items)))

    def put_item(self, item: ItemObject) -> None:
        """An Item appeared or changed."""
        row = self._item_row(item.metadata.name)
        is_new = row not in self.generations
        self.generations[row] = item.metadata.generation
        self.changed.item_status.add(row)
        if is_new or self.arrays.replicas[row] != item.spec.replicas:
            self.arrays.replicas[row] = item.spec.replicas
            self._problem_changed(row)

    def delete_item(self, name: str) -> None:
        """An Item is gone; what is held of it will be taken away."""
        row = self.items.of.get(name)
        if row is None or self.generations.pop(row, None) is None:
            return
        self.arrays.replicas[row] = 0
        self._problem_changed(row)
        self._forget_item_if_unused(row)

    def put_member(self, info: MemberObject, now: float) -> None:
        """A Member appeared or changed."""
        member = self._member(info.metadata.name)
        row, lease, reported = member.row, member.lease, member.reported
        old, member.info = member.info, info
        is_new = old is None or old.metadata.uid != info.metadata.uid
        if is_new:
            member.dead_since, member.lived = None, False
        if lease != member.lease:
            self._by_lease[lease].discard(row)
            self._by_lease[member.lease].add(row)
            if lease and not is_new and member.session:
                for entry in member.entries.values():
                    if entry.primary:
                        self.former.put(entry.name, member.name, lease, member.session)
        if is_new:
            self._adopt(member)
        arrays, spec = self.arrays, info.spec
        zone = self._zones.setdefault(spec.zone, len(self._zones))
        if (arrays.zone[row], arrays.draining[row]) != (zone, spec.draining):
            arrays.zone[row], arrays.draining[row] = zone, spec.draining
            self._member_problem_changed(row)
        if old is None or old.metadata.creation_timestamp != info.metadata.creation_timestamp:
            self._ages_stale = True
            self._member_problem_changed(row)
        if is_new or (lease, reported) != (member.lease, member.reported):
            self._check_session(member)
            self._recheck_items(member)
        self.changed.member_status.add(row)
        self._refresh(member, now)

    def delete_member(self, name: str, now: float) -> None:
        """A Member object is gone: what its Assignment lists is not held any more."""
        member = self.member_named(name)
        if member is None:
            return
        self._by_lease[member.lease].discard(member.row)
        self._set_entries(member, {})
        member.info, member.dead_since, member.awaited = None, None, False
        self._check_session(member)
        self._refresh(member, now)
        self.changed.assignments.add(member.row)
        self._forget_member_if_unused(member)

    def put_assignment(self, new: AssignmentObject, now: float) -> None:
        """An Assignment appeared or changed."""
        member = self._member(new.metadata.name)
        if member.assignment is not None and member.assignment.metadata.uid != new.metadata.uid:
            self._clear_assignment(member)
        old, member.assignment = member.assignment, new
        self._count_term(new.spec.term)
        if old is None or (old.status.session, old.spec.session) != (new.status.session, new.spec.session):
            self._check_session(member)
            self._note_orphan(member)
            self._recheck_items(member)
        if old is None or old.owner != new.owner or old.spec.items != new.spec.items:
            self._adopt(member, old)
        if old is None or old.status.items != new.status.items:
            before = member.reports
            self._set_reports(member, read_reports(new.status.items))
            if old is not None and old.status.session == new.status.session:
                # Now, because the next round may find that the Member is gone, and could only ask its Lease.
                for name in before.keys() - member.reports.keys():
                    self.former.note_release(member, name)
        if old is None or old.status.problems != new.status.problems:
            self.changed.member_status.add(member.row)
        self._refresh(member, now)

    def delete_assignment(self, name: str, now: float) -> None:
        """An Assignment is gone: nothing is held there, and nothing more will be reported."""
        member = self.member_named(name)
        if member is None:
            return
        self._clear_assignment(member)
        member.malformed = ()
        self._check_session(member)
        self.changed.assignments.add(member.row)
        self._refresh(member, now)
        self._forget_member_if_unused(member)

    def _clear_assignment(self, member: MemberState) -> None:
        # Before `member.assignment` is changed: it has the session that was primary there.
        self._set_entries(member, {})
        self._set_reports(member, {})
        member.assignment = None

    def lease_changed(self, lease: str, now: float) -> None:
        """The state or the holder of a Lease changed, by an event or by time."""
        for row in tuple(self._by_lease.get(lease, ())):
            member = self.members[row]
            if self._check_session(member):
                self._recheck_items(member)
            self._refresh(member, now)
            self.changed.member_status.add(row)
        items = self.items.of
        self.changed.converge.update(items[name] for name in self.former.of_lease(lease) if name in items)

    def lease_read(self, lease: str, holder: str, now: float) -> None:
        """A read has shown the holder of a Lease whose watch may be behind.

        A leader that observed a Lease change hands needs no read. One that has just started may have a watch
        that is behind: it would take the entries from the running session, and grant them to one that has
        ended.
        """
        for row in self._by_lease.get(lease, set()) & self.sessions.uncertain:
            if holder == self.leases.holder(lease):
                self.leases.confirm(lease, self.members[row].written_for)
                self.lease_changed(lease, now)

    def doubts_holder(self, lease: str) -> bool:
        """Whether a read has to show the holder of a Lease, as its watch may be behind."""
        return not self.sessions.uncertain.isdisjoint(self._by_lease.get(lease, ()))

    def uses_lease(self, lease: str) -> bool:
        """Whether any Member names that Lease, or an Item's last primary did."""
        return bool(self._by_lease.get(lease) or self.former.of_lease(lease))

    # ---- liveness --------------------------------------------------------------------------

    def _refresh(self, member: MemberState, now: float) -> None:
        """Bring liveness, effective limit and what depends on them up to date for one Member."""
        before, was = member.live, member.liveness
        member.liveness = self._liveness(member)
        if member.live:
            member.dead_since, member.awaited, member.lived = None, False, True
        elif member.dead_since is None and member.info is not None:
            member.dead_since = self.leases.expired_at(member.lease, now)
        self._set_problem_member(member)
        if before != member.live or was is not member.liveness:
            # From expired to long expired, too: `Exclusive` waits for that.
            self._recheck_items(member)
            self.changed.member_status.add(member.row)

    def set_awaited(self, row: int, awaited: bool) -> None:
        """Let the Items of a dead Member wait for it, or no longer."""
        member = self.members[row]
        if member.awaited != awaited and not member.live:
            member.awaited = awaited
            self._set_problem_member(member)
            self._recheck_items(member)

    def _liveness(self, member: MemberState) -> Liveness:
        if member.info is None:
            return Liveness.MISSING
        if not member.lease:
            return Liveness.LIVE
        if not (member.lived or member.entries) and member.lease in self.leases.unread():
            return Liveness.EXPIRED  # left by an earlier process: the Member has nothing to lose
        return self.leases.state(member.lease)

    def _set_problem_member(self, member: MemberState) -> None:
        row, arrays = member.row, self.arrays
        # A Member that is awaited keeps what it has and gets nothing new.
        limit = min(member.limit, len(member.entries)) if member.awaited else member.limit
        live = member.live or member.awaited
        if (arrays.live[row], arrays.limit[row]) != (live, limit):
            arrays.live[row], arrays.limit[row] = live, limit
            self._member_problem_changed(row)

    def _check_session(self, member: MemberState) -> bool:
        changed = self.sessions.check(member)
        if member.unstamped:
            self.changed.assignments.add(member.row)
        return changed

    # ---- reading ---------------------------------------------------------------------------

    def problem(self) -> Problem:
        """The placement problem as it stands now; its arrays are not copies."""
        if self._ages_stale:
            self.changed.solve_members |= rank_ages(self.members.values(), self.arrays.age)
            self._ages_stale = False
        problem = self.arrays.problem()
        problem.zones = Zones[self.policy.zones.name]
        problem.tolerance = self.policy.balance.tolerance_percent
        problem.primaries = Primaries[self.policy.balance.primaries.name]
        return problem

    def member_named(self, name: str) -> MemberState | None:
        """The Member of that name, if anything is known of it."""
        row = self.member_rows.of.get(name)
        return None if row is None else self.members[row]

    def holders(self, item: int) -> list[MemberState]:
        """Members that hold the Item, live or not, in slot order."""
        return [self.members[row] for row in self.arrays.held_by(item)]

    # ---- keeping the indexes ---------------------------------------------------------------

    def _item_row(self, name: str) -> int:
        row = self.items.of.get(name)
        if row is None:
            row = self.items.add(name)
            self.arrays.add_item(row, name)
            self.changed.solve_items.add(row)
        return row

    def _member(self, name: str) -> MemberState:
        member = self.member_named(name)
        if member is None:
            row = self.member_rows.add(name)
            self.arrays.add_member(row, name)
            member = self.members[row] = MemberState(name, row)
            self.changed.solve_members.add(row)
        return member

    def _adopt(self, member: MemberState, old: AssignmentObject | None = None) -> None:
        """Read the entries of an Assignment that is this Member's own; another's count for nothing."""
        entries: dict[str, Entry] = {}
        member.malformed = ()
        if member.owned and member.assignment:
            entries, member.malformed = read_entries(old, member.entries, member.assignment.spec.items)
        self._set_entries(member, entries)
        self._check_session(member)
        self._note_orphan(member)
        if not member.owned or member.malformed:
            self.changed.assignments.add(member.row)

    def _note_orphan(self, member: MemberState) -> None:
        """A process of this name may have started to work with what an earlier Member was granted."""
        if member.orphaned and member.assignment:
            entries, _ = read_entries(None, {}, member.assignment.spec.items)
            for entry in entries.values():
                if entry.primary:
                    self.former.note_taken(member, entry.name)

    def _set_entries(self, member: MemberState, entries: dict[str, Entry]) -> None:
        before, member.entries = member.entries, entries
        if before == entries:
            return
        for name in _differing(before, entries):
            entry, was = entries.get(name), before.get(name)
            if entry is not None:
                self._count_term(max(entry.grant, entry.epoch))
            if was is not None and was.primary and (entry is None or not entry.primary):
                self.former.note_taken(member, name)
            row = self._item_row(name)
            if member.reports or self.former.reported:
                self.former.note_report(member, name)
            self._reindex_item(row, name, member.row, entry is not None)
        self.changed.member_status.add(member.row)
        self._set_problem_member(member)

    def _reindex_item(self, row: int, name: str, changed: int, holds: bool) -> None:
        # Runs for each entry of a fleet at the start: plain tuples sort three times as fast as with a key.
        # Of equal claims (only edits by hand make them) the Member that is first by name has the better one.
        names = self.member_rows.names
        holders = [m for m in self.arrays.held_by(row) if m != changed] + ([changed] if holds else [])
        entries = [self.members[m].entries[name] for m in holders]
        claims = [(e.slot, -e.epoch, names[m], m) for e, m in zip(entries, holders, strict=True)]
        claims.sort()
        primary = claims[0][3] if claims and claims[0][0] == 0 else -1
        tidy = [slot for slot, *_ in claims] == list(range(len(claims)))
        self.arrays.set_held(row, [m for *_, m in claims], primary, tidy)
        for rows in (self.changed.solve_items, self.changed.converge, self.changed.item_status):
            rows.add(row)
        self._forget_item_if_unused(row)

    def _count_term(self, term: int) -> None:
        if self.highest_term < term < MAX_COUNTED_TERM:
            self.highest_term = term

    def _set_reports(self, member: MemberState, reports: dict[str, Report]) -> None:
        before, member.reports = member.reports, reports
        changed = _differing(before, reports)
        for name in changed:
            self.former.note_report(member, name)
        self._recheck(changed)
        if changed:
            self.changed.member_status.add(member.row)

    def _recheck_items(self, member: MemberState) -> None:
        for names in (member.entries, member.reports, self.former.of_member(member.name)):
            self._recheck(names)

    def _recheck(self, items: Iterable[str]) -> None:
        rows = [row for name in items if (row := self.items.of.get(name)) is not None]
        self.changed.converge.update(rows)
        self.changed.item_status.update(rows)

    def _problem_changed(self, item: int) -> None:
        changed = self.changed
        changed.problem = True
        changed.solve_items.add(item)
        changed.converge.add(item)

    def _member_problem_changed(self, row: int) -> None:
        self.changed.problem = True
        self.changed.solve_members.add(row)

    def _forget_item_if_unused(self, row: int) -> None:
        if row not in self.generations and self.arrays.held[row, 0] < 0:
            name = self.items.name(row)
            self.items.forget(name)
            self.former.forget(name)
            # It stays in `changed.converge`: the next round must forget what it waits for.
            self.changed.item_status.discard(row)

    def _forget_member_if_unused(self, member: MemberState) -> None:
        row = member.row
        if member.info is None and member.assignment is None:
            self._set_reports(member, {})
            del self.members[row]
            self.member_rows.forget(member.name)
            self.sessions.forget(row)
            self._ages_stale = True
            self.changed.assignments.discard(row)
            self.changed.member_status.discard(row)


def _differing(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """The names whose values differ, in the order of `after`, then those that are gone."""
    return [
        *(name for name, new in after.items() if before.get(name) != new),
        *(before.keys() - after.keys()),
    ]
