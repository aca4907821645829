"""A controller's process in the model: its caches, and the real loop of a Pool over a fake client."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from protocol_client import FakeClient, FakeInformer, Network, Request
from protocol_objects import shown
from protocol_world import Broken, Claim, World, losing

from berth.controller.apply import Applier, Replaced
from berth.controller.follow import Burst
from berth.controller.lead import Lead
from berth.controller.reads import LeaseReader
from berth.kinds import Handoff, LeaseObject
from berth.kube import Backoff
from berth.pool import Brain, Decision, Gone, LeaseChanged, LeaseRead, Leases, Outcome
from berth.solve import Problem, Solution, Solver, Touched, solve

SOLVE = "solve"
"""What a request is called that goes to a process which solves."""
GONE: dict[str, Any] = {"items": "Item", "members": "Member", "assignments": "Assignment"}


class WatchedApplier(Applier):
    """Notes what each decision goes by before it carries it out."""

    leader: Leader

    async def apply(self, decision: Decision) -> Outcome:
        self.leader.note(decision)
        return await super().apply(decision)


class Leader:
    """One controller process. Every restart is a new one of another name."""

    def __init__(self, name: str, world: World, network: Network, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.world = world
        self.network = network
        self.loop = loop
        self.leases = Leases()
        self.brain = Brain("ns", "pool", self.leases)
        self.ledger = self.brain.ledger
        self.stores: dict[str, dict[str, Any]] = {kind: {} for kind in world.stores}
        self.cursor = dict.fromkeys(world.stores, 0)
        self.seen = dict.fromkeys(world.stores, 0)
        self.claims: dict[tuple[str, int], dict[str, Claim]] = {}
        self.limits: dict[tuple[str, int], int] = {}
        self.exclusive = False
        self.informer = FakeInformer(self)
        self.client: Any = FakeClient(self)
        self.reader = LeaseReader(
            self.client,
            "ns",
            self.brain.leases_to_read,
            self._put_lease_read,
            lambda: self.relist("leases"),
            clock=lambda: world.now,
            sleep=self._sleep,
            backoff=Backoff(base=0.0, limit=0.0),
            max_gets=1,
        )
        self.reading: asyncio.Task[None] | None = None
        self.task: asyncio.Task[None] | None = None
        self.lead: Lead | None = None
        for kind in world.stores:
            self.relist(kind)

    async def _sleep(self, _: float) -> None:
        """Until the next event, or time, that this process sees."""
        await self.informer.until(0)

    # ---- caches ---------------------------------------------------------------------------------

    def deliver(self, kind: str, count: int) -> None:
        """See the next events of a kind."""
        log = self.world.log[kind]
        for event in log[self.cursor[kind] : self.cursor[kind] + count]:
            self.cursor[kind] += 1
            self._see(kind, event.name, event.new)
            self.seen[kind] = event.version
        self.informer.advance()

    def relist(self, kind: str) -> None:
        """See what is there now, whatever happened in between."""
        there = self.world.stores[kind]
        for name, new in there.items():
            old = self.stores[kind].get(name)
            if old is not None and getattr(old, "uid", "") != getattr(new, "uid", ""):
                self._see(kind, name, None)
            self._see(kind, name, new)
        for name in self.stores[kind].keys() - there.keys():
            self._see(kind, name, None)
        self.cursor[kind] = len(self.world.log[kind])
        self.seen[kind] = self.world.version
        self.informer.advance()

    def _see(self, kind: str, name: str, new: Any) -> None:
        old = self.stores[kind].pop(name, None)
        if new is not None:
            self.stores[kind][name] = new
        if old == new:
            return
        now = self.world.now
        if kind == "leases":
            if new is None:
                self.leases.delete(shown(old), now)
            elif self.leases.put(shown(new), now):
                self.brain.observe(LeaseChanged(name), now)
        elif new is not None:
            self.brain.observe(shown(new), now)
        elif kind == "pool":
            self.brain.observe(Gone("Pool", old.uid if old else ""), now)
        else:
            self.brain.observe(Gone(GONE[kind], name), now)

    def time_passes(self) -> None:
        """Notice what time alone has changed."""
        for name in self.leases.advance(self.world.now):
            self.brain.observe(LeaseChanged(name), self.world.now)
        self.read_leases()
        self.informer.advance()

    def read_leases(self) -> None:
        """Start to read the Leases that have to be read, as a leader does."""
        if self.lead is not None and (self.reading is None or self.reading.done()):
            self.reading = self.loop.create_task(self.reader.read())

    def _put_lease_read(self, name: str, lease: LeaseObject | None, started: float) -> bool:
        now, expired = self.world.now, name in self.leases.unread()
        answer = self.leases.put_read(name, lease, started, now)
        if answer.changed:
            self.brain.observe(LeaseChanged(name), now)
        self.brain.observe(LeaseRead(name, (lease.spec.holder_identity or "") if lease else ""), now)
        return expired and answer.missed

    # ---- leading --------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()

    def start(self) -> None:
        """Take the Pool over, and make the first round."""
        self.quit()
        dead, alive = self._reported()
        for name in self.leases.restart(self.world.now, dead, alive):
            self.brain.observe(LeaseChanged(name), self.world.now)
        applier = WatchedApplier(
            self.client,
            self.informer,  # type: ignore[arg-type]
            ("ns", "pool"),
            self.name,
            lambda: float("inf"),
            self._solve,
            backoff=Backoff(base=0.0, limit=0.0),
            sleep=self._sleep,
        )
        applier.leader = self
        clock = lambda: self.world.now  # noqa: E731
        self.lead = Lead(self.brain, applier, Burst(clock=clock), lambda _: None, clock)
        self.solver = Solver()
        self.brain.start()
        self.round()
        self.read_leases()

    def round(self) -> None:
        """Make a round, if no other is under way."""
        if self.lead is not None and not self.busy:
            self.task = self.loop.create_task(self._act(self.lead))

    async def _solve(self, problem: Problem, touched: Touched | None, thorough: bool) -> Solution:
        """At once, or in another process that ends when the test says so."""
        if not self.world.solves_elsewhere:
            return self.solver.solve(problem, touched)
        self.solver = Solver()  # what it keeps would be out of date when it is asked again
        sent = copy.deepcopy(problem)
        answer = self.loop.create_future()
        self.network.pending.append(Request(self, SOLVE, lambda: solve(sent), True, answer))
        solution: Solution = await answer
        return solution

    async def _act(self, lead: Lead) -> None:
        try:
            await lead.act()
        except Replaced:
            self.lead = None
            self.brain.stop()

    def _report(self) -> None:
        """Write the statuses of the Members."""
        for member in self.ledger.members.values():
            there = self.world.members.get(member.name)
            if member.info is not None and there is not None and there.uid == member.uid:
                self.world.said_live[there.uid] = member.live

    def _reported(self) -> tuple[set[str], set[str]]:
        """The Leases whose holders the Members' statuses call dead, and live."""
        found: tuple[set[str], set[str]] = (set(), set())
        for seen in self.stores["members"].values():
            if seen.lease and seen.uid in self.world.said_live:
                found[self.world.said_live[seen.uid]].add(seen.lease)
        return found

    def quit(self) -> None:
        """Stop at once; what was sent is on its way."""
        for task in (self.task, self.reading):
            if task is not None:
                task.cancel()
        for request in [r for r in self.network.pending if r.leader is self]:
            self.network.pending.remove(request)
            if not request.reads:
                self.network.late.append(request)
        self.task, self.lead = None, None
        self.brain.stop()

    # ---- what it went by ------------------------------------------------------------------------

    def note(self, decision: Decision) -> None:
        """Work out anew, from what is known and not from the rules, what this decision may take away."""
        ledger, world = self.ledger, self.world
        if decision.take_over is None and world.pool is not None and world.pool.leader == self.name:
            world.established = self.name
        if world.established == self.name:
            self._report()
        if not decision.writes:
            return
        self.exclusive = ledger.policy.handoff is Handoff.EXCLUSIVE
        gone = losing(decision.writes)
        for write in decision.writes:
            member = ledger.members[write.row]
            assert member.assignment is not None
            key = (member.name, member.assignment.metadata.generation)
            self.limits[key] = member.limit
            self.claims[key] = {
                edit.item: claim
                for edit in write.edits
                if edit.entry is None and (claim := self._claim(member, edit.item, gone)) is not None
            }

    def _claim(self, member: Any, item: str, gone: dict[str, set[int]]) -> Claim | None:
        ledger, solution = self.ledger, self.brain.target.solution
        row = ledger.items.of[item]
        replicas = int(ledger.arrays.replicas[row])
        if not replicas:
            return None
        if not (member.live or member.awaited):
            self._check_death(member)
            return Claim(0, frozenset(), dead=True)
        assert solution is not None
        placed = int((solution.members[row] >= 0).sum())
        counted = frozenset(
            (m.name, m.assignment.metadata.uid, m.entries[item].grant)
            for m in ledger.members.values()
            if m.live and item in m.entries and m.row not in gone[item]
            if m.assignment is not None and self._ready(m, item)
        )
        return Claim(min(replicas, max(1, placed)), counted)

    def _check_death(self, member: Any) -> None:
        """Whoever is taken for dead had not renewed its Lease when that was read."""
        lease = member.lease
        watch = self.leases._watches.get(lease)
        if watch is None or watch.deleted or not watch.holder:
            return
        read = watch.read_at if watch.read_at > 0 else self.world.now
        late = [t for t in self.world.renewals[lease] if read - self.world.lease_seconds < t <= read]
        if late:
            raise Broken(f"9: {member.name} is taken for dead, though it renewed its Lease at {late}")

    def _ready(self, member: Any, item: str) -> bool:
        """Whether an entry is ready, read from the objects."""
        if member.lease and self.leases.follows(member.lease, member.written_for):
            return False  # granted to a session that has ended
        if not member.reported:
            return True
        report, reports = f"{item}@{member.entries[item].grant}=", member.assignment.status.items
        if report + "Ready" not in reports and report + "Active" not in reports:
            return False
        return not member.lease or self.leases.holder(member.lease) == member.session
