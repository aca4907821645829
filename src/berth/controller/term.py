"""The term of one Pool: raised by compare-and-swap, so that of two leaders one finds out."""

from __future__ import annotations

from berth.kinds import API_VERSION, PoolObject
from berth.kube import POOLS, ApiError, Client, Conflict, Deadline, Invalid, NotFound


class Replaced(Exception):  # noqa: N818 - a state, not a fault
    """Another leader has raised the term: this one changes nothing any more."""


class PoolTerm:
    """The term in which this leader has a Pool, and which Pool that is. Every raise is one write."""

    def __init__(self, client: Client, namespace: str, pool: str, leader: str, deadline: Deadline) -> None:
        self._client = client
        self._path = POOLS.path(namespace, pool)
        self._collection = POOLS.path(namespace)
        self._name = pool
        self._leader = leader
        self._deadline = deadline
        self.value = 0
        """The term, 0 before the first take-over."""
        self.uid = ""
        """uid of the Pool object whose term it is, empty before the first take-over."""

    async def take_over(self, above: int, known: PoolObject | None = None) -> PoolObject:
        """Raise the term above `above` and whatever the Pool has; creates a Pool that is missing.

        Raises ApiError. A Pool that came back after having been deleted starts above `above`, the
        highest term known from its Assignments. `known`, the Pool as the last event showed it, saves
        a read if nobody has written it since.
        """
        while True:
            pool, known = known or await self._get_or_create(), None
            # Our own term too: a Pool that was deleted has forgotten what it was raised to.
            term = max(above, self.value, pool.status.term if pool.status else 0) + 1
            body = {
                "metadata": {"resourceVersion": pool.metadata.resource_version, "uid": pool.metadata.uid},
                "status": {"term": term, "leader": self._leader},
            }
            try:
                pool = await self._client.patch(
                    self._path + "/status", body, kind="merge", type=PoolObject, deadline=self._deadline
                )
            except (Conflict, NotFound):
                continue
            self.value, self.uid = term, pool.metadata.uid
            return pool

    async def raise_by_one(self) -> int:
        """The next term. Raises Replaced if it is not ours to raise, NotFound if the Pool is gone."""
        patch = [
            # Of a Pool that was deleted the next one of its name may have come to the same term.
            {"op": "test", "path": "/metadata/uid", "value": self.uid},
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
        if pool.metadata.uid != self.uid:
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
