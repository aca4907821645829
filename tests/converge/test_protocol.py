"""The protocol as a whole, in a model: many leaders, lost and late writes, dying Members, changed minds.

The loop of a Pool, its writer, its terms, the fleet, the solver and the rules are the real ones. The
API server, the workers and time are a model; each message arrives when Hypothesis says so, if at all.
The promises of docs/architecture.md are checked at every write and after every step.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from protocol_leader import LEADERS, Leader, Network, Request, modelled
from protocol_world import KINDS, Process, World

from berth.converge import Why
from berth.fleet import Handoff, ItemSeen, MemberSeen, Policy, ZonePolicy
from berth.kube import ApiError, RequestTimeout, ServerError

ITEMS = [f"i{n}" for n in range(4)]
MEMBERS = [f"m{n}" for n in range(4)]
NAMES = st.sampled_from
CONTROLLERS = range(2)

policies = st.builds(
    Policy,
    handoff=st.sampled_from(Handoff),
    zones=st.sampled_from(ZonePolicy),
    tolerance=st.sampled_from([0, 50]),
    active_primaries=st.booleans(),
    max_in_flight=st.sampled_from([None, None, 1, 2]),
    outage_delay=st.sampled_from([0.0, 0.0, 30.0]),
    brake_percent=st.just(55),
    brake_min_members=st.sampled_from([3, 10]),
)


class Protocol(RuleBasedStateMachine):
    """Everything that may happen, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.network = Network()
        self.stack.enter_context(modelled(self.world))
        LEADERS.clear()
        self.leaders: list[Leader] = []
        self.started = 0
        for _ in CONTROLLERS:
            self.leaders.append(self._controller())

    def _controller(self) -> Leader:
        self.started += 1
        leader = Leader(f"c{self.started}", self.world, self.network, self.loop)
        LEADERS.append(leader)
        return leader

    def teardown(self) -> None:
        try:
            self.converges_in_the_end()
        finally:
            for leader in self.leaders:
                leader.quit()
            self.network.late.clear()
            self.spin()
            self.loop.close()
            self.stack.close()

    # ---- helpers --------------------------------------------------------------------------------

    def spin(self) -> None:
        """Run the controllers until each waits for an answer or an event."""
        while True:
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
            if not self.loop._ready:  # type: ignore[attr-defined]
                break
        for leader in self.leaders:
            if leader.task is not None and leader.task.done() and not leader.task.cancelled():
                error = leader.task.exception()
                if error is not None:
                    raise error

    def answer(self, request: Request, outcome: str) -> None:
        self.network.pending.remove(request)
        result: Any = None
        error: ApiError | None = None
        if outcome in ("ok", "unheard"):
            try:
                result = request.act()
            except ApiError as refused:
                error = refused
        if outcome in ("unheard", "lost"):
            error = RequestTimeout(request.what)
        elif outcome == "late":
            error = RequestTimeout(request.what)
            if not request.reads:
                self.network.late.append(request)
        elif outcome == "refused":
            error = ServerError(503, "ServiceUnavailable", request.what)
        if not request.answer.done():
            if error is not None:
                request.answer.set_exception(error)
            else:
                request.answer.set_result(result)
        self.spin()

    def answer_all(self, leader: Leader) -> None:
        for _ in range(60):
            mine = [r for r in self.network.pending if r.leader is leader]
            if not mine:
                if not leader.busy:
                    return
                for kind in KINDS:
                    leader.deliver(kind, 10_000)
                self.spin()
                if not leader.busy:
                    return
                continue
            self.answer(mine[0], "ok")

    def process(self, name: str) -> Process | None:
        return self.world.processes.get(name)

    # ---- people ---------------------------------------------------------------------------------

    @initialize(policy=policies, members=st.integers(2, 4), data=st.data())
    def fleet_appears(self, policy: Policy, members: int, data: st.DataObject) -> None:
        world = self.world
        world.create_pool()
        pool = world.need_pool()
        world.put("pool", "pool", type(pool)(pool.uid, world.version + 1, policy))
        for name in MEMBERS[:members]:
            self.put_member(
                name,
                data.draw(st.integers(1, 4)),
                data.draw(NAMES(["", "a", "b"])),
                False,
                data.draw(st.booleans()),
                data.draw(st.booleans()),
            )
        for name in ITEMS[: data.draw(st.integers(1, 4))]:
            self.put_item(name, data.draw(st.integers(1, 3)))
        for leader in self.leaders:
            for kind in KINDS:
                leader.relist(kind)

    @rule(name=NAMES(ITEMS), replicas=st.integers(0, 3))
    def put_item(self, name: str, replicas: int) -> None:
        old = self.world.items.get(name)
        uid = old.uid if old else self.world.uid()
        self.world.put("items", name, ItemSeen(name, replicas, uid, (old.generation if old else 0) + 1))

    @rule(name=NAMES(ITEMS))
    def delete_item(self, name: str) -> None:
        if name in self.world.items:
            self.world.put("items", name, None)

    @rule(
        name=NAMES(MEMBERS),
        limit=st.integers(0, 4),
        zone=NAMES(["", "a", "b"]),
        draining=st.booleans(),
        leased=st.booleans(),
        reported=st.booleans(),
    )
    def put_member(
        self, name: str, limit: int, zone: str, draining: bool, leased: bool, reported: bool
    ) -> None:
        world, old = self.world, self.world.members.get(name)
        if old is not None:
            changed = old._replace(limit=limit, draining=draining, generation=old.generation + 1)
            world.put("members", name, changed)
            return
        lease = f"l-{name}" if leased else None
        seen = MemberSeen(name, limit, zone, draining, lease, reported, world.uid(), f"{world.version:06}")
        world.put("members", name, seen)
        world.start(name)

    @rule(name=NAMES(MEMBERS))
    def delete_member(self, name: str) -> None:
        if name in self.world.members:
            self.world.put("members", name, None)
            process = self.process(name)
            if process is not None:
                process.running = False
                process.active.clear()

    @rule()
    def garbage_is_collected(self) -> None:
        world = self.world
        uids = {m.uid for m in world.members.values()}
        for name, there in list(world.assignments.items()):
            if there.owner not in uids:
                world.put("assignments", name, None)

    @rule(name=NAMES(MEMBERS))
    def delete_assignment(self, name: str) -> None:
        there = self.world.assignments.get(name)
        if there is not None:
            self.world.tainted.update(text.partition("#")[0] for text in there.items)
            self.world.put("assignments", name, None)

    @rule(policy=policies)
    def change_policy(self, policy: Policy) -> None:
        pool = self.world.pool
        if pool is not None:
            new = type(pool)(pool.uid, self.world.version + 1, policy, pool.term, pool.leader)
            self.world.put("pool", "pool", new)

    @rule()
    def delete_pool(self) -> None:
        if self.world.pool is not None:
            self.world.put("pool", "pool", None)
            self.world.forget_epochs()
            holder = self.network.holder
            self.network.late = [r for r in self.network.late if r.leader is holder]

    # ---- workers and time -----------------------------------------------------------------------

    @rule(name=NAMES(MEMBERS))
    def start(self, name: str) -> None:
        if name in self.world.members:
            self.world.start(name)

    @rule(name=NAMES(MEMBERS))
    def crash(self, name: str) -> None:
        process = self.process(name)
        if process is not None:
            process.running = False
            process.active.clear()

    @rule(name=NAMES(MEMBERS))
    def cut_off(self, name: str) -> None:
        process, seen = self.process(name), self.world.members.get(name)
        if process is not None and process.running and seen is not None and seen.lease is not None:
            self.world.cut_off(process)

    @rule(name=NAMES(MEMBERS))
    def reconnect(self, name: str) -> None:
        process = self.process(name)
        if process is not None and process.running:
            process.connected = True
            self.world.observe(process)

    @rule(name=NAMES(MEMBERS))
    def observe(self, name: str) -> None:
        process = self.process(name)
        if process is not None:
            self.world.observe(process)

    @rule(name=NAMES(MEMBERS), item=NAMES(ITEMS), phase=NAMES(["Ready", "Failed", "Active"]))
    def advance(self, name: str, item: str, phase: str) -> None:
        process = self.process(name)
        if process is not None:
            self.world.advance(process, item, phase)

    @rule(name=NAMES(MEMBERS))
    def report(self, name: str) -> None:
        process = self.process(name)
        if process is not None:
            self.world.report(process)

    @rule(name=NAMES(MEMBERS))
    def work(self, name: str) -> None:
        """All that the worker has to do, done."""
        process = self.process(name)
        if process is None or name not in self.world.members:
            return
        for phase in ("Ready", "Active"):
            self.world.observe(process)
            for item in list(process.phases):
                self.world.advance(process, item, phase)
            self.world.report(process)

    @rule(seconds=NAMES([0.5, 3.0, 6.0, 12.0]), dying=st.sets(NAMES(MEMBERS), max_size=2))
    def time_passes(self, seconds: float, dying: set[str]) -> None:
        """All but a few renew their Lease."""
        self.world.now += seconds
        self.world.stop_overdue()
        for name in self.world.processes:
            if name not in dying:
                self.world.renew(name)

    @rule(name=NAMES(MEMBERS))
    def delete_lease(self, name: str) -> None:
        if f"l-{name}" in self.world.stores["leases"]:
            self.world.put("leases", f"l-{name}", None)

    # ---- controllers ----------------------------------------------------------------------------

    @rule(k=NAMES(CONTROLLERS))
    def restart_controller(self, k: int) -> None:
        self.leaders[k].quit()
        self.leaders[k] = self._controller()
        self.spin()

    @rule(k=NAMES(CONTROLLERS))
    def elect(self, k: int) -> None:
        self.network.holder = self.leaders[k]
        self.leaders[k].begin()
        self.spin()

    @rule(k=NAMES(CONTROLLERS), kind=NAMES(KINDS), count=st.integers(1, 4))
    def deliver(self, k: int, kind: str, count: int) -> None:
        self.leaders[k].deliver(kind, count)
        self.spin()

    @rule(k=NAMES(CONTROLLERS), kind=NAMES(KINDS))
    def relist(self, k: int, kind: str) -> None:
        self.leaders[k].relist(kind)
        self.spin()

    @rule(k=NAMES(CONTROLLERS))
    def look_at_the_clock(self, k: int) -> None:
        self.leaders[k].time_passes()

    @rule(k=NAMES(CONTROLLERS))
    def round(self, k: int) -> None:
        self.leaders[k].round()
        self.spin()

    @rule(pick=st.integers(0, 30), outcome=NAMES(["ok"] * 6 + ["late", "lost", "unheard", "refused"]))
    def respond(self, pick: int, outcome: str) -> None:
        if self.network.pending:
            self.answer(self.network.pending[pick % len(self.network.pending)], outcome)

    @rule(k=NAMES(CONTROLLERS))
    def respond_to_all(self, k: int) -> None:
        self.answer_all(self.leaders[k])

    @rule(pick=st.integers(0, 30))
    def arrives_late(self, pick: int) -> None:
        if self.network.late:
            request = self.network.late.pop(pick % len(self.network.late))
            with contextlib.suppress(ApiError):
                request.act()

    @rule(k=NAMES(CONTROLLERS), rounds=st.integers(1, 3))
    def quiet_rounds(self, k: int, rounds: int) -> None:
        """Everything is seen, and the rounds go through."""
        leader = self.leaders[k]
        if leader.pool_loop is None:
            self.elect(k)
        for _ in range(rounds):
            self.answer_all(leader)
            for kind in KINDS:
                leader.deliver(kind, 10_000)
            leader.time_passes()
            leader.round()
            self.spin()
        self.answer_all(leader)

    # ---- what must hold -------------------------------------------------------------------------

    @invariant()
    def promises_hold(self) -> None:
        self.world.check()
        self.world.check_exclusive()

    def converges_in_the_end(self) -> None:
        """When nothing more goes wrong, everything comes to be where the plan wants it."""
        world = self.world
        self.network.late.clear()
        leader = self.leaders[0]
        for other in self.leaders[1:]:
            other.quit()
        self.network.pending = [r for r in self.network.pending if r.leader is leader]
        self.elect(0)
        for _ in range(40):
            for name in list(world.members):
                process = self.process(name)
                if process is not None:
                    process.connected = True
                world.start(name)
                world.renew(name)
            world.now += 2.0
            self.quiet_rounds(0, 1)
            for name in MEMBERS:
                self.work(name)
            self.promises_hold()
        for kind in KINDS:
            leader.deliver(kind, 10_000)
        waits = {
            leader.fleet.items.names[row]: wait for row, wait in leader.state.progress.waits.items()
        }
        stuck = {name: wait for name, wait in waits.items() if wait.why is not Why.LIMIT}
        budget = leader.fleet.policy.max_in_flight is not None
        if any(w.why is Why.LIMIT for w in waits.values()) and budget:
            stuck = {n: w for n, w in stuck.items() if w.why is not Why.BUDGET}
        assert not stuck, stuck


def run(steps: int, examples: int) -> None:
    run_state_machine_as_test(
        Protocol,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def test_the_promises_hold_whatever_happens() -> None:
    run(steps=50, examples=40)


@pytest.mark.deep
def test_the_promises_hold_over_100_000_steps() -> None:
    run(steps=100, examples=1000)
