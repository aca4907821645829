"""Carries out the decisions for a Pool: raises its term, writes and solves, and reports the outcome."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field

from berth import kube
from berth.controller.follow import Sleep
from berth.controller.solving import Solve
from berth.controller.writes import Applied, AssignmentWriter
from berth.kinds import API_VERSION, AssignmentObject, HasMeta, PoolObject
from berth.pool import Decision, Outcome, TakeOver, Write

POLL = 0.01
"""Seconds between two checks of the cache."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Replaced(Exception):  # noqa: N818 - a state, not a fault
    """Another leader has raised the term: this one must not change anything any more."""


@dataclass
class Applier:
    """Carries out decisions for one Pool while this process leads it."""

    client: kube.Client
    assignments: kube.Informer[AssignmentObject]
    pool: tuple[str, str]
    """Its namespace and name."""
    identity: str
    """The name of this process, written to the Pool's status as its leader."""
    deadline: kube.Deadline
    solve: Solve
    backoff: kube.Backoff = field(default_factory=lambda: kube.Backoff(limit=5.0))
    sleep: Sleep = asyncio.sleep

    def __post_init__(self) -> None:
        self._namespace, self._name = self.pool
        self._path = kube.POOLS.path(*self.pool)
        self._writer = AssignmentWriter(self.client, *self.pool, self.deadline)
        self._version = 0

    async def shown(self) -> None:
        """Wait until the cache of Assignments shows every write so far."""
        await self.assignments.wait_for(self._version)

    async def apply(self, decision: Decision) -> Outcome:
        """Carry out a decision. Raises Replaced when another leader has the Pool."""
        applied = Applied()
        try:
            if decision.solve is not None:
                applied.solution = await self.solve(*decision.solve)
                return applied
            if decision.take_over is not None:
                applied.pool = await self._take_over(decision.take_over, decision)
            else:
                await self._write(decision, applied)
        except kube.ApiError as error:
            if isinstance(error, kube.NotFound) and decision.take_over is None:
                applied.pool_gone = True
            else:  # also a Pool that cannot be created because its namespace is gone
                applied.failures.append(error)
        self._version = max(self._version, applied.version)
        if not applied.failures:
            self.backoff.reset()
        else:
            first = applied.failures[0]
            applied.error = str(first)
            applied.retry_in = max(self.backoff.next(), first.retry_after or 0.0)
        return applied

    # ---- taking over -----------------------------------------------------------------------

    async def _take_over(self, take: TakeOver, decision: Decision) -> PoolObject:
        """Raise the term by compare-and-swap, so that of two leaders one finds out; create a missing Pool.

        Raises ApiError.
        """
        if take.check:  # the later term was written by the next leader, or by hand
            with suppress(kube.NotFound):
                await self._check_term(decision.term, decision.uid)
        known = take.known
        while True:
            pool, known = known or await self._get_or_create_pool(), None
            term = max(take.above, pool.term) + 1
            body = {
                "metadata": {"resourceVersion": pool.metadata.resource_version, "uid": pool.metadata.uid},
                "status": {"term": term, "leader": self.identity},
            }
            with suppress(kube.Conflict, kube.NotFound):  # it was written since it was read
                pool = await self.client.patch(
                    self._path + "/status", body, kind="merge", type=PoolObject, deadline=self.deadline
                )
                break
        await self._caught_up(int(pool.metadata.resource_version))
        return pool

    async def _get_pool(self) -> PoolObject:
        return await self.client.get(self._path, type=PoolObject, deadline=self.deadline)

    async def _get_or_create_pool(self) -> PoolObject:
        with suppress(kube.NotFound):
            return await self._get_pool()
        meta = {"name": self._name, "namespace": self._namespace, "annotations": {}}
        body = {"apiVersion": API_VERSION, "kind": "Pool", "metadata": meta, "spec": {}}
        # As `kubectl apply` records a manifest: without it, the first apply by a user would warn.
        meta["annotations"] = {LAST_APPLIED: json.dumps(body) + "\n"}
        with suppress(kube.Conflict):  # somebody else created it in the meantime
            path = kube.POOLS.path(self._namespace)
            return await self.client.create(path, body, type=PoolObject, deadline=self.deadline)
        return await self._get_pool()

    async def _caught_up(self, version: int) -> None:
        """Wait until the cache of Assignments shows everything up to resourceVersion `version`.

        A watch may lag by any amount, and it is silent while nothing happens; so the Assignments are listed
        again and the cache is compared with that list. Raises ApiError.
        """
        path = kube.ASSIGNMENTS.path(self._namespace)
        there = await self.client.list(path, type=HasMeta, metadata_only=True, deadline=self.deadline)
        versions = {each.metadata.name: int(each.metadata.resource_version) for each in there}
        await self.assignments.wait_for(max(versions.values(), default=0))
        while any(
            key[0] == self._namespace
            and key[1] not in versions
            and int(held.metadata.resource_version) <= version
            for key, held in self.assignments.store.items()
        ):
            await self.sleep(POLL)

    # ---- writing ---------------------------------------------------------------------------

    async def _write(self, decision: Decision, applied: Applied) -> None:
        # First, because entries in the Assignment of an earlier Member must be gone before a promotion.
        await self._writer.delete(decision.deletes, applied)
        writes = _without_blocked_promotions(decision, applied)
        term = decision.term - decision.raise_term
        if decision.raise_term and (writes or decision.rewrites):
            applied.refused = True
            await self._raise_term(decision, applied)
            applied.refused, term = False, decision.term
        await self._writer.rewrite(decision.rewrites, term, applied)
        await self._writer.write(writes, term, applied)
        await self._writer.repair(decision.repairs, term, applied)
        if any(isinstance(error, kube.Forbidden) for error in applied.failures):
            applied.term = await self._check_term(term, decision.uid)

    async def _raise_term(self, decision: Decision, applied: Applied) -> None:
        patch = [
            # If the Pool was deleted, the next one of its name may have reached the same term.
            {"op": "test", "path": "/metadata/uid", "value": decision.uid},
            {"op": "test", "path": "/status/term", "value": decision.term - 1},
            {"op": "replace", "path": "/status/term", "value": decision.term},
        ]
        try:
            await self.client.patch(self._path + "/status", patch, deadline=self.deadline)
        except (kube.Invalid, kube.Conflict):
            applied.term = await self._check_term(decision.term - 1, decision.uid)
            raise
        applied.term = decision.term

    async def _check_term(self, term: int, uid: str) -> int:
        """The term in which this leader has the Pool: `term`, or the next one if only an answer was lost.

        Raises Replaced if another leader has it, NotFound if it is gone or another Pool of that name.
        """
        pool = await self._get_pool()
        if pool.metadata.uid != uid:
            raise kube.NotFound(404, "NotFound", f"Pool {self._name} was deleted and created again")
        ours = pool.leader == self.identity and pool.term == term + 1
        if pool.term != term and not ours:
            raise Replaced(f"Pool {self._name} is in term {pool.term}, not {term}: another leader has it")
        return pool.term


def _without_blocked_promotions(decision: Decision, applied: Applied) -> list[Write]:
    """The writes without promotions of Items that are still in an Assignment which could not be deleted."""
    failed = [member for member in decision.deletes if member.row in applied.failed_objects]
    listed = set[str]().union(*(member.listed for member in failed))
    if not listed:
        return list(decision.writes)
    writes = []
    for write in decision.writes:
        kept = [e for e in write.edits if e.item not in listed or e.entry is None or e.entry.slot]
        applied.again.update(e.item for e in write.edits if e not in kept)
        if kept:
            writes.append(write._replace(edits=kept))
    return writes
