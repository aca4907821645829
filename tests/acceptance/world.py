"""A namespace on the real API server, seen through the official client and kubectl; its recorded history."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from acceptance_paths import BERTH, KUBECTL
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from user_objects import API, member
from waiting import eventually

Doc = dict[str, Any]
GROUP, VERSION = API.split("/")
ENTRY = re.compile(r"^([a-z0-9.-]+)#(?:(0)@(\d+):(\d+)|([1-9]\d*)@(\d+))$")


@dataclass(frozen=True)
class Entry:
    name: str
    slot: int
    grant: int
    epoch: int


def entry(text: str) -> Entry:
    found = ENTRY.match(text)
    assert found, f"not the wire format: {text!r}"
    name, zero, first, epoch, slot, grant = found.groups()
    return Entry(name, 0, int(first), int(epoch)) if zero else Entry(name, int(slot), int(grant), 0)


@dataclass
class History:
    """What one watch of all Assignments of the namespace has seen, in the API server's order."""

    path: Path

    def events(self) -> list[tuple[str, Doc]]:
        text, at, out, decoder = self.path.read_text(), 0, [], json.JSONDecoder()
        while True:
            while at < len(text) and text[at].isspace():
                at += 1
            try:
                event, at = decoder.raw_decode(text, at)
            except ValueError:  # the end, or one half written
                return out
            out.append((event["type"], event["object"]))

    def states(self) -> Iterator[dict[str, dict[str, Entry]]]:
        """After each version of any Assignment: by Member what it should hold."""
        now: dict[str, dict[str, Entry]] = {}
        for kind, doc in self.events():
            name = doc["metadata"]["name"]
            now = dict(now)
            now.pop(name, None)
            if kind != "DELETED":
                entries = [entry(text) for text in doc["spec"].get("items", [])]
                now[name] = {e.name: e for e in entries}
                assert len(now[name]) == len(entries), f"an Item twice on {name}"
            yield now

    def check(self) -> None:
        """The promises that hold in every version: one slot 0, epochs and grants only grow, sorted lists."""
        epochs: dict[str, int] = {}
        terms: dict[str, int] = {}
        for kind, doc in self.events():
            if kind == "DELETED":
                continue
            name, spec = doc["metadata"]["name"], doc["spec"]
            entries = [entry(text) for text in spec.get("items", [])]
            assert [e.name for e in entries] == sorted(e.name for e in entries)
            assert spec["term"] >= terms.get(name, 0)
            terms[name] = spec["term"]
            for e in entries:
                assert max(e.grant, e.epoch) <= spec["term"], (e, spec["term"])
                assert e.slot or e.epoch >= e.grant
                if e.slot == 0:
                    assert e.epoch >= epochs.get(e.name, 0), f"the epoch of {e.name} went back"
                    epochs[e.name] = e.epoch
        for now in self.states():
            first = [e.name for held in now.values() for e in held.values() if e.slot == 0]
            assert len(first) == len(set(first)), f"two slots 0: {now}"

    def least_held(self, item: str, since: int = 0, among: set[str] | None = None) -> int:
        """Count the fewest Members that held the Item in any version after the first `since`."""
        counts = [
            sum(item in held for member, held in now.items() if among is None or member in among)
            for now in list(self.states())[since:]
        ]
        return min(counts)


