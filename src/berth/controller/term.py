"""The term of a Pool on the API server: raised by compare-and-swap, so that of two leaders one finds out."""

from __future__ import annotations

from berth.kinds import API_VERSION, PoolObject
from berth.kube import POOLS, ApiError, Client, Conflict, Deadline, NotFound


class Replaced(Exception):  # noqa: N818 - a state, not a fault
    """Another leader has raised the term: this one changes nothing any more."""


class PoolTerm:
    """Raises the term of a Pool for the leader of that name. Every raise is one write."""

    def __init__(self, client: Client, namespace: str, pool: str, leader: str, deadline: Deadline) -> None:
        self._client = client
        self._path = POOLS.path(namespace, pool)
        self._collection = POOLS.path(namespace)
        self._name = pool
        self._leader = leader
        self._deadline = deadline

    async def take_over(self, above: int, known: PoolObject | None = None) -> PoolObject:
        """Raise the term above `above` and whatever the Pool has; creates a Pool that is missing.

        Raises ApiError. `known`, the Pool as the last event showed it, saves a read if nobody has written it
        since.
        """
        while True:
            pool, known = known or await self._get_or_create(), None
            term = max(above, pool.term) + 1
            body = {
                "metadata": {"resourceVersion": pool.metadata.resource_version, "uid": pool.metadata.uid},
                "status": {"term": term, "leader": self._leader},
            }
            try:
                return await self._client.patch(
                    self._path + "/status", body, kind="merge", type=PoolObject, deadline=self._deadline
                )
            except (Conflict, NotFound):
                continue

    async def raise_to(self, term: int, uid: str) -> None:
        """Raise the term of the Pool with that uid by one, to `term`.

        Raises ApiError: Invalid or Conflict if it is in another term (see `check`), NotFound if it is gone.
        """
        patch = [
            # Of a Pool that was deleted the next one of its name may have come to the same term.
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "test", "path": "/status/term", "value": term - 1},
            {"op": "replace", "path": "/status/term", "value": term},
        ]
        await self._client.patch(self._path + "/status", patch, deadline=self._deadline)

    async def check(self, term: int, uid: str) -> int:
        """The term that this leader has the Pool in: `term`, or the next one if only the answer was lost.

        Raises Replaced if another leader has it, NotFound if it is gone or another Pool of that name.
        """
        pool = await self._client.get(self._path, type=PoolObject, deadline=self._deadline)
        if pool.metadata.uid != uid:
            raise NotFound(404, "NotFound", f"Pool {self._name} was deleted and created again")
        ours = pool.leader == self._leader and pool.term == term + 1
        if pool.term != term and not ours:
            raise Replaced(f"Pool {self._name} is in term {pool.term}, not {term}: another leader has it")
        return pool.term

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
                if error.status != 409:
                    raise
                return await self._client.get(self._path, type=PoolObject, deadline=self._deadline)
