"""A controller's process in the model: its caches, and the real loop of a Pool over a client whose
requests end when, and as, the test says."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from protocol_world import Broken, Claim, PoolSeen, World, entries

from berth.controller import lease_reader, planner, pool_loop, sessions
from berth.controller.lease_reader import LeaseReader
from berth.controller.metrics import Metrics
from berth.controller.pool_loop import PoolLoop
from berth.controller.state import PoolState
from berth.controller.term import Replaced
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
from berth.kube import Conflict, DeadlinePassed, Meta, NotFound, ServerError
from berth.pool import Handoff, Leases, LeaseSeen, MemberSeen, PoolFleet, lease_seen
from berth.solve import Problem, Solution, Solver, Touched, solve

SOLVE = "solve"
"""What a request is called that goes to a process which solves."""


class _NoBackoff:
    failures = 0

    def __init__(self, **_: Any) -> None:
        pass

    def next(self) -> float:
        return 0.0

    def reset(self) -> None:
        pass


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

    async def list(self, path: str, *, type: Any = None, deadline: Any = None) -> Any:
        world = self._leader.world

        def act() -> Any:
            return [lease_object(world, name) for name in world.stores["leases"]]

        return await self._send("list leases", act, reads=True)

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


def pool_object(pool: PoolSeen) -> PoolObject:
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
    there: LeaseSeen | None = world.stores["leases"].get(name)
    if there is None:
        raise NotFound(404, "NotFound", name)
    spec = LeaseSpec(there.holder, int(there.duration), None, there.renewed, there.transitions)
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

    async def wait_for(self, version: int) -> None:
        while self._leader.seen["assignments"] < version:
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


class Leader:
    """One controller process. Every restart is a new one of another name."""

    def __init__(self, name: str, world: World, network: Network, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.world = world
        self.network = network
        self.loop = loop
        self.leases = Leases()
        self.fleet = PoolFleet(self.leases)
        self.stores: dict[str, dict[str, Any]] = {kind: {} for kind in world.stores}
        self.cursor = dict.fromkeys(world.stores, 0)
        self.seen = dict.fromkeys(world.stores, 0)
        self.claims: dict[tuple[str, int], dict[str, Claim]] = {}
        self.limits: dict[tuple[str, int], int] = {}
        self.exclusive = False
        self.informer = FakeInformer(self)
        self.state = PoolState("ns", "pool", self.fleet)
        self.reader = LeaseReader(
            FakeClient(self),  # type: ignore[arg-type]
            "ns",
            lambda: sorted(name for name in self.leases.unread() if self.fleet.uses_lease(name)),
            self._put_lease_read,
            lambda: self.relist("leases"),
            lambda: world.now,
        )
        self.reading: asyncio.Task[None] | None = None
        self.task: asyncio.Task[None] | None = None
        self.pool_loop: PoolLoop | None = None
        self.begun = False
        for kind in world.stores:
            self.relist(kind)

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
        now, fleet = self.world.now, self.fleet
        match kind:
            case "items":
                fleet.delete_item(name) if new is None else fleet.put_item(new)
            case "members":
                fleet.delete_member(name, now) if new is None else fleet.put_member(new, now)
            case "assignments":
                fleet.delete_assignment(name, now) if new is None else fleet.put_assignment(new, now)
            case "leases":
                if new is None:
                    self.leases.delete(name, now, old.version)
                elif self.leases.put(new, now):
                    fleet.lease_changed(name, now)
            case "pool":
                if new is None:
                    self.state.gone = old.uid if old else ""
                else:
                    fleet.set_policy(new.policy)
                    self.state.pool = pool_object(new)

    def time_passes(self) -> None:
        """Notice what time alone has changed."""
        for name in self.leases.advance(self.world.now):
            self.fleet.lease_changed(name, self.world.now)
        self.read_leases()

    def read_leases(self) -> None:
        """Start to read the Leases that seem to have run out, as a leader does."""
        if self.pool_loop is not None and (self.reading is None or self.reading.done()):
            self.reading = self.loop.create_task(self.reader.read())

    def _put_lease_read(self, name: str, lease: LeaseObject | None, begun: float) -> bool:
        answer = self.leases.put_read(name, lease_seen(lease) if lease else None, begun, self.world.now)
        if answer.changed:
            self.fleet.lease_changed(name, self.world.now)
        return answer.unseen

    # ---- leading --------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()

    def begin(self) -> None:
        """Take the Pool over."""
        self.quit()
        dead, alive = self._said()
        for name in self.leases.restart(self.world.now, dead, alive):
            self.fleet.lease_changed(name, self.world.now)
        self.pool_loop = PoolLoop(
            self.state,
            FakeClient(self),
            self.informer,
            self.name,
            lambda: float("inf"),
            SimpleNamespace(brake=lambda *_: None, malformed=lambda *_: None),
            METRICS,
            self._solve,
        )
        self.solver = Solver()
        self.begun = False
        self.task = self.loop.create_task(self._run(self.pool_loop.begin()))
        self.read_leases()

    def round(self) -> None:
        """Make a round, if no other is under way."""
        if self.pool_loop is not None and self.begun and not self.busy:
            self.task = self.loop.create_task(self._run(self.pool_loop.once()))

    async def _solve(self, problem: Problem, touched: Touched | None, ask: bool) -> Solution:
        """At once, or in another process that ends when the test says so."""
        if not self.world.solves_elsewhere:
            return self.solver.solve(problem, touched)
        self.solver = Solver()  # what it keeps would be out of date when it is asked again
        sent = copy.deepcopy(problem)
        answer = self.loop.create_future()
        self.network.pending.append(Request(self, SOLVE, lambda: solve(sent), True, answer))
        solution: Solution = await answer
        return solution

    async def _run(self, what: Any) -> None:
        try:
            await what
            if not self.begun and self.world.pool is not None and self.world.pool.leader == self.name:
                self.world.established = self.name
            self.begun = True
            if self.world.established == self.name:
                self._say()
        except Replaced:
            self.pool_loop, self.begun = None, False

    def _say(self) -> None:
        """Write the statuses of the Members."""
        for member in self.fleet.members.values():
            there = self.world.members.get(member.name)
            if member.seen is not None and there is not None and there.uid == member.seen.uid:
                self.world.said_live[there.uid] = member.live

    def _said(self) -> tuple[set[str], set[str]]:
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
        self.task, self.pool_loop, self.begun = None, None, False

    # ---- what it went by ------------------------------------------------------------------------

    def note(self, solution: Any, planned: Any) -> None:
        """Work out anew, from what is known and not from the rules, what this round may take away."""
        fleet = self.fleet
        self.exclusive = fleet.policy.handoff is Handoff.EXCLUSIVE
        gone: dict[str, set[int]] = {}
        for row, edits in planned.writes.items():
            for edit in edits:
                if edit.entry is None:
                    gone.setdefault(edit.item, set()).add(row)
        for row, edits in planned.writes.items():
            member = fleet.members[row]
            assert member.assignment is not None
            key = (member.name, member.assignment.generation)
            self.limits[key] = member.limit
            self.claims[key] = {}
            for edit in edits:
                if edit.entry is not None:
                    continue
                item = fleet.items.of[edit.item]
                seen = fleet.item_seen.get(item)
                if seen is None or not seen.replicas:
                    continue
                if not (member.live or member.kept):
                    self._check_death(member)
                    self.claims[key][edit.item] = Claim(0, frozenset(), dead=True)
                    continue
                placed = int((solution.members[item] >= 0).sum())
                counted = frozenset(
                    (m.name, m.assignment.uid, m.entries[edit.item].grant)
                    for m in fleet.members.values()
                    if m.live and edit.item in m.entries and m.row not in gone[edit.item]
                    if m.assignment is not None and self._ready(m, edit.item)
                )
                need = min(seen.replicas, max(1, placed))
                self.claims[key][edit.item] = Claim(need, counted)

    def _check_death(self, member: Any) -> None:
        """Whoever is taken for dead had not renewed its Lease when that was read."""
        lease = member.seen.lease if member.seen else None
        watch = self.leases._watches.get(lease)
        if watch is None or watch.deleted or not watch.lease.holder:
            return
        read = watch.read_at if watch.read_at > 0 else self.world.now
        late = [t for t in self.world.renewals[lease] if read - self.world.lease_seconds < t <= read]
        if late:
            raise Broken(f"9: {member.name} is taken for dead, though it renewed its Lease at {late}")

    def _ready(self, member: Any, item: str) -> bool:
        """Whether an entry is ready, read from the objects."""
        seen: MemberSeen = member.seen
        there = member.assignment
        if seen.lease is not None and self.leases.follows(seen.lease, there.written_for):
            return False  # given to a session that has ended
        if not seen.reported:
            return True
        report = f"{item}@{entries(there)[item].grant}="
        if report + "Ready" not in there.reports and report + "Active" not in there.reports:
            return False
        return seen.lease is None or self.leases.holder(seen.lease) == there.session


METRICS = Metrics()
LEADERS: list[Leader] = []
"""All controller processes of the run."""


@contextlib.contextmanager
def modelled(world: World) -> Iterator[None]:
    """The controller's modules with the model's time, without real delays, and watched."""
    patch = pytest.MonkeyPatch()
    real_plan = planner.plan_round

    def plan_round(fleet: Any, solution: Any, *args: Any, **kwargs: Any) -> Any:
        planned = real_plan(fleet, solution, *args, **kwargs)
        leader = next(each for each in LEADERS if each.fleet is fleet)
        leader.note(solution, planned)
        return planned

    async def caught_up(client: Any, informer: Any, *_: Any) -> None:
        leader = client._leader
        version = await client._send("list", lambda: leader.world.version, reads=True)
        log = [e.version for e in leader.world.log["assignments"] if e.version <= version]
        await informer.wait_for(max(log, default=0))

    patch.setattr(planner, "plan_round", plan_round)
    patch.setattr(pool_loop, "caught_up", caught_up)
    for module in (pool_loop, lease_reader):
        patch.setattr(module, "Backoff", _NoBackoff)
    patch.setattr(lease_reader, "MAX_GETS", 1)
    for module in (planner, pool_loop):
        patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: world.now))
    logger = logging.getLogger("berth.controller")
    patch.setattr(logger, "disabled", True)
    for module in (pool_loop, lease_reader, sessions):
        patch.setattr(module.logger, "disabled", True)
    try:
        yield
    finally:
        patch.undo()
