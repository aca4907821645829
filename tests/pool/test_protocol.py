"""The protocol as a whole, in a model: many leaders, lost and late writes, dying Members, changed minds.

The loop of a Pool, its writer, its terms, the fleet, the solver and the rules are the real ones. The
API server, the workers and time are a model; each message arrives when Hypothesis says so, if at all.
The promises of docs/architecture.md are checked at every write and after every step.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from objects import pool_spec
from protocol_objects import Item, Member
from protocol_run import CONTROLLERS, Run
from protocol_store import KINDS

from berth.kinds import Handoff, ReadPoolSpec, ZonePolicy
from berth.kube import ApiError
from berth.pool import Why

ITEMS = [f"i{n}" for n in range(4)]
MEMBERS = [f"m{n}" for n in range(4)]
NAMES = st.sampled_from

policies = st.builds(
    pool_spec,
    handoff=st.sampled_from([Handoff.EXCLUSIVE, Handoff.EXCLUSIVE, Handoff.OVERLAP]),
    zones=st.sampled_from(ZonePolicy),
    tolerance=st.sampled_from([0, 50]),
    active_primaries=st.booleans(),
    max_in_flight=st.sampled_from([None, None, 1, 2]),
    outage_delay=st.sampled_from([0, 0, 30]),
    brake_percent=st.just(55),
    brake_min_members=st.sampled_from([3, 10]),
)

member_specs = st.fixed_dictionaries(
    {
        "limit": st.integers(0, 4),
        "zone": NAMES(["", "a", "b"]),
        "draining": st.sampled_from([False, False, True]),
        "leased": st.sampled_from([True, True, False]),
        "reported": st.sampled_from([True, True, False]),
    }
)
mostly = st.sampled_from([True, True, False])
answers = st.one_of(
    st.just(("ok",) * 8),
    st.lists(NAMES(["ok"] * 5 + ["late", "late", "lost", "unheard", "refused"]), max_size=8).map(tuple),
)


class Protocol(Run, RuleBasedStateMachine):
    """Everything that may happen, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def teardown(self) -> None:
        try:
            self.converges_in_the_end()
        finally:
            STEPS.append(self.steps)
            self.close()

    # ---- people ---------------------------------------------------------------------------------

    @initialize(
        policy=policies,
        members=st.integers(2, 4),
        settled=st.sampled_from([True, True, False]),
        elsewhere=st.booleans(),
        data=st.data(),
    )
    def fleet_appears(
        self, policy: ReadPoolSpec, members: int, settled: bool, elsewhere: bool, data: st.DataObject
    ) -> None:
        world = self.world
        world.solves_elsewhere = elsewhere
        world.create_pool()
        pool = world.need_pool()
        world.put("pool", "pool", type(pool)(pool.uid, world.version + 1, policy))
        for name in MEMBERS[:members]:
            spec = data.draw(member_specs)
            self.put_member(name, {**spec, "limit": max(1, spec["limit"])})
        for name in ITEMS[: data.draw(st.integers(1, 4))]:
            self.put_item(name, data.draw(st.integers(1, 3)))
        for leader in self.leaders:
            for kind in KINDS:
                leader.relist(kind)
        if settled:
            self.elect(0)
            self.all_is_well(4)

    def put_item(self, name: str, replicas: int) -> None:
        old = self.world.items.get(name)
        uid = old.uid if old else self.world.uid()
        self.world.put("items", name, Item(name, replicas, uid, (old.generation if old else 0) + 1))

    @rule(name=NAMES(ITEMS), replicas=st.sampled_from([None, 0, 1, 1, 2, 3]))
    def item_changes(self, name: str, replicas: int | None) -> None:
        """It is created, scaled, or deleted."""
        if replicas is not None:
            self.put_item(name, replicas)
        elif name in self.world.items:
            self.world.put("items", name, None)

    def put_member(self, name: str, spec: dict[str, Any]) -> None:
        world, old = self.world, self.world.members.get(name)
        if old is not None:
            changed = old._replace(
                limit=spec["limit"], draining=spec["draining"], generation=old.generation + 1
            )
            world.put("members", name, changed)
            return
        seen = Member(
            name,
            spec["limit"],
            spec["zone"],
            spec["draining"],
            f"l-{name}" if spec["leased"] else None,
            spec["reported"],
            world.uid(),
            f"{world.version:06}",
        )
        world.put("members", name, seen)
        world.start(name)

    @rule(name=NAMES(MEMBERS), spec=st.deferred(lambda: member_specs))
    def member_changes(self, name: str, spec: dict[str, Any]) -> None:
        self.put_member(name, spec)

    @rule(names=st.sets(NAMES(MEMBERS), min_size=1))
    def drain(self, names: set[str]) -> None:
        """Limits go to zero."""
        for name in sorted(names & self.world.members.keys()):
            self.world.put("members", name, self.world.members[name]._replace(limit=0))

    @rule(name=NAMES(MEMBERS), again=st.booleans(), spec=st.deferred(lambda: member_specs))
    def delete_member(self, name: str, again: bool, spec: dict[str, Any]) -> None:
        if name in self.world.members:
            self.world.put("members", name, None)
            process = self.process(name)
            if process is not None:
                process.running = False
                process.active.clear()
            if again:
                self.put_member(name, spec)

    @rule(what=NAMES(["garbage", "assignment", "policy", "pool", "lease"]), data=st.data())
    def something_rare(self, what: str, data: st.DataObject) -> None:
        world = self.world
        if what == "garbage":
            uids = {m.uid for m in world.members.values()}
            for name, there in list(world.assignments.items()):
                if there.owner not in uids:
                    world.put("assignments", name, None)
        elif what == "assignment":
            name = data.draw(NAMES(MEMBERS))
            if name in world.assignments:
                gone = world.assignments[name]
                world.tainted.update(text.partition("#")[0] for text in gone.items)
                # What its status said of work that had not ended yet is gone with it.
                world.tainted.update(text.partition("@")[0] for text in gone.reports)
                world.put("assignments", name, None)
        elif what == "policy" and world.pool is not None:
            pool, policy = world.pool, data.draw(policies)
            world.put("pool", "pool", type(pool)(pool.uid, world.version + 1, policy, pool.term, pool.leader))
        elif what == "lease":
            name = "l-" + data.draw(NAMES(MEMBERS))
            if name in world.stores["leases"]:
                world.put("leases", name, None)
        elif what == "pool" and world.pool is not None:
            world.put("pool", "pool", None)
            holder = self.network.holder
            self.network.late = [r for r in self.network.late if r.leader is holder]
        if world.pool is None:
            world.forget_epochs()

    # ---- workers and time -----------------------------------------------------------------------

    @rule(name=NAMES(MEMBERS), what=NAMES(["start", "crash", "restart", "cut off", "reconnect", "renew"]))
    def process_fares(self, name: str, what: str) -> None:
        process, seen = self.process(name), self.world.members.get(name)
        if process is None or seen is None:
            return
        if what in ("crash", "restart"):
            process.running = False
            process.active.clear()
        if what in ("start", "restart"):
            self.world.start(name)
        if what == "cut off" and process.running and seen.lease is not None:
            self.world.cut_off(process)
        if what == "reconnect" and process.running:
            process.connected = True
            self.world.observe(process)
        if what == "renew":
            self.world.renew(name)

    @rule(
        name=NAMES(MEMBERS),
        what=NAMES(["observe", "report", "Ready", "Active", "Failed"]),
        item=NAMES(ITEMS),
    )
    def worker_steps(self, name: str, what: str, item: str) -> None:
        process = self.process(name)
        if process is None:
            return
        if what == "observe":
            self.world.observe(process)
        elif what == "report":
            self.world.report(process)
        else:
            self.world.advance(process, item, what)

    @rule(names=st.sets(NAMES(MEMBERS), min_size=2))
    def workers_work(self, names: set[str]) -> None:
        """All that these workers have to do, done."""
        for name in sorted(names):
            process = self.process(name)
            if process is None or name not in self.world.members:
                continue
            for phase in ("Ready", "Active"):
                self.world.observe(process)
                for item in list(process.phases):
                    self.world.advance(process, item, phase)
                self.world.report(process)

    @rule(
        seconds=NAMES([0.5, 3.0, 6.0, 10.4, 12.0]),
        dying=st.sets(NAMES(MEMBERS), max_size=2),
        silent=st.booleans(),
    )
    def time_passes(self, seconds: float, dying: set[str], silent: bool = False) -> None:
        """All but a few renew their Lease; who leads looks at the clock. `silent`: no event shows it that."""
        self.world.now += seconds
        self.world.stop_overdue()
        for name in self.world.processes:
            if name not in dying:
                self.world.renew(name)
        if self.network.holder is not None:
            if not silent:
                self.network.holder.deliver("leases", 100)
            self.network.holder.time_passes()
            self.spin()

    # ---- controllers ----------------------------------------------------------------------------

    @rule(k=NAMES(CONTROLLERS), fresh=st.booleans(), answers=answers)
    def elect(self, k: int, fresh: bool = False, answers: tuple[str, ...] = ("ok",) * 6) -> None:
        """A controller is elected, perhaps one that has just been started. The other may not know it."""
        if fresh:
            self.leaders[k].quit()
            self.leaders[k] = self._controller()
        self.network.holder = self.leaders[k]
        self.leaders[k].start()
        self.spin()
        self.answer_some(self.leaders[k], answers)

    @rule(k=NAMES(CONTROLLERS), kind=NAMES(KINDS), count=st.integers(1, 4), relist=st.booleans())
    def controller_sees(self, k: int, kind: str, count: int, relist: bool) -> None:
        if relist:
            self.leaders[k].relist(kind)
        else:
            self.leaders[k].deliver(kind, count)
        self.leaders[k].time_passes()
        self.spin()

    @rule(k=NAMES(CONTROLLERS), kinds=st.sets(NAMES(KINDS)), answers=answers)
    def round(self, k: int, kinds: set[str], answers: tuple[str, ...]) -> None:
        """A round, with caches as they are but for `kinds`, and requests that end as `answers` say."""
        leader = self.leaders[k]
        for kind in sorted(kinds):
            leader.deliver(kind, 10_000)
        leader.round()
        self.spin()
        self.answer_some(leader, answers)

    @rule(pick=st.integers(0, 30), answers=answers)
    def respond(self, pick: int, answers: tuple[str, ...]) -> None:
        for outcome in answers:
            if self.network.pending:
                self.answer(self.network.pending[pick % len(self.network.pending)], outcome)

    @rule(pick=st.integers(0, 30))
    def arrives_late(self, pick: int) -> None:
        if self.network.late:
            request = self.network.late.pop(pick % len(self.network.late))
            with contextlib.suppress(ApiError):
                request.act()
            self.promises_hold()

    @rule(k=NAMES(CONTROLLERS), rounds=st.integers(1, 3))
    def quiet_rounds(self, k: int, rounds: int) -> None:
        """Everything is seen, and the rounds go through."""
        leader = self.leaders[k]
        if leader.lead is None:
            self.elect(k)
        for _ in range(rounds):
            self.answer_all(leader)
            for kind in KINDS:
                leader.deliver(kind, 10_000)
            leader.time_passes()
            leader.round()
            self.spin()
        self.answer_all(leader)

    @rule(rounds=st.integers(1, 4))
    def all_is_well(self, rounds: int) -> None:
        """The elected controller and all workers go on undisturbed."""
        if self.network.holder not in self.leaders:
            return
        k = self.leaders.index(self.network.holder)
        for _ in range(rounds):
            self.quiet_rounds(k, 1)
            self.workers_work(set(MEMBERS))

    # ---- what must hold -------------------------------------------------------------------------

    @invariant()
    def promises_hold_after_each_step(self) -> None:
        self.steps += 1
        self.promises_hold()

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
            self.workers_work(set(MEMBERS))
            self.promises_hold()
        for kind in KINDS:
            leader.deliver(kind, 10_000)
        waits = {leader.ledger.items.names[row]: wait for row, wait in leader.brain.progress.waits.items()}
        stuck = {n: wait for n, wait in waits.items() if wait.why not in (Why.LIMIT, Why.NO_PLACE)}
        budget = leader.ledger.policy.moves.max_in_flight is not None
        if any(w.why is Why.LIMIT for w in waits.values()) and budget:
            stuck = {n: w for n, w in stuck.items() if w.why is not Why.BUDGET}
        assert not stuck, stuck


def run(steps: int, examples: int) -> int:
    """Run the model; the number of steps that were taken."""
    STEPS.clear()
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
    return sum(STEPS)


def test_the_promises_hold_whatever_happens() -> None:
    run(steps=50, examples=40)


@pytest.mark.deep
def test_the_promises_hold_over_100_000_steps() -> None:
    steps = 0
    while steps < 100_000:
        steps += run(steps=80, examples=500)
    print(f"{steps} steps")


STEPS: list[int] = []
"""Steps of each run of the machine, the closing one that must converge not counted."""
