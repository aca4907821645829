"""A namespace on the real API server with real controller processes and scripted workers in it."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
import uuid
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from api import Api, Object
from history import History, entries
from waiting import eventually
from workers import Crew, Worker

from berth.testing import ControlPlane

LEASE = 3.0
"""Seconds that a worker's Lease lasts."""


class Controller:
    """A `berth controller` process."""

    def __init__(
        self, kubeconfig: Path, folder: Path, namespace: str | None, lead: str, *options: str
    ) -> None:
        self.log = folder / f"controller-{uuid.uuid4().hex[:6]}.log"
        command = [str(Path(sys.executable).parent / "berth"), "controller"]
        command += ["--kubeconfig", str(kubeconfig), "--lease-namespace", lead]
        command += ["--lease-duration", "2", *options]
        if namespace:
            command += ["--namespace", namespace]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def led(self) -> int:
        """How often it has started to lead."""
        return sum(line.endswith("leading") or "msg=leading" in line for line in self.text.splitlines())

    def wait_leading(self, times: int = 1) -> Self:
        eventually(lambda: self.led >= times or self.process.poll() is not None, lambda: self.text[-3000:])
        assert self.process.poll() is None, self.text[-3000:]
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)


class Stage(AbstractContextManager["Stage"]):
    """What the stories run on."""

    def __init__(self, plane: ControlPlane, namespace: str, folder: Path) -> None:
        self.plane = plane
        self.namespace = namespace
        self.folder = folder
        self.api = Api(plane.kubeconfig, namespace)
        self.history = History(self.api)
        self.crew = Crew(self.api, self.history)
        self.controllers: list[Controller] = []
        self._markers = itertools.count()

    def __enter__(self) -> Self:
        self.history.start()
        self.crew.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for controller in self.controllers:
            if controller.process.poll() is None:
                controller.resume()
                controller.kill()
            # pytest shows it under a test that failed.
            print(f"--- {controller.log.name}\n{controller.text[-8000:]}")
        self.crew.stop()
        self.history.stop()
        self.api.close()

    # ---- people ---------------------------------------------------------------------------------

    def controller(self, *options: str, wait: bool = True, kubeconfig: Path | None = None) -> Controller:
        """Start a controller for this namespace."""
        access = kubeconfig or self.plane.kubeconfig
        controller = Controller(access, self.folder, self.namespace, self.namespace, *options)
        self.controllers.append(controller)
        return controller.wait_leading() if wait else controller

    def pool(self, **spec: Any) -> None:
        """Create the Pool `default` with a policy, or change it."""
        try:
            self.api.merge("pools", "default", {"spec": spec})
        except Exception:
            self.api.create("pools", "default", spec)

    def items(self, count: int, replicas: int = 1, prefix: str = "item") -> list[str]:
        """Create Items."""
        names = [f"{prefix}-{number:02}" for number in range(count)]
        for name in names:
            self.api.create("items", name, {"replicas": replicas})
        return names

    def scale(self, name: str, replicas: int) -> None:
        self.api.merge("items", name, {"spec": {"replicas": replicas}})

    def member(
        self,
        name: str,
        limit: int = 10,
        zone: str = "",
        *,
        lease: float | None = LEASE,
        reported: bool = True,
        worker: bool = True,
        **spec: Any,
    ) -> Worker | None:
        """Create a Member and, unless `worker` is False, start its worker."""
        hired = self.crew.hire(name, lease, reported) if worker else None
        readiness = "Reported" if reported else "Assumed"
        full = {"limit": limit, "zone": zone, "readiness": readiness, **spec}
        if lease is not None:
            full["leaseName"] = name
        self.api.create("members", name, full)
        return hired

    def members(self, *names: str, limit: int = 10, zones: str = "", **more: Any) -> None:
        """Create Members; `zones` has a letter for each."""
        for number, name in enumerate(names):
            self.member(name, limit, zones[number] if zones else "", **more)

    def limit(self, member: str, limit: int) -> None:
        self.api.merge("members", member, {"spec": {"limit": limit}})

    # ---- what is --------------------------------------------------------------------------------

    def held(self) -> dict[str, dict[str, int]]:
        """Item -> Member -> slot."""
        found: dict[str, dict[str, int]] = {}
        for name, assignment in self.history.store("assignments").items():
            for item, entry in entries(assignment).items():
                found.setdefault(item, {})[name] = entry.slot
        return found

    def holds(self, member: str) -> set[str]:
        """Items that the Member should hold."""
        return set(entries(self.history.store("assignments").get(member)))

    def epoch(self, item: str) -> int:
        return max(
            (e.epoch for a in self.history.store("assignments").values() for e in entries(a).values()
             if e.name == item),
            default=0,
        )  # fmt: skip

    def ready(self, member: str, item: str) -> bool:
        assignment = self.history.store("assignments").get(member) or {}
        entry = entries(assignment).get(item)
        if self.history.store("members")[member]["spec"]["readiness"] == "Assumed":
            return entry is not None
        reports = assignment.get("status", {}).get("items", [])
        return entry is not None and any(
            f"{item}@{entry.grant}={phase}" in reports for phase in ("Ready", "Active")
        )

    def usable(self) -> list[str]:
        """Members that Items may be on."""
        return [
            name
            for name, member in self.history.store("members").items()
            if member["spec"]["limit"] > 0
            and (name not in self.crew.workers or self.crew.workers[name].alive)
        ]

    def unplaced(self, wanted: dict[str, int] | None = None) -> list[str]:
        """What is not yet as it should be: all replicas placed and ready on usable Members, one primary."""
        held, usable, wrong = self.held(), set(self.usable()), []
        items = self.history.store("items")
        for name, item in items.items():
            where = held.get(name, {})
            replicas = min(item["spec"].get("replicas", 1), len(usable))
            if wanted is not None:
                replicas = wanted.get(name, replicas)
            if len(where) != replicas:
                wrong.append(f"{name} has {len(where)} of {replicas}: {where}")
            elif sorted(where.values()) != list(range(replicas)):
                wrong.append(f"{name} has slots {where}")
            elif not where.keys() <= usable:
                wrong.append(f"{name} is on {where}, not all of {sorted(usable)}")
            elif not all(self.ready(member, name) for member in where):
                wrong.append(f"{name} is not ready on all of {where}")
        wrong += [f"{name} is unknown, on {held[name]}" for name in held.keys() - items.keys()]
        for name, member in self.history.store("members").items():
            if len(self.holds(name)) > member["spec"]["limit"]:
                wrong.append(f"{name} is above its limit")
        return wrong

    def settle(self, wanted: dict[str, int] | None = None, quiet: float = 1.0) -> None:
        """Wait until everything is in place, and has been left alone for a moment."""
        asked = time.monotonic()

        def settled() -> bool:
            since = max(asked, self.history.last_change())
            return time.monotonic() - since > quiet and not self.unplaced(wanted)

        eventually(settled, lambda: "; ".join(self.unplaced(wanted)[:5]) or "it does not come to rest")

    def processed(self) -> None:
        """Wait until the leader has processed everything up to now: it gives each new Member an Assignment.

        The second Member makes sure that the round in which the first was processed is over. Both have no
        room, so the plan stays what it is.
        """
        for number in itertools.islice(self._markers, 2):
            marker = f"marker-{number}"
            self.api.create("members", marker, {"limit": 0})
            eventually(lambda marker=marker: marker in self.history.store("assignments"), marker)

    def renewals(self, count: int, name: str = "berth-controller") -> None:
        """Wait until a Lease was renewed so often: time passes for the one who holds it."""
        for _ in range(count):
            before = self.api.get("leases", name)["spec"]["renewTime"]
            eventually(
                lambda before=before: self.api.get("leases", name)["spec"]["renewTime"] != before,
                f"the Lease {name} is not renewed",
            )

    def condition(self, kind: str, name: str, type_: str) -> Object:
        """A condition of an object, read afresh; empty if it is not there."""
        status = self.api.get(kind, name).get("status", {})
        return next((c for c in status.get("conditions", []) if c["type"] == type_), {})

    def term(self) -> int:
        """The term of the Pool, 0 if it has none yet: a leader that has just started creates it first."""
        return max((int(pool.get("status", {}).get("term", 0)) for pool in self.api.list("pools")), default=0)

    def placement(self) -> dict[str, dict[str, int]]:
        return self.held()
