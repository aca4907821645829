"""`make demo`: Berth's main job on a real control plane, from `kubectl apply` to a worker's sudden death.

Starts etcd and kube-apiserver, installs the API, runs the controller and six workers as processes,
applies `examples/demo/`, drains one Member with kubectl, kills another worker with SIGKILL, and says
how long each took. Exits with 0 only if all of it happened.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from berth.kinds import Entry, parse_entry
from berth.testing import ControlPlane, ControlPlaneError

ROOT = Path(__file__).resolve().parent.parent
WORKERS = {f"worker-{letter}": f"zone-{1 + i % 3}" for i, letter in enumerate("abcdef")}
TIMEOUT = 90.0
console = Console(highlight=False)


class Failed(Exception):  # noqa: N818
    """Something that the demo is to show did not happen."""


class Demo:
    def __init__(self, plane: ControlPlane, logs: Path) -> None:
        self.plane = plane
        self.logs = logs
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @contextmanager
    def process(self, name: str, *command: str) -> Iterator[None]:
        with (self.logs / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.processes[name] = process
        try:
            yield
        finally:
            # A drain would wait for a controller that is on its way out as well.
            if process.poll() is None:
                process.kill()
                process.wait()

    def objects(self, kind: str) -> list[dict[str, Any]]:
        return list(json.loads(self.plane.kubectl("get", kind, "-o", "json"))["items"])

    def held(self) -> dict[str, list[Entry]]:
        """Entries by Member, as the Assignments say."""
        return {
            a["metadata"]["name"]: [parse_entry(text) for text in a["spec"].get("items", ())]
            for a in self.objects("assignments")
        }

    def ready(self) -> dict[str, set[str]]:
        """Items by Member that it reports as prepared or active."""
        return {
            a["metadata"]["name"]: {
                text.partition("@")[0]
                for text in a.get("status", {}).get("items", ())
                if text.endswith(("=Ready", "=Active"))
            }
            for a in self.objects("assignments")
        }

    def complete(self, without: str | None = None) -> bool:
        """Whether each Item has its replicas, ready, with a primary, and none on `without`."""
        held, ready = self.held(), self.ready()
        if without and held.get(without):
            return False
        for item in self.objects("items"):
            name, wanted = item["metadata"]["name"], item["spec"]["replicas"]
            holders = {m: e for m, entries in held.items() for e in entries if e.name == name}
            if len(holders) != wanted or sum(e.primary for e in holders.values()) != 1:
                return False
            if not all(name in ready.get(member, ()) for member in holders):
                return False
        return True

    def wait(self, what: str, done: Callable[[], bool]) -> float:
        """Seconds until `done`; Failed if it does not come."""
        started = time.monotonic()
        with console.status(what):
            while not done():
                self.check_processes()
                if time.monotonic() - started > TIMEOUT:
                    raise Failed(f"{what}: not within {TIMEOUT:.0f} s")
                time.sleep(0.1)
        return time.monotonic() - started

    def check_processes(self) -> None:
        for name, process in self.processes.items():
            if process.poll() not in (None, 0, -signal.SIGKILL):
                tail = (self.logs / f"{name}.log").read_text(errors="replace")[-1500:]
                raise Failed(f"{name} ended with {process.returncode}:\n{tail}")

    def show(self, title: str) -> None:
        held, ready = self.held(), self.ready()
        members = {m["metadata"]["name"]: m["spec"] for m in self.objects("members")}
        table = Table(title=title, title_justify="left", title_style="bold")
        for column in ("Member", "Zone", "Limit", "Items", "Primaries", "Ready", ""):
            table.add_column(column, justify="left" if column in ("Member", "Zone", "") else "right")
        for name, spec in sorted(members.items()):
            entries = held.get(name, [])
            table.add_row(
                name,
                spec.get("zone", ""),
                str(spec["limit"]),
                str(len(entries)),
                str(sum(e.primary for e in entries)),
                str(sum(e.name in ready.get(name, ()) for e in entries)),
                "■" * (len(entries) // 2),
            )
        console.print(table)


def run(plane: ControlPlane, logs: Path, stack: ExitStack) -> list[str]:
    demo = Demo(plane, logs)
    summary = []
    console.rule("1. kubectl apply -f crds/")
    console.print(plane.kubectl("apply", "-f", str(ROOT / "crds")).strip())
    python, kubeconfig = sys.executable, str(plane.kubeconfig)
    berth = str(Path(python).with_name("berth"))
    stack.enter_context(demo.process("controller", berth, "controller", "--kubeconfig", kubeconfig))
    for name, zone in WORKERS.items():
        worker = str(ROOT / "examples" / "demo" / "worker.py")
        stack.enter_context(demo.process(name, python, worker, name, zone, kubeconfig))

    def announced() -> bool:
        live = [
            c["status"]
            for m in demo.objects("members")
            for c in m.get("status", {}).get("conditions", ())
            if c["type"] == "Live"
        ]
        return live.count("True") == len(WORKERS)

    console.rule("2. the controller and six workers, each a process of its own")
    demo.wait("waiting for six live Members", announced)
    console.print(plane.kubectl("get", "members").strip())

    console.rule("3. kubectl apply -f examples/demo/")
    plane.kubectl("apply", "-f", str(ROOT / "examples" / "demo"))
    seconds = demo.wait("waiting for every feed to be placed and ready", demo.complete)
    items = demo.objects("items")
    replicas = sum(i["spec"]["replicas"] for i in items)
    demo.show(f"{len(items)} Items, {replicas} replicas, placed on six Members in three zones")
    summary.append(
        f"placed     {len(items)} Items, {replicas} replicas, each ready: {seconds:.1f} s after kubectl apply"
    )

    console.rule("""4. kubectl patch member worker-b --type merge -p '{"spec":{"limit":0}}'""")
    moved = len(demo.held()["worker-b"])
    plane.kubectl("patch", "member", "worker-b", "--type", "merge", "-p", '{"spec":{"limit":0}}')
    seconds = demo.wait("waiting for worker-b to be empty", lambda: demo.complete(without="worker-b"))
    demo.show("worker-b is drained: every replica was ready elsewhere before it left")
    summary.append(f"drained    worker-b of {moved} Items: {seconds:.1f} s")

    console.rule("5. kill -9 worker-e")
    lost = len(demo.held()["worker-e"])
    os.kill(demo.processes["worker-e"].pid, signal.SIGKILL)
    demo.processes["worker-e"].wait()
    seconds = demo.wait("waiting for its Lease to run out", lambda: demo.complete(without="worker-e"))
    demo.show("worker-e is dead: its Lease (3 s) ran out and the others took over")
    summary.append(f"recovered  {lost} Items of worker-e, its Lease of 3 s included: {seconds:.1f} s")
    console.print(plane.kubectl("get", "pools").strip())
    return summary


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="berth-demo-") as folder, ExitStack() as stack:
        started = time.monotonic()
        try:
            console.rule("0. a real etcd and kube-apiserver (the first time they are built: minutes)")
            plane = stack.enter_context(ControlPlane())
            console.print(f"ready in {time.monotonic() - started:.1f} s at {plane.url}")
            summary = run(plane, Path(folder), stack)
        except subprocess.CalledProcessError as error:
            console.print("[bold red]the demo failed:[/]", error, error.stderr or "")
            return 1
        except (Failed, ControlPlaneError) as error:
            console.print("[bold red]the demo failed:[/]", error)
            return 1
        except KeyboardInterrupt:
            return 130
    console.rule("summary")
    for line in summary:
        console.print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
