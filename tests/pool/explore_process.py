"""A controller process brought to life, to take one more input.

The real loop (`Lead`), writer and terms run over a client whose requests wait for an answer. All that such a
process knows between two decisions is in its brain; there it can be kept, pickled.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from explore_client import Client, Informer
from explore_values import (
    ITEMS,
    LEASE,
    MEMBERS,
    TICK,
    Assignment,
    Cache,
    News,
    Request,
)
from objects import assignment_object, item_object, lease_object
from protocol_world import losing
from waiting import run_until_idle

from berth.controller.apply import Applier, Replaced
from berth.controller.follow import Burst
from berth.controller.lead import Lead
from berth.kinds import AssignmentObject, LeaseObject, ReadAssignmentSpec
from berth.kube import Backoff, Conflict, Forbidden, Invalid, Meta, NotFound, RequestTimeout
from berth.pool import Brain, Decision, LeaseChanged, LeaseRead, Outcome

if TYPE_CHECKING:
    from explore_leader import Seats

ERRORS: dict[str, Any] = {
    "Conflict": lambda: Conflict(409, "Conflict", "another write came first"),
    "Forbidden": lambda: Forbidden(403, "Forbidden", "spec.term is below the term of the Pool"),
    "Invalid": lambda: Invalid(422, "Invalid", "test failed"),
    "NotFound": lambda: NotFound(404, "NotFound", "no such object"),
    "Timeout": lambda: RequestTimeout("no answer"),
}


class NotingApplier(Applier):
    """Calls back before each decision is carried out, and between two of them."""

    process: Process

    async def shown(self) -> None:
        self.process.between_decisions()
        await super().shown()
        self.process.waits = False

    async def apply(self, decision: Decision) -> Outcome:
        self.process.note(decision)
        return await super().apply(decision)


class Kept(NamedTuple):
    """A process as it is kept: pickled."""

    brain: Brain
    now: float
    cache: Cache
    leading: bool
    acting: bool
    ahead: bool
    """Whether something was written that the cache does not show."""
    woken: bool
    """Whether something was observed since it started to act."""


class Process:
    """A controller process brought to life, to take one more input."""

    def __init__(self, index: int, kept: Kept, seats: Seats) -> None:
        self.name = f"c{index}"
        self.seats = seats
        self.loop = seats.loop
        self.brain, self.now, self.cache, self.leading, acting, self._ahead, self.woken = kept
        self.leases = self.brain.ledger.leases
        self.requests: list[tuple[Request, asyncio.Future[Any]]] = []
        self.sent = 0
        self.claims: dict[str, frozenset[tuple[Any, ...]]] = {}
        self.task: asyncio.Task[None] | None = None
        self.log: list[Any] = []
        self.snapshot = -1
        self.news = News()
        self.waits = self._answered = False
        self._assemble()
        if acting:
            self._act()
            self._spin()

    def _assemble(self) -> None:
        self.informer = Informer()
        self.informer.names = {each.name for each in self.cache.assignments if each.generation}
        self.applier = NotingApplier(
            Client(self),  # type: ignore[arg-type]
            self.informer,  # type: ignore[arg-type]
            ("ns", "pool"),
            self.name,
            lambda: float("inf"),
            self.seats.solve,
            backoff=Backoff(base=0.0, limit=0.0),
            sleep=self.informer.wait_for,  # type: ignore[arg-type]
        )
        self.applier.process = self
        self.applier._version = int(self._ahead)
        clock = lambda: self.now  # noqa: E731
        self.lead = Lead(self.brain, self.applier, Burst(clock=clock), lambda _: None, clock)

    # ---- inputs ---------------------------------------------------------------------------------

    def feed(self, happens: tuple[Any, ...]) -> None:
        """Something happens to the process, which goes on as far as it can without an answer."""
        self.log.append(happens)
        what, *rest = happens
        self.woken = self.woken or (self.task is not None and what != "answer")
        getattr(self, f"_on_{what}")(*rest)
        if self.leading and self.task is None and what != "answer":
            self._act()
        self._spin()
        if self.log and (self.task is None or self.waits):
            self.save(acting=self.task is not None)

    def _on_see(self, replicas: Any, limits: Any, pool: Any, assignments: Any, leases: Any) -> None:
        """The watches catch up; those of which nothing is given stay as they are."""
        cache, brain = self.cache, self.brain
        if replicas is not None:
            for name, was, count in zip(ITEMS, cache.replicas, replicas, strict=True):
                if was != count:
                    brain.observe(item_object(name, count, f"u-{name}"), self.now)
            for name, was, limit in zip(MEMBERS, cache.limits, limits, strict=True):
                if was != limit:
                    brain.observe(self.seats.member(name, limit), self.now)
            self.cache = self.cache._replace(replicas=replicas, limits=limits)
        if assignments is not None:
            brain.observe(self.seats.pool(pool), self.now)
            for old, new in zip(cache.assignments, assignments, strict=True):
                if old != new:
                    brain.observe(_info(new), self.now)
                    self.informer.names.add(new.name)
            self.cache = self.cache._replace(pool=pool, assignments=assignments)
            self.informer.advance()
        if leases is not None:
            self._see_leases(leases)

    def _see_leases(self, leases: tuple[tuple[str, int], ...]) -> None:
        stamps = self._stamps(leases)
        for name, old, stamp in zip(MEMBERS, self.cache.stamps, stamps, strict=True):
            if old != stamp and self.leases.put(lease_of(name, stamp), self.now):
                self.brain.observe(LeaseChanged(f"l-{name}"), self.now)
        self.cache = self.cache._replace(stamps=stamps)

    def _on_tick(self, leases: Any) -> None:
        """Time passes; `leases` None: no event shows which Leases were renewed."""
        self.now += TICK
        if leases is not None:
            self._see_leases(leases)
        for name in self.leases.advance(self.now):
            self.brain.observe(LeaseChanged(name), self.now)

    def _on_read(self, leases: Any) -> None:
        """Leases are read that have to be."""
        stamps = self._stamps(leases)
        due = self.brain.leases_to_read()
        for name, stamp in zip(MEMBERS, stamps, strict=True):
            lease = f"l-{name}"
            if lease not in due:
                continue
            if self.leases.put_read(lease, lease_of(name, stamp), self.now, self.now).changed:
                self.brain.observe(LeaseChanged(lease), self.now)
            if self.brain.ledger.doubts_holder(lease):
                self.brain.observe(LeaseRead(lease, stamp[0]), self.now)

    def _on_start(self, dead: Any, live: Any) -> None:
        """It is elected; `dead` and `live` are Leases by what the statuses of the Members say."""
        self._quit()
        self._assemble()
        for name in self.leases.restart(self.now, dead, live):
            self.brain.observe(LeaseChanged(name), self.now)
        self.brain.start()
        self.leading = True
        self.save(acting=True)

    def _on_answer(self, number: int, outcome: str, data: Any) -> None:
        (place,) = (i for i, (request, _) in enumerate(self.requests) if request.number == number)
        request, future = self.requests.pop(place)
        self._answered = True
        if outcome != "ok":
            future.set_exception(ERRORS[outcome]())
            return
        newest = Meta(request.name, "ns", "u", str(self.informer.seen + 1))
        if request.what in ("take over", "raise term", "get pool"):
            future.set_result(self.seats.pool(data))
        elif request.what == "list":
            names, shown = data
            version = str(self.informer.seen + (not shown))
            future.set_result([SimpleNamespace(metadata=Meta(name, "ns", "", version)) for name in names])
        elif request.what == "get":
            meta = msgspec.structs.replace(newest, uid=f"a-{request.name}", generation=data)
            future.set_result(AssignmentObject(meta, ReadAssignmentSpec("pool", 1, None, ())))
        else:
            future.set_result(AssignmentObject(newest, ReadAssignmentSpec("pool", 1, None, ())))

    def _stamps(self, leases: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
        """Holders and ages of Leases as this process dates them."""
        return tuple((holder, round(self.now / TICK) - age) for holder, age in leases)

    # ---- running --------------------------------------------------------------------------------

    def _act(self) -> None:
        async def act() -> None:
            try:
                wake_at = await self.lead.act()
                while self.woken or (wake_at is not None and wake_at <= self.now):
                    self.woken = False
                    wake_at = await self.lead.act()
            except Replaced:
                self.leading = False
                self.brain.stop()

        self.task = self.loop.create_task(act())

    def _quit(self) -> None:
        task, self.task = self.task, None
        if task is not None:
            task.cancel()
            self._spin()
        self.requests.clear()
        self.waits = self.woken = False
        self.brain.stop()

    def _spin(self) -> None:
        run_until_idle(self.loop)
        if self.task is not None and self.task.done():
            if not self.task.cancelled() and (error := self.task.exception()) is not None:
                raise error
            self.task = None
            self.waits = False
            self.save(acting=False)

    def between_decisions(self) -> None:
        """All that this process knows is in its brain now: the way here need not be replayed."""
        self.waits = True
        if self._answered:
            self.save(acting=True)

    def save(self, *, acting: bool) -> None:
        """Make this moment the snapshot."""
        self._ahead = self.applier._version > self.informer.seen
        kept = Kept(self.brain, self.now, self.cache, self.leading, acting, self._ahead, self.woken)
        self.snapshot = self.seats.keep(self.name, kept)
        self.informer.seen, self.applier._version = 0, int(self._ahead)
        self.log, self._answered, self.sent = [], False, 0

    def close(self) -> None:
        """End what is under way; nothing of it counts."""
        task, self.task = self.task, None
        if task is not None:
            task.cancel()
            self._spin()

    # ---- what it went by ------------------------------------------------------------------------

    def note(self, decision: Decision) -> None:
        """Work out from what is known, not from the rules, what this decision may take away."""
        if decision.take_over is None:
            members = {member.name: member.live for member in self.brain.ledger.members.values()}
            live = tuple(members[name] for name in MEMBERS)
            self.news = self.news._replace(decided=True, live=live)
        gone = losing(decision.writes)
        for write in decision.writes:
            taken = (edit.item for edit in write.edits if edit.entry is None)
            claims = (self._claim(write.row, item, gone[item]) for item in taken)
            self.claims[write.member.name] = frozenset(claim for claim in claims if claim is not None)

    def _claim(self, row: int, item: str, gone: set[int]) -> tuple[Any, ...] | None:
        ledger, solution = self.brain.ledger, self.brain.target.solution
        member, index = ledger.members[row], ledger.items.of[item]
        replicas = int(ledger.arrays.replicas[index])
        if not replicas:
            return None
        if not (member.live or member.awaited):
            watch = self.leases._watches[f"l-{member.name}"]
            if watch.holder:
                read = self.now - watch.read_at if watch.read_at > 0 else 0.0
                self.news = self.news._replace(deaths=(*self.news.deaths, (member.name, read)))
            return (item, "dead", frozenset())
        assert solution is not None
        placed = int((solution.members[index] >= 0).sum())
        counted = frozenset(
            (m.name, m.entries[item].grant)
            for m in ledger.members.values()
            if m.live and item in m.entries and m.row not in gone and self._ready(m, item)
        )
        return (item, min(replicas, max(1, placed)), counted)

    def _ready(self, member: Any, item: str) -> bool:
        """Whether an entry is ready, read from the objects."""
        if self.leases.follows(member.lease, member.written_for):
            return False  # granted to a session that has ended
        if not member.reported:
            return True
        report, reports = f"{item}@{member.entries[item].grant}=", member.assignment.status.items
        prepared = report + "Ready" in reports or report + "Active" in reports
        return prepared and self.leases.holder(member.lease) == member.session


def _info(there: Assignment) -> AssignmentObject:
    return assignment_object(
        there.name,
        there.items,
        there.term,
        f"a-{there.name}",
        f"u-{there.name}",
        there.generation,
        session=there.session,
        reports=there.reports,
        written_for=there.written_for,
    )


def lease_of(member: str, stamp: tuple[str, int]) -> LeaseObject:
    return lease_object(f"l-{member}", stamp[0], f"t{stamp[1]}", LEASE)
