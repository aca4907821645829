"""The fencing policy on the real API server: whoever writes with a stale term is refused."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster


class Fleet:
    """One namespace, seen through kubectl."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane = plane
        self.namespace = namespace

    def kubectl(self, *args: str, input: str | None = None) -> str:
        return self.plane.kubectl("-n", self.namespace, *args, input=input)

    def create(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        document = {
            "apiVersion": "berth.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }
        self.kubectl("create", "-f", "-", input=json.dumps(document))

    def pool(self, name: str, term: int | None = None) -> None:
        self.create("Pool", name, {})
        if term is not None:
            self.raise_term(name, term)

    def raise_term(self, pool: str, term: int) -> None:
        self.patch(f"pool/{pool}", {"status": {"term": term}}, "--subresource=status")

    def assign(self, name: str, term: int, pool: str = "default", items: list[str] | None = None) -> None:
        self.create("Assignment", name, {"pool": pool, "term": term, "items": items or []})

    def patch(self, what: str, body: dict[str, Any], *args: str) -> None:
        self.kubectl("patch", what, "--type=merge", "-p", json.dumps(body), *args)

    def assignments(self) -> set[str]:
        names = self.kubectl("get", "assignments", "-o", "name").split()
        return {name.rpartition("/")[2] for name in names}

    def get(self, what: str, path: str) -> str:
        return self.kubectl("get", what, "-o", f"jsonpath={{{path}}}")


@pytest.fixture
def fleet(control_plane: ControlPlane, namespace: str) -> Fleet:
    return Fleet(control_plane, namespace)


def is_fenced(call: Callable[[], None], seconds: float = 10.0) -> str:
    """The API server's answer, once it refuses; it knows of a term a moment after it was raised."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            call()
        except subprocess.CalledProcessError as error:
            return str(error.stderr)
        time.sleep(0.05)
    pytest.fail("the stale write was accepted all the time")


def test_an_assignment_of_an_older_term_is_not_created(fleet: Fleet) -> None:
    fleet.pool("default", term=5)
    answer = is_fenced(lambda: fleet.kubectl("create", "--dry-run=server", "-f", "-", input=STALE) and None)
    assert "Forbidden" in answer
    assert "fencing.berth.dev" in answer
    assert "spec.term is 4, but Pool default is in term 5" in answer
    assert "is no longer the leader of the pool" in answer
    fleet.assign("now", term=5)
    fleet.assign("next", term=6)


STALE = json.dumps(
    {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "Assignment",
        "metadata": {"name": "stale"},
        "spec": {"pool": "default", "term": 4},
    }
)


def test_a_replaced_leader_changes_no_entry_even_with_the_term_that_is_written_there(fleet: Fleet) -> None:
    fleet.pool("default", term=4)
    fleet.assign("m", term=4, items=["a#0@4:4"])
    fleet.raise_term("default", 5)
    count = iter(range(1000))

    def write() -> None:
        fleet.patch("assignment/m", {"spec": {"term": 4, "items": [f"a{next(count)}#0@4:4"]}})

    assert "spec.term is 4, but Pool default is in term 5" in is_fenced(write)
    fleet.patch("assignment/m", {"spec": {"term": 5, "items": ["b#0@5:5"]}})
    assert fleet.get("assignment/m", ".spec.items[0]") == "b#0@5:5"


def test_reports_and_metadata_are_not_fenced(fleet: Fleet) -> None:
    fleet.pool("default", term=4)
    fleet.assign("m", term=4, items=["a#0@4:4"])
    fleet.raise_term("default", 9)
    is_fenced(
        lambda: fleet.patch("assignment/m", {"spec": {"items": [f"a#0@4:{time.time_ns() % 10**9 + 1}"]}})
    )

    fleet.patch("assignment/m", {"status": {"session": "s", "items": ["a@4=Active"]}}, "--subresource=status")
    fleet.kubectl("label", "assignment/m", "seen=yes")
    fleet.patch("assignment/m", {"metadata": {"finalizers": ["example.com/wait"]}})
    fleet.kubectl("delete", "assignment/m", "--wait=false")
    fleet.patch("assignment/m", {"metadata": {"finalizers": None}})

    assert fleet.kubectl("get", "assignments", "-o", "name") == ""


def test_only_the_pool_that_an_assignment_names_counts(fleet: Fleet) -> None:
    fleet.pool("default", term=2)
    fleet.pool("feeds", term=100)
    fleet.pool("new")
    answer = is_fenced(lambda: fleet.assign(f"f{time.time_ns()}", term=99, pool="feeds"))
    assert "spec.term is 99, but Pool feeds is in term 100" in answer
    fleet.assign("d", term=2, pool="default")
    fleet.assign("n", term=1, pool="new")
    fleet.assign("missing", term=1, pool="missing")
    assert {"d", "n", "missing"} <= fleet.assignments()


def test_pools_of_another_namespace_do_not_count(fleet: Fleet, control_plane: ControlPlane) -> None:
    fleet.pool("default", term=50)
    assert "term 50" in is_fenced(lambda: fleet.assign(f"f{time.time_ns()}", term=49))
    other = Fleet(control_plane, f"{fleet.namespace}-2")
    control_plane.create_namespace(other.namespace)
    try:
        other.assign("m", term=1)
        other.pool("default", term=2)
        assert "term 2" in is_fenced(lambda: other.assign(f"f{time.time_ns()}", term=1))
        other.assign("n", term=2)
        assert {"m", "n"} <= other.assignments()
    finally:
        control_plane.delete_namespace(other.namespace)


def test_one_apply_of_the_folder_to_a_fresh_api_server_fences(tmp_path: Path) -> None:
    crds = Path(__file__).parents[2] / "crds"
    with ControlPlane(kubeconfig=tmp_path / "kubeconfig") as plane:
        plane.kubectl("apply", "-f", str(crds))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        fleet = Fleet(plane, "default")
        fleet.pool("default", term=5)
        answer = is_fenced(lambda: fleet.assign(f"f{time.time_ns()}", term=4), seconds=60)
        assert "spec.term is 4, but Pool default is in term 5" in answer
        fleet.assign("m", term=5)
