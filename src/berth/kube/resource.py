"""Paths of the Kubernetes API."""

from dataclasses import dataclass

from berth.kinds.model import GROUP, PLURALS, VERSION


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind on the API server: `Resource("berth.dev", "v1alpha1", "items")`; the core group is `""`."""

    group: str
    version: str
    plural: str

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """The path of the collection (no `name`; all namespaces without `namespace`) or of one object."""
        root = f"/{'apis' if self.group else 'api'}/{self.api_version}"
        scope = ("namespaces", namespace) if namespace else ()
        return "/".join(part for part in (root, *scope, self.plural, name, subresource) if part is not None)

    @property
    def api_version(self) -> str:
        """The `apiVersion` of an object of this kind."""
        return f"{self.group}/{self.version}" if self.group else self.version


ITEMS, MEMBERS, ASSIGNMENTS, POOLS = (
    Resource(GROUP, VERSION, PLURALS[kind]) for kind in ("Item", "Member", "Assignment", "Pool")
)
EVENTS = Resource("", "v1", "events")
LEASES = Resource("coordination.k8s.io", "v1", "leases")


def resource_of(path: str) -> str:
    """The plural that a path names, with its subresource: a metric label with few values."""
    root, *parts = path.partition("?")[0].strip("/").split("/")
    rest = parts[{"api": 1, "apis": 2}.get(root, len(parts)) :]
    if len(rest) > 2 and rest[0] == "namespaces":
        rest = rest[2:]
    return "/".join(rest[::2]) or root  # without the name of an object
