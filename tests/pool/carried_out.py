"""A Pool whose decisions come true at once, without an API server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace
from objects import assignment_object, changed, item_object, member_object, pool_object

from berth.kinds import ReadPoolSpec, ReadPoolStatus, format_entry
from berth.pool import Brain, Decision, Fact, Gone, Leases, Outcome
from berth.solve import Problem, Solution, Touched

Solve = Callable[[Problem, Touched | None, bool], Awaitable[Solution]]


class Carried:
    """A Pool of Members without Leases, each with an Assignment of its own, and its leader."""

    def __init__(
        self, solve: Solve, policy: ReadPoolSpec | None = None, name: str = "p", **limits: int
    ) -> None:
        self.now = 1000.0
        self.leases = Leases()
        self.brain = Brain("ns", name, self.leases)
        self.solve = solve
        self.facts: list[Fact] = []
        self.brain.observe(pool_object("u-pool", 1, policy), self.now)
        for member, limit in limits.items():
            self.member(member, limit)
        self.brain.start()

    def member(
        self, name: str, limit: int, *items: str, lease: str | None = None, term: int = 1, generation: int = 1
    ) -> None:
        self.brain.observe(member_object(name, limit, uid=f"u-{name}", lease=lease), self.now)
        uids = (f"a-{name}", f"u-{name}")
        self.brain.observe(assignment_object(name, items, term, *uids, generation), self.now)

    def gone(self, member: str) -> None:
        self.brain.observe(Gone("Member", member), self.now)

    def item(self, name: str, replicas: int = 1) -> None:
        self.brain.observe(item_object(name, replicas, f"u-{name}"), self.now)

    def item_gone(self, name: str) -> None:
        self.brain.observe(Gone("Item", name), self.now)

    async def decided(self) -> Decision:
        """The writes that are decided next; what leads to them is carried out."""
        while True:
            decision = self.brain.decide(self.now)
            self.facts += decision.facts
            outcome = Outcome()
            if decision.take_over is not None:
                known = decision.take_over.known
                assert known is not None
                outcome.pool = replace(known, status=ReadPoolStatus(decision.take_over.above + 1))
            elif decision.solve is not None:
                try:
                    outcome.solution = await self.solve(*decision.solve)
                except BaseException:
                    self.brain.done(outcome, self.now)
                    raise
            elif not decision.rests:
                return decision
            if not decision.rests:
                self.facts += self.brain.done(outcome, self.now)

    async def plan(self) -> dict[str, list[str]]:
        """The Items that the next round would give or take, by Member; none of it is written."""
        decision = await self.decided()
        again = {edit.item for write in decision.writes for edit in write.edits}
        self.facts += self.brain.done(Outcome(again=again), self.now)
        return {
            write.member.name: [f"{'+' if e.entry else '-'}{e.item}" for e in write.edits]
            for write in decision.writes
        }

    async def round(self) -> Decision:
        """A round, all of which comes true."""
        decision = await self.decided()
        outcome = Outcome(term=decision.term)
        for write in decision.writes:
            entries = write.entries(write.edits)
            there = write.member.assignment
            assert there is not None
            items = tuple(format_entry(entries[name]) for name in sorted(entries))
            written = changed(
                there, items=items, term=decision.term, generation=there.metadata.generation + 1
            )
            self.brain.observe(written, self.now)
            outcome.accepted.append(write)
        self.facts += self.brain.done(outcome, self.now)
        return decision