@dataclass
class World:
    kubeconfig: Path
    namespace: str
    folder: Path
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    markers: set[str] = field(default_factory=set)
    """Members that only show what the leader has processed."""

    def __post_init__(self) -> None:
        self.api = config.new_client_from_config(str(self.kubeconfig))
        self.custom = client.CustomObjectsApi(self.api)
        self.leases = client.CoordinationV1Api(self.api)
        self.core = client.CoreV1Api(self.api)

    # objects ------------------------------------------------------------------------------------
    def create(self, *docs: Doc) -> None:
        for doc in docs:
            plural = doc["kind"].lower() + "s"
            self.custom.create_namespaced_custom_object(GROUP, VERSION, self.namespace, plural, doc)

    def apply(self, *docs: Doc) -> str:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(docs)})
        return self.kubectl("apply", "-f", "-", text=text)

    def get(self, kind: str, name: str) -> Doc | None:
        try:
            got = self.custom.get_namespaced_custom_object(GROUP, VERSION, self.namespace, kind + "s", name)
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        return dict(got)

    def all(self, kind: str) -> dict[str, Doc]:
        got = self.custom.list_namespaced_custom_object(GROUP, VERSION, self.namespace, kind + "s")
        return {doc["metadata"]["name"]: doc for doc in got["items"]}

    def patch(self, kind: str, name: str, spec: Doc, status: bool = False) -> Doc:
        call = (
            self.custom.patch_namespaced_custom_object_status
            if status
            else self.custom.patch_namespaced_custom_object
        )
        body = {"status" if status else "spec": spec}
        return dict(
            call(
                GROUP,
                VERSION,
                self.namespace,
                kind + "s",
                name,
                body,
                _content_type="application/merge-patch+json",
            )
        )

    def delete(self, kind: str, name: str) -> None:
        self.custom.delete_namespaced_custom_object(GROUP, VERSION, self.namespace, kind + "s", name)

    def report(self, member: str, session: str, *items: str) -> None:
        """Write what a worker would write."""
        self.patch("assignment", member, {"session": session, "items": sorted(items)}, status=True)

    def renew(self, name: str, holder: str | None, seconds: int | None = 5, shift: float = 0) -> None:
        """Write a Lease as a worker does, its clock wrong by `shift` seconds."""
        spec: Doc = {"holderIdentity": holder, "leaseDurationSeconds": seconds}
        moment = datetime.now(UTC) + timedelta(seconds=shift)
        spec["renewTime"] = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name},
            "spec": spec,
        }
        try:
            self.leases.patch_namespaced_lease(name, self.namespace, {"spec": spec})
        except ApiException as error:
            if error.status != 404:
                raise
            self.leases.create_namespaced_lease(self.namespace, body)

    # what is held -------------------------------------------------------------------------------
    def held(self) -> dict[str, dict[str, Entry]]:
        return {
            name: {e.name: e for e in map(entry, doc["spec"].get("items", []))}
            for name, doc in self.all("assignment").items()
            if name not in self.markers
        }

    def holders(self, item: str) -> list[str]:
        """The Members that should hold the Item, in slot order."""
        held = self.held()
        return sorted((m for m in held if item in held[m]), key=lambda m: held[m][item].slot)

    def condition(self, kind: str, name: str, of: str) -> Doc:
        doc = self.get(kind, name) or {}
        found = [c for c in doc.get("status", {}).get("conditions", []) if c["type"] == of]
        return found[0] if found else {}

    def observed(self, kind: str, name: str) -> bool:
        """Whether the leader has seen the object as it is now: a watch of another kind may be ahead."""
        doc = self.get(kind, name)
        seen = doc and doc.get("status", {}).get("observedGeneration")
        return bool(seen and seen == doc["metadata"]["generation"])

    def converged(self, pool: str = "default") -> bool:
        """Whether the Pool says that all is as wanted (mind that it may not have seen the last change)."""
        return self.condition("pool", pool, "Converged").get("status") == "True"

    def processed(self) -> None:
        """Wait until the leader has processed everything up to now: it gives each new Member an Assignment.

        The second Member makes sure that the round in which the first was processed is over. Both have no
        room, so the plan stays what it is.
        """
        for _ in range(2):
            name = f"marker-{len(self.markers)}"
            self.markers.add(name)
            self.custom.create_namespaced_custom_object(
                GROUP, VERSION, self.namespace, "members", member(name, 0)
            )
            eventually(lambda name=name: name in self.all("assignment"), f"{name} has no Assignment")

    def renewals(self, name: str, count: int) -> None:
        """Wait until a Lease was renewed so often."""

        def version() -> str:
            return str(self.leases.read_namespaced_lease(name, self.namespace).metadata.resource_version)

        for _ in range(count):
            before = version()
            eventually(lambda before=before: version() != before, f"the Lease {name} is not renewed")

    def events(self) -> list[tuple[str, str, str, str]]:
        """Kind and name of the object, reason, message."""
        got = self.core.list_namespaced_event(self.namespace).items
        return [(e.involved_object.kind, e.involved_object.name, e.reason, e.message) for e in got]

    def versions(self) -> dict[str, str]:
        """The resourceVersion of everything of Berth here, and of every Event; not of Leases."""
        out = {}
        for kind in ("item", "member", "assignment", "pool"):
            for name, doc in self.all(kind).items():
                out[f"{kind}/{name}"] = doc["metadata"]["resourceVersion"]
        for event in self.core.list_namespaced_event(self.namespace).items:
            out[f"event/{event.metadata.name}"] = event.metadata.resource_version
        return out

    # processes ----------------------------------------------------------------------------------
    def kubectl(self, *args: str, text: str | None = None, code: int = 0) -> str:
        command = [str(KUBECTL), "--kubeconfig", str(self.kubeconfig), "-n", self.namespace, *args]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")

    def berth(self, *args: str, code: int = 0) -> str:
        command = [str(BERTH), *args, "--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def start_controller(self, wait: bool = True, name: str = "controller") -> "Controller":
        log = self.folder / f"{name}-{len(self.processes)}.log"
        command = [str(BERTH), "controller", "--kubeconfig", str(self.kubeconfig)]
        command += [
            "--namespace",
            self.namespace,
            "--lease-namespace",
            self.namespace,
            "--lease-duration",
            "3",
        ]
        with log.open("wb") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=stream)
        self.processes.append(process)
        controller = Controller(process, log)
        if wait:
            eventually(lambda: controller.leads() or process.poll() is not None)
            assert process.poll() is None, log.read_text()
        return controller

    @contextmanager
    def recorded(self) -> Iterator[History]:
        """Every version of every Assignment from here on."""
        history = History(self.folder / f"history-{len(self.processes)}.json")
        command = [str(KUBECTL), "--kubeconfig", str(self.kubeconfig), "-n", self.namespace]
        command += ["get", "assignments", "--watch", "--output-watch-events", "-o", "json"]
        with history.path.open("wb") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=stream)
        self.processes.append(process)
        there = len(self.all("assignment"))
        eventually(lambda: len(history.events()) >= there, "kubectl does not show what is there")
        try:
            yield history
        finally:
            process.terminate()
            process.wait(20)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(20)
        self.api.close()


@dataclass
class Controller:
    process: "subprocess.Popen[bytes]"
    log: Path

    def stands(self) -> bool:
        return b"standing for election" in self.log.read_bytes()

    def leads(self) -> bool:
        return b"leading" in self.log.read_bytes()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait(30)
