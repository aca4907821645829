"""A controller's process in the model: its caches, and the real loop of a Pool over a client whose
requests end when, and as, the test says."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec
from protocol_world import Broken, Claim, World, entries, losing

from berth.controller.apply import Applier, Replaced
from berth.controller.follow import Burst
from berth.controller.lead import Lead
from berth.controller.reads import LeaseReader
from berth.kinds import (
    AssignmentObject,
    LeaseObject,
    LeaseSpec,
    PoolObject,
    ReadAssignmentSpec,
    ReadAssignmentStatus,
    ReadPoolSpec,
    ReadPoolStatus,
)
from berth.kube import Backoff, Conflict, DeadlinePassed, Meta, NotFound, ServerError
from berth.pool import (
    Brain,
    Decision,
    Gone,
    Handoff,
    LeaseChanged,
    LeaseInfo,
    LeaseRead,
    Leases,
    MemberInfo,
    Outcome,
    PoolInfo,
    lease_info,
)
from berth.solve import Problem, Solution, Solver, Touched, solve

SOLVE = "solve"
"""What a request is called that goes to a process which solves."""
GONE: dict[str, Any] = {"items": "Item", "members": "Member", "assignments": "Assignment"}


@dataclass
class Request:
    """A request under way: `act` makes it happen on the server."""

    leader: Leader
    what: str
    act: Callable[[], Any]
    reads: bool
    answer: asyncio.Future[Any]


@dataclass
class Network:
    """Requests that were sent and not answered yet, and such as are given up but may still arrive."""

    holder: Leader | None = None
    """Who was elected last."""
    pending: list[Request] = field(default_factory=list)
    late: list[Request] = field(default_factory=list)


class FakeClient:
    """The part of the client that a Pool's loop uses."""

    def __init__(self, leader: Leader) -> None:
        self._leader = leader

    async def _send(self, what: str, act: Callable[[], Any], *, reads: bool = False) -> Any:
        leader = self._leader
        future = asyncio.get_running_loop().create_future()

        def happen() -> Any:
            if leader.world.pool is None and leader.network.holder is not leader:
                # Without a Pool nothing but its own clock stops a leader that was replaced.
                raise DeadlinePassed(what)
            return act()

        leader.network.pending.append(Request(leader, what, happen, reads, future))
        return await future

    async def get(self, path: str, params: Any = None, *, type: Any = None, deadline: Any = None) -> Any:
        world = self._leader.world
        if "/pools/" in path:
            return await self._send("get pool", lambda: pool_object(world.need_pool()), reads=True)
        name = path.rsplit("/", 1)[1]
        if "/leases/" in path:
            return await self._send(f"get lease {name}", lambda: lease_object(world, name), reads=True)
        return await self._send(f"get {name}", lambda: assignment_object(world, name), reads=True)

    async def list(
        self, path: str, *, type: Any = None, metadata_only: bool = False, deadline: Any = None
    ) -> Any:
        world = self._leader.world
        if "/leases" in path:
            there, one = world.stores["leases"], lease_object
        else:
            there, one = world.assignments, assignment_object
        return await self._send(f"list {path}", lambda: [one(world, name) for name in there], reads=True)

    async def create(self, path: str, body: Any, *, type: Any = None, deadline: Any = None) -> Any:
        world = self._leader.world
        if body["kind"] == "Pool":

            def make() -> Any:
                world.create_pool()
                return pool_object(world.need_pool())

            return await self._send("create pool", make)
        meta = body["metadata"]

        def act() -> Any:
            world.create_assignment(meta["name"], meta["ownerReferences"][0]["uid"], body["spec"])
            return assignment_object(world, meta["name"])

        return await self._send(f"create {meta['name']}", act)

    async def patch(
        self, path: str, patch: Any, kind: str = "json", type: Any = None, deadline: Any = None
    ) -> Any:
        leader, world = self._leader, self._leader.world
        if "/pools/" in path:

            def act_pool() -> Any:
                if kind == "merge":
                    world.take_over(leader.name, patch)
                else:
                    world.raise_term(leader.name, patch)
                return pool_object(world.need_pool())

            return await self._send(f"term {patch}", act_pool)
        name = path.rsplit("/", 1)[1]
        generation = patch[1]["value"]
        claims = leader.claims.get((name, generation), {})
        limit = leader.limits.get((name, generation), 0)
        exclusive = leader.exclusive

        def act() -> Any:
            world.patch_assignment(leader.name, name, patch, claims, limit, exclusive)
            return assignment_object(world, name)

        return await self._send(f"patch {name} {patch[2]['value']}", act)

    async def delete(self, path: str, body: Any = None, *, deadline: Any = None) -> Any:
        world, name = self._leader.world, path.rsplit("/", 1)[1]

        def act() -> None:
            there = world.assignments.get(name)
            if there is None:
                return
            wanted = body["preconditions"]
            if (there.uid, str(there.resource_version)) != (wanted["uid"], wanted["resourceVersion"]):
                raise Conflict(409, "Conflict", name)
            world.put("assignments", name, None)
            if world.pool is None:
                world.forget_epochs()

        return await self._send(f"delete {name}", act)


