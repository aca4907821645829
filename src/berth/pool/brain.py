"""One Pool as one object: `observe` takes events, `decide` says what to do, `done` takes the outcome.

It holds all that is known of the Pool, and nothing else changes that. Time is always an argument: the
observer's monotonic clock, in seconds. A decision is carried out and its outcome is reported before the next
one is asked for. Events that would disturb the writes of a decision are deferred until its outcome.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from berth.kinds import AssignmentObject, ItemObject, MemberObject, PoolObject
from berth.pool.changes import Write
from berth.pool.decision import (
    Decision,
    Event,
    Fact,
    Failed,
    Gone,
    LeaseChanged,
    LeaseRead,
    LogLine,
    Notice,
    Outcome,
    RoundMade,
    TakeOver,
)
from berth.pool.ledger import Ledger
from berth.pool.liveness import Leases
from berth.pool.member import MemberState
from berth.pool.outage import NO_OUTAGE, OutageState, judge
from berth.pool.progress import InDoubt, Progress
from berth.pool.round import due_items, plan_round
from berth.pool.target import Target


class Brain:
    """What one process knows of a Pool and, while it leads, decides for it."""

    def __init__(self, namespace: str, name: str, leases: Leases) -> None:
        """`leases` are those of the namespace, which its Pools share."""
        self.namespace, self.name = namespace, name
        self.ledger = Ledger(leases)
        self.target = Target(self.ledger)
        self.progress = Progress()
        self.outage: OutageState = NO_OUTAGE
        self.pool: PoolObject | None = None  # the Pool object as last observed
        self.term = 0  # the term in which this process leads the Pool, 0 before it has taken it over
        self.uid = ""  # uid of the Pool object whose term it is
        self.failure = ""  # what the API server answered to the last round, if that failed
        self.writing = False  # whether Assignments are being written: whatever can wait does
        self._gone = ""  # uid of the Pool object that was deleted last
        self._in_doubt = InDoubt(self.ledger)
        self._deferred: list[tuple[Event, float]] = []
        self._decision = Decision(rests=True)
        self._processed: list[int] = []
        self._objects: set[int] = set()
        """Rows of the Items and of the Assignment objects that the present round is about."""
        self._started: float | None = None  # when the present round started
        self._serving = self._unserved = math.inf
        """When the first event was observed that the present round serves, and that no round serves yet."""
        self._retry_at: float | None = None
        self._lead_at = 0.0  # when the next attempt to take over is made
        self._finished = self._again = False  # whether the round has ended, and another must follow at once

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    # ---- events in -------------------------------------------------------------------------

    def observe(self, event: Event, now: float) -> None:
        """Process an event; while Assignments are being written, once that has ended.

        Reading what was written takes as long as writing it, and rows keep their meaning meanwhile.
        """
        self._unserved = min(self._unserved, now)
        if self.writing:
            self._deferred.append((event, now))
        else:
            self._observe(event, now)

    def _observe(self, event: Event, now: float) -> None:
        ledger = self.ledger
        match event:
            case ItemObject():
                ledger.put_item(event)
            case Gone("Item", name):
                ledger.delete_item(name)
            case MemberObject():
                ledger.put_member(event, now)
            case Gone("Member", name):
                ledger.delete_member(name, now)
            case AssignmentObject():
                ledger.put_assignment(event, now)
            case Gone("Assignment", name):
                ledger.delete_assignment(name, now)
            case LeaseChanged(name):
                ledger.lease_changed(name, now)
            case LeaseRead(name, holder):
                ledger.lease_read(name, holder, now)
            case PoolObject():
                self.pool = event
                ledger.set_policy(event.spec)
            case Gone("Pool", uid):
                self._gone = uid

    def age(self, now: float) -> float:
        """Seconds since the first event that no round has served; 0 without one."""
        return max(0.0, now - self._unserved)

    def needs_read(self, lease: str | None) -> bool:
        """Whether `leases_to_read` may name this Lease, or one whose holder is uncertain."""
        return lease in self.ledger.leases.unread() or bool(self.ledger.sessions.uncertain)

    def leases_to_read(self) -> set[str]:
        """Leases to read: those that seem to have expired, or whose holder may be an earlier one."""
        ledger = self.ledger
        expired = {name for name in ledger.leases.unread() if ledger.uses_lease(name)}
        return expired | {ledger.members[row].lease for row in ledger.sessions.uncertain}

    # ---- decisions out ---------------------------------------------------------------------

    def start(self) -> None:
        """Start to lead: what an earlier lead has left behind may be out of date."""
        self.stop()
        changed = self.ledger.changed
        self.target.put_back()
        self.target = Target(self.ledger)
        self.progress = Progress()
        self._in_doubt = InDoubt(self.ledger)
        self.term, self.uid, self.failure = 0, "", ""
        self._started, self._retry_at, self._lead_at = None, None, 0.0
        self._finished = self._again = False
        changed.converge.update(range(len(self.ledger.items)))
        changed.member_status.update(self.ledger.members)
        changed.item_status.update(self.ledger.generations)

    def stop(self) -> None:
        """Stop leading; what a decision in progress was about will be processed again."""
        if not self._decision.rests:
            self._put_back()
            self._decision = Decision(rests=True)
        self._catch_up()

    def decide(self, now: float) -> Decision:
        """What to do next; its outcome must be reported to `done` before this is called again."""
        if self._finished:
            self._finished = False
            decision = Decision(rests=True, wake_at=self._wake_at(now))
        else:
            if self._started is None:
                self._started, self._serving, self._unserved = now, self._unserved, math.inf
                self._retry_at, self._again, self.target.turns = None, False, 0
            decision = self._decide(now)
            if decision.rests:
                self._finish()
                self._finished = False
            self.writing = bool(decision.deletes or decision.writes or decision.repairs or decision.rewrites)
        self._decision = decision
        return decision

    def _decide(self, now: float) -> Decision:
        if self._lost():
            return self._take_over(now)
        if self._in_doubt.due(now):
            rewrites = self._in_doubt.rewrites()
            used = any(w.member.assignment and w.member.assignment.spec.term >= self.term for w in rewrites)
            return Decision(rewrites=rewrites, uid=self.uid, term=self.term + used, raise_term=used)
        judge_now = not self.target.turns or self.ledger.changed.problem
        facts = self._judge_outage(now) if judge_now else []
        question = self.target.question(now)
        if question is not None:
            return Decision(solve=question, facts=tuple(facts))
        return self._round(facts, now)

    def _wake_at(self, now: float) -> float | None:
        if self._again:
            return now
        moments = (self.outage.until, self._retry_at, self.target.retry_at)
        return min((at for at in moments if at is not None), default=None)

    def _lost(self) -> bool:
        """Whether the Pool must be taken over (again): it is gone, or others have written in later terms."""
        return self.uid in ("", self._gone) or self.ledger.highest_term > self.term

    def _needed(self) -> bool:
        """Whether there is a Pool, or something that names it: else a deleted one stays deleted."""
        exists = self.pool is not None and self.pool.metadata.uid != self._gone
        members = self.ledger.members.values()
        return exists or bool(self.ledger.generations) or any(m.info is not None for m in members)

    def _take_over(self, now: float) -> Decision:
        highest = self.ledger.highest_term
        if self._needed():
            if now < self._lead_at:  # no event makes an earlier attempt worthwhile
                self._unserved = min(self._serving, self._unserved)
                return Decision(rests=True, wake_at=self._lead_at)
            # Our own term too: a Pool that was deleted and created again has none.
            above, check = max(highest, self.term), bool(self.uid) and highest > self.term
            return Decision(take_over=TakeOver(above, self.pool, check), term=self.term, uid=self.uid)
        # What Members that are gone have left behind in a Pool that is gone too.
        deletes = _deletes(self._take_objects())
        return Decision(deletes=deletes, uid=self.uid, term=self.term, rests=not deletes)

    def _round(self, facts: list[Fact], now: float) -> Decision:
        ledger, progress = self.ledger, self.progress
        assert self.target.solution is not None
        items = self._processed = self._items_to_process()
        planned = plan_round(
            ledger,
            self.target.solution,
            items,
            progress,
            term=self.term + 1,
            now=now,
            braking=self.outage.braking,
        )
        ledger.former.sweep(now)
        facts += progress.arrivals(items, self.target.lacking(items), now)
        ledger.changed.item_status.update(items)
        members = self._take_objects()
        repairs = [Write.of(m) for m in members if m.broken and m.row not in planned.writes]
        facts += [_malformed(write.member) for write in repairs if write.member.malformed]
        return Decision(
            uid=self.uid,
            term=self.term + planned.raises_term,
            raise_term=planned.raises_term,
            deletes=_deletes(members),
            writes=tuple(planned.writes.values()),
            repairs=tuple(repairs),
            facts=tuple(facts),
        )

    def _take_objects(self) -> list[MemberState]:
        """The Members whose Assignment objects this round creates, cleans or deletes."""
        changed, members = self.ledger.changed, self.ledger.members
        self._objects, changed.assignments = changed.assignments & members.keys(), set()
        return [members[row] for row in sorted(self._objects)]

    def _items_to_process(self) -> list[int]:
        ledger, blocked = self.ledger, self._in_doubt.items()
        items = due_items(ledger, self.progress)
        later = {row for row in items if ledger.items.names[row] in blocked} if blocked else set()
        later |= self.target.out_of_date(items)
        ledger.changed.converge |= later
        return sorted(items - later)

    def _judge_outage(self, now: float) -> list[Fact]:
        """Decide which dead Members are awaited; the Event if the brake goes on or off."""
        before, self.outage = self.outage, judge(self.ledger, self.outage, now)
        if before.braking == self.outage.braking:
            return []
        self.ledger.changed.converge.update(self.progress.waits)
        uid = self.pool.metadata.uid if self.pool else ""
        if self.outage.braking:
            message = f"{self.outage.reason} until enough of them return"
            return [Notice("Pool", self.name, uid, "Paused", message)]
        message = "enough Members are live again: removals and moves resume"
        return [Notice("Pool", self.name, uid, "Resumed", message, warning=False)]

    # ---- outcomes back ---------------------------------------------------------------------

    def done(self, outcome: Outcome, now: float) -> tuple[Fact, ...]:
        """Process the outcome of the last decision; returns what to publish of it."""
        decision, facts = self._decision, list[Fact]()
        if outcome.term is not None:
            self.term = outcome.term
        if outcome.pool_gone:
            self.uid = ""
        if outcome.error and decision.take_over is None:
            facts.append(self._fail(outcome, now))
        if decision.solve is not None:
            if outcome.solution is None:
                self.target.put_back()
            else:
                facts += self.target.answer(outcome.solution, now)
        elif decision.take_over is not None:
            facts += self._taken_over(outcome, now)
        elif decision.rewrites:
            self._in_doubt.rewritten(outcome, now)
        else:
            facts += self._after_round(outcome, now)
        return (*facts, *self._catch_up())

    def _taken_over(self, outcome: Outcome, now: float) -> list[Fact]:
        if outcome.pool is None:
            self._retry_at = self._lead_at = now + outcome.retry_in
            self._unserved = min(self._serving, self._unserved)
            self._finish()
            text = f"cannot take over, next attempt in {outcome.retry_in:.1f} s: {outcome.error}"
            return [LogLine("warning", text)]
        self._started, self._lead_at = now, 0.0
        self.term, self.uid = outcome.pool.term, outcome.pool.metadata.uid
        self._observe(outcome.pool, now)
        self._in_doubt = InDoubt(self.ledger)  # the higher term stops what was sent in earlier ones
        # A Pool that was created again has no term; writes made before it was deleted still count.
        return [] if self._lost() else [LogLine("info", f"leading in term {self.term}")]

    def _after_round(self, outcome: Outcome, now: float) -> list[Fact]:
        changed, rows = self.ledger.changed, self.ledger.items.of
        facts: list[Fact] = []
        changed.assignments |= outcome.failed_objects
        changed.converge.update(rows[name] for name in outcome.again if name in rows)
        self._in_doubt.note(outcome)
        if outcome.refused or outcome.pool_gone:
            self._put_back()
        else:
            assert self._started is not None
            queued = None if self._serving == math.inf else max(0.0, self._started - self._serving)
            facts.append(RoundMade(outcome.accepted, now - self._started, queued))
        if not outcome.error:
            self.failure = ""
            self._again = bool(outcome.again)
        # What was out of date when this was planned is processed next.
        self._again = self._again or changed.problem or outcome.pool_gone
        self._finish()
        return facts

    def _fail(self, outcome: Outcome, now: float) -> Failed:
        self._retry_at = now + outcome.retry_in
        self.failure = outcome.error
        self._unserved = min(self._serving, self._unserved)  # the events are as old as before
        return Failed(outcome.error, outcome.retry_in)

    def _put_back(self) -> None:
        """Nothing was written of the round that was decided last."""
        self.ledger.changed.converge.update(self._processed)
        self.ledger.changed.assignments |= self._objects

    def _finish(self) -> None:
        self._finished, self._started = True, None
        self._processed, self._objects = [], set()

    def _catch_up(self) -> list[Fact]:
        """Observe what came while Assignments were written, in order; one that fails stops no other."""
        self.writing = False
        deferred, self._deferred = self._deferred, []
        facts: list[Fact] = []
        for event, at in deferred:
            try:
                self._observe(event, at)
            except Exception as error:
                facts.append(LogLine("error", f"cannot process the event {event!r}: {error!r}"))
        return facts


def _deletes(members: Iterable[MemberState]) -> tuple[MemberState, ...]:
    return tuple(replace(member) for member in members if member.orphaned)


def _malformed(member: MemberState) -> Notice:
    """The Event for an Assignment with entries that cannot be used."""
    message = "ignoring malformed entries of spec.items: " + "; ".join(member.malformed[:3])
    uid = member.assignment.metadata.uid if member.assignment else ""
    return Notice("Assignment", member.name, uid, "Malformed", message)
