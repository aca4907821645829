"""What a worker's token may do, on the real API server with RBAC on: examples/rbac as it is shipped."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from member_fakes import Recorder
from member_leader import ASSIGNMENTS, ITEMS, MEMBERS, Leader
from waiting import until

from berth import Outcome, Session
from berth.kube import LEASES, Client, Forbidden, load_config
from berth.testing import ControlPlane

pytestmark = pytest.mark.cluster

RBAC = Path(__file__).parents[2] / "examples" / "rbac"
POD = """
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  serviceAccountName: berth-worker
  containers: [{name: worker, image: worker}]
"""


class Worker:
    """A pod's identity: a token bound to it."""

    def __init__(self, control_plane: ControlPlane, namespace: str, pod: str) -> None:
        control_plane.kubectl("apply", "-n", namespace, "-f", "-", input=POD.replace("NAME", pod))
        token = control_plane.token(namespace, "berth-worker", bound_object=("Pod", pod))
        self.kubeconfig = control_plane.kubeconfig_for(token, namespace)
        self.client = Client(load_config(self.kubeconfig))


def member(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "berth.dev/v1alpha1", "kind": "Member", "metadata": {"name": name},
        "spec": {"limit": 5, "leaseName": name, **spec},
    }  # fmt: skip


def lease(name: str, holder: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "labels": labels},
        "spec": {"holderIdentity": holder},
    }  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def policy(control_plane: ControlPlane) -> Iterator[None]:
    """The policy as shipped, once it is in force."""
    control_plane.kubectl("create", "namespace", "rights-probe")
    control_plane.kubectl("apply", "-n", "rights-probe", "-f", str(RBAC / "worker-rbac.yaml"))
    control_plane.kubectl("apply", "-f", str(RBAC / "worker-policy.yaml"))
    control_plane.kubectl("apply", "-n", "rights-probe", "-f", "-", input=POD.replace("NAME", "probe"))
    token = control_plane.token("rights-probe", "berth-worker", bound_object=("Pod", "probe"))
    kubeconfig = control_plane.kubeconfig_for(token, "rights-probe")
    end = time.monotonic() + 30
    while True:
        try:
            body = "\n".join(["apiVersion: berth.dev/v1alpha1", "kind: Member", "metadata: {name: other}",
                              "spec: {limit: 1, leaseName: other}"])  # fmt: skip
            control_plane.kubectl("create", "--dry-run=server", "-f", "-", input=body, kubeconfig=kubeconfig)
        except subprocess.CalledProcessError as error:
            if "may write only" in error.stderr:
                break
        assert time.monotonic() < end, "the policy does not come into force"
        time.sleep(0.1)
    yield
    control_plane.kubectl("delete", "-f", str(RBAC / "worker-policy.yaml"))
    control_plane.delete_namespace("rights-probe")


@pytest.fixture
async def leader(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Leader]:
    control_plane.kubectl("apply", "-n", namespace, "-f", str(RBAC / "worker-rbac.yaml"))
    async with Leader(control_plane, namespace) as leader:
        yield leader


@pytest.fixture
async def worker(control_plane: ControlPlane, namespace: str, leader: Leader) -> AsyncIterator[Worker]:
    worker = await asyncio.to_thread(Worker, control_plane, namespace, "w-0")
    async with worker.client:
        yield worker


async def test_the_shipped_rights_are_enough_for_a_whole_life(leader: Leader, worker: Worker) -> None:
    work = Recorder()
    session = Session(work, name="w-0", limit=5, kubeconfig=worker.kubeconfig, lease_seconds=3.0)
    async with session:
        await leader.item("a", url="http://x")
        await leader.give("w-0", "a#0@1:2")
        await leader.until_reported("w-0", "a@1=Active")
        await until(lambda: "activate a@2" in work.log)
        assert work.items["a"].data == {"url": "http://x"}
        drain = asyncio.create_task(session.drain())
        await leader.until_limit("w-0", 0)
        await leader.give("w-0")
        assert await drain is Outcome.DRAINED
    assert await leader.read(MEMBERS, "w-0") is None
    assert await leader.lease("w-0") is None


