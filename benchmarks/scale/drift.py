"""Compares what a controller has cached with what the API server has, object by object."""

from __future__ import annotations

from typing import Any

from benchmarks.scale.bare import Bare
from benchmarks.scale.objects import path
from berth.kinds import parse_entry


async def drift(client: Bare, namespace: str, dump: dict[str, Any]) -> list[str]:
    """What differs, in words; for a fleet at rest, whose Leases may be a renewal apart."""
    there = {
        plural: {o["metadata"]["name"]: o for o in await client.list(path(namespace, plural))}
        for plural in ("items", "members", "assignments", "leases")
    }
    return [*stores(there, dump["stores"]), *fleet(there, dump["fleets"]["default"])]


def stores(there: dict[str, dict[str, Any]], cached: dict[str, dict[str, Any]]) -> list[str]:
    """Objects whose cached version is not the server's."""
    found = []
    for plural, objects in there.items():
        known = cached[plural]
        found += [f"{plural}/{name} is only on the server" for name in objects.keys() - known.keys()]
        found += [f"{plural}/{name} is only in the cache" for name in known.keys() - objects.keys()]
        for name in objects.keys() & known.keys():
            meta = objects[name]["metadata"]
            same = known[name][0] == meta["uid"]
            if plural != "leases":
                same = same and known[name][1] == meta["resourceVersion"]
            if not same:
                found.append(
                    f"{plural}/{name}: cached {known[name]}, on the server {meta['resourceVersion']}"
                )
    return found


def fleet(there: dict[str, dict[str, Any]], known: dict[str, Any]) -> list[str]:
    """Where the fleet's indexes do not say what the objects say."""
    found = []
    replicas = {name: o["spec"]["replicas"] for name, o in there["items"].items()}
    if known["items"] != replicas:
        found.append("the fleet's Items are not the server's")
    if known["members"].keys() != there["members"].keys():
        found.append("the fleet's Members are not the server's")
    held: dict[str, list[tuple[int, str]]] = {name: [] for name in replicas}
    for name, member in known["members"].items():
        items = there["assignments"].get(name, {}).get("spec", {}).get("items", [])
        entries = sorted(list(parse_entry(text)) for text in items)
        if member["entries"] != entries:
            found.append(f"the fleet's entries of {name} are not those of its Assignment")
        for entry in entries:
            held.setdefault(entry[0], []).append((entry[1], name))
    if known["held"] != {item: [m for _, m in sorted(each)] for item, each in held.items()}:
        found.append("the index of who holds an Item does not say what the Assignments say")
    if known["waits"]:
        found.append(f"{known['waits']} Items are waited for although all is at rest")
    return found
