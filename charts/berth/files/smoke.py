"""`helm test`: places three Items on two Members in a Pool of their own, and takes everything away again."""

import sys
import time
import uuid
from typing import Any

from kubernetes import client, config

GROUP, VERSION = "berth.dev", "v1alpha1"
ITEMS, MEMBERS, REPLICAS = 3, 2, 2


def main(namespace: str, seconds: float) -> int:
    """Exit code: 0 if every replica is placed within `seconds`."""
    config.load_config()
    api = client.CustomObjectsApi()
    pool = f"berth-test-{uuid.uuid4().hex[:8]}"
    wanted = ITEMS * REPLICAS

    def create(kind: str, plural: str, name: str, spec: dict[str, Any]) -> None:
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": {"name": name}, "spec": spec}
        api.create_namespaced_custom_object(GROUP, VERSION, namespace, plural, body)

    def assignments() -> list[dict[str, Any]]:
        found = api.list_namespaced_custom_object(GROUP, VERSION, namespace, "assignments")
        return [a["spec"] for a in found["items"] if a["spec"].get("pool") == pool]

    def entries() -> list[str]:
        return [entry for spec in assignments() for entry in spec.get("items", ())]

    def delete(plural: str, name: str) -> None:
        try:
            api.delete_namespaced_custom_object(GROUP, VERSION, namespace, plural, name)
        except client.ApiException as error:
            if error.status != 404:
                raise

    names = {
        "items": [f"{pool}-item-{i}" for i in range(ITEMS)],
        "members": [f"{pool}-member-{i}" for i in range(MEMBERS)],
    }
    began = time.monotonic()
    try:
        for name in names["members"]:
            create("Member", "members", name, {"pool": pool, "limit": 2 * ITEMS})
        for name in names["items"]:
            create("Item", "items", name, {"pool": pool, "replicas": REPLICAS})
        while len(found := entries()) < wanted:
            if time.monotonic() - began > seconds:
                print(
                    f"{len(found)} of {wanted} replicas placed after {seconds:.0f} s: is the controller up?"
                )
                return 1
            time.sleep(0.2)
        primaries = sum("#0@" in entry for entry in found)
        print(f"{wanted} replicas, {primaries} of them primaries, placed in {time.monotonic() - began:.1f} s")
        return 0 if primaries == ITEMS else 1
    finally:
        for plural, objects in names.items():
            for name in objects:
                delete(plural, name)
        # The controller would create the Pool again while any object names it.
        while assignments() and time.monotonic() - began < 2 * seconds:
            time.sleep(0.2)
        delete("pools", pool)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