async def test_a_worker_writes_no_member_but_that_of_its_pod(leader: Leader, worker: Worker) -> None:
    ns = leader.namespace
    await leader.client.create(MEMBERS.path(ns), member("w-1"))
    with pytest.raises(Forbidden, match="pod w-0 may write only what is named after itself, not members w-1"):
        await worker.client.patch(MEMBERS.path(ns, "w-1"), {"spec": {"limit": 0}}, "merge")
    with pytest.raises(Forbidden, match="pod w-0 may write only"):
        await worker.client.delete(MEMBERS.path(ns, "w-1"))
    with pytest.raises(Forbidden, match="pod w-0 may write only"):
        await worker.client.create(MEMBERS.path(ns), member("w-2"))
    with pytest.raises(Forbidden, match=r"may register only a Member with spec\.leaseName w-0"):
        await worker.client.create(MEMBERS.path(ns), member("w-0", leaseName="w-1"))
    with pytest.raises(Forbidden, match=r"may register only a Member with spec\.leaseName w-0"):
        await worker.client.create(MEMBERS.path(ns), member("w-0", leaseName=None))
    await worker.client.create(MEMBERS.path(ns), member("w-0"))
    assert (await leader.read(MEMBERS, "w-1") or {})["spec"]["limit"] == 5


async def test_a_worker_reports_in_no_assignment_but_its_own_and_writes_no_spec(
    leader: Leader, worker: Worker
) -> None:
    ns = leader.namespace
    await leader.give("w-0", "a#1@1")
    await leader.give("w-1", "b#1@1")
    status = [{"op": "add", "path": "/status", "value": {"session": "me", "items": []}}]
    with pytest.raises(Forbidden, match="pod w-0 may write only what is named after itself, not assignments"):
        await worker.client.patch(ASSIGNMENTS.path(ns, "w-1", "status"), status)
    spec = [{"op": "replace", "path": "/spec/items", "value": []}]
    with pytest.raises(Forbidden, match="cannot patch resource"):
        await worker.client.patch(ASSIGNMENTS.path(ns, "w-0"), spec)
    # Nor by way of its status.
    await worker.client.patch(ASSIGNMENTS.path(ns, "w-0", "status"), [*status, *spec])
    assert (await leader.read(ASSIGNMENTS, "w-0") or {})["spec"]["items"] == ["a#1@1"]
    assert (await leader.status("w-0"))["session"] == "me"


async def test_a_worker_writes_no_lease_of_another_member(leader: Leader, worker: Worker) -> None:
    ns = leader.namespace
    theirs = lease("w-1", "them", **{"berth.dev/member": "w-1"})
    there = await leader.client.create(LEASES.path(ns), theirs)
    there["spec"]["holderIdentity"] = ""
    with pytest.raises(Forbidden, match="pod w-0 may write only what is named after itself, not leases w-1"):
        await worker.client.update(LEASES.path(ns, "w-1"), there)
    del there["metadata"]["labels"]
    with pytest.raises(Forbidden, match="pod w-0 may write only"):
        await worker.client.update(LEASES.path(ns, "w-1"), there)
    with pytest.raises(Forbidden, match="pod w-0 may write only"):
        await worker.client.delete(LEASES.path(ns, "w-1"))
    await worker.client.create(LEASES.path(ns), lease("w-0", "me", **{"berth.dev/member": "w-0"}))
    await worker.client.create(LEASES.path(ns), lease("an-election", "me"))


async def test_a_worker_changes_no_item_and_nothing_in_another_namespace(
    leader: Leader, worker: Worker, control_plane: ControlPlane
) -> None:
    await leader.item("a")
    with pytest.raises(Forbidden):
        await worker.client.patch(ITEMS.path(leader.namespace, "a"), {"spec": {"replicas": 0}}, "merge")
    with pytest.raises(Forbidden):
        await worker.client.get(MEMBERS.path("rights-probe", "w-0"))


async def test_an_account_that_may_manage_members_is_not_bound_to_the_name_of_its_pod(
    leader: Leader, worker: Worker, control_plane: ControlPlane
) -> None:
    ns = leader.namespace
    for args in (
        ("create", "role", "manager", "--verb=manage", "--resource=members.berth.dev"),
        ("create", "rolebinding", "manager", "--role=manager", f"--serviceaccount={ns}:berth-worker"),
    ):
        await asyncio.to_thread(control_plane.kubectl, "-n", ns, *args)
    end = time.monotonic() + 20
    while True:
        try:
            await worker.client.create(MEMBERS.path(ns), member("w-7"))
            break
        except Forbidden:  # until the authorizer has seen the binding
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
