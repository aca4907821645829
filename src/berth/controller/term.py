"""The term of one Pool: raised by compare-and-swap, so that of two leaders one finds out."""

from __future__ import annotations

import asyncio

from berth.api import API_VERSION
from berth.controller.objects import POOLS, PoolObject
from berth.kube import ApiError, Client, Conflict, Deadline, Invalid, NotFound


class Replaced(Exception):  # noqa: N818 - a state, not a fault
    """Another leader has raised the term: this one changes nothing any more."""


class PoolTerm:
    """The term that this leader holds. Every raise is one write."""

    def __init__(self, client: Client, namespace: str, pool: str, leader: str, deadline: Deadline) -> None:
        self._client = client
        self._path = POOLS.path(namespace, pool)
        self._collection = POOLS.path(namespace)
        self._name = pool
        self._leader = leader
        self._deadline = deadline
        self._reserving: asyncio.Task[int] | None = None
        self._reserved = False
        self.value = 0
        self.pool: PoolObject | None = None

    async def take_over(self, above: int, seen: PoolObject | None = None) -> PoolObject:
        """Raise the term above `above` and whatever the Pool says; creates a Pool that is missing.

        Raises ApiError. A Pool that came back after having been deleted starts above `above`, the
        highest term known from its Assignments. `seen`, the Pool as last heard of, saves reading it
        where nobody has written it since.
        """
        assert self._reserving is None
        while True:
            pool, seen = seen or await self._get_or_create(), None
            # Our own term too: a Pool that was deleted has forgotten what it was raised to.
            term = max(above, self.value, pool.status.term if pool.status else 0) + 1
            body = {
                "metadata": {"resourceVersion": pool.metadata.resource_version, "uid": pool.metadata.uid},
                "status": {"term": term, "leader": self._leader},
            }
            try:
                self.pool = await self._client.patch(
                    self._path + "/status", body, kind="merge", type=PoolObject, deadline=self._deadline
                )
            except (Conflict, NotFound):
                continue
            self.value, self._reserved = term, False
            return self.pool

    def reserve(self) -> None:
        """Begin to raise the term for the next round that grants, which then need not wait for it.

        Until `upcoming` has returned nothing else may be asked of the term.
        """
        if self._reserving is None and not self._reserved:
            self._reserving = asyncio.create_task(self.raise_by_one())

    def abandon(self) -> None:
        """Wait no longer for a raise that was begun."""
        reserving, self._reserving = self._reserving, None
        if reserving is None:
            return
        if not reserving.done():
            reserving.cancel()
        elif not reserving.cancelled():
            reserving.exception()  # or asyncio would complain that nobody wanted to know

    async def upcoming(self) -> int:
        """The term that the next round that grants will have; raises as `raise_by_one` does."""
        if self._reserving is not None:
            reserving, self._reserving = self._reserving, None
            await reserving
            self._reserved = True
        return self.value if self._reserved else self.value + 1

    async def claim(self) -> int:
        """The term for the round that grants now: `upcoming`, raised now if it was not reserved."""
        assert self._reserving is None
        if not self._reserved:
            await self.raise_by_one()
        self._reserved = False
        return self.value

    def spend(self) -> None:
        """A reserved term ends with the round that it was reserved for, whether that granted or not.

        The round may have written it into Assignments, where a term that is not this leader's is looked for.
        """
        self._reserved = False

    async def raise_by_one(self) -> int:
        """The next term. Raises Replaced if it is not ours to raise, NotFound if the Pool is gone."""
        assert self.pool is not None
        patch = [
            # Of a Pool that was deleted the next one of its name may have come to the same term.
            {"op": "test", "path": "/metadata/uid", "value": self.pool.metadata.uid},
            {"op": "test", "path": "/status/term", "value": self.value},
            {"op": "replace", "path": "/status/term", "value": self.value + 1},
        ]
        try:
            await self._client.patch(self._path + "/status", patch, deadline=self._deadline)
        except (Invalid, Conflict) as error:
            await self.check()
            raise error
        self.value += 1
        return self.value

    async def check(self) -> None:
        """Raise Replaced if the Pool's term is not the one that this leader has set.

        Raises NotFound where it is another Pool of that name.
        """
        pool = await self._client.get(self._path, type=PoolObject, deadline=self._deadline)
        if self.pool is not None and pool.metadata.uid != self.pool.metadata.uid:
            raise NotFound(404, "NotFound", f"Pool {self._name} was deleted and created again")
        there = pool.status.term if pool.status else 0
        if there == self.value + 1 and pool.status and pool.status.leader == self._leader:
            # Our own raise was accepted, only its answer was lost: the name in `leader` is still ours.
            self.value = there
        if there != self.value:
            raise Replaced(f"Pool {self._name} is in term {there}, not {self.value}: another leader has it")

    async def _get_or_create(self) -> PoolObject:
        try:
            return await self._client.get(self._path, type=PoolObject, deadline=self._deadline)
        except NotFound:
            body = {"apiVersion": API_VERSION, "kind": "Pool", "metadata": {"name": self._name}, "spec": {}}
            try:
                return await self._client.create(
                    self._collection, body, type=PoolObject, deadline=self._deadline
                )
            except ApiError as error:
                if error.status == 409:
                    return await self._client.get(self._path, type=PoolObject, deadline=self._deadline)
                raise
