"""The API server of the model: what it stores, the history that watches show, and what leaders write.

It keeps the rules that the real one keeps: generations, uids and resourceVersions as preconditions, and the
fencing policy. Each write is one atomic step, but when it happens, and whether its sender gets the answer, is
for the test to choose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from protocol_objects import Assignment, Item, Lease, Member, Pool

from berth.kinds import ReadPoolSpec
from berth.kube import Conflict, Forbidden, Invalid, NotFound, ServerError

KINDS = ("items", "members", "assignments", "leases", "pool")


class Event(NamedTuple):
    """A change of one object; `new` None is its deletion."""

    version: int
    name: str
    new: Any


class Broken(AssertionError):  # noqa: N818 - says what is so
    """A promise was broken."""


@dataclass
class Store:
    """The API server and its history."""

    version: int = 1
    uids: int = 0
    stores: dict[str, dict[str, Any]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    log: dict[str, list[Event]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    leases_readable: bool = True
    """Whether reads of Leases are answered, not refused."""

    def put(self, kind: str, name: str, new: Any) -> None:
        self.version += 1
        if new is None:
            del self.stores[kind][name]
        else:
            self.stores[kind][name] = new
        self.log[kind].append(Event(self.version, name, new))

    def uid(self) -> str:
        self.uids += 1
        return f"u{self.uids}"

    @property
    def items(self) -> dict[str, Item]:
        return self.stores["items"]

    @property
    def members(self) -> dict[str, Member]:
        return self.stores["members"]

    @property
    def assignments(self) -> dict[str, Assignment]:
        return self.stores["assignments"]

    @property
    def pool(self) -> Pool | None:
        return self.stores["pool"].get("pool")

    # ---- what a leader writes -------------------------------------------------------------------

    def create_pool(self) -> Pool:
        if self.pool is not None:
            raise Conflict(409, "AlreadyExists", "pool")
        self.put("pool", "pool", Pool(self.uid(), self.version + 1, ReadPoolSpec()))
        assert self.pool is not None
        return self.pool

    def need_pool(self) -> Pool:
        if self.pool is None:
            raise NotFound(404, "NotFound", "pool")
        return self.pool

    def need_assignment(self, name: str) -> Assignment:
        if name not in self.assignments:
            raise NotFound(404, "NotFound", name)
        return self.assignments[name]

    def need_lease(self, name: str) -> Lease:
        if not self.leases_readable:
            raise ServerError(500, "InternalError", name)
        if name not in self.stores["leases"]:
            raise NotFound(404, "NotFound", name)
        return self.stores["leases"][name]

    def take_over(self, leader: str, body: dict[str, Any]) -> Pool:
        """The merge patch of a take-over."""
        pool = self.need_pool()
        meta, status = body["metadata"], body["status"]
        if meta["uid"] != pool.uid or int(meta["resourceVersion"]) != pool.version:
            raise Conflict(409, "Conflict", "pool")
        return self._set_term(pool, status["term"], status["leader"])

    def raise_term(self, leader: str, patch: list[dict[str, Any]]) -> Pool:
        """The JSON patch that raises the term."""
        pool = self.need_pool()
        if not pool.term or [op["value"] for op in patch[:2]] != [pool.uid, pool.term]:
            raise Invalid(422, "Invalid", "test failed")
        return self._set_term(pool, patch[2]["value"], pool.leader)

    def _set_term(self, pool: Pool, term: int, leader: str) -> Pool:
        if term < pool.term:
            raise Broken(f"the Pool's term went from {pool.term} to {term}")
        self.put("pool", "pool", pool._replace(version=self.version + 1, term=term, leader=leader))
        return self.need_pool()

    def fence(self, term: int) -> None:
        """The admission policy."""
        if self.pool is not None and term < self.pool.term:
            raise Forbidden(403, "Forbidden", "spec.term is below the Pool's status.term")

    def create_assignment(self, name: str, owner: str, spec: dict[str, Any]) -> Assignment:
        if name in self.assignments:
            raise Conflict(409, "AlreadyExists", name)
        self.fence(spec["term"])
        new = Assignment(
            name,
            tuple(spec["items"]),
            spec["term"],
            self.uid(),
            owner,
            generation=1,
            resource_version=self.version + 1,
            written_for=spec.get("session", ""),
        )
        self.put("assignments", name, new)
        return new

    def replace_spec(self, name: str, patch: list[dict[str, Any]]) -> tuple[Assignment, Assignment]:
        """The JSON patch of `spec`, if uid and generation are those it tests: before and after."""
        old = self.need_assignment(name)
        if (patch[0]["value"], patch[1]["value"]) != (old.uid, old.generation):
            raise Invalid(422, "Invalid", "test failed")
        spec = patch[2]["value"]
        items, session = tuple(spec["items"]), spec.get("session", "")
        if (items, spec["term"], session) == (old.items, old.term, old.written_for):
            return old, old
        self.fence(spec["term"])
        new = old._replace(
            items=items,
            term=spec["term"],
            generation=old.generation + 1,
            resource_version=self.version + 1,
            written_for=session,
        )
        self.put("assignments", name, new)
        return old, new
