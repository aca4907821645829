"""The objects that the benchmark writes, as plain JSON values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

API_VERSION = "berth.dev/v1alpha1"
BERTH = f"/apis/{API_VERSION}"
COORDINATION = "/apis/coordination.k8s.io/v1"
ZONES = ("zone-0", "zone-1", "zone-2")


def path(namespace: str, plural: str, name: str | None = None, sub: str | None = None) -> str:
    """The path of a collection, an object or a subresource."""
    group = COORDINATION if plural == "leases" else BERTH
    parts = [f"{group}/namespaces/{namespace}/{plural}", name, sub]
    return "/".join(part for part in parts if part)


def item_name(number: int) -> str:
    return f"item-{number:06d}"


def member_name(number: int) -> str:
    return f"member-{number:05d}"


def item(name: str, replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "Item",
        "metadata": {"name": name},
        "spec": {"replicas": replicas},
    }


def member(name: str, zone: str, limit: int, *, reported: bool, leased: bool) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "limit": limit,
        "zone": zone,
        "readiness": "Reported" if reported else "Assumed",
    }
    if leased:
        spec["leaseName"] = name
    return {"apiVersion": API_VERSION, "kind": "Member", "metadata": {"name": name}, "spec": spec}


def assignment(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "Assignment", "metadata": {"name": name}, "spec": spec}


def pool(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "Pool", "metadata": {"name": name}, "spec": spec}


def lease(name: str, holder: str, seconds: int) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": seconds,
            "renewTime": micro_time(),
            "acquireTime": micro_time(),
            "leaseTransitions": 0,
        },
    }


def micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
