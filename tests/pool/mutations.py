"""Berth with one rule switched off, for tests that show that the tests would notice.

Each mutation replaces a piece of a module's text. The mutated functions and methods take the place of
the real ones, wherever those were imported to, for as long as the context lasts.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
import types
from collections.abc import Iterator
from typing import NamedTuple

import pytest


class Mutation(NamedTuple):
    """One rule less."""

    name: str
    module: str
    old: str
    new: str


RULES = "berth.pool.rules"
CHANGES = "berth.pool.changes"
APPLY = "berth.controller.apply"
LEAD = "berth.controller.lead"
WRITES = "berth.controller.writes"
BRAIN = "berth.pool.brain"
TARGET = "berth.pool.target"
FORMER = "berth.pool.former"
LEDGER = "berth.pool.ledger"
MEMBER = "berth.pool.member"
STORE, WORLD = "protocol_store", "protocol_world"

MUTATIONS = [
    Mutation(
        "surplus entries go although too few ready ones stay",
        RULES,
        "if ready - holding.ready >= need:",
        "if True:",
    ),
    Mutation(
        "the last ready replica goes where the plan has no place for the Item",
        RULES,
        "need = min(view.replicas, max(1, len(view.target)))",
        "need = min(view.replicas, len(view.target))",
    ),
    Mutation(
        "what is not ready counts as ready",
        RULES,
        "ready = sum(h.ready for h in here)",
        "ready = len(here)",
    ),
    Mutation("entries are added whatever the limit", RULES, "if rules.loads.room(member) <= 0:", "if False:"),
    Mutation(
        "adds of one round do not count for each other's room",
        CHANGES,
        "self._room[row] = self.room(row) - 1",
        "pass",
    ),
    Mutation(
        "a promotion does not wait for the write of the old primary",
        RULES,
        "after if h.slot == 0 else ()",
        "()",
    ),
    Mutation(
        "a promotion is written although the write of the old primary failed",
        WRITES,
        "if order.accepted.issuperset(edit.after)",
        "if True",
    ),
    Mutation("a promotion keeps the epoch of the grant", RULES, "epoch=rules.term)", "epoch=chosen.grant)"),
    Mutation(
        "grants and promotions do not raise the term",
        APPLY,
        "if decision.raise_term and (writes or decision.rewrites):",
        "if False:",
    ),
    Mutation(
        "the first grants and promotions after a take-over do not raise the term",
        BRAIN,
        "            raise_term=planned.raises_term,\n",
        "            raise_term=planned.raises_term and ledger.highest_term == self.term,\n",
    ),
    Mutation(
        "a take-over does not raise the term",
        APPLY,
        "term = max(take.above, pool.term) + 1",
        "term = max(take.above, pool.term, 1)",
    ),
    Mutation(
        "two claims to slot 0 both stay",
        RULES,
        "for claim in claims if holder is None else claims[1:]:",
        "for claim in ():",
    ),
    Mutation(
        "Exclusive does not wait for the release",
        RULES,
        "if others:",
        "if False:",
    ),
    Mutation(
        "Exclusive takes an expired Lease for a stopped process",
        FORMER,
        "return not member.live and member.liveness is not Liveness.EXPIRED",
        "return not member.live",
    ),
    Mutation(
        "Exclusive does not look at what a live Member reports",
        FORMER,
        "    return item in member.reports\n",
        "    return False\n",
    ),
    Mutation(
        "reports of another session count",
        MEMBER,
        "            and self.session_holds\n",
        "",
    ),
    Mutation(
        "reports of an older grant count",
        MEMBER,
        "            and report.grant == entry.grant\n",
        "",
    ),
    Mutation(
        "writes do not test the generation that they replace",
        WRITES,
        '"path": "/metadata/generation", "value": member.assignment.metadata.generation',
        '"path": "/metadata/generation", "value": None',
    ),
    Mutation(
        "writes without an answer are forgotten",
        "berth.pool.progress",
        "self._pending.setdefault(member, set()).update(items)",
        "pass",
    ),
    Mutation(
        "a new leader goes by what its cache happens to show",
        APPLY,
        "await self._caught_up(int(pool.metadata.resource_version))",
        "pass",
    ),
    Mutation(
        "a round starts before the cache shows the writes of the one before",
        LEAD,
        "await self.applier.shown()",
        "pass",
    ),
    Mutation(
        "a leader that takes over does not raise the term above those in the Assignments",
        APPLY,
        "term = max(take.above, pool.term) + 1",
        "term = pool.term + 1",
    ),
    Mutation(
        "a problem that changes while it is solved is not solved again",
        TARGET,
        "self.turns >= MAX_TURNS",
        "self.turns >= 1",
    ),
    Mutation(
        "the target of a row that changed while it was solved is believed",
        TARGET,
        "if not ledger.changed.problem:\n",
        "if True:\n",
    ),
    Mutation(
        "Members that die while a problem is solved are not waited for",
        BRAIN,
        "judge_now = not self.target.turns or self.ledger.changed.problem",
        "judge_now = not self.target.turns",
    ),
    Mutation(
        "a leader that is replaced while it solves goes on",
        BRAIN,
        "if self._lost():\n            return self._take_over(now)",
        "if self._lost() and not self.target.turns:\n            return self._take_over(now)",
    ),
    Mutation(
        "deaths are not confirmed",
        "berth.pool.liveness",
        "return now >= moment and (self.deleted or self.read_at >= moment)",
        "return now >= moment",
    ),
    Mutation(
        "a read that was begun before the Lease ran out confirms that it has",
        "berth.pool.liveness",
        "return now >= moment and (self.deleted or self.read_at >= moment)",
        "return now >= moment and (self.deleted or self.read_at > 0)",
    ),
    Mutation(
        "an answer that an event has overtaken counts",
        "berth.pool.liveness",
        "if old is None or old.at > started:",
        "if old is None:",
    ),
    Mutation(
        "an event that is older than what was read counts",
        "berth.pool.liveness",
        "if old is not None and old.is_newer_than(lease):",
        "if False:",
    ),
    Mutation(
        "a new leader believes what it read in an earlier lead",
        "berth.pool.liveness",
        "new = replace(watch, found_dead=name in dead and not live, read_at=-math.inf)",
        "new = replace(watch, found_dead=name in dead and not live)",
    ),
    Mutation(
        "a new leader takes from those that the one before it had found dead",
        "berth.pool.outage",
        "unconfirmed or ",
        "",
    ),
    Mutation(
        "a Lease that is gone when a leader begins has run out",
        "berth.pool.liveness",
        "for name in missing - self._watches.keys() - dead:",
        "for name in ():",
    ),
    Mutation(
        "the API server does not fence",
        STORE,
        "if self.pool is not None and term < self.pool.term:",
        "if False:",
    ),
    Mutation(
        "what an earlier Member of the name held is promoted elsewhere before it is gone",
        APPLY,
        "decision.deletes, applied)\n        writes = _without_blocked_promotions(decision, applied)",
        "(), applied)\n        writes = list(decision.writes)",
    ),
    Mutation(
        "a worker begins to work before its Active is written",
        WORLD,
        "process.phases[item] = (grant, phase)  # to be said before it is done",
        "process.phases[item] = (grant, phase); process.active |= {item} if phase == 'Active' else set()",
    ),
    Mutation(
        "a new session keeps its old grants",
        MEMBER,
        "return not self.written_for and self.assignment is not None and self.session == self.successor",
        "return True",
    ),
    Mutation(
        "a new session keeps the epoch of the one before",
        RULES,
        "    if again is not None:\n",
        "    if False:\n",
    ),
    Mutation(
        "a new session gets entries that could not be given anew",
        MEMBER,
        "return self.written_for if kept and not self.adopted else self.successor",
        "return self.successor",
    ),
    Mutation(
        "what another session was given counts as ready",
        MEMBER,
        "not self.live or self.restarted:",
        "not self.live:",
    ),
    Mutation(
        "a restart where all is in its place is not looked at",
        "berth.pool.round",
        "if not m.live or m.restarted",
        "if not m.live",
    ),
    Mutation(
        "a new leader believes a watch of Leases that may be behind",
        MEMBER,
        "return holder, self._leases.follows(member.lease, member.written_for)",
        "return holder, True",
    ),
    Mutation(
        "a Lease that may have changed hands is not read",
        LEDGER,
        "                self.leases.confirm(lease, self.members[row].written_for)\n",
        "                pass\n",
    ),
    Mutation(
        "session is not compared by the worker",
        WORLD,
        "others = not self.for_it(process, process.spec)",
        "others = False",
    ),
]


@contextlib.contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    """The code base with one mutation applied."""
    module = importlib.import_module(mutation.module)
    text = inspect.getsource(module)
    assert text.count(mutation.old) == 1, f"{mutation.name}: its text is no longer in {mutation.module}"
    twin = types.ModuleType(module.__name__)
    twin.__file__ = module.__file__
    code = compile(text.replace(mutation.old, mutation.new), f"<{mutation.name}>", "exec", dont_inherit=True)
    patch = pytest.MonkeyPatch()
    patch.setitem(sys.modules, module.__name__, twin)
    exec(code, twin.__dict__)
    patch.undo()

    patch = pytest.MonkeyPatch()
    others = [m for name, m in sys.modules.items() if name.startswith(("berth", "protocol", "test_"))]
    for name, new in list(vars(twin).items()):
        old = vars(module).get(name)
        if getattr(new, "__module__", None) != module.__name__ or old is None:
            continue
        if isinstance(new, types.FunctionType):
            for other in others:
                if vars(other).get(name) is old:
                    patch.setattr(other, name, new)
        elif isinstance(new, type):
            for attribute, value in list(vars(new).items()):
                if isinstance(value, types.FunctionType | property) and attribute in vars(old):
                    patch.setattr(old, attribute, value)
            twin.__dict__[name] = old
    try:
        yield
    finally:
        patch.undo()


MODEL = [
    "surplus entries go although too few ready ones stay",
    "a promotion keeps the epoch of the grant",
    "what is not ready counts as ready",
    "the last ready replica goes where the plan has no place for the Item",
    "entries are added whatever the limit",
    "grants and promotions do not raise the term",
    "Exclusive does not wait for the release",
    "writes do not test the generation that they replace",
    "the API server does not fence",
    "deaths are not confirmed",
    "a new session keeps its old grants",
    "a new session keeps the epoch of the one before",
    "session is not compared by the worker",
]
"""Mutations that the model finds by itself, without being led to them by a story."""
