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
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        path = f"{root}/namespaces/{namespace}/{self.plural}" if namespace else f"{root}/{self.plural}"
        if name is not None:
            path += f"/{name}"
        if subresource is not None:
            path += f"/{subresource}"
        return path

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
    parts = path.partition("?")[0].strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else []
    if len(rest) > 2 and rest[0] == "namespaces":
        rest = rest[2:]
    if not rest:
        return parts[0]
    return f"{rest[0]}/{rest[2]}" if len(rest) > 2 else rest[0]
