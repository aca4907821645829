"""Objects of `berth.dev` and answers of commands, for the tests of this folder."""

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

PATIENCE = 60.0


class Answer(NamedTuple):
    """The output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Answer]


def obj(kind: str, name: str, spec: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """An object of berth.dev; `more` may hold `status` and fields of `metadata`."""
    body: dict[str, Any] = {"apiVersion": "berth.dev/v1alpha1", "kind": kind}
    status = more.pop("status", None)
    body["metadata"] = {"name": name, **more}
    if spec is not None:
        body["spec"] = spec
    if status is not None:
        body["status"] = status
    return body


def item(name: str, replicas: int = 1, pool: str = "p", **more: Any) -> dict[str, Any]:
    return obj("Item", name, {"pool": pool, "replicas": replicas}, **more)


def member(name: str, limit: int = 10, pool: str = "p", **more: Any) -> dict[str, Any]:
    keys = ("zone", "draining", "leaseName", "readiness")
    spec = {key: more.pop(key) for key in keys if key in more}
    return obj("Member", name, {"pool": pool, "limit": limit, **spec}, **more)


def assignment(name: str, *entries: str, pool: str = "p", term: int = 9, **more: Any) -> dict[str, Any]:
    return obj("Assignment", name, {"pool": pool, "term": term, "items": sorted(entries)}, **more)


def owned_by(uid: str) -> list[dict[str, Any]]:
    return [{"apiVersion": "berth.dev/v1alpha1", "kind": "Member", "name": "m", "uid": uid}]


def live(status: str, reason: str = "LeaseExpired", message: str = "Lease l was not renewed in time") -> Any:
    since = "2026-01-01T00:00:00Z"
    condition = {"type": "Live", "status": status, "reason": reason, "message": message}
    return {"conditions": [{**condition, "lastTransitionTime": since}]}


def listed(*objects: dict[str, Any]) -> str:
    """The objects as one List in JSON."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def eventually(check: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What `check` gives once it is true."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)
