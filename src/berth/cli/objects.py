"""The objects of each Pool at one moment, from manifests or from a cluster."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from berth import kinds
from berth.cli.errors import UsageError

KindObject = kinds.ItemObject | kinds.MemberObject | kinds.AssignmentObject | kinds.PoolObject
WithConditions = kinds.ItemObject | kinds.MemberObject | kinds.PoolObject


def conditions_of(found: WithConditions | None) -> tuple[kinds.ReadCondition, ...]:
    """The conditions of an object; none where there is no object or no status."""
    return found.status.conditions if found and found.status else ()


def find_condition(found: WithConditions | None, type_: str) -> kinds.ReadCondition | None:
    """The condition of that type."""
    return next((condition for condition in conditions_of(found) if condition.type == type_), None)


@dataclass(slots=True)
class PoolObjects:
    """The objects of one Pool, by name."""

    namespace: str
    name: str
    pool: kinds.PoolObject | None = None
    items: dict[str, kinds.ItemObject] = field(default_factory=dict)
    members: dict[str, kinds.MemberObject] = field(default_factory=dict)
    assignments: dict[str, kinds.AssignmentObject] = field(default_factory=dict)
    lease_holders: dict[kinds.Key, str] | None = None
    """holderIdentity of each Lease, of all namespaces that were read; None where no Leases were."""

    @property
    def status(self) -> kinds.ReadPoolStatus:
        """The status of the Pool; empty before the first leader."""
        return (self.pool and self.pool.status) or kinds.ReadPoolStatus()

    @property
    def slots_wanted(self) -> int:
        """The sum of replicas."""
        return sum(item.spec.replicas for item in self.items.values())

    def is_former(self, assignment: kinds.AssignmentObject) -> bool:
        """Whether an Assignment is owned by an earlier Member of that name, so that it does not count."""
        member = self.members.get(assignment.metadata.name)
        uid = member.metadata.uid if member else ""
        return bool(uid) and assignment.of_another(uid)


Pools = dict[kinds.Key, PoolObjects]
"""By namespace and name."""


def assemble(objects: Iterable[KindObject]) -> Pools:
    """The objects as Pools."""
    pools: Pools = {}
    for found in objects:
        name = found.metadata.name
        key = (found.metadata.namespace, name if isinstance(found, kinds.PoolObject) else found.spec.pool)
        pool = pools.setdefault(key, PoolObjects(*key))
        match found:
            case kinds.ItemObject():
                pool.items[name] = found
            case kinds.MemberObject():
                pool.members[name] = found
            case kinds.AssignmentObject():
                pool.assignments[name] = found
            case kinds.PoolObject():
                pool.pool = found
    return pools


def display_names(pools: Iterable[kinds.Key]) -> dict[kinds.Key, str]:
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

    def __post_init__(self) -> None:
        if self.namespace is not None and self.all_namespaces:
            raise UsageError("give --namespace or --all-namespaces, not both")
        if self.files and (self.kubeconfig is not None or self.context is not None):
            raise UsageError("give --filename or --kubeconfig and --context, not both: files need no cluster")

    def load(self) -> Pools:
        """Read the objects. Prints notes to standard error; raises UsageError and ApiError."""
        # Each import takes up to a second, and a command needs only one of them.
        if not self.files:
            from berth.cli.cluster import read_pools, with_client

            return with_client(self, read_pools)
        from berth.cli.manifests import load_files

        return load_files(list(self.files), self.namespace)

    def searched(self) -> str:
        """Where objects are looked for, as in `namespace prod`."""
        if self.files:
            return "the manifests" + (f" for namespace {self.namespace}" if self.namespace else "")
        if self.all_namespaces:
            return "any namespace"
        from berth.kube import load_config  # see `load`

        return f"namespace {self.namespace or load_config(self.kubeconfig, self.context).namespace}"
