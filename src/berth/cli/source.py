"""Where a command's Pools come from: manifests where files are given, else the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from berth.cli.errors import UsageError, note
from berth.cli.snapshot import PoolSnapshot
from berth.words import counted

Pools = dict[tuple[str, str], PoolSnapshot]


@dataclass(frozen=True, slots=True)
class Source:
    """What the options of a command say about it."""

    files: tuple[str, ...] = ()
    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None
    all_namespaces: bool = False


def load(source: Source) -> Pools:
    """The Pools, by (namespace, name). Notes go to standard error; raises UsageError and ApiError."""
    if source.namespace is not None and source.all_namespaces:
        raise UsageError("give --namespace or --all-namespaces, not both")
    if source.files:
        return _from_files(source)
    from berth.cli.cluster import load_cluster

    return load_cluster(source)


def _from_files(source: Source) -> Pools:
    from berth.cli.manifests import read_manifests
    from berth.cli.offline import pools_of

    if source.kubeconfig is not None or source.context is not None:
        raise UsageError("give --filename or --kubeconfig and --context, not both: files need no cluster")
    manifests = read_manifests(list(source.files))
    for kind, count in sorted(manifests.foreign.items()):
        note(f"berth: skipped {count} of kind {kind}: not of berth.dev")
    pools, left_out = pools_of(manifests, source.namespace)
    if left_out:
        note(f"berth: left out {counted(left_out, 'object')} of other namespaces than {source.namespace}")
    if not manifests.objects:
        note("berth: there are no objects of berth.dev in what was read")
    return pools
