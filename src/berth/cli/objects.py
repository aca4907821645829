"""The objects of each Pool at one moment, from manifests or from a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from berth.cli.errors import UsageError
from berth.fleet import AssignmentSeen, ItemSeen, MemberSeen, Policy


class Condition(NamedTuple):
    """A condition of a status."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: str = ""
    """`lastTransitionTime`, RFC 3339."""


Conditions = tuple[Condition, ...]


def find_condition(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of that type."""
    return next((condition for condition in conditions if condition.type == type_), None)


@dataclass(slots=True)
class PoolObjects:
    """The objects of one Pool, by name."""

    namespace: str
    name: str
    policy: Policy = field(default_factory=Policy)
    term: int = 0
    leader: str = ""
    conditions: Conditions = ()
    items: dict[str, ItemSeen] = field(default_factory=dict)
    item_conditions: dict[str, Conditions] = field(default_factory=dict)
    members: dict[str, MemberSeen] = field(default_factory=dict)
    member_conditions: dict[str, Conditions] = field(default_factory=dict)
    assignments: dict[str, AssignmentSeen] = field(default_factory=dict)
    lease_holders: dict[str, str] | None = None
    """holderIdentity by Lease; None where the Leases were not read."""

    def live_condition(self, member: str) -> Condition | None:
        """The condition `Live` of a Member."""
        return find_condition(self.member_conditions.get(member, ()), "Live")

    def is_former(self, assignment: AssignmentSeen) -> bool:
        """Whether an Assignment is owned by an earlier Member of that name, so that it does not count."""
        member = self.members.get(assignment.name)
        return member is not None and bool(member.uid and assignment.owner) and member.uid != assignment.owner


Pools = dict[tuple[str, str], PoolObjects]
"""By namespace and name."""


def pool_in(pools: Pools, namespace: str, name: str) -> PoolObjects:
    """The Pool of that name, added where it is missing."""
    pool = pools.get((namespace, name))
    if pool is None:
        pool = pools[namespace, name] = PoolObjects(namespace, name)
    return pool


def display_names(pools: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """What each Pool is called, in order: its name, or `NAMESPACE/POOL` where two have that name."""
    found = sorted(pools)
    count = Counter(name for _, name in found)
    return {(space, name): name if count[name] == 1 else f"{space}/{name}" for space, name in found}


@dataclass(frozen=True, slots=True)
class Source:
    """The options that say where the objects are."""

    files: tuple[str, ...] = ()
    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None
    all_namespaces: bool = False

    def load(self) -> Pools:
        """Read the objects. Prints notes to standard error; raises UsageError and ApiError."""
        if self.namespace is not None and self.all_namespaces:
            raise UsageError("give --namespace or --all-namespaces, not both")
        # Each import takes up to a second, and a command needs only one of them.
        if not self.files:
            from berth.cli.cluster import load_cluster

            return load_cluster(self)
        if self.kubeconfig is not None or self.context is not None:
            raise UsageError("give --filename or --kubeconfig and --context, not both: files need no cluster")
        from berth.cli.manifests import load_files

        return load_files(list(self.files), self.namespace)

    def searched(self) -> str:
        """Where objects are looked for, as in `namespace prod`."""
        if self.files:
            return "the manifests" + (f" for namespace {self.namespace}" if self.namespace else "")
        if self.all_namespaces:
            return "any namespace"
        from berth.kube import load_config  # see `load`

        namespace = self.namespace or load_config(self.kubeconfig, self.context).namespace
        return f"namespace {namespace}"