def pool_object(pool: PoolInfo) -> PoolObject:
    meta = Meta("pool", "ns", pool.uid, str(pool.version))
    policy = pool.policy
    spec = {
        "handoff": policy.handoff,
        "zones": policy.zones,
        "balance": {
            "tolerancePercent": policy.tolerance,
            "primaries": "Active" if policy.active_primaries else "Promotion",
        },
        "moves": {"maxInFlight": policy.max_in_flight},
        "outage": {
            "delaySeconds": int(policy.outage_delay),
            "brakePercent": policy.brake_percent,
            "brakeMinMembers": policy.brake_min_members,
        },
        "itemStatus": policy.item_status,
    }
    status = ReadPoolStatus(pool.term, pool.leader)
    return PoolObject(meta, msgspec.convert(spec, ReadPoolSpec), status)


def lease_object(world: World, name: str) -> LeaseObject:
    if not world.leases_readable:
        raise ServerError(500, "InternalError", name)
    there: LeaseInfo | None = world.stores["leases"].get(name)
    if there is None:
        raise NotFound(404, "NotFound", name)
    spec = LeaseSpec(there.holder, int(there.duration), there.renewed, there.transitions)
    return LeaseObject(Meta(name, "ns", resource_version=str(there.version)), spec)


def assignment_object(world: World, name: str) -> AssignmentObject:
    there = world.assignments.get(name)
    if there is None:
        raise NotFound(404, "NotFound", name)
    meta = Meta(name, "ns", there.uid, str(there.resource_version), there.generation)
    return AssignmentObject(
        metadata=meta,
        spec=ReadAssignmentSpec("pool", there.term, there.written_for or None, there.items),
        status=ReadAssignmentStatus(there.session, there.reports),
    )


class FakeInformer:
    """The leader's cache of Assignments, as far as its loop asks for it."""

    def __init__(self, leader: Leader) -> None:
        self._leader = leader
        self.waiting: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def store(self) -> dict[tuple[str, str], Any]:
        there = self._leader.stores["assignments"].values()
        return {
            ("ns", one.name): SimpleNamespace(metadata=SimpleNamespace(resource_version=one.resource_version))
            for one in there
        }

    async def wait_for(self, version: int) -> None:
        while self._leader.seen["assignments"] < version:
            await self.until(version)

    async def until(self, version: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((version, future))
        await future

    def advance(self) -> None:
        """Wake those whose version is seen now."""
        seen = self._leader.seen["assignments"]
        for version, future in [w for w in self.waiting if w[0] <= seen]:
            self.waiting.remove((version, future))
            if not future.done():
                future.set_result(None)


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
                self.leases.delete(name, now, old.version)
            elif self.leases.put(new, now):
                self.brain.observe(LeaseChanged(name), now)
        elif new is not None:
            self.brain.observe(new, now)
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
        answer = self.leases.put_read(name, lease_info(lease) if lease else None, started, now)
        if answer.changed:
            self.brain.observe(LeaseChanged(name), now)
        self.brain.observe(LeaseRead(name, (lease.spec.holder_identity or "") if lease else ""), now)
        return expired and answer.unseen

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
            if member.info is not None and there is not None and there.uid == member.info.uid:
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
            key = (member.name, member.assignment.generation)
            self.limits[key] = member.limit
            self.claims[key] = {
                edit.item: claim
                for edit in write.edits
                if edit.entry is None and (claim := self._claim(member, edit.item, gone)) is not None
            }

    def _claim(self, member: Any, item: str, gone: dict[str, set[int]]) -> Claim | None:
        ledger, solution = self.ledger, self.brain.target.solution
        row = ledger.items.of[item]
        seen = ledger.item_info.get(row)
        if seen is None or not seen.replicas:
            return None
        if not (member.live or member.awaited):
            self._check_death(member)
            return Claim(0, frozenset(), dead=True)
        assert solution is not None
        placed = int((solution.members[row] >= 0).sum())
        counted = frozenset(
            (m.name, m.assignment.uid, m.entries[item].grant)
            for m in ledger.members.values()
            if m.live and item in m.entries and m.row not in gone[item]
            if m.assignment is not None and self._ready(m, item)
        )
        return Claim(min(seen.replicas, max(1, placed)), counted)

    def _check_death(self, member: Any) -> None:
        """Whoever is taken for dead had not renewed its Lease when that was read."""
        lease = member.info.lease if member.info else None
        watch = self.leases._watches.get(lease)
        if watch is None or watch.deleted or not watch.lease.holder:
            return
        read = watch.read_at if watch.read_at > 0 else self.world.now
        late = [t for t in self.world.renewals[lease] if read - self.world.lease_seconds < t <= read]
        if late:
            raise Broken(f"9: {member.name} is taken for dead, though it renewed its Lease at {late}")

    def _ready(self, member: Any, item: str) -> bool:
        """Whether an entry is ready, read from the objects."""
        seen: MemberInfo = member.info
        there = member.assignment
        if seen.lease is not None and self.leases.follows(seen.lease, there.written_for):
            return False  # given to a session that has ended
        if not seen.reported:
            return True
        report = f"{item}@{entries(there)[item].grant}="
        if report + "Ready" not in there.reports and report + "Active" not in there.reports:
            return False
        return seen.lease is None or self.leases.holder(seen.lease) == there.session
