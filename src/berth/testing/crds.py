"""Berth's kinds and admission policy: their manifests, and when they are in force."""

import time
import uuid
from pathlib import Path

from berth.kinds.crds import manifests
from berth.testing.administrator import Administrator
from berth.testing.errors import ControlPlaneError

BERTH = "/apis/berth.dev/v1alpha1"
_SECONDS = 60.0


def write(folder: Path) -> Path:
    """Write the manifests of this version of Berth into `folder`, for `kubectl apply -f`."""
    folder.mkdir(exist_ok=True)
    for name, text in manifests().items():
        (folder / name).write_text(text)
    return folder


def wait_until_fenced(api: Administrator) -> None:
    """Wait until the API server refuses an Assignment with an old term and accepts one with the current term.

    A policy is in force some seconds after it was applied, and no condition reports it. So dry-run writes are
    tried with a Pool that exists during this call.
    """
    name = f"probe-{uuid.uuid4().hex[:8]}"
    pools = f"{BERTH}/namespaces/default/pools"
    pool = {"apiVersion": "berth.dev/v1alpha1", "kind": "Pool", "metadata": {"name": name}, "spec": {}}
    api.request("POST", pools, pool)
    try:
        deadline = time.monotonic() + _SECONDS
        while not _in_force(api, f"{pools}/{name}", name):
            if time.monotonic() > deadline:
                raise ControlPlaneError(
                    f"the admission policy of Berth was not in force after {_SECONDS:.0f} s"
                )
            time.sleep(0.1)
    finally:
        api.request("DELETE", f"{pools}/{name}")


def _in_force(api: Administrator, path: str, name: str) -> bool:
    """Whether a term below that of the Pool is refused, and its own is not.

    A running controller may lead this Pool, too, and raise its term.
    """
    pool = api.request("GET", path)
    term = pool.get("status", {}).get("term", 0)
    if term < 2:
        api.status("PUT", f"{path}/status", pool | {"status": {"term": 2}})
        return False
    return (_dry_run(api, name, term - 1), _dry_run(api, name, term)) == (403, 201)


def _dry_run(api: Administrator, name: str, term: int) -> int | None:
    assignment = {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "Assignment",
        "metadata": {"name": name},
        "spec": {"pool": name, "term": term, "items": []},
    }
    return api.status("POST", f"{BERTH}/namespaces/default/assignments?dryRun=All", assignment)
