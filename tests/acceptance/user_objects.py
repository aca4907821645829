"""Manifests as a user writes them."""

from typing import Any

API = "berth.dev/v1alpha1"
Doc = dict[str, Any]


def item(name: str, replicas: int | None = None, **spec: Any) -> Doc:
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": API, "kind": "Item", "metadata": {"name": name}, "spec": spec}


def member(name: str, limit: int, created: str | None = None, live: bool | None = None, **spec: Any) -> Doc:
    doc: Doc = {
        "apiVersion": API,
        "kind": "Member",
        "metadata": {"name": name},
        "spec": {"limit": limit, **spec},
    }
    if created:
        doc["metadata"]["creationTimestamp"] = created
    if live is not None:
        state = "True" if live else "False"
        condition = {
            "type": "Live",
            "status": state,
            "reason": "Renewed" if live else "Expired",
            "message": "",
        }
        condition["lastTransitionTime"] = "2024-01-01T00:00:00Z"
        doc["status"] = {"conditions": [condition]}
    return doc


def assignment(name: str, entries: list[str], term: int = 1, pool: str = "default", **status: Any) -> Doc:
    doc: Doc = {
        "apiVersion": API,
        "kind": "Assignment",
        "metadata": {"name": name},
        "spec": {"pool": pool, "term": term, "items": entries},
    }
    if status:
        doc["status"] = status
    return doc


def pool(name: str = "default", **spec: Any) -> Doc:
    return {"apiVersion": API, "kind": "Pool", "metadata": {"name": name}, "spec": spec}
